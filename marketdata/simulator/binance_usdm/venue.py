"""The venue itself: its doors for REST, the routes of its streams and its archive."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from aiohttp import web

from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot import control
from marketdata.simulator.binance_spot.archive import Archive, Layout
from marketdata.simulator.binance_spot.till import Counter, Till
from marketdata.simulator.binance_spot.wire import MILLISECONDS
from marketdata.simulator.binance_usdm import wire
from marketdata.simulator.binance_usdm.dialect import MARKET, PRIVATE, PUBLIC, USD_M
from marketdata.simulator.binance_usdm.rest import ENDPOINTS, POOLS
from marketdata.simulator.binance_usdm.ticks import Ticks
from marketdata.simulator.candles import Candles
from marketdata.simulator.door import Door
from marketdata.simulator.faults import Faults
from marketdata.simulator.generator import Character, GeneratedMarket
from marketdata.simulator.history import Candle
from marketdata.simulator.listing import Listing
from marketdata.simulator.markets import Market
from marketdata.simulator.pump import Pump
from marketdata.simulator.rules import Rules
from marketdata.simulator.streams import Client, Streams
from marketdata.simulator.warden import Warden

COUNTER = Counter(ENDPOINTS, POOLS)
LAYOUT = Layout(wire.archive_rows, wire.HEADER)
ROUTE = f"{{route:{PUBLIC}|{MARKET}|{PRIVATE}}}"
KLINE_S = 0.25
TRADE_VALUE = 1_500.0  # quote: lots are coarse
GRIDS = {
    "BTCUSDT": Grid(Decimal("0.10"), Decimal("0.001")),
    "ETHUSDT": Grid(Decimal("0.01"), Decimal("0.001")),
    "SOLUSDT": Grid(Decimal("0.0100"), Decimal("0.01")),
    "BNBUSDT": Grid(Decimal("0.010"), Decimal("0.01")),
}


class BinanceUsdm:
    """Binance USD-M futures on a loopback port.

    Parameters
    ----------
    markets : sequence of Market
        What is listed; at least one, all of one label.
    faults : Faults
    rules : Rules
    clock_us : callable
        Wall clock, for the minutes of request weight.
    """

    name = "binance_usdm"
    source = "binance_futures"
    RULES = Rules(
        weight_per_minute=2400, messages_per_s=10, ping_every_s=180.0, pong_within_s=600.0
    )

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
        self.streams = Streams(self.listings, faults, USD_M)
        self.ticks = Ticks(self.listings.values(), self.streams, faults)
        # No end is announced.
        self.warden = Warden(self.streams.leave, lambda client: None, faults, rules)
        self._candles = Candles(
            self.listings.values(), self.streams, _candle_event, lambda interval: KLINE_S
        )
        self._till = Till(COUNTER, self, clock_us)
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
        """Return one perpetual for each symbol."""
        return [_perpetual(symbol, seed, rate, clock_us) for symbol in symbols]

    def routes(self) -> list[web.RouteDef]:
        """Return the venue's own paths; those without a route are spot's where both are open."""
        return [
            web.get("/{name:(?:fapi|futures/data)/.+}", self._till.rest),
            web.get("/data/futures/um/daily/aggTrades/{path:.+}", self._file),
            web.get(f"/{ROUTE}/ws{{names:(?:/.*)?}}", self._raw),
            web.get(f"/{ROUTE}/stream", self._combined),
            web.get("/ws{names:(?:/.*)?}", self._raw),
            web.get("/stream", self._combined),
        ]

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the venue is open."""
        pumps = [pump.run() for pump in self.streams.pumps.values()]
        ticks = [self.ticks.books(), self.ticks.marks()]
        return [*pumps, *ticks, self._candles.run(), self.warden.run()]

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
            self._mix(listing, now_us)
            self.streams.publish_trades(listing, batch, now_us)
            if listing.book:
                listing.follow()
                self.ticks.best(listing)

        return publish

    def _mix(self, listing: Listing, now_us: int) -> None:
        """Send, where the fault says so, what a future of the same name in coins traded."""
        name = self.streams.name(listing, "aggTrade")
        if self.streams.followers(name) and self.faults.take("st_mixed"):
            event = wire.coin_trade_event(listing.symbol, now_us // MILLISECONDS)
            self.streams.publish(name, lambda unit: event)

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
        # The address without a route, which came first, still serves what is public.
        route = request.match_info.get("route", PUBLIC)

        def greeted(client: Client) -> None:
            for name in filter(None, names[: self.rules.streams]):
                self.streams.follow(client, name)

        return await self._door.enter(
            request,
            lambda connection: Client(connection, combined, MILLISECONDS, route),
            greeted,
        )

    def _hear(self, client: Client, text: str) -> bytes:
        return control.answer(self.streams, self.faults, client, text, self.rules.streams)


def _perpetual(symbol: str, seed: int, rate: float, clock_us: Callable[[], int]) -> GeneratedMarket:
    known = Character.of(symbol)
    character = replace(known, grid=GRIDS.get(symbol, known.grid), value=TRADE_VALUE)
    return GeneratedMarket(
        symbol, seed, rate, clock_us, venue=BinanceUsdm.name, character=character
    )


def _candle_event(
    listing: Listing, candle: Candle, interval: str, now_us: int
) -> Callable[[int], dict[str, Any]]:
    event = wire.kline_event(candle, listing.grid, listing.symbol, interval, now_us)
    return lambda unit: event
