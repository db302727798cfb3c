"""Requests a second and p99 of `/api/context` beside a Django view that does nothing.

Usage: python bench/serve.py [CONNECTIONS] [SECONDS] [RUNS]
Same daphne, same process, in turns, while 1,000 trades a second flow: `/api/context` with a profile
of 50 rows; a bare async Django view without middleware that returns as many bytes; `/health`.
Goals: at least 5 × the bare view's requests a second; p99 < 100 ms at 16 connections.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

PORT = 0
PATHS = {"/api/context": "/api/context?rows=50", "bare Django": "/bare", "/health": "/health"}
GOAL_RATIO, GOAL_P99_MS = 5.0, 100.0


async def client(path: str, until_s: float, latencies_ms: list[float]) -> None:
    """Ask again and again over one connection, which costs this process as little as can be."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    question = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    while (began_s := time.monotonic()) < until_s:
        writer.write(question)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        latencies_ms.append((time.monotonic() - began_s) * 1e3)
    writer.close()


async def side(path: str, connections: int, seconds: float) -> tuple[float, float, float]:
    """Return requests a second, p50 and p99 in milliseconds."""
    latencies_ms: list[float] = []
    until_s = time.monotonic() + seconds
    await asyncio.gather(*(client(path, until_s, latencies_ms) for _ in range(connections)))
    ordered = sorted(latencies_ms)
    at = [ordered[int(len(ordered) * share)] for share in (0.5, 0.99)]
    return len(ordered) / seconds, at[0], at[1]


async def measure(connections: int, seconds: float, runs: int) -> None:
    """Print every side, and the ratio of the first two."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in PATHS}
    for path in PATHS.values():
        await side(path, connections, 0.5)
    for _ in range(runs):
        for name, path in PATHS.items():
            found[name].append(await side(path, connections, seconds))
    print(f"cores {os.cpu_count()}, connections {connections}, {seconds:g} s, runs {runs}")
    for name, rows in found.items():
        rate, p50, p99 = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:12} {rate:8,.0f} requests/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")
    ours, bare = found["/api/context"], found["bare Django"]
    ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, bare, strict=True))
    p99 = statistics.median(row[2] for row in ours)
    print(f"ratio {ratio:.2f} (goal {GOAL_RATIO:g}: {word(ratio >= GOAL_RATIO)})")
    print(f"p99 {p99:.1f} ms (goal {GOAL_P99_MS:g}: {word(p99 < GOAL_P99_MS)})")


def word(is_met: bool) -> str:
    """Say whether a goal is met."""
    return "met" if is_met else "missed"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main(connections: int = 16, seconds: int = 4, runs: int = 5) -> None:
    """Start the server, measure, stop it."""
    global PORT  # noqa: PLW0603  (one server at a time)
    PORT = free_port()
    server = str(Path(__file__).with_name("served.py"))
    command = [sys.executable, server, f"--port={PORT}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "listening" in process.stdout.readline(), "the server did not start"
            asyncio.run(measure(connections, seconds, runs))
        finally:
            process.terminate()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
