"""What the venue sends of its books: changes ten times a second and every second, the best."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from marketdata.simulator.binance_spot import wire
from marketdata.simulator.faults import Faults
from marketdata.simulator.listing import Levels, Listing
from marketdata.simulator.streams import Streams

BEAT_S = 0.1
BEATS_A_SECOND = 10
PARTIAL = (5, 10, 20)


class Ticks:
    """Sends the books of all listings to who follows them."""

    def __init__(self, listings: Iterable[Listing], streams: Streams, faults: Faults) -> None:
        self._listings = list(listings)
        self._streams = streams
        self._faults = faults

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

    def best(self, listing: Listing) -> None:
        """Send the best bid and ask where they changed."""
        if top := listing.moved():
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
