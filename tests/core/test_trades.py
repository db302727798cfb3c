import numpy as np
import pytest

from marketdata.core.errors import BadTradesError
from marketdata.core.trades import EARLIEST_US, LATEST_US, Trades

T = 1_704_067_200_000_000


def trades(ids, **columns):
    n = len(ids)
    given = {"ts_us": [T] * n, "price": [100.0] * n, "qty": [1.0] * n, "is_buy": [True] * n}
    return Trades.of(ids, **{**given, **columns})


def test_columns_have_their_types_whatever_came_in():
    batch = Trades.of((1, 2), (T, T), (1, 2), (3, 4), (0, 1))
    assert [
        str(column.dtype)
        for column in (batch.id, batch.ts_us, batch.price, batch.qty, batch.is_buy)
    ] == ["int64", "int64", "float64", "float64", "bool"]


def test_the_empty_batch_has_typed_columns_and_passes_the_check():
    empty = Trades.empty()
    assert len(empty) == 0
    assert empty.checked() is empty
    assert empty.sorted() is empty
    assert empty.price.dtype == np.float64


def test_rows_are_taken_by_slice_mask_and_index():
    batch = trades([1, 2, 3])
    assert batch[1:].id.tolist() == [2, 3]
    assert batch[batch.id != 2].id.tolist() == [1, 3]
    assert batch[np.array([2, 0])].id.tolist() == [3, 1]


def test_concat_joins_in_the_order_given():
    assert Trades.concat([trades([3, 4]), trades([1])]).id.tolist() == [3, 4, 1]
    assert len(Trades.concat([])) == 0
    only = trades([5])
    assert Trades.concat(iter([only])) is only


def test_sorted_is_itself_where_ascending_and_stable_where_not():
    ascending = trades([1, 2, 9])
    assert ascending.sorted() is ascending
    mixed = trades([3, 1, 3], price=[10.0, 11.0, 12.0]).sorted()
    assert mixed.id.tolist() == [1, 3, 3]
    assert mixed.price.tolist() == [11.0, 10.0, 12.0]


def test_batches_cut_without_loss():
    cut = [part.id.tolist() for part in trades([1, 2, 3, 4, 5]).batches(2)]
    assert cut == [[1, 2], [3, 4], [5]]


def test_good_trades_pass_the_check_up_to_its_edges():
    edges = trades(
        [0, 1], ts_us=[EARLIEST_US, LATEST_US - 1], price=[5e-324, 9e14], qty=[1e-300, 9e14]
    )
    assert edges.checked() is edges


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("price", 0.0, "price above zero expected, seen 0.0 in row 1"),
        ("price", -1.5, "price above zero expected, seen -1.5 in row 1"),
        ("price", float("nan"), "price above zero expected, seen nan in row 1"),
        ("price", float("inf"), "price below 1e15 expected, seen inf in row 1"),
        ("price", 1e15, "price below 1e15 expected, seen 1000000000000000.0 in row 1"),
        ("qty", 0.0, "quantity above zero expected, seen 0.0 in row 1"),
        ("qty", float("nan"), "quantity above zero expected, seen nan in row 1"),
        ("qty", float("inf"), "quantity below 1e15 expected, seen inf in row 1"),
        ("id", -1, "id of zero or more expected, seen -1 in row 1"),
        ("ts_us", EARLIEST_US - 1, "time between 2010 and 2100 in microseconds expected"),
        ("ts_us", LATEST_US, "time between 2010 and 2100 in microseconds expected"),
        # Milliseconds, the likeliest mistake.
        ("ts_us", T // 1000, "time between 2010 and 2100 in microseconds expected"),
    ],
)
def test_a_bad_value_is_named_with_its_row(column, value, message):
    good = {"id": [7, 8, 9], "ts_us": [T] * 3, "price": [1.0] * 3, "qty": [1.0] * 3}
    good[column] = [good[column][0], value, good[column][2]]
    with pytest.raises(BadTradesError) as caught:
        Trades.of(**good, is_buy=[True] * 3).checked()
    assert message in str(caught.value)
    assert "in row 1" in str(caught.value)


def test_columns_of_different_length_are_refused():
    with pytest.raises(BadTradesError, match=r"one length expected, seen lengths \[1, 2\]"):
        Trades.of([1, 2], [T, T], [1.0], [1.0, 1.0], [True, True]).checked()
