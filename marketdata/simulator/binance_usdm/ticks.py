"""What the venue sends by the clock: books at three paces, marks, and forced orders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from marketdata.simulator.binance_usdm import rates, wire
from marketdata.simulator.binance_usdm.dialect import PACES
from marketdata.simulator.book import BookChange
from marketdata.simulator.faults import Faults
from marketdata.simulator.listing import Levels, Listing
from marketdata.simulator.noise import Lane
from marketdata.simulator.streams import Streams

BEAT_MS = 50
BREATH_MS = 100
PARTIAL = (5, 10, 20)
MARK_S, SLOW_MARK_S = 1, 3
EARLY_S = 0.02
# A symbol sees a forced order in one of so many seconds.
FORCED_EVERY_S = 30
FORCED_VALUE = 8_000.0  # quote


@dataclass
class Chain:
    """The changes of one book that are not sent yet at one pace, and the last id that was."""

    sent_id: int
    waiting: BookChange | None = None


class Ticks:
    """Sends books, marks and forced orders of all listings to who follows them."""

    def __init__(self, listings: Iterable[Listing], streams: Streams, faults: Faults) -> None:
        self._listings = list(listings)
        self._streams = streams
        self._faults = faults
        self._chains: dict[tuple[str, str], Chain] = {}

    def send(self, listing: Listing, kind: str, event: dict[str, Any]) -> None:
        """Send one event; the fault `st_mixed` sends its namesake of another market first."""
        name = self._streams.name(listing, kind)
        if not self._streams.followers(name):
            return
        if self._faults.take("st_mixed"):
            other = wire.stranger(event)
            self._streams.publish(name, lambda unit: other)
        self._streams.publish(name, lambda unit: event)

    def best(self, listing: Listing) -> None:
        """Send the best bid and ask where they changed."""
        if top := listing.moved():
            event = wire.book_ticker_event(top, listing.grid, listing.symbol, _now_ms(listing))
            self.send(listing, "bookTicker", event)

    async def books(self) -> None:
        """Send what changed in the books, until cancelled."""
        beat_ms = 0
        while True:
            await asyncio.sleep(BEAT_MS / 1000)
            beat_ms += BEAT_MS
            for listing in self._listings:
                if listing.book:
                    self._beat(listing, beat_ms)

    async def marks(self) -> None:
        """Send marks and forced orders as each second begins, until cancelled."""
        second = 0
        while True:
            await asyncio.sleep(MARK_S - time.time() % MARK_S)
            # A sleep may end a little early, in the second before.
            before, second = second, int(time.time() + EARLY_S)
            if second == before:
                continue
            for listing in self._listings:
                self._mark(listing, is_slow=second % SLOW_MARK_S == 0)
                self._force(listing, second)

    def _beat(self, listing: Listing, beat_ms: int) -> None:
        listing.follow()
        book = listing.made_book()
        if beat_ms % BREATH_MS == 0:
            book.breathe()
        self.best(listing)
        before, change = book.sent_id, book.change()
        for pace, every_ms in PACES.items():
            chain = self._chains.setdefault((listing.symbol, pace), Chain(before))
            if change:
                chain.waiting = chain.waiting.then(change) if chain.waiting else change
            if chain.waiting and beat_ms % every_ms == 0:
                self._change(listing, pace, chain.sent_id, chain.waiting)
                chain.sent_id, chain.waiting = chain.waiting.last, None

    def _change(self, listing: Listing, pace: str, before: int, change: BookChange) -> None:
        """Send one step of a chain; a step that is left out breaks it for who follows."""
        grid, symbol, now_ms = listing.grid, listing.symbol, _now_ms(listing)
        name = self._streams.name(listing, f"depth{pace}")
        if self._streams.followers(name) and not self._faults.take("depth_gap"):
            event = wire.depth_event(change, grid, symbol, now_ms, before=before)
            self.send(listing, f"depth{pace}", event)
        for count in PARTIAL:
            kind = f"depth{count}{pace}"
            if self._streams.followers(self._streams.name(listing, kind)):
                top = Levels.of(listing.made_book(), count)
                self.send(
                    listing, kind, wire.partial_event(top, grid, symbol, now_ms, before=before)
                )

    def _mark(self, listing: Listing, *, is_slow: bool) -> None:
        kinds = ("markPrice@1s", "markPrice") if is_slow else ("markPrice@1s",)
        if not any(self._streams.followers(self._streams.name(listing, kind)) for kind in kinds):
            return
        now_us = listing.market.now_us()
        next_ms = rates.next_funding_us(listing.symbol, now_us) // 1000
        marks = rates.marks(listing, now_us)
        event = wire.mark_price_event(marks, listing.symbol, next_ms, now_us // 1000)
        for kind in kinds:
            self.send(listing, kind, event)

    def _force(self, listing: Listing, second: int) -> None:
        """Send at most one forced order a second, as the venue does whatever happened in it."""
        if not self._streams.followers(self._streams.name(listing, "forceOrder")):
            return
        lane = Lane.of("forced", listing.symbol)
        chance, side, size = lane.uniform(np.arange(3) + 3 * second).tolist()
        if self._faults.take("liquidation") or chance * FORCED_EVERY_S < 1:
            self.send(listing, "forceOrder", _forced(listing, size, is_buy=side < 0.5))


def _forced(listing: Listing, size: float, *, is_buy: bool) -> dict[str, Any]:
    grid, now_us = listing.grid, listing.market.now_us()
    mark = rates.marks(listing, now_us).mark
    tick = max(1, round(mark * (1.004 if is_buy else 0.996) / grid.tick_size))
    lots = max(1, round(FORCED_VALUE * (0.1 + 2 * size) / mark / grid.lot_size))
    price, qty = wire.plain(tick, grid.tick), wire.plain(lots, grid.lot)
    return wire.force_order_event(listing.symbol, price, qty, now_us // 1000, is_buy=is_buy)


def _now_ms(listing: Listing) -> int:
    return listing.market.now_us() // 1000
