"""Frames per second of the simulator: encoding alone, and a whole tape over a loopback socket.

The reader is a child process that counts bytes and frames without parsing them, so the figure is
the simulator's own. Usage: python bench/simulator.py [TAPE]
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from marketdata.simulator.binance_spot import wire
from marketdata.simulator.connection import frames
from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket

TAPE = Path(__file__).resolve().parents[2] / "shared/data/tapes/BTCUSDT-aggTrades-2024-01-01.zip"
BATCH = 1000


def encoded_per_s(market: RecordedMarket, count: int = 200_000) -> float:
    """Return frames encoded per second, in the batches of the pump."""
    trades = market.after(0, count)
    began = time.perf_counter()
    for batch in trades.batches(BATCH):
        b"".join(frames(wire.agg_trade_events(batch, market.fills, market.symbol, 1, 1000)))
    return len(trades) / (time.perf_counter() - began)


def read(port: int, wanted: int, told: multiprocessing.connection.Connection) -> None:
    """Count whole frames until `wanted` have come; tell seconds and CPU seconds."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(
            b"GET /ws/btcusdt@aggTrade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        began = time.perf_counter()
        seen, tail = 0, b""
        while seen < wanted:
            data = line.recv(1 << 18)
            if not data:
                break
            data = tail + data
            seen += data.count(b'"M":true}')
            tail = data[-8:] if not data.endswith(b"}") else b""
        told.send((seen, time.perf_counter() - began, time.process_time()))


def main() -> None:
    """Print both figures."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else TAPE
    market = RecordedMarket.open(path, speed=0)
    print(f"tape            {len(market):>12,} trades")
    print(f"encoding alone  {encoded_per_s(market):>12,.0f} frames/s")
    context = multiprocessing.get_context("spawn")
    told, tells = context.Pipe(duplex=False)
    with Simulator([market]) as venue:
        before = time.process_time()
        reader = context.Process(target=read, args=(venue.port, len(market), tells))
        reader.start()
        seen, seconds, reader_cpu = told.recv()
        cpu = time.process_time() - before
        reader.join()
    print(f"over loopback   {seen / seconds:>12,.0f} frames/s ({seen:,} frames in {seconds:.2f} s)")
    print(
        f"simulator CPU   {cpu / seen * 1e6:>12.2f} µs a frame (reader {reader_cpu:.1f} s in all)"
    )


if __name__ == "__main__":
    main()
