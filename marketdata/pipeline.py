"""The whole data path on one page: batch → fresh trades → candles and context → sinks.

Live feed, repair, backfill, replay and restart all come through `Pipeline.feed`; what differs is
only where the batch came from and which sinks listen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from marketdata.context import MarketContext, day_window
from marketdata.core.bar import Bars, fold
from marketdata.core.candles import CandleSeries
from marketdata.core.counted import Counted, count
from marketdata.core.coverage import runs_of
from marketdata.core.errors import OffGridError
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import DAY_US, TIMEFRAMES
from marketdata.core.trades import Trades

BASE = "1m"
# After the end of a candle the clock waits this long for trades still on their way.
GRACE_US = 2_000_000


class Sink(Protocol):
    """Whoever wants what comes out: the writer, the strategy engine, a list in a test."""

    def trades(self, instrument: Instrument, batch: Batch) -> None:
        """Take trades never seen before."""

    def event(self, instrument: Instrument, event: Event) -> None:
        """Take something that happened."""


@dataclass(slots=True)
class Counts:
    """What went through."""

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
        self.watermark_us = 0

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
            A price or quantity with more than twelve decimals, or too large to be summed.
        """
        trades = self._fresh(batch.trades)
        if not len(trades):
            return 0
        counted = self._count(trades)
        events = self._claim(trades)
        bars = counted.bars(TIMEFRAMES[BASE])
        events += self._restate(bars)
        self.context.update(counted, batch.origin)
        if not is_stored:
            fresh = Batch(trades, batch.origin, batch.recv_us)
            for sink in self.sinks:
                sink.trades(self.instrument, fresh)
        self.counts.trades += len(trades)
        events += self._pass(int(trades.ts_us.max()))
        if not is_stored:
            self._tell(events)
        return len(trades)

    def advance(self, now_us: int) -> None:
        """Let the clock close candles and change sessions where no trade does."""
        self._tell(self._pass(now_us - GRACE_US))

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
        fresh = ordered if is_new.all() else ordered[is_new]
        self.counts.duplicates += len(ordered) - len(fresh)
        return fresh

    def _count(self, trades: Trades) -> Counted:
        """Put trades on the grid, refining it where the venue's prices have become finer."""
        try:
            return count(trades, self.instrument.grid)
        except OffGridError:
            grid = self.instrument.grid.refined(trades.price, trades.qty)
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
        """Note ids as held; a jump is a gap, a run that joins two others closes one."""
        held, events, ts_us = self.context.held, [], int(trades.ts_us[0])
        for first, last in runs_of(trades.id):
            before = held.last
            runs = len(held)
            held.add(first, last)
            if before is not None and first > before + 1:
                detail = {"first_id": before + 1, "last_id": first - 1, "reason": "sequence"}
                events.append(Event("gap", ts_us, detail))
            elif len(held) < runs:
                events.append(Event("gap_closed", ts_us, {"first_id": first, "last_id": last}))
        return events

    def _restate(self, bars: Bars) -> list[Event]:
        events = []
        for name, series in self.series.items():
            for start in series.update(bars):
                self.counts.late += 1
                events.append(
                    Event("candle_restated", start, {"timeframe": name, "open_us": start})
                )
        return events

    def _pass(self, to_us: int) -> list[Event]:
        """Move the watermark and say what ended on the way."""
        if to_us <= self.watermark_us:
            return []
        since, self.watermark_us = self.watermark_us, to_us
        events = [
            Event(
                "candle_complete", start + series.length_us, {"timeframe": name, "open_us": start}
            )
            for name, series in self.series.items()
            for start in series.advance(to_us)
        ]
        if since:
            events += self._edges(since, to_us)
        return sorted(events, key=lambda event: event.ts_us)

    def _edges(self, since_us: int, to_us: int) -> list[Event]:
        calendar, events = self.context.calendar, []
        # A daemon that slept for weeks tells of the last days only.
        for edge in calendar.edges(max(since_us, to_us - 2 * DAY_US), to_us):
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
        return fold(self.series[BASE].bars(), TIMEFRAMES[timeframe])[-count:]
