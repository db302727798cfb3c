"""A clock moved by hand, a quiet venue under it, and sockets that are closed afterwards."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import websocket

from marketdata.core.trades import Trades
from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket

DAY_US = 86_400_000_000


class HandClock:
    """Stands still until it is moved."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


def at_us(text: str) -> int:
    """Return an ISO time, UTC, as microseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def tape(count: int, *, first_id: int = 1000, step_us: int = 1000) -> Trades:
    """Return `count` trades a millisecond apart, whose every value tells its row."""
    rows = range(count)
    return Trades.of(
        [first_id + row for row in rows],
        [at_us("2024-01-01T00:00:00") + row * step_us for row in rows],
        [40_000 + row % 7 * 0.01 for row in rows],
        [(1 + row % 5) / 100_000 for row in rows],
        [row % 3 == 0 for row in rows],
    )


@pytest.fixture(scope="module")
def clock() -> HandClock:
    # A Wednesday, 15:20:30: an hour under way, closed days behind it.
    return HandClock(at_us("2026-03-04T15:20:30"))


@pytest.fixture(scope="module")
def venue(clock: HandClock) -> Iterator[Simulator]:
    """Serve two invented symbols under the hand-moved clock, two trades a second each."""
    with Simulator.generated(["BTCUSDT", "ETHUSDT"], seed=7, rate=2.0, clock_us=clock) as venue:
        yield venue


Dial = Callable[..., websocket.WebSocket]


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Open WebSockets by an independent client; all are closed at the end."""
    opened: list[websocket.WebSocket] = []

    def connect(simulator: Simulator, path: str, **options: Any) -> websocket.WebSocket:
        opened.append(websocket.create_connection(simulator.ws_url + path, timeout=10, **options))
        return opened[-1]

    yield connect
    for socket in opened:
        socket.shutdown()


@pytest.fixture
def served() -> Iterator[Callable[..., Simulator]]:
    """Serve trades as a tape (speed 0 unless told), stopped at the end."""
    started: list[Simulator] = []

    def serve(trades: Trades, speed: float = 0.0, **options: Any) -> Simulator:
        started.append(Simulator([RecordedMarket("BTCUSDT", trades, speed)], **options).start())
        return started[-1]

    yield serve
    for simulator in started:
        simulator.stop()
