"""The whole daemon on a busy venue: exchange to page, and what a backfill beside it costs.

Usage: python bench/live.py [--rate 1000] [--seconds 20] [--backfill]

A simulated venue and the daemon run as processes of their own; this one reads the page's
WebSocket. Every trade counts: those between two pushes are spread evenly between their newest.
With --backfill the day before, 864,000 trades of a calmer venue, is fetched by archive meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import requests
import websocket

ROOT = Path(__file__).resolve().parent.parent
KEY = "bench-key-of-no-use-elsewhere"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=1000.0, help="trades per second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--backfill", action="store_true", help="measure beside a backfill too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        venue = started("simulate", "--symbols", "BTCUSDT", "--rate", str(options.rate))
        past = started("simulate", "--symbols", "BTCUSDT", "--rate", "10")
        told, told_of_past = (json.loads(item.stdout.readline()) for item in (venue, past))
        daemon = started(
            "run", "--port", "0",
            DATA_DIR=folder, BINANCE_WS_URL=told["ws_url"],
            BINANCE_REST_URL=told_of_past["rest_url"],
            BINANCE_ARCHIVE_URL=told_of_past["rest_url"],
            CONTEXT_BACKFILL_ENABLED="false", API_KEY=KEY,
        )  # fmt: skip
        try:
            url = daemon.stdout.readline().decode().split("at ")[1].split(" ")[0].rstrip("/")
            measure(url, daemon.pid, options)
        finally:
            for process in (daemon, venue, past):
                process.terminate()
                process.wait()


def started(*arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    """Start one of our commands."""
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    environment = {**os.environ, **settings}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def measure(url: str, pid: int, options: argparse.Namespace) -> None:
    """Read pushes, idle and beside a backfill."""
    time.sleep(5)
    print(f"{options.rate:g} trades/s, {os.cpu_count()} cores, {options.seconds:g} s each")
    idle = phase(url, options.seconds)
    report("alone", idle, url)
    print(f"memory of the daemon {resident_mb(pid):.0f} MB")
    if options.backfill:
        day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
        answer = requests.post(
            f"{url}/api/backfill/jobs",
            json={"date": day, "via": "archive"},
            headers={"X-API-Key": KEY},
            timeout=10,
        )
        answer.raise_for_status()
        beside = phase(url, options.seconds)
        report("beside a backfill", beside, url)
        status = requests.get(f"{url}/api/backfill/status", timeout=10).json()
        print(f"backfill {status['status']}, trades {status['jobs'][0]['trades']}")
        ratio = np.percentile(beside, 99) / np.percentile(idle, 99)
        print(f"ratio of page p99 {ratio:.2f}, goal 3: {'met' if ratio <= 3 else 'missed'}")


def phase(url: str, seconds: float) -> list[float]:
    """Return the latency in ms of trades, from the exchange's stamp to our receipt of the push."""
    socket = websocket.create_connection(
        url.replace("http", "ws") + "/ws/context/?symbol=BTCUSDT", timeout=10
    )
    seen: list[tuple[float, float]] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        message = json.loads(socket.recv())
        if message["type"] == "context" and message["last_trade_at"]:
            newest = datetime.fromisoformat(message["last_trade_at"]).timestamp()
            seen.append((time.time(), newest))
            socket.send(json.dumps({"ack": message["seq"]}))
    socket.close()
    found = []
    for (_, before_s), (now_s, newest_s) in itertools.pairwise(seen):
        steps = max(1, round((newest_s - before_s) * 100))
        found += [1e3 * (now_s - stamp) for stamp in np.linspace(before_s, newest_s, steps + 1)[1:]]
    return found


def report(name: str, latencies: list[float], url: str) -> None:
    """Print a phase."""
    p50, p99 = np.percentile(latencies, [50, 99])
    told = requests.get(f"{url}/api/metrics", timeout=10).json()
    print(
        f"{name:18} page p50 {p50:6.1f} p99 {p99:6.1f} ms   "
        f"context p50 {told['latency_ms']['p50']} p99 {told['latency_ms']['p99']} ms   "
        f"{told['trades_per_second']:.0f} trades/s, dropped {told['dropped']}"
    )


def resident_mb(pid: int) -> float:
    """Return the memory a process holds, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
