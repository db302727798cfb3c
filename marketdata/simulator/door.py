"""The door of stream connections: handshake, limits of what a client may send, what it says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Generic

from aiohttp import WSMsgType, web

from marketdata.simulator.connection import POLICY, Connection, frame
from marketdata.simulator.faults import Faults
from marketdata.simulator.rules import Allowance, Rules
from marketdata.simulator.warden import AnyGuest, Warden

CONNECTS_S = 300.0
LARGEST_MESSAGE = 100_000


class Door(Generic[AnyGuest]):
    """Lets clients in and listens to them until they are gone.

    Parameters
    ----------
    hear : callable
        (client, text) → the answer to send, or None for none.
    """

    def __init__(
        self,
        warden: Warden[AnyGuest],
        hear: Callable[[AnyGuest, str], bytes | None],
        faults: Faults,
        rules: Rules,
    ) -> None:
        self._warden = warden
        self._hear = hear
        self._faults = faults
        self._rules = rules
        self._numbers = count(1)
        self._connects = Allowance(rules.connects, CONNECTS_S)

    async def enter(
        self,
        request: web.Request,
        received: Callable[[Connection], AnyGuest],
        greeted: Callable[[AnyGuest], None],
    ) -> web.StreamResponse:
        """Shake hands, make the connection a client, and serve it to its end.

        Parameters
        ----------
        received : callable
            Connection → client.
        greeted : callable
            Called once with the client, watched already: what its URL asks for is done here.
        """
        if self._faults.value("outage"):
            return web.Response(status=503, text="503 service unavailable")
        if not self._connects.allows():
            return web.Response(status=429, text="too many connection attempts")
        socket = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=LARGEST_MESSAGE, timeout=1.0
        )
        await socket.prepare(request)
        if request.transport is None:
            return socket
        client = received(Connection(request.transport, next(self._numbers)))
        self._warden.enter(client)
        try:
            greeted(client)
            await self._listen(socket, client)
        finally:
            self._warden.leave(client)
        return socket

    async def _listen(self, socket: web.WebSocketResponse, client: AnyGuest) -> None:
        connection = client.connection
        allowance = Allowance(self._rules.messages_per_s, 1.0)
        async for message in socket:
            if not allowance.allows():
                connection.close(POLICY, "Too many requests")
                return
            if message.type is WSMsgType.PING:
                connection.pong(bytes(message.data))
            elif message.type is WSMsgType.PONG:
                connection.ponged(bytes(message.data))
            elif message.type is WSMsgType.TEXT:
                reply = self._hear(client, message.data)
                if reply is not None:
                    connection.send(frame(reply), 0)
