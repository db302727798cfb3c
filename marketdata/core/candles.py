"""Candles of any timeframe from trades, by event time, whatever order the trades come in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from marketdata.core.counted import Counted, buy_lots
from marketdata.core.errors import BadInputError
from marketdata.core.instrument import Grid
from marketdata.core.timeframe import MONDAY_US, WEEK_US, open_us


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar over [open_us, open_us + timeframe); an interval without trades has none.

    Parameters
    ----------
    open_us : int
        Start, microseconds UTC.
    open, high, low, close : float
        Quote per base; open and close are those of the lowest and highest id.
    volume, buy_volume : float
        Base units; `buy_volume` is that of buying aggressors.
    quote_volume : float
        Sum of price times quantity.
    trades, first_id, last_id : int
        How many rows of the feed, and between which ids.
    """

    open_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    buy_volume: float
    quote_volume: float
    trades: int
    first_id: int
    last_id: int


@dataclass(slots=True)
class Bar:
    """A candle under construction, in whole ticks and lots, so that merging is exact."""

    open: int
    high: int
    low: int
    close: int
    lots: int
    buy_lots: int
    notional: int
    trades: int
    first_id: int
    last_id: int

    def merge(self, other: Bar) -> None:
        """Take in trades of the same interval, earlier or later."""
        if other.first_id < self.first_id:
            self.open, self.first_id = other.open, other.first_id
        if other.last_id > self.last_id:
            self.close, self.last_id = other.close, other.last_id
        self.high = max(self.high, other.high)
        self.low = min(self.low, other.low)
        self.lots += other.lots
        self.buy_lots += other.buy_lots
        self.notional += other.notional
        self.trades += other.trades

    def copy(self) -> Bar:
        """Return an independent copy."""
        return Bar(*(getattr(self, name) for name in self.__slots__))

    def on(self, start_us: int, grid: Grid) -> Candle:
        """Return the candle in prices and quantities."""
        notional = Fraction(self.notional) * Fraction(grid.tick) * Fraction(grid.lot)
        return Candle(
            start_us,
            *(grid.price(ticks) for ticks in (self.open, self.high, self.low, self.close)),
            grid.qty(self.lots),
            grid.qty(self.buy_lots),
            float(notional),
            self.trades,
            self.first_id,
            self.last_id,
        )


Bars = list[tuple[int, Bar]]


def bars_of(batch: Counted, length_us: int) -> Bars:
    """Reduce a batch to bars, in order of appearance: list of (open_us, Bar).

    Notes
    -----
    A disordered batch gives several bars of one interval; merging them is the series' work.
    """
    origin = MONDAY_US if length_us == WEEK_US else 0
    buckets = (batch.ts_us - origin) // length_us
    cuts = np.flatnonzero(buckets[1:] != buckets[:-1]) + 1 if len(batch) > 1 else ()
    starts = np.array([0, *cuts])
    ends = np.append(starts[1:], len(batch)) - 1
    columns = (
        batch.ticks[starts],
        np.maximum.reduceat(batch.ticks, starts),
        np.minimum.reduceat(batch.ticks, starts),
        batch.ticks[ends],
        np.add.reduceat(batch.lots, starts),
        np.add.reduceat(buy_lots(batch), starts),
        np.add.reduceat(batch.ticks * batch.lots, starts),
        ends - starts + 1,
        batch.id[starts],
        batch.id[ends],
    )
    opens = (buckets[starts] * length_us + origin).tolist()
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(start, Bar(*row)) for start, row in zip(opens, rows, strict=True)]


def fold(bars: Iterable[tuple[int, Bar]], length_us: int) -> Bars:
    """Fold bars into a timeframe whose length is a multiple of theirs, ascending."""
    folded: dict[int, Bar] = {}
    for start, bar in bars:
        key = open_us(start, length_us)
        if key in folded:
            folded[key].merge(bar)
        else:
            folded[key] = bar.copy()
    return sorted(folded.items())


class CandleSeries:
    """The candles of one timeframe, closed by the next event or by the clock.

    Parameters
    ----------
    length_us : int
        Timeframe in microseconds.
    keep : int
        How many candles stay in memory; the oldest leave first.
    """

    def __init__(self, length_us: int, keep: int = 2880) -> None:
        if length_us <= 0:
            raise BadInputError(f"a timeframe above zero expected, seen {length_us} microseconds")
        self.length_us = length_us
        self.keep = keep
        self.closed_us = 0
        self._bars: dict[int, Bar] = {}
        self._open: set[int] = set()

    def __len__(self) -> int:
        return len(self._bars)

    def update(self, bars: Bars) -> list[int]:
        """Merge bars of this timeframe or shorter ones; return opens of closed candles restated."""
        restated: set[int] = set()
        for start, bar in bars:
            key = open_us(start, self.length_us)
            known = self._bars.get(key)
            if known is None:
                self._bars[key] = bar.copy()
            else:
                known.merge(bar)
            if key + self.length_us <= self.closed_us:
                restated.add(key)
            else:
                self._open.add(key)
        if len(self._bars) > self.keep:
            self._trim()
        return sorted(restated)

    def _trim(self) -> None:
        for key in sorted(self._bars)[: len(self._bars) - self.keep]:
            del self._bars[key]
            self._open.discard(key)

    def advance(self, to_us: int) -> list[int]:
        """Close every candle that ends at or before `to_us`; return their opens, ascending."""
        end = open_us(to_us, self.length_us)
        if end <= self.closed_us:
            return []
        self.closed_us = end
        done = sorted(key for key in self._open if key + self.length_us <= end)
        self._open.difference_update(done)
        return done

    def is_closed(self, start_us: int) -> bool:
        """Tell whether the candle that opens at `start_us` is complete."""
        return start_us + self.length_us <= self.closed_us

    def bars(self, count: int | None = None) -> Bars:
        """Return the newest `count` bars (all where None), oldest first."""
        keys = sorted(self._bars)
        return [(key, self._bars[key]) for key in (keys if count is None else keys[-count:])]

    def candle(self, start_us: int, grid: Grid) -> Candle:
        """Return the candle that opens at `start_us`. Raises KeyError where there is none."""
        return self._bars[start_us].on(start_us, grid)

    def scale(self, ticks: int, lots: int) -> None:
        """Recount on a grid that is `ticks` and `lots` times finer."""
        for bar in self._bars.values():
            for name in ("open", "high", "low", "close"):
                setattr(bar, name, getattr(bar, name) * ticks)
            bar.lots *= lots
            bar.buy_lots *= lots
            bar.notional *= ticks * lots
