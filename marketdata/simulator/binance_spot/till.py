"""REST of one venue of Binance: weight, faults, signatures, and the headers that tell them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from marketdata.simulator.binance_spot import http_faults, signed
from marketdata.simulator.binance_spot.params import Query, RefusedError, time_unit
from marketdata.simulator.binance_spot.rest import Endpoint, Venue
from marketdata.simulator.binance_spot.weights import Verdict, Weights
from marketdata.simulator.binance_spot.wire import MILLISECONDS
from marketdata.simulator.spoil import sent

UNIT = "X-MBX-TIME-UNIT"


@dataclass(frozen=True)
class Counter:
    """What the REST of a venue is made of.

    Parameters
    ----------
    endpoints : mapping of str to Endpoint
        By what the route calls `name`.
    pools : mapping of str to (int, int)
        Requests and minutes of the pools besides that of weight, by name.
    has_units : bool
        Whether a header chooses the unit of times.
    """

    endpoints: Mapping[str, Endpoint]
    pools: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    has_units: bool = False


class Till:
    """Answers REST; every request is counted, whether it is refused or not."""

    def __init__(self, counter: Counter, venue: Venue, clock_us: Callable[[], int]) -> None:
        self._counter = counter
        self._venue = venue
        self.weights = Weights(venue.rules.weight_per_minute, clock_us)
        self._pools = {
            name: Weights(limit, clock_us, minutes)
            for name, (limit, minutes) in counter.pools.items()
        }

    async def rest(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        endpoint = self._counter.endpoints.get(request.match_info["name"])
        if endpoint is None:
            return web.Response(status=404, text="404 page not found")
        fault = self._venue.faults.take_http()
        try:
            answer = await self._answer(request, endpoint, fault)
        except RefusedError as error:
            answer = http_faults.refused(error)
        if not endpoint.pool:
            answer.headers["X-MBX-USED-WEIGHT"] = str(self.weights.used)
            answer.headers["X-MBX-USED-WEIGHT-1M"] = str(self.weights.used)
        return await sent(fault, request, answer)

    async def _answer(
        self, request: web.Request, endpoint: Endpoint, fault: str | None
    ) -> web.Response:
        pool = self._pools[endpoint.pool] if endpoint.pool else self.weights
        verdict = pool.charge(endpoint.cost(request.query))
        if verdict.status != 200:
            return http_faults.refused(_excess(verdict, pool.limit), verdict.retry_after_s)
        spoiled = http_faults.answered(fault, self._venue.faults, self.weights.limit)
        return spoiled or await self._answered(request, endpoint)

    async def _answered(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        unit = time_unit(request.headers.get(UNIT)) if self._counter.has_units else MILLISECONDS
        known = endpoint.params
        if endpoint.is_signed:
            now_us = next(iter(self._venue.listings.values())).market.now_us()
            signed.verify(request, now_us)
            known = (*known, *signed.PARAMS)
        query = Query.of(request.query, known, self._venue.listings, unit)
        if endpoint.past:
            for listing, since_us in endpoint.past(self._venue, query):
                await asyncio.to_thread(listing.history.warm, since_us)
        return http_faults.json(endpoint.answer(self._venue, query))


def _excess(verdict: Verdict, limit: int) -> RefusedError:
    if verdict.status == 418:
        return http_faults.banned(verdict.retry_after_s)
    return http_faults.too_much(limit)
