"""An outage of the live feed, end to end: the real daemon, a venue of trades that happen now."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marketdata.core.canonical import canonical
from marketdata.core.trades import Trades
from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket
from tests.daemon.process import Running, manage, running, until

FIRST_ID = 5_000_000


def wall_us() -> int:
    return time.time_ns() // 1000


class Happening(RecordedMarket):
    """A tape that plays on this machine's clock, so that its trades happen now."""

    label = "generated"

    def _target_us(self) -> int:
        return wall_us()


def trades_from(start_us: int, rate: float, seconds: float) -> Trades:
    """Return evenly spread trades, whole milliseconds, ids without holes."""
    count = int(rate * seconds)
    at = np.arange(count)
    return Trades.of(
        FIRST_ID + at,
        (start_us + (at / rate * 1e6).astype(np.int64)) // 1000 * 1000,
        (4_300_000 + at % 977) / 100,
        (1 + at % 50) / 1000,
        at % 3 > 0,
    )


@dataclass
class Told:
    """What an outage came to; times in seconds after the feed was live again."""

    hole: int
    known_s: float
    refilled_s: float
    restatements: int
    causes: set[str]
    certificate: dict[str, Any]
    truth_sha256: str


def drill(folder: Path, outage_s: float, rate: float, before_s: float = 4.0) -> Told:
    """Run a daemon, cut its feed for a while, and watch how the hole is found and refilled."""
    trades = trades_from(wall_us(), rate, outage_s + before_s + 90)
    with Simulator([Happening("BTCUSDT", trades)]) as venue:
        settings = {"BINANCE_REST_URL": venue.rest_url, "BINANCE_WS_URL": venue.ws_url}
        with running(folder, **settings) as daemon:
            until(lambda: daemon.get("/ready")["metrics_precision"] == "exact", "exact")
            until(lambda: _context(daemon)["trades"] > rate * before_s, "trades before the cut")
            venue.faults.set("outage", outage_s)
            until(lambda: _line(daemon)["state"] == "backoff", "the cut")
            until(lambda: _line(daemon)["state"] == "live", "live again", outage_s + 40)
            live_s = time.monotonic()
            gap = _first(daemon, "gap", 20.0)
            known_s = time.monotonic() - live_s
            until(lambda: _is_exact(daemon), "refilled", 60.0)
            refilled_s = time.monotonic() - live_s
            until(lambda: _context(daemon)["restatements"], "restated", 20.0)
            told = _context(daemon)["restatements"]
            causes = {event["detail"]["cause"] for event in _events(daemon, "restated")}
            assert daemon.stop() == 0
        day = time.strftime("%Y-%m-%d", time.gmtime())
        proof = manage(folder, "verify", "--symbol", "BTCUSDT", "--date", day, "--json")
    last = proof["certificate"]["last_id"]
    held = trades[trades.id <= last]
    hole = gap["detail"]["last_id"] - gap["detail"]["first_id"] + 1
    truth = hashlib.sha256(canonical(held)).hexdigest()
    return Told(hole, known_s, refilled_s, told, causes, proof, truth)


def _context(daemon: Running) -> dict[str, Any]:
    found = daemon.get("/api/context?rows=1")
    return found if "trades" in found else {"trades": 0, "restatements": 0}


def _line(daemon: Running) -> dict[str, Any]:
    found: dict[str, Any] = daemon.get("/api/ws/health")["connections"][0]
    return found


def _events(daemon: Running, kind: str) -> list[dict[str, Any]]:
    found = daemon.get("/api/strategy/events?limit=100")["events"]
    return [event for event in found if event["kind"] == kind]


def _first(daemon: Running, kind: str, wait_s: float) -> dict[str, Any]:
    until(lambda: _events(daemon, kind), kind, wait_s)
    return _events(daemon, kind)[0]


def _is_exact(daemon: Running) -> bool:
    found = daemon.get("/api/context?rows=1")
    return found["precision"] == "exact" and found["coverage"]["missing"] == 0
