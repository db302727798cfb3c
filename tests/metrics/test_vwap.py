from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.instrument import Grid
from marketdata.metrics.profile import VolumeProfile
from marketdata.metrics.vwap import deviation, vwap
from tests.core.invented import steps

ONE = Grid(Decimal(1), Decimal(1))
BTC = Grid(Decimal("0.01"), Decimal("0.00001"))


def levels(rows):
    profile = VolumeProfile()
    profile.update(steps(*((id, *row) for id, row in enumerate(rows))))
    return profile.levels()


def exact(rows, grid):
    """Mean and deviation of (ticks, lots) with fifty digits."""
    with localcontext() as context:
        context.prec = 50
        rows = [(tick * grid.tick, abs(lots) * grid.lot) for tick, lots in rows]
        total = sum(qty for _, qty in rows)
        mean = sum(price * qty for price, qty in rows) / total
        variance = sum(qty * (price - mean) ** 2 for price, qty in rows) / total
        return float(mean), float(variance.sqrt())


def both(rows, grid):
    lots = sum(abs(signed) for _, signed in rows)
    notional = sum(tick * abs(signed) for tick, signed in rows)
    return vwap(notional, lots, grid), deviation(levels(rows), grid)


def test_golden_vector():
    mean, sigma = both([(100, 1), (101, 3), (99, 2)], ONE)
    assert mean == pytest.approx(100.166667, abs=5e-7)
    assert sigma == pytest.approx(0.897527, abs=5e-7)


def test_nothing_traded_has_neither():
    assert vwap(0, 0, ONE) is None
    assert deviation(VolumeProfile().levels(), ONE) is None


def test_one_price_is_its_own_mean_and_deviates_by_nothing():
    assert both([(10_000_001, 5), (10_000_001, -7)], BTC) == (100000.01, 0.0)


def test_a_cent_at_a_hundred_thousand_dollars_is_not_lost():
    """Σp²v/Σv − mean² leaves nothing of half a cent at this price."""
    assert both([(10_000_000, 1), (10_000_001, 1)], BTC)[1] == pytest.approx(0.005, rel=1e-9)
    raw = (100_000.0**2 + 100_000.01**2) / 2 - 100_000.005**2
    assert abs(raw - 0.005**2) > 1e-6


def test_sellers_count_as_much_as_buyers():
    assert both([(100, -1), (101, 3), (99, -2)], ONE) == both([(100, 1), (101, -3), (99, 2)], ONE)


@given(
    st.lists(
        st.tuples(st.integers(9_990_000, 10_010_000), st.integers(-(10**9), 10**9).filter(bool)),
        min_size=1,
        max_size=30,
    )
)
def test_both_are_what_fifty_digits_give_at_a_hundred_thousand_dollars(rows):
    mean, sigma = both(rows, BTC)
    exact_mean, exact_sigma = exact(rows, BTC)
    assert mean == exact_mean
    assert sigma == pytest.approx(exact_sigma, rel=1e-9, abs=1e-12)
    ticks = [tick for tick, _ in rows]
    assert BTC.price(min(ticks)) <= mean <= BTC.price(max(ticks))
