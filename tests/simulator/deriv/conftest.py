"""Deriv under a clock moved by hand, and under one that runs a hundred times as fast."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket

from marketdata.simulator import pump
from marketdata.simulator.deriv.limits import DerivRules
from marketdata.simulator.server import Simulator
from tests.simulator.conftest import Dial, HandClock, at_us

NOW = 1_772_637_631  # 2026-03-04 15:20:31 UTC
SPEED = 100
PUBLIC = "/trading/v1/options/ws/public"
LEGACY = "/websockets/v3?app_id=1089"
AMPLE = DerivRules(weight_per_minute=10_000, balance_per_minute=10_000, portfolio_per_minute=10_000)


class Talk:
    """One client: asks, and reads what comes besides."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self.socket = socket

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer to it, passing over what streams send."""
        self.socket.send(json.dumps({"req_id": 77, **request}))
        while True:
            answer = self.next()
            if answer.get("req_id") == request.get("req_id", 77):
                return answer

    def code(self, **request: Any) -> str:
        """Return the code of the error that answers a request; empty where none does."""
        return str(self.ask(**request).get("error", {}).get("code", ""))

    def next(self) -> dict[str, Any]:
        """Return the next frame. Raises WebSocketConnectionClosedException at the last one."""
        text = self.socket.recv()
        if not text:
            raise websocket.WebSocketConnectionClosedException
        return dict(json.loads(text))


class QuickClock:
    """Runs SPEED times as fast as the wall."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def __call__(self) -> int:
        return NOW * 1_000_000 + int((time.monotonic() - self._began_s) * SPEED * 1e6)


@pytest.fixture(scope="module")
def clock() -> HandClock:
    return HandClock(at_us("2026-03-04T15:20:31") + 400_000)


@pytest.fixture(scope="module")
def venue(clock: HandClock) -> Iterator[Simulator]:
    with Simulator.generated(
        ["BTCUSDT", "ETHUSDT"], venues=["deriv"], seed=7, clock_us=clock, rules=AMPLE
    ) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def quick() -> Iterator[Simulator]:
    with pytest.MonkeyPatch.context() as patched:
        # A market sleeps by the wall, and would wake for many ticks at once.
        patched.setattr(pump, "LONGEST_S", 0.04)
        with Simulator.generated(
            ["BTCUSDT", "ETHUSDT"], venues=["deriv"], seed=7, clock_us=QuickClock(), rules=AMPLE
        ) as simulator:
            yield simulator


@pytest.fixture(autouse=True)
def quiet_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """End every fault of the shared venues after each test."""
    yield
    for name in ("venue", "quick"):
        if name in request.fixturenames:
            request.getfixturevalue(name).faults.clear()


@pytest.fixture
def talk(dial: Dial) -> Callable[..., Talk]:
    """Connect to a venue, at its public socket unless told."""

    def connect(simulator: Simulator, path: str = PUBLIC) -> Talk:
        return Talk(dial(simulator, path))

    return connect


def until(holds: Callable[[], Any], within_s: float = 5.0) -> Any:
    """Return what `holds` returns once that is true."""
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)
    return found
