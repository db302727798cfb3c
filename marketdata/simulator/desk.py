"""The simulator's own paths, which no venue has: what it does, and faults at run time."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from aiohttp import web

from marketdata.core.errors import BadInputError
from marketdata.simulator.faults import KINDS, Faults

LARGEST_BODY = 65_536


class Venue(Protocol):
    """What these paths need of a venue."""

    faults: Faults

    def status(self) -> dict[str, Any]:
        """Return what the venue does."""


class Desk:
    """`/sim/status` and `/sim/faults` of one venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def routes(self) -> list[web.RouteDef]:
        """Return the paths."""
        return [
            web.get("/sim/status", self.status),
            web.get("/sim/faults", self.known),
            web.post("/sim/faults", self.change),
            web.delete("/sim/faults", self.clear),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """Answer who is connected, what was sent, what is set."""
        return _json(self._venue.status())

    async def known(self, request: web.Request) -> web.Response:
        """Answer which faults there are, which are set, and what they did."""
        kinds = {name: f"{kind.unit}: {text}" for name, (kind, text) in KINDS.items()}
        return _json({"known": kinds, **self._venue.faults.snapshot()})

    async def change(self, request: web.Request) -> web.Response:
        """Set faults from a JSON object of names and values: all of them or none."""
        # A page of another site can send no JSON without asking first.
        if request.content_type != "application/json":
            return _json({"detail": "a body of application/json expected"}, 415)
        try:
            wanted = msgspec.json.decode(await request.read(), type=dict[str, float])
            self._venue.faults.update(wanted)
        except (msgspec.DecodeError, BadInputError) as error:
            return _json({"detail": str(error)}, 400)
        return _json(self._venue.faults.snapshot())

    async def clear(self, request: web.Request) -> web.Response:
        """End every fault."""
        self._venue.faults.clear()
        return _json(self._venue.faults.snapshot())


def _json(answer: dict[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(answer)
    return web.Response(body=body, status=status, content_type="application/json")
