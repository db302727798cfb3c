"""Who is connected, the limits each connection lives under, and the faults that end it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from marketdata.simulator.connection import GOING_AWAY, Connection
from marketdata.simulator.faults import Faults
from marketdata.simulator.rules import Rules

LOG = logging.getLogger(__name__)
ROUND_S = 0.02


class Guest(Protocol):
    """Who is connected, whatever a venue keeps of a client besides."""

    connection: Connection


AnyGuest = TypeVar("AnyGuest", bound=Guest)


class Warden(Generic[AnyGuest]):
    """Watches the stream connections of one venue, fifty times a second.

    Parameters
    ----------
    forget : callable
        Called with a client that is gone.
    farewell : callable
        Client → the frame that announces the end of its connection, None where the venue
        announces nothing.
    """

    def __init__(
        self,
        forget: Callable[[AnyGuest], None],
        farewell: Callable[[AnyGuest], bytes | None],
        faults: Faults,
        rules: Rules,
    ) -> None:
        self.clients: list[AnyGuest] = []
        self.connections = 0
        self.ended: Counter[str] = Counter()
        self._forget = forget
        self._farewell = farewell
        self._faults = faults
        self._rules = rules
        self._shutdown_s: float | None = None

    def enter(self, client: AnyGuest) -> None:
        """Watch a client that has connected."""
        self.clients.append(client)
        self.connections += 1
        LOG.info("stream connected number=%d", client.connection.number)

    def leave(self, client: AnyGuest) -> None:
        """Forget a client that is gone."""
        self._forget(client)
        self.clients.remove(client)
        reason = client.connection.end or "client left"
        client.connection.cut(reason)
        self.ended[reason] += 1
        LOG.info("stream ended number=%d reason=%r", client.connection.number, reason)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            for client in [*self.clients]:
                self._rule(client)
            if self.clients:
                self._spoil()

    def dismiss(self) -> None:
        """End every connection, as the server stops."""
        for client in self.clients:
            client.connection.abort("server stopped")

    def status(self, told: Callable[[AnyGuest], dict[str, Any]]) -> dict[str, Any]:
        """Return who is connected and how others ended; `told` adds what the venue knows."""
        return {
            "clients": [{**told(one), **one.connection.status()} for one in self.clients],
            "connections": self.connections,
            "ended": dict(self.ended),
        }

    def _rule(self, client: AnyGuest) -> None:
        connection = client.connection
        connection.ping(self._rules.ping_every_s, self._rules.pong_within_s)
        every_s = self._faults.value("disconnect_every")
        if connection.age_s >= self._rules.lifetime_s:
            connection.close(GOING_AWAY, "lifetime is over")
        elif every_s and connection.age_s >= every_s and connection.is_open:
            self._faults.note("disconnect_every")
            connection.cut("disconnect_every")

    def _spoil(self) -> None:
        connections = [client.connection for client in self.clients]
        if self._faults.value("outage"):
            for connection in connections:
                connection.cut("outage")
        if self._faults.take("rst"):
            for connection in connections:
                connection.reset("rst")
        if self._faults.take("close"):
            for connection in connections:
                connection.close(GOING_AWAY, "close")
        self._shut_down()

    def _shut_down(self) -> None:
        now_s = time.monotonic()
        if self._faults.take("server_shutdown"):
            self._shutdown_s = now_s + self._faults.value("server_shutdown_lead")
            for client in self.clients:
                if farewell := self._farewell(client):
                    client.connection.send(farewell)
        if self._shutdown_s is not None and now_s >= self._shutdown_s:
            self._shutdown_s = None
            for client in self.clients:
                client.connection.close(GOING_AWAY, "server_shutdown")
