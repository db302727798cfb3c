"""What all rooms of Binance share: doors for REST, streams and archive, and work by the clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from aiohttp import web

from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot import control
from marketdata.simulator.binance_spot.archive import Archive, Layout
from marketdata.simulator.binance_spot.till import Counter, Till
from marketdata.simulator.binance_spot.wire import MILLISECONDS
from marketdata.simulator.candles import Candles
from marketdata.simulator.door import Door
from marketdata.simulator.faults import Faults
from marketdata.simulator.history import Candle
from marketdata.simulator.listing import Listing
from marketdata.simulator.markets import Market
from marketdata.simulator.pump import Pump
from marketdata.simulator.rules import Rules
from marketdata.simulator.streams import Client, Dialect, Streams
from marketdata.simulator.warden import Warden


class Ticks(Protocol):
    """What a venue sends by the clock."""

    def best(self, listing: Listing) -> None:
        """Send the best bid and ask where they changed."""


class BinanceRoom(ABC):
    """A venue of Binance on a loopback port.

    Parameters
    ----------
    markets : sequence of Market
        What is listed; at least one, all of one label.
    faults : Faults
    rules : Rules
    clock_us : callable
        Wall clock, for the minutes of request weight.

    Attributes
    ----------
    COUNTER, LAYOUT, DIALECT
        Its REST endpoints and how they are counted, its archive's files, its streams' words.
    ticks : Ticks
    """

    COUNTER: ClassVar[Counter]
    LAYOUT: ClassVar[Layout]
    DIALECT: ClassVar[Dialect]
    ticks: Ticks

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
        self.streams = Streams(self.listings, faults, self.DIALECT)
        self.ticks = self.new_ticks()
        self._candles = Candles(
            self.listings.values(), self.streams, self.candle_event, self.pace_s
        )
        self.warden = Warden(self.streams.leave, self.farewell, faults, rules)
        self._till = Till(self.COUNTER, self, clock_us)
        self._door = Door(self.warden, self._hear, faults, rules)
        self._archive = Archive(self.listings, self.LAYOUT)
        for listing in self.listings.values():
            self.streams.pumps[listing.symbol] = Pump(
                listing.market, faults, self._publisher(listing), rules.pong_within_s
            )

    @abstractmethod
    def new_ticks(self) -> Ticks:
        """Return what sends by the clock."""

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Return the venue's own paths."""

    @abstractmethod
    def ticking(self) -> list[Coroutine[Any, Any, None]]:
        """Return what it sends by the clock, besides candles."""

    @abstractmethod
    def traded(self, listing: Listing, batch: Trades, now_us: int) -> None:
        """Send what was traded."""

    @abstractmethod
    def farewell(self, client: Client) -> bytes | None:
        """Return the announcement of a connection's end, or None where the venue makes none."""

    def unit(self, request: web.Request) -> int:
        """Return what times are divided by for a connection. Raises HTTPBadRequest."""
        return MILLISECONDS

    def route(self, request: web.Request) -> str:
        """Return the route a connection came by."""
        return ""

    @staticmethod
    @abstractmethod
    def candle_event(
        listing: Listing, candle: Candle, interval: str, now_us: int
    ) -> Callable[[int], Mapping[str, Any]]:
        """Return how a candle is written: what times are divided by → the event."""

    @staticmethod
    @abstractmethod
    def pace_s(interval: str) -> float:
        """Return the seconds between two sendings of the candle under way."""

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the venue is open."""
        pumps = [pump.run() for pump in self.streams.pumps.values()]
        return [*pumps, *self.ticking(), self._candles.run(), self.warden.run()]

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

    # What its paths lead to.

    async def rest(self, request: web.Request) -> web.StreamResponse:
        """Answer a question."""
        return await self._till.rest(request)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Answer with a file of the archive."""
        return await self._archive.answer(request, self.faults, self.rules.weight_per_minute)

    async def raw(self, request: web.Request) -> web.StreamResponse:
        """Serve streams named in the path, each event as it is."""
        names = request.match_info["names"].split("/")
        return await self._connected(request, names, combined=False)

    async def combined(self, request: web.Request) -> web.StreamResponse:
        """Serve streams named in the query, each event with its stream's name."""
        names = request.query.get("streams", "").split("/")
        return await self._connected(request, names, combined=True)

    async def _connected(
        self, request: web.Request, names: list[str], *, combined: bool
    ) -> web.StreamResponse:
        unit, route = self.unit(request), self.route(request)

        def greeted(client: Client) -> None:
            for name in filter(None, names[: self.rules.streams]):
                self.streams.follow(client, name)

        return await self._door.enter(
            request, lambda connection: Client(connection, combined, unit, route), greeted
        )

    def _publisher(self, listing: Listing) -> Callable[[Trades, int], None]:
        def publish(batch: Trades, now_us: int) -> None:
            self.traded(listing, batch, now_us)
            if listing.book:
                listing.follow()
                self.ticks.best(listing)

        return publish

    def _hear(self, client: Client, text: str) -> bytes:
        return control.answer(self.streams, self.faults, client, text, self.rules.streams)
