import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.path import Path, paths_of

SIGNED = st.lists(st.integers(-50, 50).filter(bool), min_size=1, max_size=20)


def path(signed):
    """The running sum the slow way."""
    running = [sum(signed[: at + 1]) for at in range(len(signed))]
    return Path(running[-1], min(running), max(running))


def paths(ids, signed):
    signed = np.array(signed)
    return paths_of(np.array(ids), np.abs(signed), signed > 0)


@given(first=SIGNED, second=SIGNED)
def test_joining_two_stretches_is_the_stretch_of_both(first, second):
    assert path(first).then(path(second)) == path(first + second)


@given(first=SIGNED, second=SIGNED, third=SIGNED)
def test_joining_is_associative(first, second, third):
    a, b, c = path(first), path(second), path(third)
    assert a.then(b).then(c) == a.then(b.then(c))


@given(signed=SIGNED)
def test_consecutive_ids_are_one_path(signed):
    ids = range(100, 100 + len(signed))
    assert paths(ids, signed) == [(100, 100 + len(signed) - 1, path(signed))]


def test_extremes_are_of_values_after_a_trade_and_not_of_the_start():
    assert paths([1, 2], [5, -2]) == [(1, 2, Path(3, 3, 5))]
    assert paths([1, 2], [-5, 2]) == [(1, 2, Path(-3, -5, -3))]


def test_each_run_of_ids_has_its_own_path():
    assert paths([1, 2, 5, 9, 10], [1, 2, -4, 8, -9]) == [
        (1, 2, Path(3, 1, 3)),
        (5, 5, Path(-4, -4, -4)),
        (9, 10, Path(-1, -1, 8)),
    ]


def test_a_finer_grid_scales_a_path():
    assert Path(1, -2, 3).scaled(10) == Path(10, -20, 30)
