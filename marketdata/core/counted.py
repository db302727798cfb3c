"""`Counted`: a batch on its integer grid, reduced once for every scope and candle that takes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from marketdata.core.bar import Bar, Bars, bar_of, bars_by, buckets
from marketdata.core.errors import OffGridError
from marketdata.core.instrument import MOST_STEPS, Grid
from marketdata.core.path import Paths, paths_of
from marketdata.core.trades import Bools, Ints, Trades

# Sums of ticks times lots stay exact in int64 below this; a real batch is orders of magnitude less.
EXACT = float(2**62)


@dataclass(frozen=True, eq=False)
class Counted:
    """Trades in ticks and lots, n ≥ 1, ascending ids.

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

    @cached_property
    def bar(self) -> Bar:
        """All trades as one bar."""
        return bar_of(self.id, self.ticks, self.lots, self.is_buy)

    @cached_property
    def paths(self) -> Paths:
        """The running delta, per run of consecutive ids."""
        return paths_of(self.id, self.lots, self.is_buy)

    @cached_property
    def histogram(self) -> Ints:
        """Lots sold and bought at each tick from `bar.low` to `bar.high`: (2, ticks) int64.

        Notes
        -----
        Its float weights are exact: `count` keeps a batch's sum of lots below 2**53.
        """
        length = self.bar.high - self.bar.low + 1
        keys = self.ticks - self.bar.low + self.is_buy * length
        counts = np.bincount(keys, weights=self.lots, minlength=2 * length)
        return counts.astype(np.int64).reshape(2, length)

    def bars(self, length_us: int) -> Bars:
        """Cut into bars of a timeframe, in order of appearance.

        Notes
        -----
        Disordered times give several bars of one interval; merging them is the series' work.
        """
        opens = buckets(self.ts_us, length_us)
        cuts = np.flatnonzero(opens[1:] != opens[:-1])
        if not len(cuts):
            return [(int(opens[0]), self.bar)]
        starts = np.concatenate(([0], cuts + 1))
        bars = bars_by(starts, self.id, self.ticks, self.lots, self.is_buy)
        return list(zip(opens[starts].tolist(), bars, strict=True))


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
    # Summed as floats: whole numbers could wrap round and look small.
    total = float(lots.sum(dtype=np.float64))
    if float(ticks.max()) * total >= EXACT or total >= MOST_STEPS:
        raise OffGridError(
            f"quantities below 2**53 steps of {grid.lot}, and below 2**62 times price in steps of "
            f"{grid.tick}, expected in one batch, seen {trades.qty.sum()} at {trades.price.max()}"
        )
    return Counted(trades.id, trades.ts_us, ticks, lots, trades.is_buy)
