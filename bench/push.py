"""Pushes to many clients through a real daphne, beside `group_send` of the in-memory layer.

Usage: python bench/push.py [CLIENTS] [SECONDS] [RUNS]
Both sides send the same texts from the same process, in turns. Latency is from the time stamped on
a trade to its first context at a client, the pace of pushes included; delivery is the part from
making the context to its arrival. CPU is that of the thread of the server's loop, less what it uses
with one client.
Goals: exchange to client p99 < 250 ms at 1,000 trades/s; delivery p99 < 20 ms; CPU of a delivery at
most 1/6 of `group_send`'s.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

PORT = 0
OURS, LAYER = "/ws/context/", "/ws/layer/"
TRADED = re.compile(rb'"last_trade_at":"([^"]+)"')
MADE = re.compile(rb'"as_of":"([^"]+)"')
GOAL_MS, GOAL_DELIVERY_MS, GOAL_RATIO = 250.0, 20.0, 6.0
STEPS = 10


@dataclass(slots=True)
class Context:
    """A context as it arrived; times in seconds."""

    arrived_s: float
    traded_s: float
    made_s: float
    size: int


@dataclass(slots=True)
class Side:
    """What one way of pushing came to."""

    latencies_ms: list[float]
    delivery_ms: list[float]
    deliveries: int
    cpu_us: float
    size: int


class Client(asyncio.Protocol):
    """Takes bytes and the time they came, and understands them later: reading must cost nothing."""

    def __init__(self) -> None:
        self.chunks: list[tuple[float, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Note what came when."""
        self.chunks.append((time.time(), data))

    def contexts(self) -> Iterator[Context]:
        """Yield the contexts among the frames."""
        buffer = b""
        for arrived_s, data in self.chunks:
            buffer += data
            while (frame := _frame(buffer)) is not None:
                text, buffer = frame
                if text.startswith(b'{"type":"context"'):
                    traded_s, made_s = _time_s(TRADED, text), _time_s(MADE, text)
                    yield Context(arrived_s, traded_s, made_s, len(text))


def _frame(buffer: bytes) -> tuple[bytes, bytes] | None:
    """Return the payload of the first frame and what follows it; None while it is not whole."""
    if len(buffer) < 10:
        return None
    length, start = buffer[1], 2
    if length == 126:
        length, start = int.from_bytes(buffer[2:4], "big"), 4
    elif length == 127:
        length, start = int.from_bytes(buffer[2:10], "big"), 10
    end = start + length
    return None if len(buffer) < end else (buffer[start:end], buffer[end:])


def _time_s(pattern: re.Pattern[bytes], text: bytes) -> float:
    found = pattern.search(text)
    assert found is not None
    return datetime.fromisoformat(found[1].decode()).replace(tzinfo=UTC).timestamp()


async def connected(path: str) -> Client:
    """Open a WebSocket."""
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
    )
    transport, client = await asyncio.get_running_loop().create_connection(
        Client, "127.0.0.1", PORT
    )
    transport.write("\r\n".join((*lines, "", "")).encode())
    while not client.chunks:
        await asyncio.sleep(0.001)
    client.chunks.clear()
    return client


def cpu_s() -> float:
    """Return the CPU seconds of the server's loop so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/usage") as answer:
        return float(json.load(answer)["cpu_s"])


async def side(path: str, clients: int, seconds: float) -> Side:
    """Connect clients, let them settle, and measure from one burst of pushes to another."""
    made = [await connected(path) for _ in range(clients)]
    await asyncio.sleep(1.0)
    before_s, began_s = await asyncio.to_thread(cpu_s), time.time()
    await asyncio.sleep(seconds)
    used_s, took_s = await asyncio.to_thread(cpu_s) - before_s, time.time() - began_s
    for client in made:
        client.transport.abort()
    seen = [[c for c in client.contexts() if c.arrived_s > began_s] for client in made]
    return Side(
        [item for one in seen for item in latencies_ms(one)],
        [(context.arrived_s - context.made_s) * 1e3 for one in seen for context in one],
        sum(map(len, seen)),
        used_s / took_s * 1e6,
        seen[0][-1].size,
    )


def latencies_ms(seen: list[Context]) -> list[float]:
    """Return the latency of trades spread evenly between one context's newest and the next's."""
    return [
        (now.arrived_s - now.traded_s + (now.traded_s - before.traded_s) * step / STEPS) * 1e3
        for before, now in pairwise(seen)
        for step in range(STEPS)
    ]


def p99(values: list[float]) -> float:
    """Return the 99th percentile."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * 0.99)]


async def both(clients: int, seconds: float) -> tuple[Side, Side]:
    """Measure the two ways, CPU per delivery."""
    found = []
    for path in (OURS, LAYER):
        alone = await side(path, 1, seconds)
        many = await side(path, clients, seconds)
        many.cpu_us = (many.cpu_us - alone.cpu_us) * seconds / (many.deliveries - alone.deliveries)
        found.append(many)
    return found[0], found[1]


def report(pairs: list[tuple[Side, Side]], seconds: float) -> None:
    """Print medians, ratios and what they mean."""
    print(f"contexts of {pairs[0][0].size / 1000:.1f} kB")
    print("way        deliveries/s  CPU/delivery  latency p50, p99     delivery p99")
    for name, sides in zip(("publisher", "group_send"), zip(*pairs, strict=True), strict=True):
        rate = statistics.median(one.deliveries / seconds for one in sides)
        cpu_us = statistics.median(one.cpu_us for one in sides)
        p50 = statistics.median(statistics.median(one.latencies_ms) for one in sides)
        late = statistics.median(p99(one.latencies_ms) for one in sides)
        last = statistics.median(p99(one.delivery_ms) for one in sides)
        times = f"{p50:6.1f} {late:7.1f} ms {last:12.1f} ms"
        print(f"{name:10} {rate:12,.0f} {cpu_us:10.0f} µs {times}")
    ratios = sorted(theirs.cpu_us / ours.cpu_us for ours, theirs in pairs)
    ratio = statistics.median(ratios)
    late = statistics.median(p99(ours.latencies_ms) for ours, _ in pairs)
    last = statistics.median(p99(ours.delivery_ms) for ours, _ in pairs)
    print(
        f"ratio of CPU {ratio:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}), goal {GOAL_RATIO:g}: ",
        end="",
    )
    print("met" if ratio >= GOAL_RATIO else "missed")
    for what, value, goal in (("latency", late, GOAL_MS), ("delivery", last, GOAL_DELIVERY_MS)):
        print(f"{what} p99 {value:.1f} ms, goal {goal:g}: {'met' if value < goal else 'missed'}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main(clients: int = 100, seconds: int = 5, runs: int = 3) -> None:
    """Measure contexts of a few rows and of two hundred, each with a server of its own."""
    print(f"cores {os.cpu_count()}, clients {clients}, {seconds} s, runs {runs}")
    global PORT  # noqa: PLW0603  (one server at a time)
    PORT = free_port()
    server = str(Path(__file__).with_name("served.py"))
    for spread in (10, 2000):
        command = [sys.executable, server, f"--port={PORT}", f"--spread={spread}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert "listening" in process.stdout.readline(), "the server did not start"
                pairs = [asyncio.run(both(clients, seconds)) for _ in range(runs)]
            finally:
                process.terminate()
        report(pairs, seconds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
