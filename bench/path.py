"""From a socket to metrics: our whole path beside websocket-client, json and Decimal.

A child process writes frames made beforehand, as fast as the line takes them. No database.

Usage: python bench/path.py [FRAMES] [RUNS]
Goal: at least 400,000 frames a second.
"""

import base64
import hashlib
import json
import random
import resource
import socket
import statistics
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import websocket

from marketdata.context import DAY, MarketContext
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.feeds.socket import Socket
from marketdata.pipeline import Pipeline
from marketdata.venues.binance_spot import AGG_TRADE

GOAL = 400_000
SYMBOLS = frozenset(["BTCUSDT"])
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
EVENT = (
    '{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,"p":"%.8f","q":"%.8f","f":%d,"l":%d,"T":%d,'
    '"m":%s,"M":true}'
)


def wire(count: int) -> bytes:
    """Invent an hour of trades, as WebSocket frames end to end."""
    chance, price, time_ms, frames = random.Random(11), 6_400_000, 1_760_000_000_000, []
    step_ms = 3_600_000 / count
    for n in range(count):
        price += chance.choice((-1, 0, 0, 1))
        at_ms = time_ms + int(n * step_ms)
        size = chance.randrange(1, 100_000) / 100_000
        maker = chance.choice(("true", "false"))
        numbers = (at_ms + 2, 3_000_000_000 + n, price / 100, size, 5_000_000_000 + n)
        payload = (EVENT % (*numbers, 5_000_000_000 + n, at_ms, maker)).encode()
        frames.append(b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload)
    return b"".join(frames)


def serve(count: int) -> None:
    """Serve one connection after another: shake hands, write everything, end."""
    data = wire(count)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            line, _ = listener.accept()
            with line:
                answer(line, data)


def answer(line: socket.socket, data: bytes) -> None:
    """Accept the WebSocket and write the frames."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += line.recv(4096)
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    line.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + data
    )


def receive_only(url: str, count: int) -> str:
    """Read the frames and let them go."""
    with Socket.connect(url) as line:
        while count > 0:
            count -= len(line.receive(5))
    return ""


def ours(url: str, count: int) -> str:
    """Socket, decode, pipeline: profile, delta, VWAP, sessions, 1m and 5m candles, coverage."""
    grid = Grid(Decimal("0.01"), Decimal("0.00001"))
    pipeline = Pipeline(MarketContext(Instrument("bench", "BTCUSDT", grid)))
    with Socket.connect(url) as line:
        while count > 0:
            frames = line.receive(5)
            count -= len(frames)
            received = AGG_TRADE.decode(frames, SYMBOLS)
            for trades in received.trades.values():
                pipeline.feed(Batch(trades))
    day = pipeline.context.snapshot(DAY, pipeline.watermark_us)
    return f"{day.volume:.5f} {day.delta:.5f}"


def naive(url: str, count: int) -> str:
    """Go the usual way: recv_data, json, Decimal, dicts; profile, delta, VWAP and 1m candles."""
    profile, candles = {}, {}
    volume = notional = delta = Decimal(0)
    line = websocket.create_connection(url, skip_utf8_validation=True)
    for _ in range(count):
        _, payload = line.recv_data()
        trade = json.loads(payload)
        price, qty = Decimal(trade["p"]), Decimal(trade["q"])
        volume += qty
        notional += price * qty
        delta += -qty if trade["m"] else qty
        profile[price] = profile.get(price, 0) + qty
        minute = trade["T"] // 60_000
        candle = candles.setdefault(minute, [price, price, price, price, Decimal(0)])
        candle[1], candle[2] = max(candle[1], price), min(candle[2], price)
        candle[3] = price
        candle[4] += qty
    line.shutdown()
    return f"{volume:.5f} {delta:.5f}"


OURS, NAIVE = "ours, to metrics", "recv_data, json, Decimal"
WAYS = {"ours, receive only": receive_only, OURS: ours, NAIVE: naive}


def cpu_s() -> float:
    """CPU seconds of this process so far, its own and the kernel's for it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(count: int = 300_000, runs: int = 5) -> None:
    """Print frames a second and CPU a frame of each way, in turn."""
    command = [sys.executable, __file__, "--serve", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        url = f"ws://127.0.0.1:{child.stdout.readline().strip()}/ws"
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        answers = {}
        for _ in range(runs):
            for name, way in WAYS.items():
                began, used = time.perf_counter(), cpu_s()
                answers[name] = way(url, count)
                times[name].append((time.perf_counter() - began, cpu_s() - used))
        child.kill()
    if answers[OURS] != answers[NAIVE]:
        sys.exit(f"one volume and delta expected, seen {answers[OURS]} and {answers[NAIVE]}")
    print(f"{count} frames of {len(wire(1)) - 4} bytes, {runs} runs, medians")
    rates = {}
    for name, pairs in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*pairs, strict=True))
        rates[name] = count / wall
        print(
            f"  {name:26} {count / wall:10,.0f} frames/s   {cpu / count * 1e6:6.2f} µs CPU a frame"
        )
    print(f"ratio {rates['ours, to metrics'] / rates['recv_data, json, Decimal']:.1f} x")
    met = "met" if rates[OURS] >= GOAL else "missed"
    print(f"goal {GOAL:,} frames/s: {met}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:3]))
