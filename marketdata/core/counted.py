"""`Counted`: a batch of trades on its integer grid, counted once for every metric that follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from marketdata.core.errors import OffGridError
from marketdata.core.instrument import Grid
from marketdata.core.trades import Bools, Ints, Trades

# Sums of ticks times lots stay exact in int64 below this; a real batch is orders of magnitude less.
EXACT = float(2**62)


@dataclass(frozen=True, slots=True)
class Counted:
    """Trades in ticks and lots.

    Parameters
    ----------
    id, ts_us : (n,) int64
        As in `Trades`.
    ticks, lots : (n,) int64
        Price and quantity in whole steps of the grid.
    is_buy : (n,) bool
        The aggressor bought.
    """

    id: Ints
    ts_us: Ints
    ticks: Ints
    lots: Ints
    is_buy: Bools

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, part: Any) -> Counted:
        """Take rows by slice or mask."""
        return Counted(
            self.id[part], self.ts_us[part], self.ticks[part], self.lots[part], self.is_buy[part]
        )


def count(trades: Trades, grid: Grid) -> Counted:
    """Put a batch on a grid.

    Raises
    ------
    OffGridError
        A price or quantity is no multiple of tick or lot, or the numbers are too large to be
        summed exactly.
    """
    ticks = grid.ticks(trades.price)
    lots = grid.lots(trades.qty)
    if len(ticks) and float(ticks.max()) * float(lots.sum()) >= EXACT:
        raise OffGridError(
            f"price times quantity below 2**62 steps of {grid.tick} x {grid.lot} expected, "
            f"seen up to {trades.price.max()} x {trades.qty.sum()} in one batch"
        )
    return Counted(trades.id, trades.ts_us, ticks, lots, trades.is_buy)


def buy_lots(batch: Counted) -> Ints:
    """Return the lots of buying aggressors, 0 elsewhere: (n,) int64."""
    return np.where(batch.is_buy, batch.lots, 0)
