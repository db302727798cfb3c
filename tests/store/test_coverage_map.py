"""The map of hours: what each shows, against trades one can count by hand."""

from dataclasses import replace

import numpy as np
import pytest

from marketdata.core.candles import Candle
from marketdata.models import Edge
from marketdata.store.coverage_map import map_of
from tests.core.invented import DAY_US, HOUR, MONDAY, tape
from tests.store.stored import Immediate, run_of, store

pytestmark = pytest.mark.django_db
MARKS = {"full": "#", "partial": "/", "missing": "-", "absent": "x", "none": "."}


def at(instrument, *rows, origin="live"):
    """Store trades of (id, hours after Monday)."""
    times = [(id, MONDAY + round(hours * HOUR)) for id, hours in rows]
    store(instrument.id, tape(*((id, ts, 100, 1, True) for id, ts in times)), origin)


def edge(instrument, day, first_id):
    Edge.objects.create(
        instrument_id=instrument.id, start_us=MONDAY + day * DAY_US, first_id=first_id
    )


def drawn(instrument, days=1):
    """The days, oldest first, one mark an hour, and what each misses."""
    found = map_of(instrument.id).days(instrument.id, MONDAY, MONDAY + days * DAY_US)
    return [
        ("".join(MARKS[hour.state] for hour in day.hours), day.missing) for day in reversed(found)
    ]


def test_nothing_held_is_no_map(btc):
    assert map_of(btc.id) is None


def test_an_hour_is_full_partial_or_missing(btc):
    at(btc, (1, 0), (2, 2.5))
    at(btc, (13, 5.5), (14, 23.9))
    #      0 1 2 3 4 5 6
    assert drawn(btc) == [("##/--/##################", 10)]


def test_hours_outside_all_that_is_held_have_no_data(btc):
    at(btc, (1, 5), (2, 6.5))
    assert drawn(btc) == [(".....##.................", 0)]


def test_the_venue_says_what_lies_outside(btc):
    at(btc, (5, 3), (6, 20.5))
    edge(btc, 0, 2)
    edge(btc, 1, 9)
    # 2, 3 and 4 came before the first held, 7 and 8 after the last one.
    assert drawn(btc) == [("---#################/---", 5)]


def test_what_the_venue_lacks_is_no_hole(btc):
    at(btc, (1, 0), (2, 3.5))
    at(btc, (13, 6.5), (14, 23.9))
    Immediate().put_absence(btc.id, [(3, 12)], "exchange_side", "told", MONDAY)
    assert drawn(btc) == [("###xxxx#################", 0)]


def test_numbers_of_ours_that_no_trade_has_are_no_hole_and_nothing_of_the_venue(btc):
    at(btc, (1, 0), (2, 3.5))
    at(btc, (13, 6.5), (14, 23.9))
    Immediate().put_absence(btc.id, [(3, 12)], "exchange_side", "a day ended", MONDAY)
    found = map_of(btc.id, is_numbered=False).days(btc.id, MONDAY, MONDAY + DAY_US)
    assert {hour.state for day in found for hour in day.hours} == {"full"}
    lost = replace(run_of(0, 1, MONDAY + 5 * HOUR), ref=np.array([b"a"]))
    Immediate().put_omissions(btc.id, lost)
    (day,) = map_of(btc.id, is_numbered=False).days(btc.id, MONDAY, MONDAY + DAY_US)
    assert [hour.state for hour in day.hours].index("partial") == 5


def test_ids_given_up_are_still_missing(btc):
    at(btc, (1, 0), (2, 3.5))
    at(btc, (13, 3.6), (14, 23.9))
    Immediate().put_absence(btc.id, [(3, 12)], "permanent", "in vain", MONDAY)
    assert drawn(btc) == [("###/####################", 10)]


def test_what_the_feed_left_out_makes_its_hour_partial(btc):
    at(btc, (1, 0), (2, 9.5), (3, 23.9))
    left_out = run_of(0, 3, MONDAY + 4 * HOUR)
    names = np.array([b"a", b"b", b"c"])
    Immediate().put_omissions(btc.id, replace(left_out, ref=names))
    assert drawn(btc) == [("####/###################", 0)]
    (day,) = map_of(btc.id).days(btc.id, MONDAY, MONDAY + DAY_US)
    assert day.left_out == 3


def test_a_day_without_the_daemon_is_missing_and_cut_where_days_begin(btc):
    at(btc, (1, 0), (2, 22.5))
    at(btc, (100, 49))
    for day, first_id in ((1, 11), (2, 91)):
        edge(btc, day, first_id)
    assert drawn(btc, 3) == [
        ("######################/-", 8),
        ("-" * 24, 80),
        ("-#" + "." * 22, 9),
    ]


def test_history_nobody_asked_for_is_no_hole(btc):
    # A day of the archive, and the feed begins two days later; the venue told where it ends.
    at(btc, (1, 0), (2, 23.99), origin="archive")
    edge(btc, 1, 3)
    at(btc, (100, 49))
    assert drawn(btc, 3) == [("#" * 24, 0), ("." * 24, 0), (".#" + "." * 22, 97)]


def test_counts_are_those_of_the_stored_minutes(btc):
    store(btc.id, run_of(1, 10))
    minute = Candle(MONDAY + HOUR, 1, 1, 1, 1, 1, 1, 1, 7, 1, 7)
    Immediate().put_candles(btc.id, "1m", [minute])
    Immediate().put_candles(btc.id, "5m", [minute])
    day = map_of(btc.id).days(btc.id, MONDAY, MONDAY + DAY_US)[0]
    assert [hour.trades for hour in day.hours[:3]] == [0, 7, 0]
    assert day.trades == 7


def test_a_map_of_many_trades_asks_few_questions(btc, django_assert_max_num_queries):
    for first in range(0, 5_000, 10):
        store(btc.id, run_of(first, 5))
    with django_assert_max_num_queries(8):
        map_of(btc.id).days(btc.id, MONDAY - 29 * DAY_US, MONDAY + DAY_US)
