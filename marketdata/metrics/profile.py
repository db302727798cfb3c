"""Volume profile: how much was bought and sold at each price, counted on the venue's tick."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from marketdata.core.counted import Counted
from marketdata.core.errors import BadInputError
from marketdata.core.trades import Ints

# Pages keep memory in proportion to the prices touched: a stray print far away costs one page.
PAGE = 4096
# Up to this many ticks between a batch's extremes a dense count beats sorting.
DENSE = 1 << 18


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
    if not height.is_finite() or height <= 0 or height % tick:
        raise BadInputError(
            f"a PROFILE_TICK_SIZE that is a positive multiple of the venue's tick {tick} "
            f"expected, seen {height}"
        )
    return int(height / tick)


class VolumeProfile:
    """Integer histogram of lots per tick and side. Additions commute, so order cannot matter."""

    def __init__(self) -> None:
        self._pages: dict[int, npt.NDArray[np.int64]] = {}

    def update(self, batch: Counted) -> None:
        """Count a batch: O(n + ticks between its extremes)."""
        if len(batch) == 1:
            page, row = divmod(int(batch.ticks[0]), PAGE)
            self._page(page)[row, int(batch.is_buy[0])] += batch.lots[0]
            return
        if batch.bar.high - batch.bar.low < DENSE:
            self._add_dense(batch.bar.low, batch.histogram)
        else:
            self._add_sparse(batch)

    def _page(self, number: int) -> npt.NDArray[np.int64]:
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = np.zeros((PAGE, 2), dtype=np.int64)
        return page

    def _add_dense(self, low: int, counts: npt.NDArray[np.int64]) -> None:
        done = 0
        while done < len(counts):
            number, row = divmod(low + done, PAGE)
            part = counts[done : done + PAGE - row]
            self._page(number)[row : row + len(part)] += part
            done += len(part)

    def _add_sparse(self, batch: Counted) -> None:
        pages, rows = np.divmod(batch.ticks, PAGE)
        for number in np.unique(pages).tolist():
            part = pages == number
            sides = batch.is_buy[part].astype(np.intp)
            np.add.at(self._page(number), (rows[part], sides), batch.lots[part])

    def value(self) -> Rows:
        """Return the rows at the venue's tick."""
        if not self._pages:
            empty = np.zeros(0, dtype=np.int64)
            return Rows(0, 1, empty, empty)
        numbers = sorted(self._pages)
        dense = np.zeros(((numbers[-1] - numbers[0] + 1) * PAGE, 2), dtype=np.int64)
        for number in numbers:
            start = (number - numbers[0]) * PAGE
            dense[start : start + PAGE] = self._pages[number]
        sell, buy = dense[:, 0].copy(), dense[:, 1].copy()
        traded = np.flatnonzero(sell + buy)
        low, high = int(traded[0]), int(traded[-1]) + 1
        return Rows(numbers[0] * PAGE + low, 1, sell[low:high], buy[low:high])

    def levels(self) -> tuple[Ints, Ints, Ints]:
        """Return only the ticks that traded, ascending: (ticks, sell lots, buy lots)."""
        found = [
            (number, np.flatnonzero(page[:, 0] + page[:, 1])) for number, page in self._ordered()
        ]
        if not found:
            empty = np.zeros(0, dtype=np.int64)
            return empty, empty, empty
        ticks = np.concatenate([number * PAGE + rows for number, rows in found])
        counts = np.concatenate([self._pages[number][rows] for number, rows in found])
        return ticks, counts[:, 0], counts[:, 1]

    def _ordered(self) -> list[tuple[int, npt.NDArray[np.int64]]]:
        return sorted(self._pages.items(), key=lambda item: item[0])

    def scale(self, ticks: int, lots: int) -> None:
        """Recount on a grid that is `ticks` and `lots` times finer."""
        levels, sell, buy = self.levels()
        self.reset()
        for level, sold, bought in zip(levels * ticks, sell * lots, buy * lots, strict=True):
            page, row = divmod(int(level), PAGE)
            self._page(page)[row] += (sold, bought)

    def reset(self) -> None:
        """Forget everything."""
        self._pages.clear()
