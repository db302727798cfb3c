"""The venue itself: its doors, what plays its markets, and what it does by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from marketdata.simulator.connection import Connection
from marketdata.simulator.deriv.accounts import Account, Passwords
from marketdata.simulator.deriv.clerk import Clerk
from marketdata.simulator.deriv.limits import DerivRules
from marketdata.simulator.deriv.listed import Listed
from marketdata.simulator.deriv.quotes import QuoteMarket
from marketdata.simulator.deriv.requests import LEGACY, NEW
from marketdata.simulator.deriv.rest import BEFORE, Rest, unauthorized
from marketdata.simulator.deriv.streams import Client, Streams
from marketdata.simulator.door import Door
from marketdata.simulator.faults import Faults
from marketdata.simulator.markets import Market
from marketdata.simulator.pump import Pump
from marketdata.simulator.rules import Rules
from marketdata.simulator.warden import Warden

PUBLIC, ACCOUNT = "public", "account"
SYNTHETIC = ("R_100", "R_50", "1HZ100V")
LOOK_S = 0.05


class Deriv:
    """Deriv on a loopback port, both generations of it.

    Parameters
    ----------
    markets : sequence of Market
        What is listed; at least one, all of one label.
    faults : Faults
    rules : Rules
    clock_us : callable
        Wall clock, for the call `time`.
    """

    name = "deriv"
    source = "deriv"
    RULES: ClassVar[Rules] = DerivRules()

    def __init__(
        self,
        markets: Sequence[Market],
        faults: Faults,
        rules: Rules,
        clock_us: Callable[[], int],
    ) -> None:
        limits = DerivRules.of(rules)
        self.label = markets[0].label
        self.listed = {market.symbol: Listed(market) for market in markets}
        self.streams = Streams(self.listed, faults)
        self.clerk = Clerk(self.listed, self.streams, faults, limits, clock_us)
        self.passwords = Passwords(limits.otp_s)
        self.warden: Warden[Client] = Warden(self.clerk.forget, lambda client: None, faults, limits)
        self._door = Door(self.warden, self.clerk.hear, faults, limits)
        self._rest = Rest(self.passwords, faults, limits)
        self._faults = faults
        self._idle_s = limits.idle_s
        for listed in self.listed.values():
            publish = partial(self.streams.publish, listed)
            self.streams.pumps[listed.symbol] = Pump(
                listed.market, faults, publish, limits.pong_within_s
            )

    @classmethod
    def invented(
        cls, symbols: Sequence[str], seed: int, rate: float, clock_us: Callable[[], int]
    ) -> list[Market]:
        """Return the venue's own markets for symbols as Binance spells them, and its indices.

        Notes
        -----
        Quotes come at the venue's own pace, whatever the rate of trades elsewhere.
        """
        coins = [f"cry{symbol.removesuffix('USDT')}USD" for symbol in symbols]
        return [QuoteMarket(symbol, seed, clock_us) for symbol in (*coins, *SYNTHETIC)]

    def routes(self) -> list[web.RouteDef]:
        """Return the venue's own paths."""
        return [
            *self._rest.routes(),
            web.get(f"{BEFORE}/ws/public", self._public),
            web.get(f"{BEFORE}/ws/{{kind:demo|real}}", self._account),
            web.get("/websockets/v3", self._legacy),
        ]

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the venue is open."""
        return [
            *(pump.run() for pump in self.streams.pumps.values()),
            self.warden.run(),
            self._watch(),
        ]

    def status(self) -> dict[str, Any]:
        """Return what the venue does, for the simulator's own pages."""
        return {
            "label": self.label,
            **self.warden.status(Client.status),
            "open": len(self.warden.clients),
            "requests": dict(self.clerk.requests),
            "otps": dict(self.passwords.counts),
            "subscriptions": sum(len(client.streams) for client in self.warden.clients),
            "markets": [pump.status() for pump in self.streams.pumps.values()],
        }

    def dismiss(self) -> None:
        """End every connection, as the server stops."""
        self.warden.dismiss()

    async def _public(self, request: web.Request) -> web.StreamResponse:
        return await self._enter(request, PUBLIC, NEW)

    async def _account(self, request: web.Request) -> web.StreamResponse:
        account = self.passwords.use(request.query.get("otp", ""), request.match_info["kind"])
        if account is None:
            return unauthorized().answer(request)
        return await self._enter(request, ACCOUNT, NEW, account)

    async def _legacy(self, request: web.Request) -> web.StreamResponse:
        if self._faults.value("legacy_gone"):
            self._faults.note("legacy_gone")
            return web.Response(status=520, text="error code: 520")
        if not request.query.get("app_id", "").isdigit():
            body = msgspec.json.encode({"error": "InvalidAppID"})
            return web.Response(status=401, body=body, content_type="application/json")
        return await self._enter(request, LEGACY, LEGACY)

    async def _enter(
        self, request: web.Request, door: str, dialect: str, account: Account | None = None
    ) -> web.StreamResponse:
        def received(connection: Connection) -> Client:
            return Client(connection, door, dialect, account)

        return await self._door.enter(request, received, lambda client: None)

    async def _watch(self) -> None:
        """Cut who neither speaks nor is spoken to, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            for client in self.warden.clients:
                if client.idle_s() >= self._idle_s:
                    client.connection.cut("idle")
