"""Binance USD-M futures: its paths, the routes of its streams, and its own markets."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from aiohttp import web

from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot.archive import Layout
from marketdata.simulator.binance_spot.room import BinanceRoom
from marketdata.simulator.binance_spot.till import Counter
from marketdata.simulator.binance_spot.wire import MILLISECONDS
from marketdata.simulator.binance_usdm import wire
from marketdata.simulator.binance_usdm.dialect import MARKET, PRIVATE, PUBLIC, USD_M
from marketdata.simulator.binance_usdm.rest import ENDPOINTS, POOLS
from marketdata.simulator.binance_usdm.ticks import Ticks
from marketdata.simulator.generator import Character, GeneratedMarket
from marketdata.simulator.history import Candle
from marketdata.simulator.listing import Listing
from marketdata.simulator.markets import Market
from marketdata.simulator.rules import Rules
from marketdata.simulator.streams import Client

ROUTE = f"{{route:{PUBLIC}|{MARKET}|{PRIVATE}}}"
KLINE_S = 0.25
TRADE_VALUE = 1_500.0  # quote: lots are coarse
GRIDS = {
    "BTCUSDT": Grid(Decimal("0.10"), Decimal("0.001")),
    "ETHUSDT": Grid(Decimal("0.01"), Decimal("0.001")),
    "SOLUSDT": Grid(Decimal("0.0100"), Decimal("0.01")),
    "BNBUSDT": Grid(Decimal("0.010"), Decimal("0.01")),
}


class BinanceUsdm(BinanceRoom):
    """Binance USD-M futures on a loopback port; see BinanceRoom."""

    name = "binance_usdm"
    source = "binance_futures"
    RULES = Rules(
        weight_per_minute=2400, messages_per_s=10, ping_every_s=180.0, pong_within_s=600.0
    )
    COUNTER = Counter(ENDPOINTS, POOLS)
    LAYOUT = Layout(wire.archive_rows, wire.HEADER)
    DIALECT = USD_M
    ticks: Ticks

    @classmethod
    def invented(
        cls, symbols: Sequence[str], seed: int, rate: float, clock_us: Callable[[], int]
    ) -> list[Market]:
        """Return one perpetual for each symbol."""
        return [_perpetual(cls.name, symbol, seed, rate, clock_us) for symbol in symbols]

    def new_ticks(self) -> Ticks:
        """Return what sends by the clock."""
        return Ticks(self.listings.values(), self.streams, self.faults)

    def routes(self) -> list[web.RouteDef]:
        """Return the venue's own paths; those without a route are spot's where both are open."""
        return [
            web.get("/{name:(?:fapi|futures/data)/.+}", self.rest),
            web.get("/data/futures/um/daily/aggTrades/{path:.+}", self.file),
            web.get(f"/{ROUTE}/ws{{names:(?:/.*)?}}", self.raw),
            web.get(f"/{ROUTE}/stream", self.combined),
            web.get("/ws{names:(?:/.*)?}", self.raw),
            web.get("/stream", self.combined),
        ]

    def ticking(self) -> list[Coroutine[Any, Any, None]]:
        """Return what sends books, and what sends marks and forced orders."""
        return [self.ticks.books(), self.ticks.marks()]

    @staticmethod
    def candle_event(
        listing: Listing, candle: Candle, interval: str, now_us: int
    ) -> Callable[[int], dict[str, Any]]:
        """Return how a candle is written."""
        event = wire.kline_event(candle, listing.grid, listing.symbol, interval, now_us)
        return lambda unit: event

    @staticmethod
    def pace_s(interval: str) -> float:
        """Return the seconds between two sendings of the candle under way."""
        return KLINE_S

    def traded(self, listing: Listing, batch: Trades, now_us: int) -> None:
        """Send what was traded; before it, by a fault, what its namesake in coins traded."""
        name = self.streams.name(listing, "aggTrade")
        if self.streams.followers(name) and self.faults.take("st_mixed"):
            event = wire.coin_trade_event(listing.symbol, now_us // MILLISECONDS)
            self.streams.publish(name, lambda unit: event)
        self.streams.publish_trades(listing, batch, now_us)

    def route(self, request: web.Request) -> str:
        """Return the route; the address without one, which came first, serves what is public."""
        return request.match_info.get("route", PUBLIC)

    def farewell(self, client: Client) -> None:
        """Say nothing: no end is announced."""


def _perpetual(
    venue: str, symbol: str, seed: int, rate: float, clock_us: Callable[[], int]
) -> GeneratedMarket:
    known = Character.of(symbol)
    character = replace(known, grid=GRIDS.get(symbol, known.grid), value=TRADE_VALUE)
    return GeneratedMarket(symbol, seed, rate, clock_us, venue=venue, character=character)
