"""Ticks of a quote feed: the rule against a plain loop, the count against a real tape."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.ticks import expected, tick_rule
from marketdata.core.trades import Trades

S = 1_000_000


def ticks(prices, sides):
    count = len(prices)
    return Trades.of(range(count), [S * n for n in range(count)], prices, [1.0] * count, sides)


@pytest.mark.parametrize(
    ("prices", "sides"),
    [
        ([], []),
        ([5.0], [True]),
        ([5.0, 5.0], [True, True]),
        ([5.0, 4.0, 4.0, 4.5, 4.5, 4.0], [True, False, False, True, True, False]),
        ([5.0, 5.0, 5.1, 5.1, 5.0, 5.0, 5.0], [True, True, True, True, False, False, False]),
    ],
)
def test_up_and_level_after_up_count_as_bought(prices, sides):
    assert tick_rule(np.array(prices)).tolist() == sides


@pytest.mark.parametrize(
    ("held", "side", "price", "rule"),
    [(5.0, True, 5.0, True), (5.0, False, 5.0, False), (5.0, False, 5.1, True),
     (5.0, True, 4.9, False)],
)  # fmt: skip
def test_the_first_tick_is_judged_by_what_is_held(held, side, price, rule):
    assert tick_rule(np.array([price]), ticks([held], [side])).tolist() == [rule]


def test_nothing_held_is_as_good_as_no_word_of_it():
    assert tick_rule(np.array([5.0, 4.0]), Trades.empty()).tolist() == [True, False]


@given(
    prices=st.lists(st.sampled_from([1.0, 1.5, 2.0]), max_size=30),
    cut=st.integers(0, 30),
)
def test_cut_anywhere_it_gives_what_a_plain_loop_gives(prices, cut):
    side, sides = True, []
    for at, price in enumerate(prices):
        before = prices[at - 1] if at else price
        side = price > before if price != before else side
        sides.append(side)
    head, tail = np.array(prices[:cut]), np.array(prices[cut:])
    first = tick_rule(head)
    rest = tick_rule(tail, ticks(head.tolist(), first.tolist()))
    assert [*first.tolist(), *rest.tolist()] == sides


@pytest.mark.parametrize(
    ("start", "end", "cadence", "at", "count"),
    [(0, 10, 2, 0, 5), (1, 10, 2, 0, 4), (1, 11, 2, 0, 5), (0, 10, 2, 1, 5), (0, 9, 2, 1, 4),
     (0, 9, 2, 101, 4), (5, 5, 1, 0, 0), (9, 5, 1, 0, 0), (0, 86_400, 1, 0, 86_400)],
)  # fmt: skip
def test_ticks_due_are_counted_from_any_one_of_them(start, end, cadence, at, count):
    assert expected(start, end, cadence, at) == count
    assert len([t for t in range(start, end) if (t - at) % cadence == 0]) == count


@pytest.mark.realdata
def test_a_recorded_day_lacks_two_ticks_of_those_due(shared_data):
    with (shared_data / "tapes" / "deriv_R_100_2026-04-04.csv").open() as file:
        times = np.array([int(row["unix_time"]) for row in csv.DictReader(file)])
    # Noon to noon, 2026-04-03 to 2026-04-04 UTC.
    start, end = 1_775_217_600, 1_775_304_000
    seen = int(((times >= start) & (times < end)).sum())
    due = expected(start * S, end * S, 2 * S, int(times[0]) * S)
    assert (seen, due) == (43_198, 43_200)
    holes = times[:-1][np.diff(times) > 2]
    assert [expected(int(t) * S + 1, (int(t) + 6) * S, 2 * S) for t in holes] == [2]
