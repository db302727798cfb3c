"""What happens by itself to holes, certificates and levels of past days."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketdata.backfill import auditor as module
from marketdata.backfill import jobs
from marketdata.backfill.auditor import ASKED_BY, MOST_ATTEMPTS, Auditor, Parts
from marketdata.backfill.inlet import Inlet
from marketdata.core.instrument import Grid
from marketdata.models import (
    Absence,
    BackfillJob,
    Candle,
    Certificate,
    DailyLevel,
    Edge,
    Restatement,
)
from marketdata.store import instruments
from marketdata.verify import verified, window_of
from tests.core.invented import DAY_US, HOUR, MONDAY, tape
from tests.store.stored import Immediate, run_of, store, until

pytestmark = pytest.mark.django_db
# It is Thursday morning.
NOW = MONDAY + 3 * DAY_US + 9 * HOUR


class Desk:
    """An auditor that is asked to look, and what it asked for."""

    def __init__(self, btc, monkeypatch):
        monkeypatch.setattr(module, "PAUSE_S", 0)
        self.btc, self.now_us, self.asked, self.held_us = btc, NOW, [], set()
        inlet = Inlet(Immediate(), lambda source, symbol, day_us: day_us in self.held_us)
        self.parts = Parts(
            names=lambda: [(btc.source, btc.symbol)],
            inlet=inlet,
            submit=self.submit,
            give_up=self.give_up,
            clock=lambda: self.now_us,
        )
        self.auditor = Auditor(self.parts)

    def submit(self, request):
        self.asked.append((request.start_us, request.end_us))
        return jobs.opened(jobs.checked(request, self.now_us), self.now_us)

    def give_up(self, instrument, runs, reason):
        writer = self.parts.inlet.writer
        writer.put_absence(instrument.id, runs, Absence.Kind.PERMANENT, reason, self.now_us)

    def look(self):
        """Look at everything, as once an hour; return the days asked for, as days after Monday."""
        self.asked.clear()
        self.auditor._looked_us.clear()
        self.auditor._turn()
        assert self.auditor.last_error == ""
        assert all(end - start == DAY_US for start, end in self.asked)
        return [(start - MONDAY) / DAY_US for start, _ in self.asked]


@pytest.fixture
def btc():
    return instruments.remember("binance_ws", "BTCUSDT", Grid(Decimal("0.01"), Decimal(1)))


@pytest.fixture
def desk(btc, monkeypatch):
    return Desk(btc, monkeypatch)


def at(instrument, *rows, origin="live"):
    """Store trades of (id, time)."""
    store(instrument.id, tape(*((id, ts, 100, 1, True) for id, ts in rows)), origin)


def outage(btc):
    """Live until Monday evening, and again from Thursday midnight on."""
    at(btc, (1, MONDAY + 8 * HOUR), (2, MONDAY + 20 * HOUR))
    at(btc, (900, MONDAY + 3 * DAY_US), origin="rest")
    at(btc, (901, NOW))


def test_days_without_the_daemon_are_asked_for_the_newest_first(desk, btc):
    outage(btc)
    assert desk.look() == [2, 1, 0]
    job = BackfillJob.objects.first()
    assert (job.asked_by, job.via, job.symbol) == (ASKED_BY, "auto", btc.symbol)
    # They wait in the queue: asked for again they are the same jobs.
    assert desk.look() == [2, 1, 0]
    assert BackfillJob.objects.count() == 3


def test_a_hole_inside_a_day_is_asked_for_whoever_left_it(desk, btc):
    at(btc, (1, MONDAY + HOUR), (5, MONDAY + 2 * HOUR), origin="file")
    assert desk.look() == [0]


def test_history_nobody_asked_for_is_left_alone(desk, btc):
    # A day from the archive, and the feed begins days later.
    at(btc, (1, MONDAY), (2, MONDAY + 23 * HOUR), origin="archive")
    at(btc, (900, NOW))
    assert desk.look() == []


def test_holes_of_today_and_of_this_minute_are_live_repairs(desk, btc):
    today = MONDAY + 3 * DAY_US
    at(btc, (1, today - 1), (5, NOW - HOUR), (9, NOW))
    # The hole over midnight may have ids of yesterday.
    assert desk.look() == [2]
    at(btc, *((id, today) for id in (2, 3, 4)))
    assert desk.look() == []


def test_what_the_venue_lacks_is_not_asked_for(desk, btc):
    outage(btc)
    desk.parts.inlet.lack(btc, [(3, 899)], NOW)
    assert desk.look() == []


def test_attempts_are_bounded_and_the_rest_is_given_up_with_the_reason(desk, btc):
    outage(btc)
    for day, first_id in enumerate((1, 300, 600, 900)):
        Edge.objects.create(instrument_id=btc.id, start_us=MONDAY + day * DAY_US, first_id=first_id)
    for attempt in range(MOST_ATTEMPTS):
        assert desk.look() == [2, 1, 0], attempt
        for job in BackfillJob.objects.filter(status="queued"):
            jobs.begin(job, NOW)
            jobs.keep(job, status="failed", error="HTTP 451: not here", finished_us=NOW + attempt)
    assert desk.look() == []
    rows = Absence.objects.order_by("first_id").values_list("first_id", "last_id", "kind")
    assert list(rows) == [(3, 299, "permanent"), (300, 599, "permanent"), (600, 899, "permanent")]
    assert Absence.objects.first().reason == "asked for 3 times: HTTP 451: not here"
    # Given up is not gone: the certificate still misses them.
    answer = verified(btc, window_of("day", MONDAY + DAY_US), NOW)
    assert (answer["missing"], answer["permanent"]) == (300, [[300, 599]])
    assert desk.look() == []


def test_ids_nobody_can_assign_to_a_day_are_not_given_up(desk, btc):
    outage(btc)
    for _ in range(MOST_ATTEMPTS):
        desk.look()
        for job in BackfillJob.objects.filter(status="queued"):
            jobs.begin(job, NOW)
            jobs.keep(job, status="failed", error="the venue is away", finished_us=NOW)
    assert desk.look() == []
    assert not Absence.objects.exists()


def test_a_hole_older_than_anybody_looks_is_given_up(desk, btc):
    outage(btc)
    desk.now_us = NOW + 40 * DAY_US
    at(btc, (902, desk.now_us - HOUR))
    assert desk.look() == []
    row = Absence.objects.get()
    assert (row.first_id, row.last_id, row.kind) == (3, 899, "permanent")
    assert "older than 30 days" in row.reason


def test_no_fetching_means_no_jobs(desk, btc):
    outage(btc)
    desk.auditor.parts = Parts(
        desk.parts.names, desk.parts.inlet, None, desk.give_up, desk.parts.clock
    )
    assert desk.look() == []
    assert not BackfillJob.objects.exists()


def test_windows_that_are_over_get_their_certificates(desk, btc):
    store(btc.id, run_of(1, 20, start_us=MONDAY + 2 * DAY_US + 9 * HOUR))
    desk.look()
    rows = Certificate.objects.order_by("start_us", "scope")
    # Overlap lies in Wednesday's silence: nobody knows of it.
    assert list(rows.values_list("scope", "start_us", "held", "missing")) == [
        ("day", MONDAY + 2 * DAY_US, 20, 0),
        ("london", MONDAY + 2 * DAY_US + 8 * HOUR, 20, 0),
    ]
    as_of = rows[0].as_of_us
    desk.now_us += HOUR
    desk.look()
    assert Certificate.objects.get(scope="day").as_of_us == as_of
    store(btc.id, run_of(25, 1, start_us=MONDAY + 2 * DAY_US + 9 * HOUR))
    desk.look()
    assert Certificate.objects.get(scope="day").missing == 4


def test_a_day_whose_levels_are_not_those_of_its_trades_is_stated_again(desk, btc):
    wednesday = MONDAY + 2 * DAY_US
    at(btc, (0, wednesday - 1))
    store(btc.id, run_of(1, 20, start_us=wednesday + 9 * HOUR))
    desk.look()
    day = DailyLevel.objects.filter(day_us=wednesday)
    assert (day.get().trades, day.get().is_final) == (20, True)
    assert not Restatement.objects.exists()
    # A trade came late, after a restart that had yesterday no longer in memory.
    store(btc.id, run_of(21, 1, start_us=wednesday + 9 * HOUR))
    desk.held_us = {wednesday}
    desk.look()
    assert day.get().trades == 20
    desk.held_us = set()
    store(btc.id, run_of(22, 1, start_us=wednesday + 9 * HOUR))
    desk.look()
    assert day.get().trades == 22
    row = Restatement.objects.get(what="day")
    assert (row.old["trades"], row.new["trades"], row.cause) == (20, 22, "late")


def test_minutes_that_lost_their_rows_are_stated_again(desk, btc):
    store(btc.id, run_of(1, 20, start_us=MONDAY + 9 * HOUR))
    desk.look()
    assert Candle.objects.get().trades == 20
    Candle.objects.all().delete()
    store(btc.id, run_of(21, 1, start_us=MONDAY + 9 * HOUR))
    DailyLevel.objects.update(trades=21)
    # Its scope is still in memory, but memory keeps the minutes of two days only.
    desk.held_us = {MONDAY}
    desk.look()
    assert Candle.objects.get().trades == 21


def test_a_day_that_a_job_is_filling_is_looked_at_when_it_has_ended(desk, btc):
    store(btc.id, run_of(1, 20, start_us=MONDAY + 9 * HOUR))
    job = BackfillJob.objects.create(
        source=btc.source, symbol=btc.symbol, status="running", created_us=0,
        start_us=MONDAY, end_us=MONDAY + DAY_US,
    )  # fmt: skip
    desk.look()
    assert not Certificate.objects.exists()
    jobs.keep(job, status="completed", finished_us=NOW)
    desk.auditor._turn()
    assert Certificate.objects.get(scope="day").held == 20


def test_an_end_of_a_job_is_looked_at_within_a_minute(desk, btc):
    store(btc.id, run_of(1, 3))
    desk.auditor._turn()
    old = MONDAY + HOUR
    store(btc.id, run_of(4, 1, start_us=old))
    desk.auditor._turn()
    assert Certificate.objects.get(scope="day", start_us=MONDAY).held == 3
    BackfillJob.objects.create(
        source="x", symbol="y", start_us=0, end_us=1, created_us=0, finished_us=NOW
    )
    desk.auditor._turn()
    assert Certificate.objects.get(scope="day", start_us=MONDAY).held == 4


def test_an_unknown_instrument_is_nothing_to_look_at(desk):
    desk.auditor.parts = Parts(
        lambda: [("binance_ws", "NOBODY")], desk.parts.inlet, desk.submit, desk.give_up
    )
    assert desk.look() == []


@pytest.mark.django_db(transaction=True)
def test_the_thread_looks_at_once_and_ends_when_told(desk, btc):
    store(btc.id, run_of(1, 3, start_us=MONDAY + 2 * DAY_US))
    seen = []
    desk.auditor.look = lambda instrument: seen.append(instrument.symbol)
    desk.auditor.every_s = 60.0
    desk.auditor.start()
    until(lambda: len(seen) == 1)
    desk.auditor.wake()
    until(lambda: len(seen) == 2)
    assert desk.auditor.stop()
