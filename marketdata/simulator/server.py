"""`Simulator`: venues on one loopback port, in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from marketdata.core.errors import TapeError
from marketdata.simulator.desk import LARGEST_BODY, Desk
from marketdata.simulator.faults import Faults
from marketdata.simulator.markets import Market
from marketdata.simulator.room import Room
from marketdata.simulator.rooms import ROOMS
from marketdata.simulator.rules import Rules, wall_us
from marketdata.simulator.tape import RecordedMarket

HOST = "127.0.0.1"
START_S = 10.0
STOP_S = 10.0
CLOSE_S = 0.2  # for answers under way when the venue stops
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT")
DEFAULT_VENUE = "binance_spot"
DEFAULT_RATE = 20.0


class Simulator:
    """Venues that speak their real protocols on loopback, from markets invented or recorded.

    Parameters
    ----------
    markets : sequence of Market, or mapping of str to such
        What is listed, by the venue's name as in `rooms.ROOMS`; at least one each, all of one
        label. A sequence is Binance spot's.
    port : int
        0 picks a free one.
    faults : mapping
        Faults set from the start, as in `faults.KINDS`.
    rules : Rules
        Limits of every venue instead of its own.
    weight_limit : int
        Request weight (or what the venue has in its place) a minute instead of the venue's own.
    clock_us : callable
        Wall clock, microseconds since the epoch, for minutes of request weight.

    Notes
    -----
    A context manager; nothing is left open after `stop`. `faults` may be set from any thread.
    Several clients share one market: see `pump.Pump`. The venues share the faults: a counted one
    befalls whichever venue comes to it first.

    Attributes
    ----------
    rooms : dict of str to Room
        The venues, by name.
    listed : dict of str to dict of str to Market
        The markets of each venue, by its name and the symbol.
    markets : dict of str to Market
        Those of the first venue.

    Examples
    --------
    >>> with Simulator.generated(["BTCUSDT"], seed=7) as venue:  # doctest: +SKIP
    ...     requests.get(f"{venue.rest_url}/api/v3/time")
    """

    def __init__(
        self,
        markets: Sequence[Market] | Mapping[str, Sequence[Market]],
        *,
        port: int = 0,
        faults: Mapping[str, float] | None = None,
        rules: Rules | None = None,
        weight_limit: int | None = None,
        clock_us: Callable[[], int] = wall_us,
    ) -> None:
        named = markets if isinstance(markets, Mapping) else {DEFAULT_VENUE: markets}
        # In the order in which one venue's paths come before another's, however they are named.
        held = {name: named[name] for name in ROOMS if name in named}
        self.listed = {name: {one.symbol: one for one in listed} for name, listed in held.items()}
        self.markets = next(iter(self.listed.values()))
        self.faults = Faults(faults)
        self.label = next(iter(self.markets.values())).label
        self.rooms: dict[str, Room] = {}
        for name, listed in held.items():
            limits = rules or ROOMS[name].RULES
            if weight_limit:
                limits = replace(limits, weight_per_minute=weight_limit)
            self.rooms[name] = ROOMS[name](listed, self.faults, limits, clock_us)
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    @classmethod
    def generated(
        cls,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        *,
        venues: Sequence[str] | None = None,
        seed: int = 0,
        rate: float = DEFAULT_RATE,
        clock_us: Callable[[], int] = wall_us,
        **options: Any,
    ) -> Self:
        """Return venues (all unless named) of invented markets.

        `symbols` are Binance's spellings; `rate` is each symbol's mean trades per second.
        """
        markets = {
            name: ROOMS[name].invented(symbols, seed, rate, clock_us) for name in venues or ROOMS
        }
        return cls(markets, clock_us=clock_us, **options)

    @classmethod
    def recorded(
        cls, path: Path | str, *, speed: float = 1.0, symbol: str | None = None, **options: Any
    ) -> Self:
        """Return the tape's venue, playing it; `symbol` replaces its own. Raises TapeError."""
        market = RecordedMarket.open(Path(path), speed, symbol)
        for name, kind in ROOMS.items():
            if kind.source == market.source:
                return cls({name: [market]}, **options)
        raise TapeError(
            f"{Path(path).name}: a tape of {', '.join(kind.source for kind in ROOMS.values())} "
            f"expected, seen one of {market.source}"
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the venue serves; False after `stop`, and if a part of it has failed."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def port(self) -> int:
        """The port, once started."""
        return self._port

    @property
    def rest_url(self) -> str:
        """What stands before `/api/v3` and `/data`."""
        return f"http://{HOST}:{self._port}"

    @property
    def ws_url(self) -> str:
        """What stands before `/ws` and `/stream`."""
        return f"ws://{HOST}:{self._port}"

    def start(self) -> Self:
        """Open the port and return when it answers. Raises OSError where it is taken."""
        opened: Future[int] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name="simulator", daemon=True
        )
        self._thread.start()
        try:
            self._port = opened.result(START_S)
        except OSError:
            self._thread.join()
            self._thread = None
            raise
        return self

    def stop(self) -> None:
        """Close every connection and the port; a second call changes nothing."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(STOP_S)
        self._thread = None

    def status(self) -> dict[str, Any]:
        """Return what `GET /sim/status` answers. For a venue that is open."""
        if self._loop is None or self._thread is None:
            raise RuntimeError("a started simulator expected")
        return asyncio.run_coroutine_threadsafe(self._status(), self._loop).result(START_S)

    def _told(self) -> dict[str, Any]:
        """Return the state of every venue; that of the first stands outside as well."""
        told = {name: room.status() for name, room in self.rooms.items()}
        return {**next(iter(told.values())), "faults": self.faults.snapshot(), "rooms": told}

    async def _status(self) -> dict[str, Any]:
        return self._told()

    def _run(self, opened: Future[int]) -> None:
        asyncio.run(self._serve(opened))

    async def _serve(self, opened: Future[int]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=LARGEST_BODY)
        app.add_routes(self._routes())
        app.on_response_prepare.append(self._label)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        await runner.setup()
        try:
            async with asyncio.TaskGroup() as group:
                parts = [part for room in self.rooms.values() for part in room.work()]
                work = [group.create_task(part) for part in parts]
                await asyncio.sleep(0)
                await self._open(runner, opened)
                await self._stopping.wait()
                for task in work:
                    task.cancel()
        finally:
            for room in self.rooms.values():
                room.dismiss()
            await runner.cleanup()

    def _routes(self) -> list[web.RouteDef]:
        """Return every path once: what two venues have is the first one's."""
        routes = [*Desk(self.faults, self._told).routes()]
        for room in self.rooms.values():
            routes += room.routes()
        return list({(one.method, one.path): one for one in reversed(routes)}.values())[::-1]

    async def _open(self, runner: web.AppRunner, opened: Future[int]) -> None:
        try:
            await web.TCPSite(runner, HOST, self._port).start()
        except OSError as error:
            opened.set_exception(error)
            self._stop()
        else:
            opened.set_result(int(runner.addresses[0][1]))

    def _stop(self) -> None:
        if self._stopping:
            self._stopping.set()

    async def _label(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Simulated"] = self.label
