from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.errors import BadInputError, OffGridError
from marketdata.core.instrument import Grid, Instrument


def grid(tick="0.01", lot="0.00001"):
    return Grid(Decimal(tick), Decimal(lot))


def floats(*values):
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize("bad", ["0", "-0.01", "NaN", "sNaN", "Infinity", "-Infinity"])
def test_a_tick_or_lot_that_is_no_number_above_zero_is_refused(bad):
    with pytest.raises(BadInputError, match="tick above zero expected, seen"):
        grid(tick=bad)
    with pytest.raises(BadInputError, match="lot above zero expected, seen"):
        grid(lot=bad)


@pytest.mark.parametrize(
    ("tick", "price", "ticks"),
    [
        ("0.01", 43055.22, 4305522),
        ("0.01", 100000.01, 10000001),
        # 0.29 / 0.01 and 1.1 * 100 are no whole numbers in float64; the decimals are.
        ("0.01", 0.29, 29),
        ("0.01", 1.1, 110),
        ("0.05", 17.35, 347),
        ("0.25", 17.25, 69),
        ("0.3", 0.9, 3),
        ("5", 1605.0, 321),
        ("0.00000001", 0.00001234, 1234),
        # Thirteen digits and more: the error of one rounding is a thousandth of a step.
        ("0.00000001", 123456.12345678, 12345612345678),
        ("0.0001", 99999999999.9999, 999999999999999),
    ],
)
def test_a_price_on_the_grid_is_counted_alone_and_in_a_column(tick, price, ticks):
    counter = grid(tick=tick)
    assert counter.ticks(floats(price)).tolist() == [ticks]
    assert counter.ticks(floats(price, price)).tolist() == [ticks, ticks]
    assert counter.price(ticks) == price


@pytest.mark.parametrize(
    ("tick", "price"),
    [
        ("0.01", 100.001),
        ("0.01", 100.005),
        # Far finer than the tick, so close to a multiple of it; still another price.
        ("0.01", 100.000001),
        ("0.01", 0.000001),
        ("0.05", 0.01),
        ("5", 1604.0),
        ("0.01", 1e14),
        ("0.01", 1e300),
    ],
)
def test_a_price_off_the_grid_is_refused_alone_and_in_a_column(tick, price):
    for column, row in ((floats(price), 0), (floats(tick, tick, price), 2)):
        with pytest.raises(OffGridError) as caught:
            grid(tick=tick).ticks(column)
        assert f"price in multiples of {tick}" in str(caught.value)
        assert f"seen {price!r} in row {row}" in str(caught.value)


def test_lots_are_counted_like_ticks():
    assert grid().lots(floats(0.00001, 1.23456)).tolist() == [1, 123456]
    with pytest.raises(OffGridError, match=r"quantity in multiples of 0.00001"):
        grid().lots(floats(0.000001))


def test_no_values_are_no_steps():
    assert grid().ticks(floats()).tolist() == []


@given(
    digits=st.integers(1, 10**15 - 1),
    places=st.integers(0, 12),
    others=st.lists(st.integers(1, 10**6), max_size=3),
)
def test_any_decimal_of_fifteen_digits_is_counted_exactly(digits, places, others):
    step = Decimal(1).scaleb(-places)
    values = floats(*(float(step * number) for number in (digits, *others)))
    assert grid(tick=str(step)).ticks(values).tolist() == [digits, *others]
    assert grid(tick=str(step)).ticks(values[:1]).tolist() == [digits]


@given(digits=st.integers(1, 10**14 - 1), places=st.integers(0, 11))
def test_one_decimal_more_is_always_off_the_grid(digits, places):
    finer = digits * 10 + 1
    value = float(Decimal(finer).scaleb(-places - 1))
    with pytest.raises(OffGridError):
        grid(tick=str(Decimal(1).scaleb(-places))).ticks(floats(value))


def test_steps_come_back_as_the_nearest_float():
    assert grid().price(np.int64(4305522)) == 43055.22
    assert grid().qty(2717429903) == 27174.29903
    assert (grid().tick_size, grid().lot_size) == (0.01, 0.00001)


@pytest.mark.parametrize(
    ("price", "qty", "tick", "lot"),
    [
        ([100.0, 100.25], [1.0], "0.01", "0.00001"),
        ([100.001], [1.0], "0.001", "0.00001"),
        ([100.0], [0.0000001], "0.01", "1E-7"),
        ([100.00000001], [1.0], "1E-8", "0.00001"),
    ],
)
def test_refining_takes_the_coarsest_power_of_ten_that_holds_all(price, qty, tick, lot):
    finer = grid().refined(floats(*price), floats(*qty))
    assert (finer.tick, finer.lot) == (Decimal(tick), Decimal(lot))


def test_refining_a_tick_that_is_no_power_of_ten_keeps_dividing_it():
    finer = grid(tick="0.25").refined(floats(1.01), floats(1.0))
    assert finer.tick == Decimal("0.0025")
    assert finer.ticks(floats(1.01)).tolist() == [404]


def test_what_no_power_of_ten_holds_is_refused_with_what_was_seen():
    with pytest.raises(OffGridError, match=r"price with at most 12 decimals and 15 digits .*1e-13"):
        grid().refined(floats(1e-13), floats(1.0))
    with pytest.raises(OffGridError, match="quantity with at most 12 decimals"):
        grid().refined(floats(1.0), floats(1 / 3))
    with pytest.raises(OffGridError, match="price with at most 12 decimals"):
        grid().refined(floats(1e300), floats(1.0))


def test_a_grid_is_found_from_values_and_never_coarser_than_one():
    found = Grid.of_values(floats(43000.0, 43000.5), floats(0.125, 2000.0))
    assert (found.tick, found.lot) == (Decimal("0.1"), Decimal("0.001"))
    whole = Grid.of_values(floats(5000.0), floats(100.0))
    assert (whole.tick, whole.lot) == (Decimal(1), Decimal(1))


def test_an_instrument_moves_to_another_grid_as_itself():
    instrument = Instrument("binance_ws", "BTCUSDT", grid(), id=7)
    moved = instrument.on_grid(grid(tick="0.001"))
    assert moved == Instrument("binance_ws", "BTCUSDT", grid(tick="0.001"), id=7)
