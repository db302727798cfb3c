from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.errors import BadInputError
from marketdata.metrics.value_area import RULES, TIES, ValueArea, point_of_control, value_area

# The golden profiles, rows from low to high.
PLAIN = [1, 2, 6, 20, 5, 9, 30, 12, 11, 25, 4, 1]
FLAT = [5] * 7
SPARSE = [0, 10, 0, 0, 50, 0, 0, 40, 0]
TIED = [3, 7, 10, 7, 3, 0, 0, 3, 7, 10, 7, 3]

VOLUMES = st.lists(
    st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 10**6)), min_size=1, max_size=40
).filter(any)
SHARES = st.one_of(st.sampled_from([0.68, 0.682, 0.7, 0.01, 1.0]), st.floats(0.001, 1.0))


def written(volume, pct, rule, tie):
    """The definition word for word, on lists and fractions."""
    size = {"two_row": 2, "one_row": 1}[rule]
    first, last = 0, len(volume) - 1
    top = [row for row in range(len(volume)) if volume[row] == max(volume)]
    poc = min(top, key=lambda row: (abs(Fraction(first + last, 2) - row), row))
    acc, lo, hi = volume[poc], poc, poc
    target = Fraction(str(pct)) * sum(volume)
    while acc < target and (lo > first or hi < last):
        above = volume[hi + 1 : hi + 1 + size]
        below = volume[max(first, lo - size) : lo]
        up, dn = sum(above), sum(below)
        if not above:
            taken = ["dn"]
        elif not below:
            taken = ["up"]
        elif up == dn:
            taken = {"up": ["up"], "down": ["dn"], "both": ["up", "dn"]}[tie]
        else:
            taken = ["up"] if up > dn else ["dn"]
        if "up" in taken:
            acc, hi = acc + up, hi + len(above)
        if "dn" in taken:
            acc, lo = acc + dn, lo - len(below)
    return ValueArea(poc, lo, hi, acc, len(top) > 1)


@pytest.mark.parametrize(
    ("volume", "rule", "tie", "poc", "low", "high", "held"),
    [
        (PLAIN, "two_row", "up", 6, 4, 10, 96),
        (PLAIN, "one_row", "up", 6, 4, 9, 92),
        (FLAT, "two_row", "up", 3, 1, 5, 25),
        (FLAT, "two_row", "down", 3, 1, 5, 25),
        (FLAT, "two_row", "both", 3, 1, 5, 25),
        (FLAT, "one_row", "up", 3, 2, 6, 25),
        (FLAT, "one_row", "down", 3, 0, 4, 25),
        (FLAT, "one_row", "both", 3, 1, 5, 25),
        (SPARSE, "two_row", "up", 4, 4, 8, 90),
        (SPARSE, "two_row", "down", 4, 0, 8, 100),
        (SPARSE, "two_row", "both", 4, 2, 8, 90),
        (SPARSE, "one_row", "up", 4, 4, 7, 90),
        (SPARSE, "one_row", "down", 4, 0, 7, 100),
        (SPARSE, "one_row", "both", 4, 2, 7, 90),
        (TIED, "two_row", "up", 2, 0, 10, 57),
        (TIED, "one_row", "up", 2, 0, 9, 50),
    ],
)
def test_golden_vectors(volume, rule, tie, poc, low, high, held):
    found = value_area(volume, 0.70, rule, tie)
    assert (found.poc, found.low, found.high, found.volume) == (poc, low, high, held)


def test_the_two_row_rule_with_ties_up_and_seventy_percent_is_the_default():
    assert value_area(SPARSE) == value_area(SPARSE, 0.70, "two_row", "up")


@pytest.mark.parametrize(
    ("pct", "low", "high"),
    [
        # Of 126 lots: 30 at the POC, 53 with two rows above, 82 with four, 96 with two below.
        (0.2, 6, 6),
        (30 / 126, 6, 6),
        (0.24, 6, 8),
        (0.42, 6, 8),
        (0.43, 6, 10),
        (0.65, 6, 10),
        (0.66, 4, 10),
        (0.68, 4, 10),
        (0.682, 4, 10),
        (0.77, 2, 10),
        (0.99, 0, 10),
        (1.0, 0, 11),
    ],
)
def test_the_area_stops_at_reaching_the_share(pct, low, high):
    found = value_area(PLAIN, pct)
    assert (found.low, found.high) == (low, high)


def test_the_share_is_the_decimal_that_was_written():
    """0.7 of 10 is 7, and a float's 7.000000000000001 would take one row too many."""
    assert value_area([1, 1, 5, 1, 1, 1], 0.7, "one_row") == ValueArea(2, 2, 4, 7, False)
    assert value_area([1, 1, 5, 1, 1, 1], 0.1 + 0.6, "one_row").volume == 7
    assert value_area([1, 1, 5, 1, 1, 1], 0.70001, "one_row").volume == 8


@pytest.mark.parametrize(
    ("volume", "poc", "tied"),
    [
        ([7], 0, False),
        ([1, 9, 1], 1, False),
        (TIED, 2, True),
        # Nearest the middle wins even where it is the upper one.
        ([9, 0, 0, 9, 0], 3, True),
        ([9, 0, 0, 0, 9], 0, True),
        ([9, 9], 0, True),
        ([9, 9, 9], 1, True),
        ([0, 9, 9, 0], 1, True),
    ],
)
def test_of_equal_rows_the_point_of_control_is_nearest_the_middle_then_the_lower(volume, poc, tied):
    assert point_of_control(volume) == (poc, tied)
    assert value_area(volume).is_tied is tied


@given(volume=VOLUMES, pct=SHARES, rule=st.sampled_from(list(RULES)), tie=st.sampled_from(TIES))
def test_it_is_what_the_written_definition_gives(volume, pct, rule, tie):
    assert value_area(volume, pct, rule, tie) == written(volume, pct, rule, tie)
    assert value_area(np.array(volume), pct, rule, tie) == written(volume, pct, rule, tie)


@given(volume=VOLUMES, pct=SHARES, rule=st.sampled_from(list(RULES)), tie=st.sampled_from(TIES))
def test_it_holds_the_share_and_the_point_of_control(volume, pct, rule, tie):
    found = value_area(volume, pct, rule, tie)
    assert 0 <= found.low <= found.poc <= found.high < len(volume)
    assert found.volume == sum(volume[found.low : found.high + 1])
    assert found.volume >= Fraction(str(pct)) * sum(volume)
    assert volume[found.poc] == max(volume)


def test_volumes_beyond_a_float_are_summed_exactly():
    big = 2**60
    assert value_area([1, big, big, 1], 1.0).volume == 2 * big + 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "three_row"}, "a rule of two_row, one_row expected, seen 'three_row'"),
        ({"tie": "left"}, "a tie rule of up, down, both expected, seen 'left'"),
        ({"pct": 0.0}, "a share above 0 and at most 1 expected, seen 0.0"),
        ({"pct": -0.7}, "a share above 0 and at most 1 expected, seen -0.7"),
        ({"pct": 1.01}, "a share above 0 and at most 1 expected, seen 1.01"),
        ({"pct": 70}, "a share above 0 and at most 1 expected, seen 70"),
        ({"pct": float("nan")}, "a share above 0 and at most 1 expected, seen nan"),
        ({"volume": [0, 0]}, "a profile with volume expected, seen none"),
        ({"volume": []}, "a profile with volume expected, seen none"),
    ],
)
def test_nonsense_is_refused_with_what_was_seen(given, message):
    with pytest.raises(BadInputError) as caught:
        value_area(**{"volume": [1, 2], **given})
    assert str(caught.value) == message
