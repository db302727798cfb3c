"""Volume profile: how much was bought and sold at each price, counted on the venue's tick."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np

from marketdata.core.counted import Counted
from marketdata.core.errors import BadInputError
from marketdata.core.trades import Ints

# Pages keep memory in proportion to the prices touched: a stray print far away costs one page.
PAGE = 1024
# Up to this many ticks between a batch's extremes a dense count beats sorting.
DENSE = 1 << 16

# Ticks that traded, ascending, and the lots sold and bought there: three times (n,) int64.
Levels = tuple[Ints, Ints, Ints]


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive price rows from the lowest that traded to the highest, empty ones included.

    Parameters
    ----------
    first : int
        Index of the lowest row: its lower edge is `first * row_ticks` ticks.
    row_ticks : int
        Height of a row in ticks.
    sell, buy : (n,) int64
        Lots by aggressor, n = 0 where nothing traded.
    """

    first: int
    row_ticks: int
    sell: Ints
    buy: Ints

    @property
    def volume(self) -> Ints:
        """Lots of both sides, (n,) int64."""
        return self.sell + self.buy

    def binned(self, row_ticks: int) -> Rows:
        """Regroup into rows `row_ticks` ticks high, by floor division of the tick.

        Raises
        ------
        BadInputError
            The height is no positive multiple of this one's.
        """
        if row_ticks <= 0 or row_ticks % self.row_ticks:
            raise BadInputError(
                f"a row height that is a positive multiple of {self.row_ticks} ticks expected, "
                f"seen {row_ticks}"
            )
        group = row_ticks // self.row_ticks
        if group == 1 or not len(self.sell):
            return Rows(self.first, row_ticks, self.sell, self.buy)
        first, lead = divmod(self.first, group)
        starts = np.arange(0, len(self.sell) + lead, group) - lead
        starts[0] = 0
        sell, buy = np.add.reduceat(self.sell, starts), np.add.reduceat(self.buy, starts)
        return Rows(first, row_ticks, sell, buy)


def row_ticks(height: Decimal, tick: Decimal) -> int:
    """Return a row height as whole ticks.

    Parameters
    ----------
    height : Decimal
        Quote per base.
    tick : Decimal
        The venue's tick, quote per base.

    Raises
    ------
    BadInputError
        The height is zero, negative, not a number, or no multiple of the tick.

    Examples
    --------
    >>> row_ticks(Decimal("0.1"), Decimal("0.01"))
    10
    """
    # As fractions: the remainder of two decimals far apart has too many digits to be one.
    ticks = Fraction(height) / Fraction(tick) if height.is_finite() else Fraction(0)
    if ticks <= 0 or ticks.denominator != 1:
        raise BadInputError(
            f"a PROFILE_TICK_SIZE that is a positive multiple of the venue's tick {tick} "
            f"expected, seen {height}"
        )
    return int(ticks)


def rows_of(levels: Levels, row_ticks: int = 1) -> Rows:
    """Group levels into rows `row_ticks` ticks high, by floor division of the tick.

    Notes
    -----
    O(levels + rows): the height decides how much memory a wide profile takes, not the tick.
    """
    ticks, sell, buy = levels
    if not len(ticks):
        return Rows(0, row_ticks, sell, buy)
    rows = ticks // row_ticks
    first = int(rows[0])
    starts = np.concatenate(([0], np.flatnonzero(rows[1:] != rows[:-1]) + 1))
    sides = np.zeros((2, int(rows[-1]) - first + 1), dtype=np.int64)
    sides[0, rows[starts] - first] = np.add.reduceat(sell, starts)
    sides[1, rows[starts] - first] = np.add.reduceat(buy, starts)
    return Rows(first, row_ticks, sides[0], sides[1])


class VolumeProfile:
    """Integer histogram of lots per tick and side. Additions commute, so order cannot matter."""

    def __init__(self) -> None:
        self._pages: dict[int, Ints] = {}

    def update(self, batch: Counted) -> None:
        """Count a batch: O(n + ticks between its extremes)."""
        if len(batch) == 1:
            page, row = divmod(int(batch.ticks[0]), PAGE)
            self._page(page)[int(batch.is_buy[0]), row] += batch.lots[0]
        elif batch.bar.high - batch.bar.low < DENSE:
            self._add_dense(batch.bar.low, batch.histogram)
        else:
            self._add_levels(_levels_of(batch))

    def _page(self, number: int) -> Ints:
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = np.zeros((2, PAGE), dtype=np.int64)
        return page

    def _add_dense(self, low: int, counts: Ints) -> None:
        done, length = 0, counts.shape[1]
        while done < length:
            number, row = divmod(low + done, PAGE)
            part = counts[:, done : done + PAGE - row]
            self._page(number)[:, row : row + part.shape[1]] += part
            done += part.shape[1]

    def _add_levels(self, levels: Levels) -> None:
        ticks, sell, buy = levels
        pages, rows = np.divmod(ticks, PAGE)
        starts = np.flatnonzero(np.diff(pages, prepend=-1)).tolist()
        for start, end in pairwise([*starts, len(ticks)]):
            page, at = self._page(int(pages[start])), rows[start:end]
            page[0, at] += sell[start:end]
            page[1, at] += buy[start:end]

    def value(self, row_ticks: int = 1) -> Rows:
        """Return the rows, each `row_ticks` ticks high."""
        return rows_of(self.levels(), row_ticks)

    def levels(self) -> Levels:
        """Return only the ticks that traded, ascending."""
        if not self._pages:
            empty = np.zeros(0, dtype=np.int64)
            return empty, empty, empty
        # Page by page: whole columns of empty ticks cost more to allocate than to look through.
        found = []
        for number in sorted(self._pages):
            sell, buy = self._pages[number]
            rows = np.flatnonzero(sell | buy)
            found.append((rows + number * PAGE, sell[rows], buy[rows]))
        ticks, sold, bought = (np.concatenate(column) for column in zip(*found, strict=True))
        return ticks, sold, bought

    def scale(self, ticks: int, lots: int) -> None:
        """Recount on a grid that is `ticks` and `lots` times finer."""
        levels, sell, buy = self.levels()
        self.reset()
        self._add_levels((levels * ticks, sell * lots, buy * lots))

    def reset(self) -> None:
        """Forget everything."""
        self._pages.clear()


def _levels_of(batch: Counted) -> Levels:
    """Sort a batch into its levels."""
    ticks, rows = np.unique(batch.ticks, return_inverse=True)
    sides = np.zeros((2, len(ticks)), dtype=np.int64)
    np.add.at(sides, (batch.is_buy.astype(np.intp), rows), batch.lots)
    return ticks, sides[0], sides[1]
