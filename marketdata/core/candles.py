"""Candles of any timeframe from trades, by event time, whatever order the trades come in."""

from __future__ import annotations

from dataclasses import dataclass

from marketdata.core.bar import Bar, Bars
from marketdata.core.errors import BadInputError
from marketdata.core.instrument import Grid
from marketdata.core.timeframe import open_us


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


def candle(start_us: int, bar: Bar, grid: Grid) -> Candle:
    """Return a bar in prices and quantities, each the float64 nearest to its whole steps."""
    return Candle(
        open_us=start_us,
        open=grid.price(bar.open),
        high=grid.price(bar.high),
        low=grid.price(bar.low),
        close=grid.price(bar.close),
        volume=grid.qty(bar.lots),
        buy_volume=grid.qty(bar.buy_lots),
        quote_volume=float(grid.tick * grid.lot * bar.notional),
        trades=bar.trades,
        first_id=bar.first_id,
        last_id=bar.last_id,
    )


class CandleSeries:
    """The candles of one timeframe, closed by the next event or by the clock.

    Parameters
    ----------
    length_us : int
        Timeframe in microseconds.
    keep : int
        How many candles stay in memory; the oldest leave first, and late trades of theirs are
        passed over: a part of a candle must not look like the whole.
    """

    def __init__(self, length_us: int, keep: int = 2880) -> None:
        if length_us <= 0 or keep <= 0:
            raise BadInputError(
                f"a timeframe and a number of candles above zero expected, "
                f"seen {length_us} microseconds and {keep}"
            )
        self.length_us = length_us
        self.keep = keep
        self.closed_us = 0
        self.since_us = 0
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
        return sorted(key for key in restated if key >= self.since_us)

    def _trim(self) -> None:
        keys = sorted(self._bars)
        for key in keys[: -self.keep]:
            del self._bars[key]
            self._open.discard(key)
        self.since_us = keys[-self.keep]

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
        skipped = 0 if count is None else max(0, len(keys) - count)
        return [(key, self._bars[key]) for key in keys[skipped:]]

    def bar(self, start_us: int) -> Bar | None:
        """Return the bar that opens at `start_us`, or None."""
        return self._bars.get(start_us)

    def scale(self, ticks: int, lots: int) -> None:
        """Recount on a grid that is `ticks` and `lots` times finer."""
        self._bars = {key: bar.scaled(ticks, lots) for key, bar in self._bars.items()}
