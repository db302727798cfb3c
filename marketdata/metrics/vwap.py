"""Volume-weighted average price and its standard deviation, over trades since the anchor."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from marketdata.core.instrument import Grid
from marketdata.metrics.profile import Levels


def vwap(notional: int, lots: int, grid: Grid) -> float | None:
    """Return Σ price·quantity / Σ quantity, quote per base; None where nothing traded.

    Parameters
    ----------
    notional : int
        Sum of ticks times lots.
    lots : int
        Sum of lots.

    Notes
    -----
    Both are whole numbers, so the quotient is exact and rounded once.

    Examples
    --------
    >>> from decimal import Decimal
    >>> vwap(100 * 1 + 101 * 3 + 99 * 2, 6, Grid(Decimal(1), Decimal(1)))
    100.16666666666667
    """
    return float(Fraction(notional, lots) * Fraction(grid.tick)) if lots else None


def deviation(levels: Levels, grid: Grid) -> float | None:
    """Return one volume-weighted standard deviation of price, quote per base.

    Parameters
    ----------
    levels : Levels
        Ticks that traded, with the lots sold and bought there.

    Returns
    -------
    float or None
        None where nothing traded.

    Notes
    -----
    σ² = Σ v·(p − mean)² / Σ v, the centred form: Σp²v/Σv − mean² cancels at 100,000-dollar prices.
    """
    ticks, sell, buy = levels
    if not len(ticks):
        return None
    volume = (sell + buy).astype(np.float64)
    offset = (ticks - ticks[0]).astype(np.float64)
    total = volume.sum()
    offset -= np.dot(offset, volume) / total
    return float(np.sqrt(np.dot(volume, offset * offset) / total)) * grid.tick_size
