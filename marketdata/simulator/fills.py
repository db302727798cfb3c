"""Raw trades: the fills of which the venue's aggregates are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from marketdata.core.instrument import Grid
from marketdata.core.trades import Ints, Trades


class Fills:
    """A fixed cycle of fills per aggregate, so raw ids follow from aggregate ids without a count.

    Parameters
    ----------
    cycle : tuple of int
        Fills of the aggregates with id 0, 1, 2, … modulo its length; each > 0.

    Notes
    -----
    Raw ids are contiguous where aggregate ids are: the last of one aggregate and the first of the
    next are neighbours. Both directions cost O(1).
    """

    def __init__(self, cycle: tuple[int, ...]) -> None:
        self._counts = np.array(cycle, dtype=np.int64)
        self._before = np.concatenate(([0], np.cumsum(self._counts)))
        self.most = max(cycle)

    def first(self, ids: Ints) -> Ints:
        """Return the first raw id of each aggregate: (n,) int64 → (n,) int64."""
        turns, place = np.divmod(ids, len(self._counts))
        return np.asarray(turns * self._before[-1] + self._before[place], dtype=np.int64)

    def last(self, ids: Ints) -> Ints:
        """Return the last raw id of each aggregate: (n,) int64 → (n,) int64."""
        return self.first(ids + 1) - 1

    def aggregate_of(self, raw_id: int) -> int:
        """Return the id of the aggregate that holds a raw trade."""
        turns, place = divmod(raw_id, int(self._before[-1]))
        found = int(np.searchsorted(self._before, place, side="right")) - 1
        return turns * len(self._counts) + found

    def split(self, trades: Trades, grid: Grid) -> Trades:
        """Return the raw trades of aggregates; the first fill takes what does not divide.

        Notes
        -----
        Every quantity holds at least `most` lots, so that no fill is empty.
        """
        if self.most == 1:
            return replace(trades, id=self.first(trades.id))
        counts = self._counts[trades.id % len(self._counts)]
        row = np.repeat(np.arange(len(trades)), counts)
        raw = self.first(trades.id)[row] + _places(counts)
        lots = grid.lots(trades.qty)
        share = (lots // counts)[row] + np.where(_places(counts) == 0, (lots % counts)[row], 0)
        return replace(trades[row], id=raw, qty=share / float(1 / grid.lot))


def _places(counts: Ints) -> Ints:
    """Return 0, 1, … within each aggregate."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)


ONE_EACH = Fills((1,))
