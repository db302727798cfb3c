"""The venue itself: its doors for REST, streams and archive, and what it does by the clock."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web

from marketdata.core.trades import Trades
from marketdata.simulator.bybit import account, control, refusals
from marketdata.simulator.bybit.archive import Archive, Wanted, cut
from marketdata.simulator.bybit.instruments import Instrument
from marketdata.simulator.bybit.limits import BybitRules, Requests
from marketdata.simulator.bybit.markets import category_of, invented
from marketdata.simulator.bybit.numerals import CATEGORIES, SPOT
from marketdata.simulator.bybit.params import Query, RefusedError
from marketdata.simulator.bybit.refusals import LIMIT, enveloped
from marketdata.simulator.bybit.rest import ENDPOINTS
from marketdata.simulator.bybit.streams import Client, Streams
from marketdata.simulator.bybit.ticks import Ticks
from marketdata.simulator.connection import GOING_AWAY, Connection, frame
from marketdata.simulator.door import Door
from marketdata.simulator.faults import Faults
from marketdata.simulator.markets import Market
from marketdata.simulator.pump import Pump
from marketdata.simulator.rules import Rules
from marketdata.simulator.spoil import sent
from marketdata.simulator.warden import Warden

SCAN_S = 30.0
# Pings and data frames so far, and the age at which there were that many.
Life = tuple[tuple[int, int], float]


class Bybit:
    """Bybit v5 on a loopback port; see room.RoomKind.

    Parameters
    ----------
    rules : Rules
        BybitRules; others leave the venue's own in force.

    Attributes
    ----------
    keys : dict of str to str
        API keys and their secrets.
    """

    name = "bybit"
    source = "bybit"
    RULES: ClassVar[Rules] = BybitRules()

    def __init__(
        self,
        markets: Sequence[Market],
        faults: Faults,
        rules: Rules,
        clock_us: Callable[[], int],
    ) -> None:
        self.faults = faults
        self.rules = rules if isinstance(rules, BybitRules) else BybitRules()
        self.label = markets[0].label
        self.keys = dict(account.KEYS)
        self.instruments: Mapping[str, dict[str, Instrument]] = {one: {} for one in CATEGORIES}
        for market in markets:
            category = category_of(market)
            self.instruments[category][market.symbol] = Instrument(category, market)
        self._ticks = {one: self._ticks_of(one) for one in CATEGORIES}
        self.streams = {one: self._streams_of(one) for one in CATEGORIES}
        self._requests = Requests(self.rules)
        self._archive = Archive(self.instruments)
        self.warden: Warden[Client] = Warden(self._forget, _no_farewell, faults, self.rules)
        self._door = Door(self.warden, self._hear, faults, self.rules)
        self._market = markets[0]

    @classmethod
    def invented(
        cls, symbols: Sequence[str], seed: int, rate: float, clock_us: Callable[[], int]
    ) -> list[Market]:
        """Return the venue's own markets, linear and spot of each symbol."""
        return invented(symbols, seed, rate, clock_us)

    def routes(self) -> list[web.RouteDef]:
        """Return the venue's own paths."""
        return [
            web.get("/v5/public/{category}", self._stream),
            web.get("/v5/{name:.+}", self._rest),
            web.get("/trading/{path:.+}", self._file),
            web.get("/spot/{path:.+}", self._file),
        ]

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the venue is open."""
        pumps = [pump.run() for one in self.streams.values() for pump in one.pumps.values()]
        ticks = [part for one in self._ticks.values() for part in one.work()]
        return [*pumps, *ticks, self.warden.run(), self._idle()]

    def status(self) -> dict[str, Any]:
        """Return what the venue does, for the simulator's own pages."""
        return {
            "label": self.label,
            "banned_s": round(self._requests.banned_s, 3),
            **self.warden.status(_told),
            "markets": [
                self._market_status(one)
                for listed in self.instruments.values()
                for one in listed.values()
            ],
        }

    def dismiss(self) -> None:
        """End every connection, as the server stops."""
        self.warden.dismiss()

    def now_us(self) -> int:
        """Return the server's time: the wall clock, or the tape's."""
        return self._market.now_us()

    def _ticks_of(self, category: str) -> Ticks:
        return Ticks(self.instruments[category], self.instruments[SPOT], self.faults)

    def _streams_of(self, category: str) -> Streams:
        ticks, listed = self._ticks[category], self.instruments[category]
        streams = ticks.streams = Streams(category, listed, self.faults, ticks.opening)
        for symbol, instrument in listed.items():
            publish = self._publisher(streams, instrument)
            streams.pumps[symbol] = Pump(
                instrument.market, self.faults, publish, self.rules.pong_within_s
            )
        return streams

    def _publisher(self, streams: Streams, instrument: Instrument) -> Callable[[Trades, int], None]:
        def publish(batch: Trades, now_us: int) -> None:
            streams.publish_trades(instrument, batch, now_us)

        return publish

    def _forget(self, client: Client) -> None:
        self.streams[client.category].leave(client)

    def _hear(self, client: Client, text: str) -> None:
        now_ms = self.now_us() // 1000
        streams = self.streams[client.category]
        for reply in control.answers(streams, self.faults, self.rules, client, text, now_ms):
            client.connection.send(frame(reply), 0)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        category = request.match_info["category"]
        if category not in self.streams:
            return web.Response(status=404, text="404 page not found")

        def received(connection: Connection) -> Client:
            return Client(connection, category, f"{secrets.token_hex(10)}-{connection.number:x}")

        return await self._door.enter(request, received, lambda client: None)

    async def _idle(self) -> None:
        """Cut connections with neither ping nor data for too long, until cancelled."""
        alive: dict[int, Life] = {}
        idle_s = self.rules.idle_s
        while True:
            await asyncio.sleep(min(SCAN_S, idle_s / 10))
            # Who is gone is forgotten with the old table.
            alive = {one.connection.number: _life(one, alive) for one in self.warden.clients}
            for client in [*self.warden.clients]:
                connection = client.connection
                if connection.age_s - alive[connection.number][1] >= idle_s:
                    connection.close(GOING_AWAY, "idle")

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.take_http()
        if not self._requests.allows():
            answer = refusals.too_frequent()
        elif (refused := refusals.refusal(fault, self.faults, self.now_us())) is not None:
            answer = refused
        else:
            answer = await self._answered(request)
        return await sent(fault, request, answer)

    async def _answered(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        try:
            if name in account.SIGNED:
                return self._signed(request, name)
            return await self._public(request, name)
        except RefusedError as error:
            return enveloped({}, self.now_us(), error.code, str(error), error.status)

    async def _public(self, request: web.Request, name: str) -> web.Response:
        endpoint = ENDPOINTS.get(name)
        if endpoint is None:
            return web.Response(status=404, text="404 page not found")
        query = Query(dict(request.query), self.instruments)
        if endpoint.past:
            for instrument, since_us in endpoint.past(self, query):
                await asyncio.to_thread(instrument.listing.history.warm, since_us)
        return enveloped(endpoint.answer(self, query), self.now_us())

    def _signed(self, request: web.Request, name: str) -> web.Response:
        now_us = self.now_us()
        account.verify(request.headers, request.rel_url.raw_query_string, self.keys, now_us // 1000)
        query = Query(dict(request.query), self.instruments)
        answer = enveloped(account.SIGNED[name](query), now_us)
        answer.headers.update(refusals.limits(now_us, left=LIMIT - 1))
        return answer

    async def _file(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.take_http()
        refused = refusals.refusal(fault, self.faults, self.now_us())
        return await sent(fault, request, refused or await self._archived(request.path))

    async def _archived(self, path: str) -> web.Response:
        wanted = Wanted.at(path)
        if wanted is None or self.faults.take("archive_missing"):
            return web.Response(status=404, text="404 Not Found")
        data = await asyncio.to_thread(self._archive.read, wanted)
        if data is None:
            return web.Response(status=404, text="404 Not Found")
        if self.faults.take("archive_corrupt"):
            data = cut(data)
        return web.Response(body=data, content_type="application/x-gzip")

    def _market_status(self, instrument: Instrument) -> dict[str, Any]:
        pump = self.streams[instrument.category].pumps[instrument.symbol]
        return {"category": instrument.category, **pump.status()}


def _life(client: Client, alive: Mapping[int, Life]) -> Life:
    signs = client.pings, client.connection.frames
    before = alive.get(client.connection.number)
    return before if before and before[0] == signs else (signs, client.connection.age_s)


def _told(client: Client) -> dict[str, Any]:
    return {"category": client.category, "streams": [*client.topics], "pings": client.pings}


def _no_farewell(client: Client) -> None:
    """Return None: the venue announces no end."""
