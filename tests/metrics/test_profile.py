from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.errors import BadInputError
from marketdata.metrics.profile import DENSE, PAGE, VolumeProfile, row_ticks, rows_of
from tests.core.invented import counted, steps, tapes

# Signed lots at ticks near, around the edges of pages, and very far away.
TICKS = st.one_of(
    st.integers(1, 50),
    st.integers(PAGE - 3, PAGE + 3),
    st.integers(DENSE - 3, DENSE + 3),
    st.sampled_from([10**9, 10**12, 10**14]),
)
TRADES = st.lists(st.tuples(TICKS, st.integers(-90, 90).filter(bool)), min_size=1, max_size=30).map(
    lambda rows: [(id, *row) for id, row in enumerate(rows)]
)


def profile(*batches):
    made = VolumeProfile()
    for batch in batches:
        made.update(batch)
    return made


def sides(rows):
    """Lots by (tick, side) the slow way."""
    found = Counter()
    for _, tick, signed in rows:
        found[tick, signed > 0] += abs(signed)
    return found


def levels_of(found):
    ticks = sorted({tick for tick, _ in found})
    return [(tick, found[tick, False], found[tick, True]) for tick in ticks]


def levels(made):
    return list(zip(*(column.tolist() for column in made.levels()), strict=True))


def table(rows):
    """Rows as (index, sold, bought), those that did not trade left out."""
    found = zip(rows.sell.tolist(), rows.buy.tolist(), strict=True)
    return [(rows.first + at, *lots) for at, lots in enumerate(found) if any(lots)]


@given(rows=TRADES, cut=st.integers(0, 30))
def test_levels_are_what_a_slow_loop_finds_however_the_trades_are_cut(rows, cut):
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    whole, split = profile(steps(*rows)), profile(*(steps(*part) for part in parts))
    single = profile(*(steps(row) for row in reversed(rows)))
    expected = levels_of(sides(rows))
    assert levels(whole) == levels(split) == levels(single) == expected


@given(rows=TRADES, height=st.sampled_from([1, 2, 7, 1000, 10**13]))
def test_a_row_holds_the_ticks_whose_floor_it_is(rows, height):
    height = max(height, max(tick for _, tick, _ in rows) // 10**4)
    expected = Counter()
    for (tick, side), lots in sides(rows).items():
        expected[tick // height, side] += lots
    made = profile(steps(*rows)).value(height)
    assert table(made) == levels_of(expected)
    assert made.row_ticks == height
    assert (made.sell[0] + made.buy[0], made.sell[-1] + made.buy[-1]) > (0, 0)


@given(trades=tapes(), height=st.sampled_from([10, 30, 250]), group=st.integers(1, 7))
def test_regrouping_rows_equals_binning_the_ticks(trades, height, group):
    made = profile(counted(trades))
    assert table(made.value().binned(height)) == table(made.value(height))
    assert table(made.value(height).binned(height * group)) == table(made.value(height * group))
    assert made.value(height).volume.sum() == counted(trades).lots.sum()


def test_rows_are_indexed_by_integer_floor_so_that_no_row_is_starved():
    """Float division and rounding give rows of uneven size: the comb."""
    batch = steps(*((tick, tick, 1) for tick in range(1000, 2000)))
    made = profile(batch).value(10)
    assert (made.first, made.row_ticks) == (100, 10)
    assert set(made.volume.tolist()) == {10}
    by_rounding = np.bincount(np.round(batch.ticks / 10).astype(int))[100:]
    assert set(by_rounding[1:-1].tolist()) == {9, 11}


@pytest.mark.parametrize(("tick", "row"), [(999, 99), (1000, 100), (1009, 100), (1010, 101)])
def test_a_row_is_named_by_its_lower_edge_and_does_not_hold_its_upper_one(tick, row):
    assert table(profile(steps((1, tick, 5))).value(10)) == [(row, 0, 5)]


def test_empty_rows_between_exist_and_empty_rows_outside_do_not():
    made = profile(steps((1, 100, 5), (2, 130, -2))).value(10)
    assert made.first == 10
    assert made.volume.tolist() == [5, 0, 0, 2]


def test_a_profile_without_trades_has_no_rows():
    for height in (1, 10):
        empty = VolumeProfile().value(height)
        assert (empty.row_ticks, len(empty.volume)) == (height, 0)
        assert len(empty.binned(height * 3).volume) == 0
    assert levels(VolumeProfile()) == []


def test_a_stray_print_far_away_costs_one_page():
    made = profile(steps((1, 100, 1), (2, 10**15, 1), (3, 101, 1)))
    assert len(made._pages) == 2
    assert [tick for tick, _, _ in levels(made)] == [100, 101, 10**15]
    assert len(made.value(10**12).volume) == 1001


@pytest.mark.parametrize("height", [0, -10, 5, 15])
def test_rows_are_not_regrouped_into_what_is_no_multiple(height):
    with pytest.raises(
        BadInputError, match=f"positive multiple of 10 ticks expected, seen {height}"
    ):
        profile(steps((1, 100, 5))).value(10).binned(height)


@given(rows=TRADES.filter(lambda rows: max(tick for _, tick, _ in rows) < 10**10))
def test_a_finer_grid_recounts_all(rows):
    made = profile(steps(*rows))
    made.scale(10, 1000)
    assert levels(made) == [
        (tick * 10, sold * 1000, bought * 1000) for tick, sold, bought in levels_of(sides(rows))
    ]


def test_an_empty_profile_moves_to_a_finer_grid():
    made = VolumeProfile()
    made.scale(10, 10)
    assert levels(made) == []


def test_reset_forgets_everything():
    made = profile(steps((1, 100, 5)))
    made.reset()
    assert levels(made) == []


def test_what_was_given_out_does_not_change():
    made = profile(steps((1, 100, 5)))
    rows, first = made.value(), made.levels()
    made.update(steps((2, 100, 7)))
    assert rows.buy.tolist() == first[2].tolist() == [5]


def test_rows_of_levels_that_were_found_elsewhere():
    columns = (np.array([3, 4, 9]), np.array([1, 0, 2]), np.array([0, 5, 0]))
    assert table(rows_of(columns, 3)) == [(1, 1, 5), (3, 2, 0)]


# PROFILE_TICK_SIZE


@pytest.mark.parametrize(
    ("height", "tick", "ticks"),
    [
        ("0.1", "0.01", 10),
        ("0.01", "0.01", 1),
        ("0.07", "0.01", 7),
        ("10", "0.01", 1000),
        ("0.5", "0.25", 2),
        ("1E+3", "0.00000001", 10**11),
        ("1E+30", "1E-12", 10**42),
    ],
)
def test_any_positive_multiple_of_the_tick_is_a_row_height(height, tick, ticks):
    assert row_ticks(Decimal(height), Decimal(tick)) == ticks


@pytest.mark.parametrize(
    "height", ["0", "-0.1", "0.005", "0.015", "NaN", "sNaN", "Infinity", "-Infinity", "1E-30"]
)
def test_any_other_height_is_refused_with_the_tick_and_what_was_seen(height):
    with pytest.raises(BadInputError) as caught:
        row_ticks(Decimal(height), Decimal("0.01"))
    assert str(caught.value) == (
        "a PROFILE_TICK_SIZE that is a positive multiple of the venue's tick 0.01 expected, "
        f"seen {Decimal(height)}"
    )
