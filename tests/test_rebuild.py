from decimal import Decimal

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata import rebuild
from marketdata.conf import Conf
from marketdata.context import DAY, PreviousDay
from marketdata.core.events import ORIGINS, Batch
from marketdata.models import DailyLevel, Instrument
from marketdata.payload import context_payload
from marketdata.store import instruments
from marketdata.store.sink import StoreSink
from tests.core.invented import DAY_US, HOUR, MONDAY, shuffled, tape, tapes
from tests.store.stored import Immediate, new_instrument, run_of, store

pytestmark = pytest.mark.django_db
db_given = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def instrument_of(pk):
    return Instrument.objects.get(pk=pk).value()


def running(pk):
    """A pipeline as the daemon runs it, but for the threads."""
    sink = StoreSink(Immediate())
    pipeline = rebuild.new_pipeline(instrument_of(pk))
    pipeline.sinks = (sink,)
    sink.pipeline = pipeline
    return pipeline


@db_given
@given(tapes(span_us=2 * DAY_US - 1, max_size=25), st.data())
def test_a_stored_day_is_the_live_one(trades, data):
    live = running(new_instrument(lot="0.001"))
    sizes = data.draw(st.lists(st.integers(1, 8), max_size=5))
    for part in shuffled(trades, sizes, data.draw(st.integers(0, 5))):
        live.feed(Batch(part, data.draw(st.sampled_from(ORIGINS))))
    live.sinks[0].levels(lambda: live.watermark_us, at_once=True)
    instrument = instrument_of(live.instrument.id)
    for day_us in (MONDAY, MONDAY + DAY_US):
        stored = rebuild.stored_day(instrument, day_us)
        for scope in (DAY, "london", "overlap"):
            at = day_us + DAY_US - 1
            assert shown(stored, scope, at) == shown(live, scope, at)
            assert stored.context.hash(scope, at) == live.context.hash(scope, at)


def shown(pipeline, scope, at):
    return context_payload(pipeline.context.snapshot(scope, at), proof="id_exact")


def test_sources_are_counted_by_origin():
    pk = new_instrument()
    store(pk, run_of(0, 10), "live")
    store(pk, run_of(20, 5), "rest")
    store(pk, run_of(5, 20), "archive")
    coverage = shown(rebuild.stored_day(instrument_of(pk), MONDAY), DAY, MONDAY)["coverage"]
    assert coverage["sources"] == {"live": 10, "archive": 10, "rest": 5}
    assert (coverage["expected"], coverage["missing"], coverage["edges"]) == (25, 0, "held")


def test_neighbours_of_other_days_bound_a_day():
    pk = new_instrument()
    store(pk, tape((10, MONDAY - 1, 1, 1, True), (13, MONDAY, 1, 1, True)))
    store(pk, tape((15, MONDAY + HOUR, 1, 1, True), (19, MONDAY + DAY_US, 1, 1, True)))
    coverage = shown(rebuild.stored_day(instrument_of(pk), MONDAY), DAY, MONDAY)["coverage"]
    assert coverage["ranges"] == [[11, 12], [14, 14], [16, 18]]
    assert (coverage["expected"], coverage["held"], coverage["edges"]) == (8, 2, "neighbour")


def test_a_rebuilt_pipeline_goes_on_as_if_never_stopped():
    pk = new_instrument()
    live = running(pk)
    live.feed(Batch(run_of(100, 50)))
    again = rebuild.stored_day(instrument_of(pk), MONDAY)
    for pipeline in (live, again):
        pipeline.sinks = ()
        pipeline.feed(Batch(run_of(140, 30)))
    assert again.context.hash(DAY, MONDAY) == live.context.hash(DAY, MONDAY)
    assert again.counts.duplicates == live.counts.duplicates == 10


def test_the_venues_own_levels_win():
    pk = new_instrument()
    day = {"instrument_id": pk, "day_us": MONDAY - DAY_US, "trades": 5}
    DailyLevel.objects.create(**day, origin="trades", high=3, low=1, close=2)
    assert rebuild.previous_day(instrument_of(pk), MONDAY) == PreviousDay(3, 1, 2, "trades")
    DailyLevel.objects.create(**day, origin="klines", high=4, low=1, close=2)
    assert rebuild.previous_day(instrument_of(pk), MONDAY) == PreviousDay(4, 1, 2, "klines")
    store(pk, run_of(1, 3))
    levels = shown(rebuild.stored_day(instrument_of(pk), MONDAY), DAY, MONDAY)["levels"]
    assert (levels["PDH"], levels["PDL"], levels["PDC"]) == (4, 1, 2)


def test_levels_without_prices_are_none():
    pk = new_instrument()
    DailyLevel.objects.create(instrument_id=pk, day_us=MONDAY - DAY_US, origin="trades")
    assert rebuild.previous_day(instrument_of(pk), MONDAY) is None


def test_the_newest_day_is_found():
    pk = new_instrument()
    instrument = instrument_of(pk)
    assert rebuild.newest_day(instrument.source, instrument.symbol) is None
    assert rebuild.newest_day("binance_ws", "nobody") is None
    store(pk, tape((1, MONDAY, 1, 1, True), (2, MONDAY + DAY_US, 1, 1, True)))
    assert rebuild.newest_day(instrument.source, instrument.symbol).counts.trades == 1


def test_the_definition_is_the_settings():
    now = Conf(value_area_rule="one_row", value_area_pct=0.5, profile_tick_size=Decimal(10))
    with override_settings(BOTCRYPTO=now):
        found = rebuild.definition()
        pipeline = rebuild.new_pipeline(instrument_of(new_instrument()))
    assert found == pipeline.context.definition
    assert (found.value_area_rule, found.value_area_pct) == ("one_row", 0.5)
    assert found.profile_tick_size == Decimal(10)
    assert [item.name for item in pipeline.context.calendar.definitions] == [
        item.name for item in instruments.trading_sessions()
    ]


def test_what_is_held_from_before_a_time_ends_there():
    pk = new_instrument()
    rows = [
        (id, MONDAY + shift) for id, shift in ((1, -9), (2, -8), (5, -2), (6, -1), (7, 0), (8, 1))
    ]
    store(pk, tape(*((id, ts, 1, 1, True) for id, ts in rows)))
    found = rebuild.earlier(pk, MONDAY)
    assert (found.runs, found.before, found.after) == (((1, 2), (5, 6)), 6, None)
    assert rebuild.earlier(pk, MONDAY - 9).runs == ()
    assert rebuild.earlier(pk, MONDAY + 2).runs == ((1, 2), (5, 8))
    # A pipeline that has not counted today's trades does not take them for held.
    pipeline = rebuild.new_pipeline(instrument_of(pk))
    found.tell(pipeline.context)
    assert pipeline.feed(Batch(tape((7, MONDAY, 1, 1, True))), is_stored=True) == 1
    assert shown(pipeline, DAY, MONDAY)["coverage"]["edges"] == "neighbour"
