"""Invented trades, and the grid they are counted on."""

from decimal import Decimal

import numpy as np
from hypothesis import strategies as st

from marketdata.core.counted import Counted, count
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.trades import Trades

GRID = Grid(Decimal("0.01"), Decimal("0.001"))
BTC = Instrument("binance_ws", "BTCUSDT", GRID, id=1)
# Monday, 2024-01-01 00:00 UTC.
MONDAY = 1_704_067_200_000_000
MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY_US = 24 * HOUR


def at(id, ts_us, price=100.0, qty=1.0, is_buy=True):
    """One row of a tape."""
    return (id, ts_us, price, qty, is_buy)


def tape(*rows) -> Trades:
    """Trades from (id, ts_us, price, qty, is_buy)."""
    return Trades.of(*zip(*rows, strict=True)) if rows else Trades.empty()


def steps(*rows) -> Counted:
    """Counted trades from (id, ticks, signed lots), one microsecond apart."""
    ids, ticks, signed = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Counted(ids, MONDAY + ids, ticks, np.abs(signed), signed > 0)


def counted(trades: Trades) -> Counted:
    """Trades on the usual grid."""
    return count(trades, GRID)


def cut(trades: Trades, sizes) -> list[Trades]:
    """Cut trades into parts of the sizes given; the rest is the last one."""
    cuts = np.cumsum(sizes)
    parts = [trades[a:b] for a, b in zip([0, *cuts], [*cuts, len(trades)], strict=True)]
    return [part for part in parts if len(part)]


def shuffled(trades: Trades, sizes, order) -> list[Trades]:
    """Cut trades, and reorder the parts."""
    return sorted(cut(trades, sizes), key=lambda part: hash((order, int(part.id[0]))))


@st.composite
def tapes(draw, start_us=MONDAY, span_us=DAY_US, max_size=40, finest=2, holes=True):
    """Trades with ascending ids, roughly ascending times, and holes where wanted."""
    n = draw(st.integers(1, max_size))
    jumps = st.sampled_from([1, 1, 1, 2, 5]) if holes else st.just(1)
    ids = np.cumsum(draw(st.lists(jumps, min_size=n, max_size=n)))
    times = sorted(draw(st.lists(st.integers(0, span_us), min_size=n, max_size=n)))
    late = draw(st.lists(st.sampled_from([0, 0, 0, 1_500_000]), min_size=n, max_size=n))
    scale = 10**finest
    ticks = draw(st.lists(st.integers(99 * scale, 101 * scale), min_size=n, max_size=n))
    lots = draw(st.lists(st.integers(1, 5000), min_size=n, max_size=n))
    sides = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return Trades.of(
        ids + 1000,
        start_us + np.array(times) - np.array(late),
        [float(Decimal(tick) / scale) for tick in ticks],
        [float(Decimal(lot) / 1000) for lot in lots],
        sides,
    )
