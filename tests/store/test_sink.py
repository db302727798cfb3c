from dataclasses import replace
from decimal import Decimal

import pytest

from marketdata.context import DAY, Definition, MarketContext
from marketdata.core.events import Batch
from marketdata.models import Candle, CoverageSegment, DailyLevel, Event, Instrument, SessionStat
from marketdata.pipeline import Pipeline
from marketdata.store import sink as module
from marketdata.store.sink import StoreSink
from tests.core.invented import DAY_US, HOUR, MINUTE, MONDAY, tape
from tests.store.stored import Immediate, held_ids

pytestmark = pytest.mark.django_db


@pytest.fixture
def pipeline(btc):
    """Return a pipeline whose sink writes at once."""
    sink = StoreSink(Immediate())
    definition = Definition(profile_tick_size=Decimal(1))
    found = Pipeline(MarketContext(btc, definition=definition), [sink])
    sink.pipeline = found
    return found


def fed(pipeline, *rows, origin="live"):
    pipeline.feed(Batch(tape(*rows), origin))
    return pipeline.sinks[0]


def test_trades_are_stored_once_with_their_origin(pipeline, btc):
    fed(pipeline, (1, MONDAY, 100, 1, True), (2, MONDAY + 1, 101, 1, False))
    fed(pipeline, (2, MONDAY + 1, 101, 1, False), (3, MONDAY + 2, 99, 1, False), origin="rest")
    assert held_ids(btc.id) == [1, 2, 3]
    runs = CoverageSegment.objects.order_by("first_id")
    assert list(runs.values_list("first_id", "last_id", "origin")) == [
        (1, 2, "live"),
        (3, 3, "rest"),
    ]


def test_minutes_are_stored_when_they_end_and_again_when_restated(pipeline):
    fed(pipeline, (1, MONDAY, 100, 1, True), (2, MONDAY + 1, 102, 2, False))
    assert not Candle.objects.exists()
    fed(pipeline, (4, MONDAY + MINUTE, 103, 1, True))
    fields = ("open_us", "open", "high", "low", "close", "volume", "buy_volume", "quote_volume")
    assert Candle.objects.values_list(*fields).get() == (MONDAY, 100, 102, 100, 102, 3, 1, 304)
    fed(pipeline, (3, MONDAY + 2, 99, 1, False))
    assert Candle.objects.values_list(*fields).get() == (MONDAY, 100, 102, 99, 99, 4, 1, 403)
    # Longer candles are folded from minutes, so they are not stored.
    fed(pipeline, (5, MONDAY + 6 * MINUTE, 100, 1, True))
    assert set(Candle.objects.values_list("timeframe", flat=True)) == {"1m"}
    assert set(Event.objects.values_list("kind", flat=True)) == {"gap", "gap_closed"}


def test_what_happens_is_stored_with_its_evidence(pipeline, btc):
    fed(pipeline, (1, MONDAY, 100, 1, True))
    fed(pipeline, (5, MONDAY + DAY_US, 100, 1, True))
    rows = Event.objects.exclude(kind="session_change").order_by("id")
    assert list(rows.values_list("instrument", "kind", "ts_us", "detail")) == [
        (btc.id, "gap", MONDAY + DAY_US, {"first_id": 2, "last_id": 4, "reason": "sequence"}),
        (btc.id, "day_roll", MONDAY + DAY_US, {}),
    ]


def test_a_finer_grid_is_stored(pipeline):
    fed(pipeline, (1, MONDAY, 100.001, 0.5, True))
    assert list(Instrument.objects.values_list("tick", "lot")) == [("0.001", "0.001")]
    assert Event.objects.get().detail == {"tick": "0.001", "lot": "0.001"}


def test_levels_of_days_and_sessions_are_stored(pipeline, btc):
    # Two buys and a sell in London, one buy in the pause before it.
    at = MONDAY + 8 * HOUR
    sink = fed(
        pipeline,
        (1, at - 1, 100, 1, True),
        (2, at, 102, 2, True),
        (3, at + 1, 102.5, 1, True),
        (4, at + 2, 99, 4, False),
    )
    sink.levels(lambda: at + HOUR, at_once=True)
    day = DailyLevel.objects.get()
    assert (day.instrument_id, day.day_us, day.origin) == (btc.id, MONDAY, "trades")
    assert (day.open, day.high, day.low, day.close) == (100, 102.5, 99, 99)
    assert (day.volume, day.buy_volume, day.sell_volume) == (8, 4, 4)
    assert (day.delta, day.delta_min, day.delta_max) == (0, 0, 4)
    assert (day.trades, day.expected, day.held) == (4, 4, 4)
    assert day.vwap == pytest.approx((100 + 204 + 102.5 + 396) / 8, rel=1e-15)
    # Rows of one dollar: 99 holds 4, 100 holds 1, 102 holds 3. The point of control is 99.
    assert (day.poc, day.val, day.vah) == (99, 99, 102)
    assert day.definition["profile_tick_size"] == "1"
    assert day.state_hash == pipeline.context.hash(DAY, at)
    london = SessionStat.objects.get()
    assert (london.name, london.start_us, london.end_us) == ("london", at, at + 4 * HOUR)
    assert (london.open, london.trades, london.volume) == (102, 3, 7)
    assert london.state_hash == pipeline.context.hash("london", at)


def test_levels_are_stored_now_and_then_and_only_where_they_changed(pipeline, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    sink = fed(pipeline, (1, MONDAY, 100, 1, True))
    sink.levels(lambda: MONDAY, at_once=True)
    DailyLevel.objects.all().delete()
    now[0] += module.LEVELS_EVERY_S + 1
    sink.levels(lambda: MONDAY)
    assert not DailyLevel.objects.exists()
    fed(pipeline, (2, MONDAY + 1, 101, 1, True))
    sink.levels(lambda: MONDAY)
    assert not DailyLevel.objects.exists()
    now[0] += module.LEVELS_EVERY_S + 1
    sink.levels(lambda: MONDAY)
    assert DailyLevel.objects.get().trades == 2


def test_levels_that_are_final_are_stored_again_where_trades_were_left_out(btc):
    sink = StoreSink(Immediate())
    numbered_by_us = replace(btc, is_numbered=False)
    pipeline = Pipeline(MarketContext(numbered_by_us), [sink])
    sink.pipeline = pipeline
    fed(pipeline, (1, MONDAY + HOUR, 100, 1, True), (2, MONDAY + 2 * HOUR, 100, 1, True))
    over = MONDAY + DAY_US + HOUR
    sink._levels_at_s = -1e9
    sink.levels(lambda: over)
    day = DailyLevel.objects.get(day_us=MONDAY)
    assert (day.is_final, day.trades, day.expected) == (True, 2, 2)
    pipeline.leave_out([MONDAY + 90, MONDAY + 91, MONDAY + DAY_US])
    sink._levels_at_s = -1e9
    sink.levels(lambda: over)
    day = DailyLevel.objects.get(day_us=MONDAY)
    assert (day.is_final, day.trades, day.expected) == (True, 2, 4)


def test_a_day_that_begins_before_our_clock_says_so_is_stored_as_itself(pipeline):
    tuesday = MONDAY + DAY_US
    sink = fed(pipeline, (1, tuesday - 1, 100, 1, True), (2, tuesday, 101, 1, True))
    sink.levels(lambda: tuesday - 500_000, at_once=True)
    found = {row.day_us: row for row in DailyLevel.objects.all()}
    assert {day: row.trades for day, row in found.items()} == {MONDAY: 1, tuesday: 1}
    assert found[tuesday].state_hash == pipeline.context.hash(DAY, tuesday)
    assert found[MONDAY].state_hash == pipeline.context.hash(DAY, MONDAY)


def test_a_sink_without_a_pipeline_stores_no_levels(btc):
    StoreSink(Immediate()).levels(lambda: MONDAY, at_once=True)
    assert not DailyLevel.objects.exists()
