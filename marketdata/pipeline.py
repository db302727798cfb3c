"""The whole data path on one page: batch → fresh trades → candles and context → sinks.

Live feed, repair, backfill, replay and restart all come through `Pipeline.feed`; what differs is
only where the batch came from and which sinks listen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from marketdata.context import MarketContext, day_window
from marketdata.core.bar import Bars, counts_by, fold
from marketdata.core.candles import CandleSeries
from marketdata.core.counted import Counted, count
from marketdata.core.coverage import Run, missing_of, runs_of
from marketdata.core.errors import OffGridError
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import DAY_US, MINUTE_US, TIMEFRAMES
from marketdata.core.trades import Trades

BASE = "1m"
# After the end of a candle the clock waits this long for trades still on their way.
GRACE_US = 2_000_000
# A tick is refined for prices of at most nine digits: with more, a single odd price would cost the
# profile a page for every price that comes.
MOST_TICKS = 1e9
# Days and sessions that passed in a longer silence are not told one by one: it is rather a
# venue's mistake of years.
MOST_SILENCE_US = 366 * DAY_US


class Sink(Protocol):
    """Whoever wants what comes out: the writer, the strategy engine, a list in a test."""

    def trades(self, instrument: Instrument, batch: Batch) -> None:
        """Take trades never seen before."""

    def event(self, instrument: Instrument, event: Event) -> None:
        """Take something that happened."""


@dataclass(slots=True)
class Counts:
    """What went through: new trades, trades seen before, closed candles that were restated."""

    trades: int = 0
    duplicates: int = 0
    late: int = 0


class Pipeline:
    """One instrument's data path. One thread owns it.

    Parameters
    ----------
    context : MarketContext
        The state to keep.
    sinks : sequence of Sink
        Called in order, in the owner's thread.
    timeframes : sequence of str
        Candle series kept ready; others are folded from 1m.

    Attributes
    ----------
    refused : Counter
        Trades that came again, by the start of their minute; whoever stores the counts clears it.
    """

    def __init__(
        self,
        context: MarketContext,
        sinks: Sequence[Sink] = (),
        timeframes: Sequence[str] = (BASE, "5m"),
    ) -> None:
        self.context = context
        self.sinks = tuple(sinks)
        self.series = {name: CandleSeries(TIMEFRAMES[name]) for name in timeframes}
        self.counts = Counts()
        self.refused: Counter[int] = Counter()
        self.watermark_us = 0
        self._gaps: list[Run] = []

    @property
    def instrument(self) -> Instrument:
        """The instrument, on the grid it is counted on now."""
        return self.context.instrument

    def feed(self, batch: Batch, *, is_stored: bool = False) -> int:
        """Take in a batch and return how many of its trades were new.

        Parameters
        ----------
        batch : Batch
            Any order, any overlap with what came before.
        is_stored : bool
            The trades come from our own store: sinks are not told of them.

        Raises
        ------
        OffGridError
            A price or quantity with more decimals or digits than can be counted, or a price too
            far from the others. Nothing of the batch is taken in.
        """
        trades = self._fresh(batch.trades)
        if len(trades):
            counted = self._count(trades)
            events = self._take(trades, counted, batch.origin)
            if not is_stored:
                self._hand_on(Batch(trades, batch.origin, batch.recv_us), events)
        self.counts.trades += len(trades)
        self.counts.duplicates += len(batch.trades) - len(trades)
        if len(trades) < len(batch.trades) and not is_stored:
            self._refuse(batch.trades, trades)
        return len(trades)

    def _refuse(self, offered: Trades, fresh: Trades) -> None:
        """Count what came again, by the minute it traded in."""
        self.refused.update(counts_by(offered.ts_us, MINUTE_US))
        self.refused.subtract(counts_by(fresh.ts_us, MINUTE_US))

    def _take(self, trades: Trades, counted: Counted, origin: str) -> list[Event]:
        events = self._claim(trades) + self._restate(counted.bars(TIMEFRAMES[BASE]), origin)
        self.context.update(counted, origin)
        since_us = self.watermark_us or int(trades.ts_us[0])
        return events + self._pass(since_us, int(trades.ts_us.max()))

    def _hand_on(self, fresh: Batch, events: list[Event]) -> None:
        for sink in self.sinks:
            sink.trades(self.instrument, fresh)
        self.counts.late += sum(event.kind == "candle_restated" for event in events)
        self._tell(events)

    def advance(self, now_us: int) -> None:
        """Let the clock close candles and change sessions where no trade does."""
        self._tell(self._pass(self.watermark_us, now_us - GRACE_US))

    def _fresh(self, trades: Trades) -> Trades:
        """Return the trades whose ids are not held yet, ascending, each once."""
        if not len(trades):
            return trades
        ordered = trades.sorted()
        is_new = np.ones(len(ordered), dtype=np.bool_)
        if ordered is not trades:
            is_new[1:] = ordered.id[1:] != ordered.id[:-1]
        first, last = int(ordered.id[0]), int(ordered.id[-1])
        for low, high in self.context.held.within(first, last):
            start, end = np.searchsorted(ordered.id, [low, high + 1])
            is_new[start:end] = False
        return ordered if is_new.all() else ordered[is_new]

    def _count(self, trades: Trades) -> Counted:
        """Put trades on the grid, refining it where the venue's prices have become finer."""
        try:
            counted = count(trades, self.instrument.grid)
        except OffGridError:
            counted = self._refine(trades)
        self.context.check(counted)
        return counted

    def _refine(self, trades: Trades) -> Counted:
        grid = self.instrument.grid.refined(trades.price, trades.qty)
        is_finer = grid.tick < self.instrument.grid.tick
        if is_finer and trades.price.max() > MOST_TICKS * grid.tick_size:
            raise OffGridError(
                f"prices in multiples of {self.instrument.grid.tick}, or of a finer tick with at "
                f"most nine digits, expected, seen some in multiples of {grid.tick}"
            )
        counted = count(trades, grid)
        ticks = int(self.instrument.grid.tick / grid.tick)
        lots = int(self.instrument.grid.lot / grid.lot)
        for series in self.series.values():
            series.scale(ticks, lots)
        self.context.on_grid(grid)
        detail = {"tick": str(grid.tick), "lot": str(grid.lot)}
        self._tell([Event("grid_refined", int(trades.ts_us[0]), detail)])
        return counted

    def _claim(self, trades: Trades) -> list[Event]:
        """Note ids as held; a jump is a gap, its last missing id closes it."""
        held, events, end = self.context.held, [], 0
        for first, last in runs_of(trades.id):
            start, end = end, end + last - first + 1
            before = held.last
            self.context.hold(first, last)
            gap = (before + 1 if before is not None else first, first - 1)
            if missing_of(held, self.context.absent, *gap):
                self._gaps.append(gap)
                events.append(_event("gap", trades, start, gap, reason="sequence"))
            elif before is not None and first < before:
                events += [_event("gap_closed", trades, end - 1, gap) for gap in self._settle()]
        return events

    def _settle(self) -> list[Run]:
        """Forget the gaps of which nothing misses any more, and return them."""
        held, absent = self.context.held, self.context.absent
        closed = [gap for gap in self._gaps if not missing_of(held, absent, *gap)]
        self._gaps = [gap for gap in self._gaps if gap not in closed]
        return closed

    def lack(self, runs: Sequence[Run]) -> None:
        """Note ids that the venue itself does not have: they are not missing."""
        for first, last in runs:
            self.context.lack(first, last)
        self._settle()

    def leave_out(self, times: Iterable[int]) -> None:
        """Note when trades were made that the feed did not bring: they stay missing."""
        self.context.leave_out(times)
        self._settle()

    def _restate(self, bars: Bars, origin: str) -> list[Event]:
        return [
            Event(
                "candle_restated",
                start,
                {"timeframe": name, "open_us": start, "origin": origin},
            )
            for name, series in self.series.items()
            for start in series.update(bars)
        ]

    def _pass(self, since_us: int, to_us: int) -> list[Event]:
        """Move the watermark and say what ended on the way."""
        if to_us <= self.watermark_us:
            return []
        self.watermark_us = to_us
        events = [
            Event(
                "candle_complete", start + series.length_us, {"timeframe": name, "open_us": start}
            )
            for name, series in self.series.items()
            for start in series.advance(to_us)
        ]
        if since_us:
            events += self._edges(since_us, to_us)
        return sorted(events, key=lambda event: event.ts_us)

    def _edges(self, since_us: int, to_us: int) -> list[Event]:
        calendar, events = self.context.calendar, []
        for edge in calendar.edges(max(since_us, to_us - MOST_SILENCE_US), to_us):
            before, after = calendar.current(edge - 1), calendar.current(edge)
            if before.name != after.name:
                detail = {"from": before.name, "to": after.name, "until_us": after.end_us}
                events.append(Event("session_change", edge, detail))
            if edge == day_window(edge).start_us:
                events.append(Event("day_roll", edge, {}))
        return events

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            for sink in self.sinks:
                sink.event(self.instrument, event)

    def bars(self, timeframe: str, count: int) -> Bars:
        """Return the newest bars of any timeframe, oldest first. Raises KeyError for unknown."""
        if timeframe in self.series:
            return self.series[timeframe].bars(count)
        minutes = self.series[BASE]
        folded = fold(minutes.bars(), TIMEFRAMES[timeframe])
        # Of the first one the beginning may have left memory.
        whole = [(start, bar) for start, bar in folded if start >= minutes.since_us]
        return whole[max(0, len(whole) - count) :]


def _event(kind: str, trades: Trades, at: int, gap: Run, **detail: str) -> Event:
    ids = {"first_id": gap[0], "last_id": gap[1]}
    return Event(kind, int(trades.ts_us[at]), {**ids, **detail})
