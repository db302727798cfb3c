"""Candles as streams send them: those that are over at once, the one under way at a pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from marketdata.simulator import intervals
from marketdata.simulator.history import Candle
from marketdata.simulator.listing import Listing
from marketdata.simulator.streams import Streams

BEAT_S = 0.1
# (listing, candle, interval, the market's time) → what times are divided by → the event.
CandleEvent = Callable[[Listing, Candle, str, int], Callable[[int], Mapping[str, Any]]]


@dataclass
class Course:
    """The candle of one interval that is under way."""

    opened_us: int
    next_s: float
    count: int = -1


class Candles:
    """Sends the candles of all listings to who follows them.

    Parameters
    ----------
    event : callable
        How the venue writes one.
    pace_s : callable
        Interval → seconds between two sendings of the candle under way.
    """

    def __init__(
        self,
        listings: Iterable[Listing],
        streams: Streams,
        event: CandleEvent,
        pace_s: Callable[[str], float],
    ) -> None:
        self._listings = list(listings)
        self._streams = streams
        self._event = event
        self._pace_s = pace_s
        self._courses: dict[str, Course] = {}

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.sleep(BEAT_S)
            followed = {
                self._name(listing, interval): (listing, interval)
                for listing in self._listings
                for interval in self._streams.intervals(listing)
            }
            # Who comes back to a candle stream gets what is under way, not what was missed.
            self._courses = {
                name: self._courses[name] for name in followed if name in self._courses
            }
            for name, (listing, interval) in followed.items():
                await self._candle(name, listing, interval)

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
            course.next_s = time.monotonic() + self._pace_s(interval)
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
        event = self._event(listing, candle, interval, listing.market.now_us())
        self._streams.publish(self._name(listing, interval), event)

    def _name(self, listing: Listing, interval: str) -> str:
        return self._streams.name(listing, f"kline_{interval}")
