"""What a scope should hold, and what it does."""

from marketdata.context import DAY
from marketdata.core.events import Batch
from marketdata.pipeline import Pipeline
from tests.core.invented import DAY_US, HOUR, MONDAY, at, tape
from tests.fed import fed, ids


def ranges(context, name=DAY, as_of_us=MONDAY):
    coverage = context.coverage(context.scope(name, as_of_us))
    return coverage.ranges, coverage.edges


def test_without_a_neighbour_the_first_trade_held_is_the_first_expected():
    context = fed(ids(5, 9))
    coverage = context.coverage(context.scope(DAY, MONDAY))
    assert (coverage.expected, coverage.held, coverage.missing) == (5, 5, 0)
    assert (coverage.ranges, coverage.edges, coverage.ratio) == ((), "held", 1.0)


def test_a_hole_is_listed_and_counted_and_its_filling_takes_it_away():
    context = fed(ids(5, 9), ids(15, 19))
    coverage = context.coverage(context.scope(DAY, MONDAY))
    assert (coverage.expected, coverage.held, coverage.missing) == (15, 10, 5)
    assert coverage.ranges == ((10, 14),)
    assert coverage.ratio == 10 / 15
    Pipeline(context).feed(Batch(ids(12, 12), "rest"))
    assert ranges(context)[0] == ((10, 11), (13, 14))
    Pipeline(context).feed(Batch(ids(10, 14), "rest"))
    coverage = context.coverage(context.scope(DAY, MONDAY))
    assert (coverage.missing, coverage.ratio) == (0, 1.0)
    assert coverage.sources == {"live": 10, "rest": 5}


def test_the_venue_tells_the_first_trade_of_the_day():
    context = fed(ids(15, 19))
    context.set_edge(MONDAY, 11)
    assert ranges(context) == (((11, 14),), "venue")


def test_a_trade_before_the_first_the_venue_told_moves_the_edge():
    context = fed(ids(5, 5), ids(8, 9))
    context.set_edge(MONDAY, 7)
    assert ranges(context) == (((6, 7),), "venue")


def test_the_trade_held_before_the_day_is_the_neighbour_of_its_first():
    context = fed(ids(1, 3, MONDAY - HOUR), ids(6, 9))
    assert ranges(context) == (((4, 5),), "neighbour")


def test_what_is_missing_between_two_days_is_missing_in_both_until_the_venue_tells():
    context = fed(ids(1, 3, MONDAY - HOUR), ids(8, 9))
    before_us = MONDAY - DAY_US
    assert ranges(context, as_of_us=before_us)[0] == ranges(context)[0] == ((4, 7),)
    context.set_edge(MONDAY, 6)
    assert ranges(context, as_of_us=before_us) == (((4, 5),), "held")
    assert ranges(context) == (((6, 7),), "venue")


def test_a_day_that_is_over_ends_before_the_first_trade_the_venue_told_of_the_next():
    context = fed(ids(1, 3))
    context.set_edge(MONDAY + DAY_US, 6)
    assert ranges(context)[0] == ((4, 5),)
    context.set_edge(MONDAY + DAY_US, 2)
    assert ranges(context)[0] == ()


def test_ids_of_a_neighbouring_window_are_not_missing_here():
    """Venues stamp out of order: id 4 belongs to the day before, between ids of this one."""
    context = fed(tape(at(2, MONDAY - 5), at(3, MONDAY + 1), at(4, MONDAY - 1), at(5, MONDAY + 2)))
    coverage = context.coverage(context.scope(DAY, MONDAY))
    assert (coverage.expected, coverage.held, coverage.missing) == (2, 2, 0)
    before = context.coverage(context.scope(DAY, MONDAY - 1))
    assert (before.expected, before.held, before.missing) == (2, 2, 0)


def test_a_session_has_its_own_coverage():
    context = fed(ids(1, 3, MONDAY + 7 * HOUR), ids(6, 8, MONDAY + 8 * HOUR))
    assert ranges(context, "london", MONDAY + 9 * HOUR) == (((4, 5),), "neighbour")


def test_an_empty_scope_expects_nothing():
    context = fed()
    context.set_edge(MONDAY, 5)
    coverage = context.coverage(context.scope(DAY, MONDAY))
    assert (coverage.expected, coverage.held, coverage.edges) == (0, 0, "held")


def test_an_empty_session_misses_the_hole_it_lies_in():
    before, after = ids(1, 3, MONDAY + 7 * HOUR), ids(9, 10, MONDAY + 18 * HOUR)
    context = fed(before, after)
    london = context.coverage(context.scope("london", MONDAY + 12 * HOUR))
    assert (london.expected, london.held, london.ranges) == (5, 0, ((4, 8),))
    assert ranges(context, "overlap", MONDAY + 17 * HOUR) == (((4, 8),), "neighbour")
    # The ids go on: nothing traded.
    quiet = fed(before, ids(4, 5, MONDAY + 18 * HOUR))
    assert ranges(quiet, "london", MONDAY + 12 * HOUR) == ((), "held")


def test_an_empty_day_misses_what_lies_between_its_neighbours_or_the_venues_edges():
    after = ids(9, 10, MONDAY + DAY_US)
    assert ranges(fed(ids(1, 3, MONDAY - HOUR), after))[0] == ((4, 8),)
    # Nobody knows how many there were before the first one held.
    context = fed(after)
    assert ranges(context) == ((), "held")
    context.set_edge(MONDAY, 6)
    assert ranges(context) == ((), "held")
    context.set_edge(MONDAY + DAY_US, 8)
    assert ranges(context) == (((6, 7),), "venue")


def test_what_the_venue_does_not_have_is_neither_expected_nor_missing():
    context = fed(ids(5, 9), ids(15, 19))
    context.lack(11, 13)
    coverage = context.coverage(context.scope(DAY, MONDAY))
    assert (coverage.expected, coverage.held, coverage.missing) == (12, 10, 2)
    assert coverage.ranges == ((10, 10), (14, 14))
    assert coverage.exchange_side == ((11, 13),)


def test_an_absent_trade_that_turns_up_counts_as_held():
    context = fed(ids(5, 9), ids(15, 19))
    context.lack(10, 14)
    Pipeline(context).feed(Batch(ids(12, 12), "archive"))
    coverage = context.coverage(context.scope(DAY, MONDAY))
    assert (coverage.expected, coverage.held, coverage.missing) == (11, 11, 0)
    assert coverage.exchange_side == ((10, 11), (13, 14))
    # What is held is not absent, whoever says so.
    context.lack(9, 15)
    assert list(context.absent) == [(10, 11), (13, 14)]
