"""Binance spot: its paths, the unit of its times, and how it says goodbye."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot import wire
from marketdata.simulator.binance_spot.archive import Layout
from marketdata.simulator.binance_spot.dialect import SPOT
from marketdata.simulator.binance_spot.rest import ENDPOINTS
from marketdata.simulator.binance_spot.room import BinanceRoom
from marketdata.simulator.binance_spot.ticks import Ticks
from marketdata.simulator.binance_spot.till import Counter
from marketdata.simulator.binance_spot.wire import MICROSECONDS, MILLISECONDS
from marketdata.simulator.connection import frame
from marketdata.simulator.generator import GeneratedMarket
from marketdata.simulator.history import Candle
from marketdata.simulator.listing import Listing
from marketdata.simulator.markets import Market
from marketdata.simulator.rules import Rules
from marketdata.simulator.streams import Client

UNITS = {"MILLISECOND": MILLISECONDS, "MICROSECOND": MICROSECONDS}


class BinanceSpot(BinanceRoom):
    """Binance spot on a loopback port; see BinanceRoom."""

    name = "binance_spot"
    source = "binance_ws"
    RULES = Rules()
    COUNTER = Counter(ENDPOINTS, has_units=True)
    LAYOUT = Layout(wire.archive_rows, is_fine=True)
    DIALECT = SPOT
    ticks: Ticks

    @staticmethod
    def invented(
        symbols: Sequence[str], seed: int, rate: float, clock_us: Callable[[], int]
    ) -> list[Market]:
        """Return one market for each symbol."""
        return [GeneratedMarket(symbol, seed, rate, clock_us) for symbol in symbols]

    def new_ticks(self) -> Ticks:
        """Return what sends by the clock."""
        return Ticks(self.listings.values(), self.streams, self.faults)

    def routes(self) -> list[web.RouteDef]:
        """Return the venue's own paths."""
        return [
            web.get("/api/v3/{name:.+}", self.rest),
            web.get("/data/spot/daily/aggTrades/{path:.+}", self.file),
            web.get("/ws{names:(?:/.*)?}", self.raw),
            web.get("/stream", self.combined),
        ]

    def ticking(self) -> list[Coroutine[Any, Any, None]]:
        """Return what sends books."""
        return [self.ticks.books()]

    @staticmethod
    def candle_event(
        listing: Listing, candle: Candle, interval: str, now_us: int
    ) -> Callable[[int], dict[str, Any]]:
        """Return how a candle is written."""
        return partial(wire.kline_event, candle, listing.grid, listing.symbol, interval, now_us)

    @staticmethod
    def pace_s(interval: str) -> float:
        """Return the seconds between two sendings of the candle under way."""
        return 1.0 if interval == "1s" else 2.0

    def traded(self, listing: Listing, batch: Trades, now_us: int) -> None:
        """Send what was traded."""
        self.streams.publish_trades(listing, batch, now_us)

    def unit(self, request: web.Request) -> int:
        """Return what times are divided by, as the query says. Raises HTTPBadRequest."""
        unit = UNITS.get(request.query.get("timeUnit", "MILLISECOND").upper())
        if unit is None:
            raise web.HTTPBadRequest(text="invalid timeUnit")
        return unit

    def farewell(self, client: Client) -> bytes:
        """Return `serverShutdown`."""
        now = time.time_ns() // (1000 if client.unit == MICROSECONDS else 1_000_000)
        event = b'{"e":"serverShutdown","E":%d}' % now
        if client.combined:
            event = b'{"stream":"!serverShutdown","data":%s}' % event
        return frame(event)
