"""What REST answers about the past of one market: pages of trades and candles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US, open_us
from marketdata.core.trades import Ints, Trades
from marketdata.simulator import intervals
from marketdata.simulator.markets import Market

SUMS = ("volume", "quote", "buy_volume", "buy_quote", "count")
COLUMNS = ("open_us", "open", "high", "low", "close", *SUMS, "first_id", "last_id")


@dataclass(frozen=True, slots=True)
class Bars:
    """Candles in columns of int64: prices in ticks, volumes in lots, quote in ticks x lots.

    Counts and ids are those of raw trades.
    """

    open_us: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    quote: Ints
    buy_volume: Ints
    buy_quote: Ints
    count: Ints
    first_id: Ints
    last_id: Ints

    def __len__(self) -> int:
        return len(self.open_us)

    @classmethod
    def of(cls, trades: Trades, market: Market) -> Bars:
        """Return one bar per trade, opening at its time."""
        price, lots = market.grid.ticks(trades.price), market.grid.lots(trades.qty)
        quote = price * lots
        first, last = market.fills.first(trades.id), market.fills.last(trades.id)
        return cls(
            open_us=trades.ts_us,
            open=price,
            high=price,
            low=price,
            close=price,
            volume=lots,
            quote=quote,
            buy_volume=np.where(trades.is_buy, lots, 0),
            buy_quote=np.where(trades.is_buy, quote, 0),
            count=last - first + 1,
            first_id=first,
            last_id=last,
        )

    @classmethod
    def concat(cls, parts: list[Bars]) -> Bars:
        """Join bars end to end; at least one part."""
        columns = {name: [getattr(part, name) for part in parts] for name in COLUMNS}
        return cls(**{name: np.concatenate(column) for name, column in columns.items()})

    def between(self, start_us: int, end_us: int) -> Bars:
        """Return the bars that open in [start, end)."""
        low, high = np.searchsorted(self.open_us, (start_us, end_us))
        return Bars(**{name: getattr(self, name)[low:high] for name in COLUMNS})

    def fold(self, opens: Ints) -> Bars:
        """Return the longer candles that open at ascending `opens` and hold these bars."""
        if not len(self):
            return self
        bucket = np.searchsorted(opens, self.open_us, side="right") - 1
        head = np.concatenate(([0], np.flatnonzero(np.diff(bucket)) + 1))
        tail = np.concatenate((head[1:], [len(bucket)])) - 1
        return Bars(
            open_us=opens[bucket[head]],
            open=self.open[head],
            high=np.maximum.reduceat(self.high, head),
            low=np.minimum.reduceat(self.low, head),
            close=self.close[tail],
            first_id=self.first_id[head],
            last_id=self.last_id[tail],
            **{name: np.add.reduceat(getattr(self, name), head) for name in SUMS},
        )


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle of the venue; prices in ticks, volumes in lots, quote in ticks x lots.

    `end_us` is when the next one opens; without trades the ids are -1.
    """

    open_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote: int
    buy_volume: int
    buy_quote: int
    count: int
    first_id: int
    last_id: int
    end_us: int

    @classmethod
    def flat(cls, open_us: int, price: int, end_us: int) -> Candle:
        """Return the candle of a time without trades, at the last price before it."""
        return cls(open_us, price, price, price, price, 0, 0, 0, 0, 0, -1, -1, end_us)


class History:
    """The public past of one market.

    Notes
    -----
    Minute bars of complete hours are kept, so a day's candle costs its trades once.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self.grid = market.grid
        self._hours: dict[int, Bars] = {}

    def page(
        self, from_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> Trades:
        """Return public aggregates as the venue pages them.

        From an id, or the oldest of [start, end], or the newest up to `end`, or the newest.
        Both edges are inclusive.
        """
        market = self.market
        last = market.last_id
        if end_us is not None:
            last = min(last, market.id_at(end_us + 1) - 1)
        if from_id is None and start_us is None:
            return self._newest(last, limit)
        first = from_id if from_id is not None else market.id_at(start_us or 0)
        first = max(first, market.first_id)
        if first > last:
            return Trades.empty()
        found = market.after(first - 1, limit)
        return found[: int(np.searchsorted(found.id, last, side="right"))]

    def raw_page(self, from_id: int | None, limit: int) -> Trades:
        """Return public raw trades from an id on, or the newest."""
        market, fills = self.market, self.market.fills
        if from_id is None:
            newest = self._newest(market.last_id, limit)
            return fills.split(newest, self.grid)[-limit:]
        found = fills.split(self.page(fills.aggregate_of(from_id), None, None, limit), self.grid)
        return found[int(np.searchsorted(found.id, from_id)) :][:limit]

    def last_trade(self) -> Trades:
        """Return the newest public trade, or none."""
        return self._newest(self.market.last_id, 1)

    def candles(
        self,
        interval: str,
        start_us: int | None,
        end_us: int | None,
        limit: int,
        offset_us: int = 0,
    ) -> list[Candle]:
        """Return the candles that open in [start, end], flat where nothing traded in between.

        The oldest `limit` of them where a start is given, else the newest.
        """
        market = self.market
        if market.last_id < market.first_id:
            return []
        opens = intervals.opens(interval, self._oldest_us(), market.now_us() + 1, offset_us)
        low = 0 if start_us is None else int(np.searchsorted(opens, start_us))
        high = len(opens) if end_us is None else int(np.searchsorted(opens, end_us, side="right"))
        picked = opens[low:high]
        picked = picked[-limit:] if start_us is None else picked[:limit]
        return self._filled(interval, picked, offset_us) if len(picked) else []

    def window(self, start_us: int, end_us: int) -> Candle | None:
        """Return everything traded in [start, end) as one candle, or None."""
        whole_us = open_us(start_us + MINUTE_US - 1, MINUTE_US)
        bars = Bars.concat(
            [self._bars(start_us, min(whole_us, end_us)), self.bars(whole_us, end_us)]
        )
        if not len(bars):
            return None
        return _candles(bars.fold(np.array([start_us])), [end_us])[0]

    def warm(self, start_us: int) -> None:
        """Count the complete hours since a time, so that later answers find them."""
        if self.market.last_id >= self.market.first_id:
            self.bars(start_us, self.market.now_us() // HOUR_US * HOUR_US)

    def bars(self, start_us: int, end_us: int) -> Bars:
        """Return the minute bars of public trades that open in [start, end)."""
        end_us = min(end_us, self.market.now_us() + 1)
        start_us = max(start_us, self._oldest_us())
        hours = range(start_us // HOUR_US, (end_us - 1) // HOUR_US + 1)
        parts = [self._bars_of_hour(hour, start_us) for hour in hours]
        return Bars.concat(parts or [Bars.of(Trades.empty(), self.market)]).between(
            start_us, end_us
        )

    def _oldest_us(self) -> int:
        # The minute's opening: its bar holds the first trade.
        first = self.market.after(self.market.first_id - 1, 1)
        return open_us(int(first.ts_us[0]), MINUTE_US)

    def _bars_of_hour(self, hour: int, start_us: int) -> Bars:
        """Return the bars of an hour; of one under way, those of the minutes from a time on."""
        begin, end = hour * HOUR_US, (hour + 1) * HOUR_US
        # At the end the clock itself must be past the hour, else a late trade would be lost.
        if self.market.now_us() < end:
            # Not kept: the candle under way is asked for again and again.
            return self._minutes(max(begin, open_us(start_us, MINUTE_US)), end)
        if hour not in self._hours:
            self._hours[hour] = self._minutes(begin, end)
        return self._hours[hour]

    def _minutes(self, begin_us: int, end_us: int) -> Bars:
        return self._bars(begin_us, end_us).fold(np.arange(begin_us, end_us, MINUTE_US))

    def _bars(self, begin_us: int, end_us: int) -> Bars:
        """Return one bar per public trade in [begin, end)."""
        market = self.market
        first = max(market.id_at(begin_us), market.first_id)
        last = min(market.id_at(end_us) - 1, market.last_id)
        trades = market.slice(first, last) if first <= last else Trades.empty()
        return Bars.of(trades, market)

    def _filled(self, interval: str, opens: Ints, offset_us: int) -> list[Candle]:
        ends = [*opens[1:].tolist(), intervals.next_open(interval, int(opens[-1]), offset_us)]
        is_short = intervals.LENGTHS.get(interval, DAY_US) < MINUTE_US
        bars = (self._bars if is_short else self.bars)(int(opens[0]), ends[-1])
        folded = bars.fold(opens)
        closing = dict(zip(opens.tolist(), ends, strict=True))
        held = {
            candle.open_us: candle
            for candle in _candles(folded, [closing[opened] for opened in folded.open_us.tolist()])
        }
        return list(self._with_flat(closing, held))

    def _with_flat(self, closing: dict[int, int], held: dict[int, Candle]) -> Iterator[Candle]:
        close = self._close_before(next(iter(closing)))
        for opened, end_us in closing.items():
            candle = held.get(opened) or (Candle.flat(opened, close, end_us) if close else None)
            if candle:
                close = candle.close
                yield candle

    def _close_before(self, ts_us: int) -> int:
        before = self.market.id_at(ts_us) - 1
        trades = self._newest(min(before, self.market.last_id), 1)
        return int(self.grid.ticks(trades.price)[-1]) if len(trades) else 0

    def _newest(self, last: int, limit: int) -> Trades:
        # A tape may lack ids, so a page of ids can hold fewer trades: widen until it is full.
        width = limit
        while True:
            found = self.market.slice(max(self.market.first_id, last - width + 1), last)
            if len(found) >= limit or last - width < self.market.first_id:
                return found[-limit:]
            width *= 4


def money(count: int, step: Decimal) -> str:
    """Return `count` steps as the venue writes them: eight decimals.

    Examples
    --------
    >>> money(10000001, Decimal("0.01"))
    '100000.01000000'
    """
    return f"{count * step:.8f}"


def _candles(bars: Bars, ends: list[int]) -> list[Candle]:
    columns = (getattr(bars, name).tolist() for name in COLUMNS)
    return [Candle(*row) for row in zip(*columns, ends, strict=True)]
