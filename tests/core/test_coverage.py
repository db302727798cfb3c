import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.coverage import (
    Coverage,
    Reach,
    ScopeCoverage,
    count_of,
    missing_of,
    reach,
    runs_of,
)
from marketdata.core.errors import BadInputError

SMALL = st.integers(0, 40)
RUN = st.tuples(SMALL, SMALL).map(lambda pair: (min(pair), max(pair)))
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove"]), RUN), max_size=25)


def runs(ids):
    """Group a set of integers the slow way."""
    found = []
    for id in sorted(ids):
        if found and found[-1][1] == id - 1:
            found[-1] = (found[-1][0], id)
        else:
            found.append((id, id))
    return found


@given(steps=STEPS, asked=RUN)
def test_it_is_a_set_of_integers(steps, asked):
    coverage, oracle = Coverage(), set()
    for kind, (first, last) in steps:
        ids = set(range(first, last + 1))
        oracle = oracle | ids if kind == "add" else oracle - ids
        getattr(coverage, kind)(first, last)
        assert list(coverage) == runs(oracle)
    first, last = asked
    inside = set(range(first, last + 1))
    assert list(coverage.within(first, last)) == runs(inside & oracle)
    assert list(coverage.holes(first, last)) == runs(inside - oracle)
    assert coverage.missing(first, last) == len(inside - oracle)
    assert coverage.before(first) == max((id for id in oracle if id < first), default=None)
    assert coverage.after(first) == min((id for id in oracle if id > first), default=None)
    assert coverage.first == min(oracle, default=None)
    assert coverage.last == max(oracle, default=None)
    assert coverage.held == len(oracle)
    assert bool(coverage) == bool(oracle)
    assert [id for id in range(42) if id in coverage] == sorted(oracle)


@given(added=st.lists(RUN, max_size=10))
def test_the_order_of_runs_does_not_matter(added):
    assert Coverage(added) == Coverage(reversed(added))


def test_adjacent_runs_become_one():
    assert list(Coverage([(1, 3), (7, 9), (4, 6)])) == [(1, 9)]
    assert len(Coverage([(1, 3), (5, 6)])) == 2


def test_a_run_that_ends_before_it_begins_is_refused_and_asks_for_nothing():
    coverage = Coverage([(1, 10)])
    with pytest.raises(BadInputError, match=r"first <= last expected, seen 5\.\.4"):
        coverage.add(5, 4)
    assert list(coverage.within(5, 3)) == []
    assert list(coverage.holes(5, 3)) == []
    coverage.remove(5, 3)
    assert list(coverage) == [(1, 10)]


def test_a_copy_is_independent():
    coverage = Coverage([(1, 2)])
    twin = coverage.copy()
    twin.add(3, 3)
    assert (list(coverage), list(twin)) == ([(1, 2)], [(1, 3)])


def test_it_compares_by_content_prints_its_runs_and_is_not_hashable():
    assert Coverage([(1, 2)]) != [(1, 2)]
    assert repr(Coverage([(1, 2), (5, 5)])) == "Coverage([(1, 2), (5, 5)])"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Coverage())


def test_ids_of_any_size_are_held():
    coverage = Coverage([(2**62, 2**62 + 5)])
    assert coverage.held == 6
    assert coverage.missing(2**62 - 2, 2**62 + 9) == 6


@given(ids=st.sets(SMALL))
def test_ascending_ids_are_grouped_into_runs(ids):
    assert runs_of(np.array(sorted(ids), dtype=np.int64)) == runs(ids)


@given(held=st.sets(SMALL), absent=st.sets(SMALL), asked=RUN)
def test_missing_is_what_is_neither_held_nor_absent(held, absent, asked):
    found = missing_of(Coverage(runs(held)), Coverage(runs(absent)), *asked)
    left = set(range(asked[0], asked[1] + 1)) - held - absent
    assert found == runs(left)
    assert count_of(found) == len(left)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        # The window holds 10..14; 5 is held before it, 20 after it.
        ({}, Reach(6, 19, "neighbour", "neighbour")),
        ({"begin_id": 8}, Reach(8, 19, "venue", "neighbour")),
        ({"begin_id": 12}, Reach(10, 19, "venue", "neighbour")),
        ({"after_id": 16}, Reach(6, 15, "neighbour", "neighbour")),
        ({"after_id": 12}, Reach(6, 14, "neighbour", "neighbour")),
        ({"after_id": 30}, Reach(6, 19, "neighbour", "neighbour")),
    ],
)
def test_a_window_reaches_to_what_the_venue_tells_or_its_neighbours(told, wanted):
    assert reach(Coverage([(5, 5), (10, 14), (20, 20)]), 10, 14, **told) == wanted


def test_a_window_alone_reaches_as_far_as_it_holds():
    alone = Coverage([(10, 11), (13, 14)])
    assert reach(alone, 10, 14) == Reach(10, 14, "held", "held")
    assert reach(alone, 10, 14, after_id=17) == Reach(10, 16, "held", "venue")


@pytest.mark.parametrize(
    ("edges", "ranges", "first_id", "expected"),
    [
        ("venue", (), 5, True),
        ("neighbour", ((9, 9),), 5, True),
        # 3 and 4 came before the first one held.
        ("venue", ((3, 4), (9, 9)), 5, False),
        # Nobody told what came before it.
        ("held", (), 5, False),
        ("venue", (), None, False),
    ],
)
def test_the_first_trade_held_is_the_first_where_none_is_known_before_it(
    edges, ranges, first_id, expected
):
    found = ScopeCoverage(9, 8, 1, ranges, edges, {}, first_id=first_id)
    assert found.has_first is expected
