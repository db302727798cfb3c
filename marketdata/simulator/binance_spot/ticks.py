"""What the venue sends by the clock: books ten times a second, candles every two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from marketdata.simulator import intervals
from marketdata.simulator.binance_spot import wire
from marketdata.simulator.faults import Faults
from marketdata.simulator.history import Candle
from marketdata.simulator.listing import Levels, Listing
from marketdata.simulator.streams import Streams

BEAT_S = 0.1
BEATS_A_SECOND = 10
PARTIAL = (5, 10, 20)


@dataclass
class Course:
    """The candle of one interval that is under way."""

    opened_us: int
    next_s: float
    count: int = -1


class Ticks:
    """Sends books and candles of all listings to who follows them."""

    def __init__(self, listings: Iterable[Listing], streams: Streams, faults: Faults) -> None:
        self._listings = list(listings)
        self._streams = streams
        self._faults = faults
        self._courses: dict[str, Course] = {}

    async def books(self) -> None:
        """Send what changed in the books, until cancelled."""
        beat = 0
        while True:
            await asyncio.sleep(BEAT_S)
            beat += 1
            for listing in self._listings:
                if listing.book:
                    listing.follow()
                    listing.book.breathe()
                    self.best(listing)
                    self._changes(listing, is_second=beat % BEATS_A_SECOND == 0)

    async def candles(self) -> None:
        """Send candles that are over at once, others every two seconds, until cancelled."""
        while True:
            await asyncio.sleep(BEAT_S)
            followed = {
                f"{listing.stream}@kline_{interval}": (listing, interval)
                for listing in self._listings
                for interval in self._streams.intervals(listing)
            }
            # Who comes back to a candle stream gets what is under way, not what was missed.
            self._courses = {
                name: self._courses[name] for name in followed if name in self._courses
            }
            for name, (listing, interval) in followed.items():
                await self._candle(name, listing, interval)

    def best(self, listing: Listing) -> None:
        """Send the best bid and ask where they changed."""
        if listing.book is None or listing.book.best == listing.best:
            return
        listing.best = listing.book.best
        top = Levels.of(listing.book, 1)
        event = wire.book_ticker_event(top, listing.grid, listing.symbol)
        self._streams.publish(f"{listing.stream}@bookTicker", lambda unit: event)

    def _changes(self, listing: Listing, *, is_second: bool) -> None:
        change = listing.made_book().change()
        if change is None:
            return
        listing.second = listing.second.then(change) if listing.second else change
        now_us = listing.market.now_us()
        make = partial(wire.depth_event, change, listing.grid, listing.symbol, now_us)
        fast = f"{listing.stream}@depth@100ms"
        if self._streams.followers(fast) and not self._faults.take("depth_gap"):
            self._streams.publish(fast, make)
        self._partial(listing, "@100ms")
        if is_second:
            make = partial(wire.depth_event, listing.second, listing.grid, listing.symbol, now_us)
            listing.second = None
            for pace in ("", "@1000ms"):
                self._streams.publish(f"{listing.stream}@depth{pace}", make)
                self._partial(listing, pace)

    def _partial(self, listing: Listing, pace: str) -> None:
        for count in PARTIAL:
            name = f"{listing.stream}@depth{count}{pace}"
            if self._streams.followers(name):
                top = wire.levels(Levels.of(listing.made_book(), count), listing.grid)
                self._streams.publish(name, lambda unit, top=top: top)  # type: ignore[misc]

    async def _candle(self, name: str, listing: Listing, interval: str) -> None:
        now_us = listing.market.now_us()
        opened_us = int(intervals.opens(interval, now_us, now_us + 1)[0])
        course = self._courses.get(name)
        if course is None:
            await asyncio.to_thread(listing.history.warm, opened_us)
            course = self._courses[name] = Course(opened_us, 0.0)
        if opened_us > course.opened_us:
            self._send_over(listing, interval, course, opened_us)
        if time.monotonic() >= course.next_s:
            course.next_s = time.monotonic() + (1.0 if interval == "1s" else 2.0)
            self._send_open(listing, interval, course)

    def _send_over(self, listing: Listing, interval: str, course: Course, opened_us: int) -> None:
        over = listing.history.candles(interval, course.opened_us, opened_us - 1, 1000)
        for candle in over:
            self._send(listing, interval, candle)
        # A tape at full speed may have passed more candles than one page.
        course.opened_us = over[-1].end_us if over else opened_us
        course.count = -1

    def _send_open(self, listing: Listing, interval: str, course: Course) -> None:
        for candle in listing.history.candles(interval, course.opened_us, None, 1):
            if candle.count != course.count:
                course.count = candle.count
                self._send(listing, interval, candle)

    def _send(self, listing: Listing, interval: str, candle: Candle) -> None:
        now_us = listing.market.now_us()
        self._streams.publish(
            f"{listing.stream}@kline_{interval}",
            partial(wire.kline_event, candle, listing.grid, listing.symbol, interval, now_us),
        )
