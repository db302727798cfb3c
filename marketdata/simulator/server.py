"""`Simulator`: a venue on a loopback port, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from marketdata.simulator.binance_spot.venue import BinanceSpot
from marketdata.simulator.desk import LARGEST_BODY, Desk
from marketdata.simulator.faults import Faults
from marketdata.simulator.generator import GeneratedMarket
from marketdata.simulator.markets import Market
from marketdata.simulator.rules import Rules, wall_us
from marketdata.simulator.tape import RecordedMarket

HOST = "127.0.0.1"
START_S = 10.0
STOP_S = 10.0
CLOSE_S = 0.2  # for answers under way when the venue stops
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT")
DEFAULT_RATE = 20.0


class Simulator:
    """A venue that speaks its real protocol on loopback, from markets invented or recorded.

    Parameters
    ----------
    markets : sequence of Market
        What is listed; at least one.
    port : int
        0 picks a free one.
    faults : mapping
        Faults set from the start, as in `faults.KINDS`.
    rules : Rules
        Limits of the venue.
    clock_us : callable
        Wall clock, microseconds since the epoch, for minutes of request weight.

    Notes
    -----
    A context manager; nothing is left open after `stop`. `faults` may be set from any thread.
    Several clients share one market: see `pump.Pump`.

    Examples
    --------
    >>> with Simulator.generated(["BTCUSDT"], seed=7) as venue:  # doctest: +SKIP
    ...     requests.get(f"{venue.rest_url}/api/v3/time")
    """

    def __init__(
        self,
        markets: Sequence[Market],
        *,
        port: int = 0,
        faults: Mapping[str, float] | None = None,
        rules: Rules | None = None,
        clock_us: Callable[[], int] = wall_us,
    ) -> None:
        self.markets = {market.symbol: market for market in markets}
        self.faults = Faults(faults)
        self.label = markets[0].label
        self._venue = BinanceSpot(markets, self.faults, rules or Rules(), clock_us)
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    @classmethod
    def generated(
        cls,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        *,
        seed: int = 0,
        rate: float = DEFAULT_RATE,
        clock_us: Callable[[], int] = wall_us,
        **options: Any,
    ) -> Self:
        """Return a venue of invented markets; `rate` is each symbol's mean trades per second."""
        markets = [GeneratedMarket(symbol, seed, rate, clock_us) for symbol in symbols]
        return cls(markets, clock_us=clock_us, **options)

    @classmethod
    def recorded(
        cls, path: Path | str, *, speed: float = 1.0, symbol: str | None = None, **options: Any
    ) -> Self:
        """Return a venue that plays a tape file; `symbol` replaces its own. Raises TapeError."""
        return cls([RecordedMarket.open(Path(path), speed, symbol)], **options)

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

    async def _status(self) -> dict[str, Any]:
        return self._venue.status()

    def _run(self, opened: Future[int]) -> None:
        asyncio.run(self._serve(opened))

    async def _serve(self, opened: Future[int]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=LARGEST_BODY)
        app.add_routes([*self._venue.routes(), *Desk(self._venue).routes()])
        app.on_response_prepare.append(self._label)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        await runner.setup()
        try:
            async with asyncio.TaskGroup() as group:
                work = [group.create_task(part) for part in self._venue.work()]
                await asyncio.sleep(0)
                await self._open(runner, opened)
                await self._stopping.wait()
                for task in work:
                    task.cancel()
        finally:
            self._venue.warden.dismiss()
            await runner.cleanup()

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
