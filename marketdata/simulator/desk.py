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


def routes(venue: Venue) -> list[web.RouteDef]:
    """Return `/sim/status` and `/sim/faults`.

    `GET /sim/status` · `GET /sim/faults` (known, set, done) · `POST /sim/faults` with a JSON
    object of names and values · `DELETE /sim/faults` ends them all.
    """

    async def status(request: web.Request) -> web.Response:
        return _json(venue.status())

    async def known(request: web.Request) -> web.Response:
        kinds = {name: f"{kind.unit}: {text}" for name, (kind, text) in KINDS.items()}
        return _json({"known": kinds, **venue.faults.snapshot()})

    async def change(request: web.Request) -> web.Response:
        # A page of another site can send no JSON without asking first.
        if request.content_type != "application/json":
            return _json({"detail": "a body of application/json expected"}, 415)
        try:
            wanted = msgspec.json.decode(await request.read(), type=dict[str, float])
            venue.faults.update(wanted)
        except (msgspec.DecodeError, BadInputError) as error:
            return _json({"detail": str(error)}, 400)
        return _json(venue.faults.snapshot())

    async def clear(request: web.Request) -> web.Response:
        venue.faults.clear()
        return _json(venue.faults.snapshot())

    return [
        web.get("/sim/status", status),
        web.get("/sim/faults", known),
        web.post("/sim/faults", change),
        web.delete("/sim/faults", clear),
    ]


def _json(answer: dict[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(answer)
    return web.Response(body=body, status=status, content_type="application/json")
