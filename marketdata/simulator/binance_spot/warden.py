"""Who is connected, the limits each connection lives under, and the faults that end it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter

from marketdata.simulator.binance_spot.streams import Client, Streams
from marketdata.simulator.binance_spot.wire import MICROSECONDS
from marketdata.simulator.connection import GOING_AWAY, frame
from marketdata.simulator.faults import Faults
from marketdata.simulator.rules import Rules

LOG = logging.getLogger(__name__)
ROUND_S = 0.02


class Warden:
    """Watches the stream connections, fifty times a second."""

    def __init__(self, streams: Streams, faults: Faults, rules: Rules) -> None:
        self.clients: list[Client] = []
        self.connections = 0
        self.ended: Counter[str] = Counter()
        self._streams = streams
        self._faults = faults
        self._rules = rules
        self._shutdown_s: float | None = None

    def enter(self, client: Client) -> None:
        """Watch a client that has connected."""
        self.clients.append(client)
        self.connections += 1
        LOG.info("stream connected number=%d", client.connection.number)

    def leave(self, client: Client) -> None:
        """Forget a client that is gone."""
        self._streams.leave(client)
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

    def _rule(self, client: Client) -> None:
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
                client.connection.send(_farewell(client))
        if self._shutdown_s is not None and now_s >= self._shutdown_s:
            self._shutdown_s = None
            for client in self.clients:
                client.connection.close(GOING_AWAY, "server_shutdown")


def _farewell(client: Client) -> bytes:
    now = time.time_ns() // (1000 if client.unit == MICROSECONDS else 1_000_000)
    event = b'{"e":"serverShutdown","E":%d}' % now
    return frame(b'{"stream":"!serverShutdown","data":%s}' % event if client.combined else event)
