"""Bybit on loopback: still under a hand-moved clock, or fast on the wall clock."""

import json
import time

import pytest
import requests

from marketdata.simulator.bybit.limits import BybitRules
from marketdata.simulator.bybit.venue import Bybit
from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket
from tests.simulator.conftest import HandClock, at_us

PATIENCE_S = 10.0


def opened(symbols, **options):
    """Return a simulator with nothing but Bybit in it."""
    return Simulator.generated(symbols, venues=["bybit"], seed=7, **options)


def taped(trades, speed=0.0, **options):
    """Return a simulator that plays trades as contracts of Bybit."""
    return Simulator({"bybit": [RecordedMarket("BTCUSDT", trades, speed, "bybit")]}, **options)


@pytest.fixture(scope="package")
def live():
    """Serve a fast market on the wall clock."""
    with opened(["BTCUSDT", "ETHUSDT"], rate=400.0) as simulator:
        yield simulator


@pytest.fixture(scope="package")
def clock():
    """Stand at a Wednesday, 15:20:30: an hour under way, closed days behind it."""
    return HandClock(at_us("2026-03-04T15:20:30"))


@pytest.fixture(scope="package")
def still(clock):
    """Serve a slow market whose clock is moved by hand."""
    with opened(["BTCUSDT", "ETHUSDT"], rate=0.2, clock_us=clock) as simulator:
        yield simulator


@pytest.fixture
def strict():
    """Open a venue with rules of one's own; closed at the end."""
    started = []

    def start(**rules):
        started.append(opened(["BTCUSDT"], rate=20.0, rules=BybitRules(**rules)).start())
        return started[-1]

    yield start
    for simulator in started:
        simulator.stop()


@pytest.fixture(autouse=True)
def calm(request):
    """End every fault of the shared venues after each test."""
    yield
    for name in ("live", "still"):
        if name in request.fixturenames:
            request.getfixturevalue(name).faults.clear()


def ask(socket, **request):
    """Send a request; return its reply and the topics heard before it."""
    socket.send(json.dumps(request))
    before = []
    while True:
        frame = json.loads(socket.recv())
        if "op" in frame:
            return frame, before
        before.append(frame)


def follow(socket, *topics):
    """Subscribe and return what came before the acknowledgement."""
    reply, before = ask(socket, op="subscribe", req_id="s", args=list(topics))
    assert reply["success"], reply
    return before


def heard(socket, topic, count, kind=None, patience_s=PATIENCE_S):
    """Return the next frames of a topic, of one type where named."""
    found, until_s = [], time.monotonic() + patience_s
    while len(found) < count:
        assert time.monotonic() < until_s, f"{len(found)} of {count} frames of {topic}"
        frame = json.loads(socket.recv())
        if frame.get("topic") == topic and kind in (None, frame["type"]):
            found.append(frame)
    return found


def get(simulator, path, **params):
    """Ask REST and return the envelope, which comes under HTTP 200."""
    answer = requests.get(f"{simulator.rest_url}/v5/{path}", params=params)
    assert answer.status_code == 200, answer.text[:300]
    return answer.json()


def result(simulator, path, **params):
    """Ask REST and return the result of a success."""
    envelope = get(simulator, path, **params)
    assert (envelope["retCode"], envelope["retMsg"]) == (0, "OK"), envelope
    return envelope["result"]


def room_of(simulator) -> Bybit:
    """Return the venue inside a simulator."""
    return simulator.rooms["bybit"]
