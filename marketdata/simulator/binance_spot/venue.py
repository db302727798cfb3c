"""The venue itself: its doors for REST, streams and archive, and what it does by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot import control, wire
from marketdata.simulator.binance_spot.archive import Archive, Layout
from marketdata.simulator.binance_spot.dialect import SPOT
from marketdata.simulator.binance_spot.rest import ENDPOINTS
from marketdata.simulator.binance_spot.ticks import Ticks
from marketdata.simulator.binance_spot.till import Counter, Till
from marketdata.simulator.binance_spot.wire import MICROSECONDS, MILLISECONDS
from marketdata.simulator.candles import Candles
from marketdata.simulator.connection import frame
from marketdata.simulator.door import Door
from marketdata.simulator.faults import Faults
from marketdata.simulator.generator import GeneratedMarket
from marketdata.simulator.history import Candle
from marketdata.simulator.listing import Listing
from marketdata.simulator.markets import Market
from marketdata.simulator.pump import Pump
from marketdata.simulator.rules import Rules
from marketdata.simulator.streams import Client, Streams
from marketdata.simulator.warden import Warden

COUNTER = Counter(ENDPOINTS, has_units=True)
LAYOUT = Layout(wire.archive_rows, is_fine=True)


class BinanceSpot:
    """Binance spot on a loopback port.

    Parameters
    ----------
    markets : sequence of Market
        What is listed; at least one, all of one label.
    faults : Faults
    rules : Rules
    clock_us : callable
        Wall clock, for the minutes of request weight.
    """

    name = "binance_spot"
    source = "binance_ws"
    RULES = Rules()

    def __init__(
        self,
        markets: Sequence[Market],
        faults: Faults,
        rules: Rules,
        clock_us: Callable[[], int],
    ) -> None:
        self.listings: Mapping[str, Listing] = {one.symbol: Listing(one) for one in markets}
        self.faults = faults
        self.rules = rules
        self.label = markets[0].label
        self._till = Till(COUNTER, self, clock_us)
        self.streams = Streams(self.listings, faults, SPOT)
        self.ticks = Ticks(self.listings.values(), self.streams, faults)
        self._candles = Candles(self.listings.values(), self.streams, _candle_event, _pace_s)
        self.warden = Warden(self.streams.leave, _farewell, faults, rules)
        self._door = Door(self.warden, self._hear, faults, rules)
        self._archive = Archive(self.listings, LAYOUT)
        for listing in self.listings.values():
            self.streams.pumps[listing.symbol] = Pump(
                listing.market, faults, self._publisher(listing), rules.pong_within_s
            )

    @staticmethod
    def invented(
        symbols: Sequence[str], seed: int, rate: float, clock_us: Callable[[], int]
    ) -> list[Market]:
        """Return one market for each symbol."""
        return [GeneratedMarket(symbol, seed, rate, clock_us) for symbol in symbols]

    def routes(self) -> list[web.RouteDef]:
        """Return the venue's own paths."""
        return [
            web.get("/api/v3/{name:.+}", self._till.rest),
            web.get("/data/spot/daily/aggTrades/{path:.+}", self._file),
            web.get("/ws{names:(?:/.*)?}", self._raw),
            web.get("/stream", self._combined),
        ]

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the venue is open."""
        pumps = [pump.run() for pump in self.streams.pumps.values()]
        return [*pumps, self.ticks.books(), self._candles.run(), self.warden.run()]

    def status(self) -> dict[str, Any]:
        """Return what the venue does, for its own pages."""
        return {
            "label": self.label,
            "weight_used": self._till.weights.used,
            **self.warden.status(Client.status),
            "markets": [pump.status() for pump in self.streams.pumps.values()],
        }

    def dismiss(self) -> None:
        """End every connection, as the server stops."""
        self.warden.dismiss()

    def _publisher(self, listing: Listing) -> Callable[[Trades, int], None]:
        def publish(batch: Trades, now_us: int) -> None:
            self.streams.publish_trades(listing, batch, now_us)
            if listing.book:
                listing.follow()
                self.ticks.best(listing)

        return publish

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return await self._archive.answer(request, self.faults, self.rules.weight_per_minute)

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        names = request.match_info["names"].split("/")
        return await self._connected(request, names, combined=False)

    async def _combined(self, request: web.Request) -> web.StreamResponse:
        names = request.query.get("streams", "").split("/")
        return await self._connected(request, names, combined=True)

    async def _connected(
        self, request: web.Request, names: list[str], *, combined: bool
    ) -> web.StreamResponse:
        unit = request.query.get("timeUnit", "MILLISECOND").upper()
        if unit not in {"MILLISECOND", "MICROSECOND"}:
            return web.Response(status=400, text="invalid timeUnit")
        divisor = MICROSECONDS if unit == "MICROSECOND" else MILLISECONDS

        def greeted(client: Client) -> None:
            for name in filter(None, names[: self.rules.streams]):
                self.streams.follow(client, name)

        return await self._door.enter(
            request, lambda connection: Client(connection, combined, divisor), greeted
        )

    def _hear(self, client: Client, text: str) -> bytes:
        return control.answer(self.streams, self.faults, client, text, self.rules.streams)


def _farewell(client: Client) -> bytes:
    now = time.time_ns() // (1000 if client.unit == MICROSECONDS else 1_000_000)
    event = b'{"e":"serverShutdown","E":%d}' % now
    return frame(b'{"stream":"!serverShutdown","data":%s}' % event if client.combined else event)


def _candle_event(
    listing: Listing, candle: Candle, interval: str, now_us: int
) -> Callable[[int], dict[str, Any]]:
    return partial(wire.kline_event, candle, listing.grid, listing.symbol, interval, now_us)


def _pace_s(interval: str) -> float:
    return 1.0 if interval == "1s" else 2.0
