"""The one thread that owns every pipeline: order, limits, questions, and what cannot stop it."""

import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from marketdata.context import MarketContext
from marketdata.core.coverage import ScopeCoverage
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.trades import Trades
from marketdata.feeds import flow as flow_module
from marketdata.feeds.flow import EventTape, Flow
from marketdata.pipeline import Pipeline, Sink
from marketdata.store import board as board_module
from marketdata.store.board import Board, Key, Posting

DAY_US = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z
NAME = ("binance_ws", "BTCUSDT")
KEY = Key(*NAME, "day")


def batch(first_id: int, size: int = 1, *, origin: str = "live", price: float = 100.0) -> Batch:
    ids = range(first_id, first_id + size)
    times = [DAY_US + id * 1_000_000 for id in ids]
    trades = Trades.of(list(ids), times, [price] * size, [0.5] * size, [True] * size)
    return Batch(trades, origin, times[-1])


def pipeline(*sinks: Sink, name: tuple[str, str] = NAME) -> Pipeline:
    instrument = Instrument(*name, Grid(Decimal("0.01"), Decimal("0.001")), 1)
    return Pipeline(MarketContext(instrument), sinks)


def clock() -> int:
    return DAY_US + 3_600_000_000


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> float:
    """Wait for a condition; return the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, "condition not met in time"
        time.sleep(0.0005)
    return time.monotonic() - began


@pytest.fixture
def flow() -> Iterator[Flow]:
    made = Flow(Board(), max_queue=10)
    made.add(pipeline(), clock)
    yield made
    made.stop()
    assert not made.is_alive()


def trades_of(flow: Flow, name: tuple[str, str] = NAME) -> int:
    return flow.lanes[name].pipeline.counts.trades


class Broken:
    """A sink that fails on some trades."""

    def __init__(self, on: int) -> None:
        self.on = on

    def trades(self, instrument: Instrument, batch: Batch) -> None:
        if self.on in batch.trades.id:
            raise ValueError("disk on fire")

    def event(self, instrument: Instrument, event: Event) -> None:
        pass


# Posting


def posted_by(flow: Flow) -> list[tuple[float, Posting]]:
    found: list[tuple[float, Posting]] = []
    flow.board.listen(lambda key, posting: found.append((time.monotonic(), posting)))
    return found


@pytest.fixture
def pace_s(monkeypatch: pytest.MonkeyPatch) -> float:
    """Slow the pace down, so that a busy machine cannot be taken for waiting."""
    monkeypatch.setattr(board_module, "PACE_S", 0.6)
    monkeypatch.setattr(board_module, "REFRESH_S", 3.0)
    return 0.6


def test_a_trade_after_a_quiet_time_is_posted_at_once(flow: Flow, pace_s: float) -> None:
    posted = posted_by(flow)
    flow.start()
    flow.board.want(KEY)
    until(lambda: posted)
    flow.put(*NAME, batch(1))
    # Less than the pace after the first posting: only the clock had moved in that one.
    assert until(lambda: posted[-1][1].snapshot.trades == 1) < pace_s / 2


def test_what_follows_within_the_pace_is_posted_together_when_it_ends(
    flow: Flow, pace_s: float
) -> None:
    posted = posted_by(flow)
    flow.start()
    flow.board.want(KEY)
    flow.put(*NAME, batch(1))
    until(lambda: posted and posted[-1][1].snapshot.trades == 1)
    first_s = posted[-1][0]
    for id in range(2, 8):
        flow.put(*NAME, batch(id))
    until(lambda: posted[-1][1].snapshot.trades == 7)
    assert pace_s * 0.95 <= posted[-1][0] - first_s < pace_s * 1.4
    assert [p.snapshot.trades for _, p in posted if p.snapshot.trades] == [1, 7]


def test_a_steady_stream_is_posted_at_the_pace(flow: Flow) -> None:
    posted = posted_by(flow)
    flow.start()
    flow.board.want(KEY)
    began = time.monotonic()
    id = 0
    while time.monotonic() - began < 0.55:
        id += 1
        flow.put(*NAME, batch(id))
        time.sleep(0.005)
    took = time.monotonic() - began
    assert 2 <= len(posted) <= took / board_module.PACE_S + 2
    assert [p.number for _, p in posted] == list(range(1, len(posted) + 1))


def test_a_quiet_scope_is_posted_when_its_clock_has_moved_on(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "REFRESH_S", 0.3)
    posted = posted_by(flow)
    flow.start()
    flow.board.want(KEY)
    until(lambda: len(posted) == 3)
    assert 0.29 <= posted[2][0] - posted[1][0] < 0.6


def test_nothing_is_posted_that_nobody_looks_at(flow: Flow) -> None:
    posted = posted_by(flow)
    flow.start()
    flow.put(*NAME, batch(1))
    until(lambda: trades_of(flow) == 1)
    flow.ask(lambda: None)
    assert posted == []


def test_dear_snapshots_slow_the_pace_instead_of_the_thread(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = flow.lanes[NAME].pipeline.context
    quick = context.snapshot

    def slow(name: str, as_of_us: int) -> object:
        time.sleep(0.1)
        return quick(name, as_of_us)

    monkeypatch.setattr(context, "snapshot", slow)
    posted = posted_by(flow)
    flow.start()
    flow.board.want(KEY)
    flow.put(*NAME, batch(1))
    until(lambda: posted)
    flow.put(*NAME, batch(2))
    until(lambda: len(posted) >= 2 and posted[-1][1].snapshot.trades == 2)
    # A quarter of the thread at most: 0.1 s of work, then 0.3 s for everything else.
    assert posted[-1][0] - posted[-2][0] > 0.35


# Limits


def test_a_full_queue_drops_counts_and_shows_as_a_gap(flow: Flow) -> None:
    tape = EventTape()
    flow.lanes[NAME].pipeline.sinks = (tape,)
    for id in range(1, 11):
        assert flow.put(*NAME, batch(id))
    assert not flow.put(*NAME, batch(11, 3))
    assert flow.dropped == 3
    flow.start()
    until(lambda: flow.depth == 0)
    assert flow.put(*NAME, batch(14))
    until(lambda: trades_of(flow) == 11)
    gaps = [event.detail for _, event in tape.events if event.kind == "gap"]
    assert gaps == [{"first_id": 11, "last_id": 13, "reason": "sequence"}]
    until(lambda: flow.lanes[NAME].coverage and flow.lanes[NAME].coverage.missing == 3)


def test_drops_from_many_threads_are_all_counted() -> None:
    full = Flow(Board(), max_queue=0)

    def push() -> None:
        for _ in range(2000):
            full.put(*NAME, batch(1))

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert full.dropped == 8000


def test_history_waits_for_room_while_live_does_not(flow: Flow) -> None:
    done: list[int] = []

    def load() -> None:
        for id in range(100, 106):
            flow.put_history(*NAME, batch(id, origin="rest"))
            done.append(id)

    loader = threading.Thread(target=load)
    loader.start()
    until(lambda: len(done) == flow_module.HISTORY_AHEAD)
    assert flow.put(*NAME, batch(1))
    assert len(done) == flow_module.HISTORY_AHEAD
    flow.start()
    loader.join(5)
    until(lambda: trades_of(flow) == 7)


@pytest.mark.parametrize(("origin", "is_stored"), [("live", False), ("live", True), ("file", True)])
def test_every_history_batch_gives_its_place_back(flow: Flow, origin: str, is_stored: bool) -> None:
    flow.start()
    for id in range(1, 21):
        assert flow.put_history(*NAME, batch(id, origin=origin), is_stored=is_stored)
    until(lambda: trades_of(flow) == 20)


def test_live_batches_of_any_origin_need_no_place(flow: Flow) -> None:
    flow.start()
    flow.put(*NAME, batch(1, origin="file"))
    until(lambda: trades_of(flow) == 1)
    assert flow.errors == 0


def test_history_gives_up_when_the_thread_stops(flow: Flow) -> None:
    for id in range(flow_module.HISTORY_AHEAD):
        assert flow.put_history(*NAME, batch(id + 1))
    flow.stop()
    assert not flow.put_history(*NAME, batch(9))


# Before the tick is known


def test_trades_wait_for_their_pipeline() -> None:
    flow = Flow(Board())
    flow.start()
    flow.put(*NAME, batch(1, 2))
    flow.put_history(*NAME, batch(3), is_stored=True)
    until(lambda: flow.depth == 0)
    seen: list[int] = []

    class Ids(Broken):
        def trades(self, instrument: Instrument, batch: Batch) -> None:
            seen.extend(batch.trades.id.tolist())

    flow.add(pipeline(Ids(0)), clock)
    until(lambda: trades_of(flow) == 3)
    # What came from the store is not told to the sinks again, however early it came.
    assert seen == [1, 2]
    flow.stop()


def test_early_trades_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_module, "EARLY_TRADES", 10)
    flow = Flow(Board())
    flow.start()
    for id in range(1, 31, 3):
        flow.put(*NAME, batch(id, 3))
    until(lambda: flow.depth == 0 and flow.dropped == 21)
    flow.add(pipeline(), clock)
    until(lambda: trades_of(flow) == 9)
    assert flow.lanes[NAME].pipeline.context.held.first == 22
    flow.stop()


def test_no_batch_is_lost_while_a_pipeline_arrives() -> None:
    for _ in range(20):
        flow = Flow(Board())
        flow.start()
        feeder = threading.Thread(
            target=lambda flow=flow: [flow.put(*NAME, batch(id)) for id in range(1, 201)]
        )
        feeder.start()
        flow.add(pipeline(), clock)
        feeder.join()
        flow.stop()
        assert trades_of(flow) == 200


# Questions


def test_questions_are_answered_in_the_thread_that_owns_the_state(flow: Flow) -> None:
    flow.start()
    flow.put(*NAME, batch(1, 5))
    assert flow.ask(lambda: (trades_of(flow), threading.current_thread() is flow)) == (5, True)
    assert flow.ask(lambda: flow.ask(lambda: 7)) == 7


def test_an_error_in_a_question_is_the_askers(flow: Flow) -> None:
    flow.start()
    with pytest.raises(ZeroDivisionError):
        flow.ask(lambda: 1 // 0)
    assert flow.ask(lambda: 1) == 1
    assert flow.errors == 0


def test_a_question_nobody_waits_for_is_not_run(flow: Flow) -> None:
    asked: list[int] = []
    with pytest.raises(TimeoutError):
        flow.ask(lambda: asked.append(1), timeout_s=0.01)
    flow.start()
    assert flow.ask(lambda: 2) == 2
    assert asked == []


def test_a_stopped_thread_is_not_waited_for(flow: Flow) -> None:
    flow.start()
    flow.stop()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="stopped"):
        flow.ask(lambda: 1)
    assert time.monotonic() - began < 0.5


# What cannot stop it


def test_a_batch_off_every_grid_is_refused_and_counted(flow: Flow) -> None:
    flow.start()
    flow.put(*NAME, batch(1, price=0.1234567890123))
    flow.put(*NAME, batch(2))
    until(lambda: trades_of(flow) == 1)
    assert flow.refused_batches == 1
    assert "decimals" in flow.refused[0]
    assert flow.errors == 0


def test_a_poisoned_batch_is_visible_and_stops_nothing() -> None:
    other = ("binance_ws", "ETHUSDT")
    flow = Flow(Board())
    flow.add(pipeline(Broken(2)), clock)
    flow.add(pipeline(name=other), clock)
    posted = posted_by(flow)
    flow.start()
    flow.board.want(KEY)
    for id in (1, 2, 3):
        flow.put(*NAME, batch(id))
        flow.put(*other, batch(id))
    until(lambda: trades_of(flow, other) == 3 and trades_of(flow) == 2)
    assert flow.errors == 1
    assert flow.last_error == "ValueError: disk on fire"
    assert flow.lanes[NAME].damage == "ValueError: disk on fire"
    assert flow.lanes[other].damage == ""
    until(lambda: posted and posted[-1][1].damage)
    flow.stop()


def test_a_posting_that_fails_is_not_tried_all_the_time(flow: Flow) -> None:
    flow.start()
    flow.board.want(Key(*NAME, "nonsense"))
    until(lambda: flow.errors)
    time.sleep(0.2)
    assert flow.errors == 1
    flow.put(*NAME, batch(1))
    until(lambda: trades_of(flow) == 1)


def test_stopping_finishes_what_waits(flow: Flow) -> None:
    for id in range(1, 11):
        flow.put(*NAME, batch(id))
    flow.start()
    flow.stop()
    assert trades_of(flow) == 10
    assert not flow.put(*NAME, batch(11))
    assert flow.dropped == 1


# What it tells


def test_coverage_of_the_days_in_memory_is_told() -> None:
    told: list[tuple[tuple[str, str], list[ScopeCoverage]]] = []
    flow = Flow(Board(), on_coverage=lambda name, days: told.append((name, days)))
    flow.add(pipeline(), clock)
    flow.start()
    flow.put(*NAME, batch(1, 2))
    flow.put(*NAME, batch(6))
    until(lambda: told and told[-1][1] and told[-1][1][-1].missing == 3)
    name, days = told[-1]
    assert name == NAME
    assert [day.ranges for day in days] == [((3, 5),)]
    flow.stop()


def test_lag_and_rate_are_of_live_trades_alone(flow: Flow) -> None:
    lags: list[float] = []
    flow.on_lag = lags.append
    flow.start()
    flow.put_history(*NAME, batch(10, 500, origin="rest"))
    flow.put(*NAME, batch(1, 4))
    until(lambda: trades_of(flow) == 504)
    assert lags == [3596.0]
    until(lambda: flow.trades_per_s > 0)
    assert flow.live_trades == 4


def test_the_tape_of_events_leaves_candles_out_and_tells_listeners() -> None:
    tape, told = EventTape(keep=2), []
    tape.listeners.append(lambda instrument, event: told.append(event.kind))
    instrument = Instrument(*NAME, Grid(Decimal(1), Decimal(1)))
    for kind in ("gap", "candle_complete", "day_roll", "candle_restated", "gap_closed"):
        tape.event(instrument, Event(kind, DAY_US))
    assert told == ["gap", "day_roll", "gap_closed"]
    assert [event.kind for _, event in tape.events] == ["day_roll", "gap_closed"]
