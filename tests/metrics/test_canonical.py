import hashlib
from decimal import Decimal

import numpy as np
import pytest

from marketdata.metrics.canonical import state_hash


def ints(*values):
    return np.array(values, dtype=np.int64)


def prices(values, unit):
    return state_hash({"scope": "day"}, {"prices": (ints(*values), Decimal(unit))})


def test_the_bytes_hashed_are_header_then_columns_by_name_in_little_endian():
    found = state_hash(
        {"trades": 2, "scope": "day"},
        {"prices": (ints(10050, 9970), Decimal("0.01")), "ids": (ints(7), None)},
    )
    expected = hashlib.sha256(
        b'{"scope": "day", "trades": 2}'
        b"|ids|None|1|"
        + (7).to_bytes(8, "little")
        + b"|prices|0.1|2|"
        # 100.50 and 99.70 in the coarsest unit that holds both.
        + (1005).to_bytes(8, "little")
        + (997).to_bytes(8, "little")
    )
    assert found == expected.hexdigest()


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([1000, 990], "0.1"),
        ([100000, 99000], "0.001"),
        ([2000, 1980], "0.05"),
    ],
)
def test_a_finer_grid_gives_the_same_hash(values, unit):
    assert prices(values, unit) == prices([100, 99], "1")


def test_nothing_but_zeros_gives_the_same_hash_on_any_grid():
    assert prices([0, 0], "0.01") == prices([0, 0], "0.001")
    assert prices([], "0.01") == prices([], "1")
    assert prices([], "0.01") != prices([0], "0.01")


@pytest.mark.parametrize(
    "other",
    [
        prices([100, 98], "1"),
        prices([99, 100], "1"),
        prices([100, 99, 0], "1"),
        prices([100, 99], "0.1"),
        state_hash({"scope": "day"}, {"price": (ints(100, 99), Decimal(1))}),
        state_hash({"scope": "london"}, {"prices": (ints(100, 99), Decimal(1))}),
    ],
)
def test_any_difference_gives_another_hash(other):
    assert other != prices([100, 99], "1")


def test_the_order_of_columns_and_header_does_not_matter():
    a, b = (ints(1), None), (ints(2), None)
    assert state_hash({"x": 1, "y": 2}, {"a": a, "b": b}) == state_hash(
        {"y": 2, "x": 1}, {"b": b, "a": a}
    )


def test_a_plain_count_is_hashed_as_it_is():
    assert state_hash({}, {"ids": (ints(10, 20), None)}) != state_hash(
        {}, {"ids": (ints(1, 2), None)}
    )
