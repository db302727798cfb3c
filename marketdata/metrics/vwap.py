"""Volume-weighted average price and its standard deviation, over trades since the anchor."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from marketdata.core.instrument import Grid
from marketdata.metrics.profile import Rows


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


def deviation(rows: Rows, grid: Grid) -> float | None:
    """Return one volume-weighted standard deviation of price, quote per base.

    Parameters
    ----------
    rows : Rows
        Profile at the venue's tick.

    Returns
    -------
    float or None
        None where nothing traded.

    Notes
    -----
    σ² = Σ v·(p − mean)² / Σ v, the centred form: Σp²v/Σv − mean² cancels at 100,000-dollar prices.
    """
    volume = rows.volume.astype(np.float64)
    total = volume.sum()
    if not total:
        return None
    offset = np.arange(len(volume), dtype=np.float64)
    offset -= (offset * volume).sum() / total
    variance = (volume * offset * offset).sum() / total
    return float(np.sqrt(variance)) * rows.row_ticks * grid.tick_size
