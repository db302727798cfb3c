"""Repair: what is fetched, in which order, and what happens when the venue cannot give it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from marketdata.core.coverage import Coverage, Run, runs_of
from marketdata.core.errors import ConnectionLostError, FrameError
from marketdata.core.trades import Trades
from marketdata.feeds import repair as repair_module
from marketdata.feeds.repair import Repair

START_US = 1_700_000_000_000_000


def made(ids) -> Trades:
    ids = np.asarray(list(ids), dtype=np.int64)
    count = len(ids)
    return Trades.of(
        ids, START_US + ids, np.full(count, 100.0), np.ones(count), np.ones(count, dtype=bool)
    )


class Shelf:
    """Pages cut from a set of ids, as the venue cuts them; may fail first."""

    def __init__(self, ids, limit: int = 10) -> None:
        self.trades = made(sorted(ids))
        self.limit = limit
        self.asked: list[int] = []
        self.failures: list[Exception] = []

    def page(self, symbol: str, first_id: int, limit: int) -> Trades:
        self.asked.append(first_id)
        if self.failures:
            raise self.failures.pop(0)
        at = int(np.searchsorted(self.trades.id, first_id))
        return self.trades[at : at + limit]


class Pipeline:
    """Holds what arrives and tells repair what still misses, as the flow does."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.held = Coverage()
        self.lacking: list[tuple[int, int, str, bool]] = []
        self.arrived = threading.Event()
        self.repair: Repair | None = None

    def deliver(self, symbol: str, trades: Trades) -> None:
        for first, last in runs_of(trades.id):
            self.held.add(first, last)
        self.arrived.set()

    def lacks(self, symbol: str, runs: list[Run], reason: str, is_told: bool) -> None:
        self.lacking += [(first, last, reason, is_told) for first, last in runs]

    def tell(self) -> None:
        self.repair.want("BTCUSDT", list(self.held.holes(1, self.last)))


@pytest.fixture
def run() -> Iterator[Callable[..., Repair]]:
    started: list[Repair] = []

    def start(shelf: Shelf, pipeline: Pipeline) -> Repair:
        repair = Repair(shelf, pipeline.deliver, pipeline.lacks)
        # Waiting between failures is the backoff's own test; here it would only cost time.
        repair._backoff = repair_module.Backoff(base_s=0.001, cap_s=0.001)
        pipeline.repair = repair
        pipeline.tell()
        repair.start()
        started.append(repair)
        return repair

    yield start
    for repair in started:
        repair.stop()
        assert not repair.is_alive()


def until(holds: Callable[[], bool], pipeline: Pipeline | None = None) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        if pipeline is not None:
            pipeline.tell()
        time.sleep(0.002)


def test_every_hole_is_refilled_the_newest_page_first(run):
    shelf, pipeline = Shelf(range(1, 101)), Pipeline(100)
    pipeline.held.add(41, 60)
    repair = run(shelf, pipeline)
    until(lambda: pipeline.held.missing(1, 100) == 0, pipeline)
    until(lambda: not repair.is_busy("BTCUSDT"), pipeline)
    # Newest page first, and each page once.
    assert shelf.asked == [91, 81, 71, 61, 31, 21, 11, 1]
    assert repair.done == 80
    assert repair.pending == 0
    assert pipeline.lacking == []


def test_one_page_takes_the_small_holes_near_it_along(run):
    shelf, pipeline = Shelf(range(1, 101)), Pipeline(100)
    for first, last in ((1, 90), (92, 94), (96, 98), (100, 100)):
        pipeline.held.add(first, last)
    repair = run(shelf, pipeline)
    until(lambda: pipeline.held.missing(1, 100) == 0, pipeline)
    assert shelf.asked == [91]
    assert repair.done == 3


def test_ids_the_venue_skips_twice_are_lacking_and_asked_no_more(run, monkeypatch):
    monkeypatch.setattr(repair_module, "DOUBT_S", 0.02)
    shelf, pipeline = Shelf([*range(1, 50), *range(55, 101)]), Pipeline(100)
    pipeline.held.add(1, 45)
    pipeline.held.add(60, 100)
    repair = run(shelf, pipeline)
    until(lambda: pipeline.lacking != [], pipeline)
    until(lambda: not repair.is_busy("BTCUSDT"), pipeline)
    assert [row[:2] for row in pipeline.lacking] == [(50, 54)]
    assert "venue" in pipeline.lacking[0][2]
    assert pipeline.lacking[0][3] is True
    assert list(pipeline.held.holes(1, 100)) == [(50, 54)]
    # One page for each part of the hole, and one more to be sure.
    asked = list(shelf.asked)
    assert asked in ([50, 46, 50], [50, 46])
    pipeline.tell()
    assert repair.pending == 0
    assert shelf.asked == asked


def test_ids_one_answer_left_out_are_asked_for_again(run, monkeypatch):
    monkeypatch.setattr(repair_module, "DOUBT_S", 0.02)
    shelf, pipeline = Shelf([*range(1, 50), *range(55, 101)]), Pipeline(100)
    pipeline.held.add(1, 45)
    pipeline.held.add(60, 100)
    repair = run(shelf, pipeline)
    until(lambda: 59 in pipeline.held, pipeline)
    shelf.trades = made(range(1, 101))
    until(lambda: pipeline.held.missing(1, 100) == 0, pipeline)
    until(lambda: not repair.is_busy("BTCUSDT"), pipeline)
    assert pipeline.lacking == []


def test_what_is_known_not_to_be_had_is_not_asked_for(run):
    shelf, pipeline = Shelf(range(1, 101)), Pipeline(100)
    pipeline.held.add(1, 40)
    pipeline.held.add(61, 100)
    repair = Repair(shelf, pipeline.deliver, pipeline.lacks)
    pipeline.repair = repair
    repair.forgo("BTCUSDT", [(41, 55)])
    pipeline.tell()
    repair.start()
    until(lambda: not repair.is_busy("BTCUSDT"), pipeline)
    repair.stop()
    assert shelf.asked == [56]
    assert list(pipeline.held.holes(1, 100)) == [(41, 55)]


def test_a_page_that_ends_before_the_hole_proves_nothing_about_its_rest(run):
    # The newest ids reach REST a moment later than the stream.
    shelf, pipeline = Shelf(range(1, 96)), Pipeline(100)
    pipeline.held.add(1, 90)
    repair = run(shelf, pipeline)
    until(lambda: 95 in pipeline.held, pipeline)
    until(lambda: len(shelf.asked) >= 3, pipeline)
    assert pipeline.lacking == []
    shelf.trades = made(range(1, 200))
    until(lambda: pipeline.held.missing(1, 100) == 0, pipeline)
    until(lambda: not repair.is_busy("BTCUSDT"), pipeline)


def test_a_lost_connection_is_retried_without_end(run):
    shelf, pipeline = Shelf(range(1, 101)), Pipeline(100)
    shelf.failures = [ConnectionLostError("down")] * 20
    repair = run(shelf, pipeline)
    until(lambda: pipeline.held.missing(1, 100) == 0, pipeline)
    assert repair.last_error == "down"
    assert pipeline.lacking == []


def test_a_hole_that_yields_only_nonsense_is_given_up_with_a_reason(run):
    shelf, pipeline = Shelf(range(1, 101), limit=200), Pipeline(100)
    shelf.failures = [FrameError("json", "nonsense")] * 50
    repair = run(shelf, pipeline)
    until(lambda: pipeline.lacking != [])
    first, last, reason, is_told = pipeline.lacking[0]
    assert (first, last, is_told) == (1, 100, False)
    assert "8 attempts" in reason
    assert "nonsense" in reason
    assert not repair.is_busy("BTCUSDT")


def test_a_page_lost_on_the_way_is_asked_for_again(run, monkeypatch):
    monkeypatch.setattr(repair_module, "SETTLE_S", 0.02)
    shelf, pipeline = Shelf(range(1, 11)), Pipeline(10)
    lost = []

    def lose_once(symbol: str, trades: Trades) -> None:
        if not lost:
            lost.append(trades)
            return
        Pipeline.deliver(pipeline, symbol, trades)

    pipeline.deliver = lose_once
    run(shelf, pipeline)
    until(lambda: pipeline.held.missing(1, 10) == 0, pipeline)
    assert shelf.asked == [1, 1]


def test_symbols_do_not_mix_and_a_small_hole_is_first(run):
    shelf, pipeline = Shelf(range(1, 101)), Pipeline(0)
    taken: list[tuple[str, int]] = []
    pipeline.deliver = lambda symbol, trades: taken.append((symbol, len(trades)))
    repair = Repair(shelf, pipeline.deliver, pipeline.lacks)
    for symbol, hole in (("FIRST", (1, 20)), ("SECOND", (1, 10)), ("SMALL", (5, 6))):
        repair.want(symbol, [hole])
    repair.start()
    until(lambda: len(taken) == 4)
    repair.stop()
    assert taken == [("SMALL", 2), ("FIRST", 10), ("FIRST", 10), ("SECOND", 10)]
