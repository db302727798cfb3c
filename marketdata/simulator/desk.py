"""The simulator's own paths, which no venue has: what it does, and faults at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from marketdata.core.errors import BadInputError
from marketdata.simulator.faults import KINDS, Faults

LARGEST_BODY = 65_536


class Desk:
    """`/sim/status` and `/sim/faults` of one simulator.

    Parameters
    ----------
    faults : Faults
    told : callable
        Returns what all its venues do.
    """

    def __init__(self, faults: Faults, told: Callable[[], dict[str, Any]]) -> None:
        self._faults = faults
        self._told = told

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
        return _json(self._told())

    async def known(self, request: web.Request) -> web.Response:
        """Answer which faults there are, which are set, and what they did."""
        kinds = {name: f"{kind.unit}: {text}" for name, (kind, text) in KINDS.items()}
        return _json({"known": kinds, **self._faults.snapshot()})

    async def change(self, request: web.Request) -> web.Response:
        """Set faults from a JSON object of names and values: all of them or none."""
        # A page of another site can send no JSON without asking first.
        if request.content_type != "application/json":
            return _json({"detail": "a body of application/json expected"}, 415)
        try:
            wanted = msgspec.json.decode(await request.read(), type=dict[str, float])
            self._faults.update(wanted)
        except (msgspec.DecodeError, BadInputError) as error:
            return _json({"detail": str(error)}, 400)
        return _json(self._faults.snapshot())

    async def clear(self, request: web.Request) -> web.Response:
        """End every fault."""
        self._faults.clear()
        return _json(self._faults.snapshot())


def _json(answer: dict[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(answer)
    return web.Response(body=body, status=status, content_type="application/json")
