"""Venues that number no trades: which holes of past days are filled by themselves, and when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marketdata.backfill.auditor import ASKED_BY, Auditor, Parts
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request
from marketdata.core.timeframe import HOUR_US
from marketdata.models import Certificate
from marketdata.simulator.server import Simulator
from marketdata.store.writer import Writer
from tests.backfill.by_time import (
    BTC,
    DAY,
    INDEX,
    NOW_US,
    TODAY_US,
    as_told,
    hold,
    proof,
    runs_into,
    stored,
    traded,
)
from tests.backfill.conftest import Run

pytestmark = pytest.mark.django_db(transaction=True)


class Watchman:
    """An auditor whose jobs are run at once, at a time that a test says."""

    def __init__(self, run: Run, venue: Simulator, source: str, writer: Writer) -> None:
        self.now_us = NOW_US
        self.asked: list[int] = []
        self.given_up: list[tuple[list[tuple[int, int]], str]] = []
        self._run, self._venue, self._source = run, venue, source
        symbol = BTC if source == "bybit" else INDEX
        self.auditor = Auditor(
            Parts(
                names=lambda: [(source, symbol)],
                inlet=Inlet(writer),
                submit=self._submit,
                give_up=lambda _, runs, reason: self.given_up.append((runs, reason)),
                clock=lambda: self.now_us,
            )
        )

    def _submit(self, request: Request) -> None:
        self.asked.append(request.start_us)
        span = request.start_us, request.end_us
        self._run(self._venue, span=span, now_us=self.now_us, asked_by=ASKED_BY)

    def look(self, now_us: int) -> list[int]:
        """Look at everything; return the days asked for."""
        self.now_us = now_us
        self.asked.clear()
        self.auditor.wake()
        self.auditor._turn()
        assert self.auditor.last_error == ""
        return list(self.asked)


@pytest.fixture
def watchman(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Watchman]:
    monkeypatch.setattr("marketdata.backfill.auditor.PAUSE_S", 0)
    run = runs_into(writer, tmp_path)
    return lambda venue, source: Watchman(run, venue, source, writer)


def test_a_hole_of_yesterday_waits_for_the_file_and_is_filled_by_itself(watchman, bybit, writer):
    truth = traded(bybit, *DAY)
    hold(writer, bybit, "bybit", truth[100:200], truth[300:400])
    man = watchman(bybit, "bybit")
    ended = DAY[1]
    assert man.look(ended + HOUR_US) == []
    assert man.look(ended + 11 * HOUR_US) == []
    # What came of the job is looked at soon after it; there is nothing more to do.
    assert man.look(ended + 13 * HOUR_US) == [DAY[0]]
    assert man.look(ended + 14 * HOUR_US) == []
    assert as_told(stored("bybit")) == as_told(truth)
    assert (man.given_up, proof("bybit")["missing"]) == ([], 0)
    certificate = Certificate.objects.get(scope="day", start_us=DAY[0])
    assert (certificate.held, certificate.missing) == (len(truth), 0)


@pytest.mark.slow
def test_a_file_that_never_comes_is_asked_for_three_times(watchman, bybit, writer):
    truth = traded(bybit, *DAY)
    hold(writer, bybit, "bybit", truth[100:200], truth[300:400])
    bybit.faults.set("archive_missing", 1_000)
    man, ended = watchman(bybit, "bybit"), DAY[1]
    hours = [hour for hour in range(4, 60, 4) if man.look(ended + hour * HOUR_US)]
    bybit.faults.clear()
    assert hours == [12, 24, 36]
    ((runs, reason),) = {(tuple(runs), reason) for runs, reason in man.given_up}
    assert reason == "asked for 3 times: the venue has no file of this day"
    # The hours before the first and after the last trade are given up with the hole between.
    assert len(runs) == 3
    # Asked for by hand, it comes all the same.
    assert man._run(bybit, now_us=ended + 60 * HOUR_US).status == "completed"
    assert proof("bybit")["missing"] == 0


@pytest.mark.slow
def test_of_a_pause_over_midnight_each_day_is_asked_for_once(watchman, deriv, writer):
    before = traded(deriv, DAY[0] + 20 * HOUR_US, DAY[0] + 21 * HOUR_US)
    after = traded(deriv, TODAY_US + 3 * HOUR_US, TODAY_US + 4 * HOUR_US)
    hold(writer, deriv, "deriv", before, after)
    man = watchman(deriv, "deriv")
    # Of today the feed takes care.
    assert man.look(TODAY_US + 5 * HOUR_US) == [DAY[0]]
    assert man.look(TODAY_US + 6 * HOUR_US) == []
    assert man.look(TODAY_US + 25 * HOUR_US) == [TODAY_US]
    assert man.look(TODAY_US + 26 * HOUR_US) == []
    assert proof("deriv")["missing"] == 0
    found = proof("deriv", TODAY_US)
    assert (found["missing"], found["held"]) == (0, 43_200)
