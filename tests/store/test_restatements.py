"""Which changes of published numbers leave a record, and which are none."""

import pytest

from marketdata.core.events import Batch
from marketdata.models import Candle, DailyLevel, Restatement, SessionStat
from marketdata.pipeline import GRACE_US, Pipeline
from marketdata.rebuild import new_pipeline
from marketdata.store import refusals, restatements
from marketdata.store.sink import StoreSink
from tests.core.invented import DAY_US, HOUR, MINUTE, MONDAY, at, tape
from tests.store.stored import Immediate

pytestmark = pytest.mark.django_db
NOON = MONDAY + 12 * HOUR


class Desk:
    """A pipeline with its sink, and a clock one sets."""

    def __init__(self, instrument):
        self.now_us = MONDAY
        self.sink = StoreSink(Immediate(), lambda: self.now_us)
        self.pipeline: Pipeline = new_pipeline(instrument)
        self.pipeline.sinks = (self.sink,)
        self.sink.pipeline = self.pipeline

    def feed(self, *rows, origin="live", is_stored=False):
        self.pipeline.feed(Batch(tape(*rows), origin), is_stored=is_stored)

    def at(self, now_us, *, is_filling=False, at_once=False):
        """Let the clock come to a time, and the sink store what is due."""
        self.now_us = now_us
        self.pipeline.advance(now_us)
        self.sink._minutes_at_s = self.sink._levels_at_s = -1e9
        self.sink.levels(lambda: now_us, is_filling=is_filling, at_once=at_once)


@pytest.fixture
def desk(btc):
    """Return a desk of BTCUSDT."""
    return Desk(btc)


def told():
    """(what, name, start, cause) of each record, oldest first."""
    rows = Restatement.objects.order_by("id")
    return list(rows.values_list("what", "name", "start_us", "cause"))


def test_a_late_trade_of_a_closed_minute_is_recorded_with_old_and_new(desk):
    desk.feed(at(1, MONDAY, 100, 1), at(2, MONDAY + 10, 102, 2, False), at(4, MONDAY + MINUTE, 103))
    desk.now_us = MONDAY + MINUTE + 5
    desk.feed(at(3, MONDAY + 20, 99, 1, False))
    assert told() == [("candle", "1m", MONDAY, "late")]
    row = Restatement.objects.get()
    names = ("open", "high", "low", "close", "volume", "buy_volume", "trades")
    assert tuple(row.old[name] for name in names) == (100, 102, 100, 102, 3, 1, 2)
    assert tuple(row.new[name] for name in names) == (100, 102, 99, 99, 4, 1, 3)
    assert row.ts_us == MONDAY + MINUTE + 5
    assert Candle.objects.get(open_us=MONDAY).trades == 3


def test_a_hole_refilled_page_by_page_is_one_record(desk):
    desk.feed(at(1, MONDAY), at(2, MONDAY + 1), at(10, MONDAY + MINUTE))
    for id in (9, 5, 4, 8, 7, 6):
        desk.feed(at(id, MONDAY + id, 90 + id), origin="rest")
        assert told() == []
    desk.feed(at(3, MONDAY + 3, 93), origin="rest")
    assert told() == [("candle", "1m", MONDAY, "refill")]
    row = Restatement.objects.get()
    assert (row.old["trades"], row.new["trades"], row.new["low"]) == (2, 9, 93)


def test_a_hole_that_stays_open_is_recorded_once_nothing_more_is_coming(desk):
    desk.feed(at(1, MONDAY), at(2, MONDAY + 1), at(10, MONDAY + MINUTE))
    desk.feed(at(5, MONDAY + 5), origin="rest")
    desk.at(MONDAY + 2 * MINUTE, is_filling=True)
    assert told() == []
    desk.at(MONDAY + 3 * MINUTE)
    assert ("candle", "1m", MONDAY, "refill") in told()


def test_history_that_is_filled_in_for_the_first_time_restates_nothing(desk):
    # The feed begins in the middle of a minute; pages come newest first.
    desk.feed(at(100, NOON + MINUTE // 2), at(101, NOON + MINUTE))
    assert not Candle.objects.exists()
    for first in range(95, 0, -5):
        page = range(first, first + 5)
        desk.feed(*(at(id, NOON + (id - 98) * MINUTE // 4) for id in page), origin="rest")
        desk.at(NOON + MINUTE + GRACE_US, is_filling=True)
    desk.at(NOON + 2 * MINUTE)
    assert told() == []
    # Ids 5 to 101; the minute of the last one is not over.
    assert sum(Candle.objects.values_list("trades", flat=True)) == 96
    assert DailyLevel.objects.get().trades == 97


def test_a_minute_restored_from_a_claim_is_recorded_after_a_restart(btc, desk):
    rows = [(1, MONDAY), (2, MONDAY + 1), (10, MONDAY + MINUTE), (11, MONDAY + 2 * MINUTE)]
    desk.feed(*(at(*row) for row in rows))
    again = Desk(btc)
    again.feed(*(at(*row) for row in rows), is_stored=True)
    again.sink.reconcile(restatements.minutes(btc.id, MONDAY, MONDAY + DAY_US))
    again.feed(at(12, MONDAY + 3 * MINUTE))
    again.feed(*(at(id, MONDAY + id) for id in range(3, 10)), origin="rest")
    again.at(MONDAY + 3 * MINUTE)
    assert told() == [("candle", "1m", MONDAY, "refill")]


def test_a_minute_that_lost_its_row_to_a_kill_gets_one(btc, desk):
    desk.feed(at(1, MONDAY), is_stored=True)
    desk.feed(at(2, MONDAY + MINUTE), is_stored=True)
    desk.sink.reconcile({})
    desk.at(MONDAY + MINUTE)
    assert list(Candle.objects.values_list("open_us", "trades")) == [(MONDAY, 1)]
    assert told() == []


def test_final_levels_of_a_session_and_a_day_leave_a_record(desk):
    at_us = MONDAY + 9 * HOUR
    desk.feed(at(1, at_us, 100), at(2, at_us + 1, 102), at(4, NOON, 101))
    desk.at(NOON + GRACE_US - 1)
    assert not SessionStat.objects.get(name="london").is_final
    desk.at(NOON + GRACE_US)
    assert SessionStat.objects.get(name="london").is_final
    assert not DailyLevel.objects.get().is_final
    desk.feed(at(3, at_us + 2, 98), origin="archive")
    desk.at(NOON + MINUTE)
    sessions = [row for row in told() if row[0] == "session"]
    assert sessions == [("session", "london", at_us - HOUR, "archive")]
    row = Restatement.objects.get(what="session")
    assert (row.old["trades"], row.new["trades"]) == (2, 3)
    assert (row.old["low"], row.new["low"]) == (100, 98)
    assert (row.old["vwap"], row.new["vwap"]) == (101, 100)
    # The day runs: it was shown without the trade, so the record tells its sums.
    day = Restatement.objects.get(what="day")
    assert (day.old["trades"], day.new["trades"]) == (3, 4)
    assert (day.old["vwap"], day.new["vwap"]) == (101, 100.25)
    assert (day.old["delta"], day.new["delta"]) == (3, 4)


def test_levels_are_not_final_while_trades_are_being_fetched(desk):
    desk.feed(at(1, MONDAY + 9 * HOUR), at(9, NOON))
    desk.at(NOON + MINUTE, is_filling=True)
    assert not SessionStat.objects.exists()
    desk.feed(*(at(id, MONDAY + 9 * HOUR + id) for id in range(2, 9)), origin="rest")
    desk.at(NOON + 2 * MINUTE)
    assert SessionStat.objects.get().is_final
    assert SessionStat.objects.get().trades == 8
    # What ran when it was refilled is told by sums; no final number has changed.
    assert {row[:2] for row in told()} == {("candle", "1m"), ("session", "london"), ("day", "day")}
    london = Restatement.objects.get(what="session")
    assert (london.old["trades"], london.new["trades"]) == (1, 8)
    assert "close" not in london.old


def test_what_the_feed_missed_restates_the_windows_that_run(desk):
    start = MONDAY + 9 * HOUR
    desk.feed(at(1, start, 100, 1), at(2, start + 1, 102, 1), at(9, start + 9, 101, 2, False))
    desk.feed(*(at(id, start + id, 90, 1, False) for id in range(3, 9)), origin="rest")
    desk.at(start + MINUTE, is_filling=True)
    assert told() == []
    desk.at(start + MINUTE + 1)
    assert sorted(told()) == [
        ("day", "day", MONDAY, "refill"),
        ("session", "london", MONDAY + 8 * HOUR, "refill"),
    ]
    row = Restatement.objects.get(what="day")
    # 100 + 102 + 2 × 101 over 4; with 6 × 90 over 10.
    assert row.old == {"trades": 3, "volume": 4, "buy_volume": 2, "delta": 0, "vwap": 101}
    assert row.new == {"trades": 9, "volume": 10, "buy_volume": 2, "delta": -6, "vwap": 94.4}


def test_the_end_of_the_process_stores_what_was_claimed_and_no_more(desk):
    desk.feed(*(at(id, MONDAY + minute * MINUTE) for id, minute in ((50, 30), (52, 31), (60, 32))))
    desk.feed(at(40, MONDAY + 20 * MINUTE), at(57, MONDAY + 31 * MINUTE + 9), origin="rest")
    desk.at(MONDAY + 33 * MINUTE, is_filling=True, at_once=True)
    stored = Candle.objects.order_by("open_us").values_list("open_us", "trades")
    # Minute 20 is still being filled in: its trades are stored, its candle is not yet told.
    assert list(stored) == [
        (MONDAY + 30 * MINUTE, 1),
        (MONDAY + 31 * MINUTE, 2),
    ]
    assert ("candle", "1m", MONDAY + 31 * MINUTE, "refill") in told()


def test_trades_that_come_again_are_counted_by_their_minute(desk, btc):
    desk.feed(at(1, MONDAY), at(2, MONDAY + MINUTE))
    desk.feed(at(1, MONDAY), at(2, MONDAY + MINUTE), at(3, MONDAY + MINUTE + 1))
    desk.feed(at(2, MONDAY + MINUTE), origin="rest")
    desk.at(MONDAY + 2 * MINUTE)
    assert refusals.count(btc.id, MONDAY, MONDAY + DAY_US) == 3
    assert refusals.count(btc.id, MONDAY + MINUTE, MONDAY + 2 * MINUTE) == 2
    desk.feed(at(1, MONDAY))
    desk.at(MONDAY + 3 * MINUTE)
    assert refusals.count(btc.id, MONDAY, MONDAY + MINUTE) == 2
    # Read back from the store they are no repetition.
    desk.feed(at(1, MONDAY), is_stored=True)
    desk.at(MONDAY + 4 * MINUTE)
    assert refusals.count(btc.id, MONDAY, MONDAY + DAY_US) == 4


def test_a_record_is_an_event_with_its_evidence(desk):
    desk.feed(at(1, MONDAY), at(3, MONDAY + MINUTE))
    desk.feed(at(2, MONDAY + 1))
    event = restatements.event(Restatement.objects.get())
    assert (event.kind, event.ts_us) == ("restated", MONDAY)
    assert event.detail["name"] == "1m"
    assert event.detail["old"]["trades"] == 1


def test_a_session_with_another_end_is_another_session(desk, btc):
    desk.feed(at(1, MONDAY + 9 * HOUR))
    desk.at(NOON + MINUTE)
    SessionStat.objects.update(end_us=NOON - HOUR, trades=7)
    desk.feed(at(2, MONDAY + 9 * HOUR + 1))
    desk.at(NOON + 2 * MINUTE)
    assert [row for row in told() if row[0] == "session"] == []
    assert SessionStat.objects.get().trades == 2
