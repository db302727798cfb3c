import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.simulator.fills import ONE_EACH, Fills
from marketdata.simulator.generator import FILLS, GeneratedMarket
from tests.simulator.conftest import tape

CYCLE = Fills((1, 1, 2, 1, 3))


@pytest.mark.parametrize(
    ("id", "first", "last"),
    # By hand: aggregates 0-4 hold 0, 1, 2-3, 4, 5-7; 5-9 hold 8, 9, 10-11, 12, 13-15.
    [(0, 0, 0), (1, 1, 1), (2, 2, 3), (3, 4, 4), (4, 5, 7), (5, 8, 8), (7, 10, 11), (9, 13, 15)],
)
def test_raw_ids_of_an_aggregate(id, first, last):
    assert CYCLE.first(np.array([id])).tolist() == [first]
    assert CYCLE.last(np.array([id])).tolist() == [last]
    for raw in range(first, last + 1):
        assert CYCLE.aggregate_of(raw) == id


@given(st.integers(0, 10**12))
def test_raw_ids_tile(id):
    ids = np.array([id, id + 1])
    assert FILLS.first(ids)[1] == FILLS.last(ids)[0] + 1
    assert FILLS.aggregate_of(int(FILLS.first(ids)[0])) == id
    assert FILLS.aggregate_of(int(FILLS.last(ids)[0])) == id


def test_fills_share_price_time_and_side_and_add_up_in_lots():
    market = GeneratedMarket("BTCUSDT", 3, 20.0, lambda: 1_700_000_000_000_000)
    trades = market.slice(1_000_001, 1_000_400)
    raw = FILLS.split(trades, market.grid)
    owner = np.array([FILLS.aggregate_of(int(id)) for id in raw.id]) - 1_000_001
    assert np.diff(raw.id).tolist() == [1] * (len(raw) - 1)
    assert raw.price.tolist() == trades.price[owner].tolist()
    assert raw.ts_us.tolist() == trades.ts_us[owner].tolist()
    assert raw.is_buy.tolist() == trades.is_buy[owner].tolist()
    lots = market.grid.lots(raw.qty)
    assert lots.min() >= 1
    assert np.bincount(owner, lots).tolist() == market.grid.lots(trades.qty).tolist()


def test_one_each_keeps_ids():
    trades = tape(5)
    market_ids = ONE_EACH.split(trades, None).id.tolist()
    assert market_ids == trades.id.tolist()
    assert ONE_EACH.last(trades.id).tolist() == trades.id.tolist()
