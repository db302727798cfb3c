"""`Bar`: prices and sums of some trades in whole ticks and lots, so that merging is exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from marketdata.core.timeframe import MONDAY_US, WEEK_US, open_us
from marketdata.core.trades import Bools, Ints


@dataclass(slots=True)
class Bar:
    """What some trades come to, whatever order they came in.

    Parameters
    ----------
    open, high, low, close : int
        Ticks; open and close are those of the lowest and the highest id.
    lots, buy_lots : int
        All volume, and that of buying aggressors.
    notional : int
        Sum of ticks times lots.
    trades, first_id, last_id : int
        How many, and between which ids.
    """

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
        """Take in other trades, earlier or later."""
        if other.first_id < self.first_id:
            self.open, self.first_id = other.open, other.first_id
        if other.last_id > self.last_id:
            self.close, self.last_id = other.close, other.last_id
        if other.high > self.high:
            self.high = other.high
        if other.low < self.low:
            self.low = other.low
        self.lots += other.lots
        self.buy_lots += other.buy_lots
        self.notional += other.notional
        self.trades += other.trades

    def scaled(self, ticks: int, lots: int) -> Bar:
        """Return the bar on a grid that is `ticks` and `lots` times finer."""
        return Bar(
            open=self.open * ticks,
            high=self.high * ticks,
            low=self.low * ticks,
            close=self.close * ticks,
            lots=self.lots * lots,
            buy_lots=self.buy_lots * lots,
            notional=self.notional * ticks * lots,
            trades=self.trades,
            first_id=self.first_id,
            last_id=self.last_id,
        )

    def copy(self) -> Bar:
        """Return an independent copy."""
        return self.scaled(1, 1)


Bars = list[tuple[int, Bar]]


def bar_of(ids: Ints, ticks: Ints, lots: Ints, is_buy: Bools) -> Bar:
    """Reduce ascending trades to one bar, n ≥ 1."""
    first, last = int(ids[0]), int(ids[-1])
    if len(ids) == 1:
        tick, lot = int(ticks[0]), int(lots[0])
        bought = lot if is_buy[0] else 0
        return Bar(tick, tick, tick, tick, lot, bought, tick * lot, 1, first, last)
    return Bar(
        open=int(ticks[0]),
        high=int(ticks.max()),
        low=int(ticks.min()),
        close=int(ticks[-1]),
        lots=int(lots.sum()),
        buy_lots=int(np.dot(lots, is_buy)),
        notional=int(np.dot(ticks, lots)),
        trades=len(ids),
        first_id=first,
        last_id=last,
    )


def bars_by(starts: Ints, ids: Ints, ticks: Ints, lots: Ints, is_buy: Bools) -> list[Bar]:
    """Reduce ascending trades to one bar for each part that begins at `starts`, (k,) int64."""
    ends = np.append(starts[1:], len(ids)) - 1
    columns = (
        ticks[starts],
        np.maximum.reduceat(ticks, starts),
        np.minimum.reduceat(ticks, starts),
        ticks[ends],
        np.add.reduceat(lots, starts),
        np.add.reduceat(lots * is_buy, starts),
        np.add.reduceat(ticks * lots, starts),
        ends - starts + 1,
        ids[starts],
        ids[ends],
    )
    return [Bar(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def buckets(ts_us: Ints, length_us: int) -> Ints:
    """Return the opening time of each trade's interval: (n,) int64 → (n,) int64, microseconds."""
    origin = MONDAY_US if length_us == WEEK_US else 0
    return (ts_us - origin) // length_us * length_us + origin


def counts_by(ts_us: Ints, length_us: int) -> dict[int, int]:
    """Count trades by the interval they traded in: (n,) int64 microseconds → start, count.

    Examples
    --------
    >>> counts_by(np.array([59, 60, 61]), 60)
    {0: 1, 60: 2}
    """
    starts, counts = np.unique(buckets(ts_us, length_us), return_counts=True)
    return dict(zip(starts.tolist(), counts.tolist(), strict=True))


def fold(bars: Iterable[tuple[int, Bar]], length_us: int) -> Bars:
    """Fold bars into a timeframe whose length is a multiple of theirs, ascending."""
    folded: dict[int, Bar] = {}
    for start, bar in bars:
        key = open_us(start, length_us)
        if key in folded:
            folded[key].merge(bar)
        else:
            folded[key] = bar.copy()
    return sorted(folded.items(), key=lambda item: item[0])
