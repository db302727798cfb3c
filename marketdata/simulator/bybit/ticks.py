"""What the venue sends by the clock: books, tickers, candles, liquidations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marketdata.simulator import intervals
from marketdata.simulator.bybit import tickers, wire
from marketdata.simulator.bybit.instruments import Instrument
from marketdata.simulator.bybit.ladder import Ladder, Step
from marketdata.simulator.bybit.numerals import LINEAR
from marketdata.simulator.bybit.streams import INTERVALS, Streams
from marketdata.simulator.faults import Faults
from marketdata.simulator.history import Candle

BEAT_S = 0.02
BREATH = 5  # beats between two breaths of a book
TICKER_S = 0.1
CANDLE_S = 0.1
CANDLE_EVERY_S = 1.0
DAY_EVERY_S = 5.0
LIQUIDATION_S = 0.5


@dataclass
class Course:
    """The candle of one interval that is under way."""

    opened_us: int
    next_s: float = 0.0
    count: int = -1


@dataclass
class Shown:
    """What the followers of one ticker know."""

    fields: dict[str, str] = field(default_factory=dict)
    day: tickers.Day | None = None
    count_s: float = 0.0


class Ticks:
    """Sends what goes by the clock, of one category, to who follows it."""

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        spots: Mapping[str, Instrument],
        faults: Faults,
    ) -> None:
        self.streams: Streams
        self._instruments = list(instruments.values())
        self._spots = spots
        self._faults = faults
        self._courses: dict[str, Course] = {}
        self._shown: dict[str, Shown] = {}

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the venue is open."""
        return [self.books(), self.quotes(), self.days(), self.candles(), self.liquidations()]

    def opening(self, instrument: Instrument, kind: str, topic: str) -> Sequence[bytes]:
        """Return what a new follower gets at once: the whole book, the whole ticker."""
        if kind.startswith("orderbook."):
            ladder = instrument.ladder(int(kind.removeprefix("orderbook.")))
            return [self._book(instrument, ladder.snapshot(), topic)]
        if kind != "tickers":
            return ()
        shown = self._shown.setdefault(instrument.symbol, Shown())
        shown.fields = shown.fields or self._ticker(instrument, shown)
        return [self._quote(instrument, topic, "snapshot", shown.fields)]

    async def books(self) -> None:
        """Send what changed in the books, until cancelled."""
        beat = 0
        while True:
            await asyncio.sleep(BEAT_S)
            beat += 1
            for instrument in self._instruments:
                if instrument.ladders:
                    self._breathe(instrument, beat)
                    for ladder, step in instrument.climb(beat):
                        self._told(instrument, ladder, step)

    async def quotes(self) -> None:
        """Send what changed in the tickers, until cancelled."""
        while True:
            await asyncio.sleep(TICKER_S)
            for instrument in self._instruments:
                topic = f"tickers.{instrument.symbol}"
                if self.streams.followers(topic):
                    self._changed(instrument, topic)

    async def days(self) -> None:
        """Count the last 24 hours for the tickers, beside the loop, until cancelled."""
        while True:
            await asyncio.sleep(TICKER_S)
            for instrument in self._instruments:
                shown = self._shown.get(instrument.symbol)
                if shown and time.monotonic() >= shown.count_s:
                    if self.streams.followers(f"tickers.{instrument.symbol}"):
                        shown.day = await asyncio.to_thread(tickers.counted, instrument)
                    shown.count_s = time.monotonic() + DAY_EVERY_S

    async def candles(self) -> None:
        """Send candles that are over at once, others every second, until cancelled."""
        while True:
            await asyncio.sleep(CANDLE_S)
            followed = {
                f"kline.{interval}.{instrument.symbol}": (instrument, interval)
                for instrument in self._instruments
                for interval in self.streams.intervals(instrument)
            }
            # Who comes back to a candle gets what is under way, not what was missed.
            self._courses = {
                topic: self._courses[topic] for topic in followed if topic in self._courses
            }
            for topic, (instrument, interval) in followed.items():
                await self._candle(topic, instrument, interval)

    async def liquidations(self) -> None:
        """Send what was liquidated in half a second, until cancelled."""
        while True:
            await asyncio.sleep(LIQUIDATION_S)
            for instrument in self._instruments:
                topic = f"allLiquidation.{instrument.symbol}"
                if self.streams.followers(topic):
                    self._liquidated(instrument, topic)

    def _liquidated(self, instrument: Instrument, topic: str) -> None:
        rows, instrument.liquidated = instrument.liquidated, []
        if self._faults.take("liquidation"):
            rows += instrument.forced(instrument.listing.history.last_trade())
        if rows:
            data = wire.liquidation_message(instrument.numerals, topic, rows, instrument.now_ms())
            self.streams.publish(topic, data)

    def _breathe(self, instrument: Instrument, beat: int) -> None:
        instrument.listing.follow()
        if beat % BREATH == 0:
            instrument.listing.made_book().breathe()

    def _told(self, instrument: Instrument, ladder: Ladder, step: Step) -> None:
        topic = f"orderbook.{ladder.depth}.{instrument.symbol}"
        if not self.streams.followers(topic) or self._faults.take("depth_gap"):
            return
        if self._faults.take("book_restart"):
            step = ladder.restart()
        elif self._faults.take("book_again"):
            step = ladder.snapshot()
        elif step.kind == "delta" and self._faults.take("delete_absent"):
            bids, asks = step.levels
            step = Step(step.kind, ([ladder.absent(), *bids], asks), step.update_id)
        self.streams.publish(topic, self._book(instrument, step, topic))

    def _book(self, instrument: Instrument, step: Step, topic: str) -> bytes:
        stamp = step.update_id, instrument.seq(), instrument.now_ms()
        return wire.book_message(instrument.numerals, topic, step.kind, step.levels, stamp)

    def _changed(self, instrument: Instrument, topic: str) -> None:
        shown = self._shown[instrument.symbol]
        fields = self._ticker(instrument, shown)
        changed = {name: value for name, value in fields.items() if shown.fields.get(name) != value}
        if not changed or self._faults.value("stall"):
            return
        shown.fields = fields
        if instrument.category == LINEAR:
            delta = {"symbol": instrument.symbol, **changed}
            self.streams.publish(topic, self._quote(instrument, topic, "delta", delta))
        else:
            self.streams.publish(topic, self._quote(instrument, topic, "snapshot", fields))

    def _ticker(self, instrument: Instrument, shown: Shown) -> dict[str, str]:
        return tickers.streamed(instrument, self._spots.get(instrument.symbol), shown.day)

    def _quote(
        self, instrument: Instrument, topic: str, kind: str, fields: Mapping[str, str]
    ) -> bytes:
        stamp = instrument.seq(), instrument.now_ms()
        return wire.ticker_message(instrument.category, topic, kind, fields, stamp)

    async def _candle(self, topic: str, instrument: Instrument, interval: str) -> None:
        now_us = instrument.market.now_us()
        opened_us = int(intervals.opens(INTERVALS[interval], now_us, now_us + 1)[0])
        course = self._courses.get(topic)
        if course is None:
            await asyncio.to_thread(instrument.listing.history.warm, opened_us)
            course = self._courses[topic] = Course(opened_us)
        if opened_us > course.opened_us:
            self._send_over(topic, instrument, interval, opened_us)
        if time.monotonic() >= course.next_s:
            course.next_s = time.monotonic() + CANDLE_EVERY_S
            self._send_open(topic, instrument, interval)

    def _send_over(self, topic: str, instrument: Instrument, interval: str, opened_us: int) -> None:
        course, history = self._courses[topic], instrument.listing.history
        over = history.candles(INTERVALS[interval], course.opened_us, opened_us - 1, 1000)
        for candle in over:
            self._send(topic, instrument, interval, candle)
        # A tape at full speed may have passed more candles than one page.
        course.opened_us = over[-1].end_us if over else opened_us
        course.count = -1

    def _send_open(self, topic: str, instrument: Instrument, interval: str) -> None:
        course, history = self._courses[topic], instrument.listing.history
        for candle in history.candles(INTERVALS[interval], course.opened_us, None, 1):
            if candle.count != course.count:
                course.count = candle.count
                self._send(topic, instrument, interval, candle)

    def _send(self, topic: str, instrument: Instrument, interval: str, candle: Candle) -> None:
        now_us = instrument.market.now_us()
        self.streams.publish(
            topic, wire.kline_message(instrument.numerals, topic, interval, candle, now_us)
        )
