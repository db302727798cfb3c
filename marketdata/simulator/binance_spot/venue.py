"""The venue itself: its doors for REST, streams and archive, and what it does by the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot import control, http_faults
from marketdata.simulator.binance_spot.archive import Archive, Wanted, corrupted
from marketdata.simulator.binance_spot.dialect import SPOT
from marketdata.simulator.binance_spot.params import Query, RefusedError, time_unit
from marketdata.simulator.binance_spot.rest import ENDPOINTS, Endpoint
from marketdata.simulator.binance_spot.ticks import Ticks
from marketdata.simulator.binance_spot.weights import Weights
from marketdata.simulator.binance_spot.wire import MICROSECONDS, MILLISECONDS
from marketdata.simulator.connection import frame
from marketdata.simulator.door import Door
from marketdata.simulator.faults import Faults
from marketdata.simulator.generator import GeneratedMarket
from marketdata.simulator.listing import Listing
from marketdata.simulator.markets import Market
from marketdata.simulator.pump import Pump
from marketdata.simulator.rules import Rules
from marketdata.simulator.spoil import sent
from marketdata.simulator.streams import Client, Streams
from marketdata.simulator.warden import Warden


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
        self.weights = Weights(rules.weight_per_minute, clock_us)
        self.streams = Streams(self.listings, faults, SPOT)
        self.ticks = Ticks(self.listings.values(), self.streams, faults)
        self.warden = Warden(self.streams.leave, _farewell, faults, rules)
        self._door = Door(self.warden, self._hear, faults, rules)
        self._archive = Archive(self.listings)
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
            web.get("/api/v3/{name:.+}", self._rest),
            web.get("/data/spot/{path:.+}", self._file),
            web.get("/ws{names:(?:/.*)?}", self._raw),
            web.get("/stream", self._combined),
        ]

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the venue is open."""
        pumps = [pump.run() for pump in self.streams.pumps.values()]
        return [*pumps, self.ticks.books(), self.ticks.candles(), self.warden.run()]

    def status(self) -> dict[str, Any]:
        """Return what the venue does, for its own pages."""
        return {
            "label": self.label,
            "weight_used": self.weights.used,
            **self.warden.status(Client.status),
            "markets": [self._market_status(listing) for listing in self.listings.values()],
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

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        endpoint = ENDPOINTS.get(request.match_info["name"])
        if endpoint is None:
            return web.Response(status=404, text="404 page not found")
        fault = self.faults.take_http()
        try:
            answer = await self._answer(request, endpoint, fault)
        except RefusedError as error:
            answer = self._refused(error)
        answer.headers["X-MBX-USED-WEIGHT"] = str(self.weights.used)
        answer.headers["X-MBX-USED-WEIGHT-1M"] = str(self.weights.used)
        return await sent(fault, request, answer)

    async def _answer(
        self, request: web.Request, endpoint: Endpoint, fault: str | None
    ) -> web.Response:
        verdict = self.weights.charge(endpoint.cost(request.query))
        limit = self.rules.weight_per_minute
        if verdict.status == 429:
            return self._refused(http_faults.too_much(limit), verdict.retry_after_s)
        if verdict.status == 418:
            return self._refused(http_faults.banned(verdict.retry_after_s), verdict.retry_after_s)
        return self._faulty(fault) or await self._answered(request, endpoint)

    def _faulty(self, fault: str | None) -> web.Response | None:
        retry_after_s = self.faults.value("retry_after")
        refusal = http_faults.refusal(fault or "", retry_after_s, self.rules.weight_per_minute)
        if isinstance(refusal, RefusedError):
            return self._refused(refusal, retry_after_s)
        return refusal

    async def _answered(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        unit = time_unit(request.headers.get("X-MBX-TIME-UNIT"))
        query = Query.of(request.query, endpoint.params, self.listings, unit)
        if endpoint.past:
            for listing, since_us in endpoint.past(self, query):
                await asyncio.to_thread(listing.history.warm, since_us)
        return _json(endpoint.answer(self, query))

    def _refused(self, error: RefusedError, retry_after_s: float = 0.0) -> web.Response:
        answer = _json(msgspec.json.encode({"code": error.code, "msg": str(error)}), error.status)
        if error.status in {418, 429}:
            answer.headers["Retry-After"] = f"{retry_after_s:g}"
        return answer

    async def _file(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.take_http()
        answer = self._faulty(fault) or await self._archived(request.path)
        return await sent(fault, request, answer)

    async def _archived(self, path: str) -> web.Response:
        wanted = Wanted.at(path)
        if wanted is None or self.faults.take("archive_missing"):
            return _absent()
        data = await asyncio.to_thread(self._archive.read, wanted)
        if data is None:
            return _absent()
        if not wanted.is_sum and self.faults.take("archive_corrupt"):
            data = corrupted(data)
        kind = "text/plain" if wanted.is_sum else "application/zip"
        return web.Response(body=data, content_type=kind)

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

    def _market_status(self, listing: Listing) -> dict[str, Any]:
        market, pump = listing.market, self.streams.pumps[listing.symbol]
        return {
            "symbol": market.symbol,
            "now_us": market.now_us(),
            "first_id": market.first_id,
            "last_id": market.last_id,
            "played": pump.played,
        }


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")


def _absent() -> web.Response:
    text = (
        "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
    )
    return web.Response(status=404, text=text, content_type="application/xml")


def _farewell(client: Client) -> bytes:
    now = time.time_ns() // (1000 if client.unit == MICROSECONDS else 1_000_000)
    event = b'{"e":"serverShutdown","E":%d}' % now
    return frame(b'{"stream":"!serverShutdown","data":%s}' % event if client.combined else event)
