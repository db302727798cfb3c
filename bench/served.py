"""A real daphne with the real board, flow and publisher, fed by a generator of trades.

For bench/push.py, bench/serve.py and the tests of what is served: no socket to a venue and no
database on the way, so that what is measured is the serving alone. Prints a line when it listens.
"""

# ruff: noqa: E402  (Django has to be set up before what needs it is imported)
from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botcrypto.settings")

# First, because Twisted's reactor can be chosen only once.
from daphne.server import Server, twisted_loop  # noqa: I001

import argparse
import asyncio
import gc
import json
import random
import resource
import threading
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from django.conf import settings

GROUP = "bench"
settings.CHANNEL_LAYERS = {GROUP: {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

import django

django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

from botcrypto import urls
from botcrypto.asgi import application
from marketdata import live, outlet, telemetry
from marketdata.context import MarketContext
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.trades import Trades
from marketdata.feeds.flow import EventTape, Flow
from marketdata.feeds.ingestor import FeedStatus
from marketdata.pipeline import Pipeline
from marketdata.publisher import Box, Publisher
from marketdata.store.board import Board, Key, Posting
from marketdata.store.writer import Writer

NAME = ("binance_ws", "BTCUSDT")
KEY = Key(*NAME, "day")


def wall_us() -> int:
    """Return microseconds UTC."""
    return time.time_ns() // 1000


class Line:
    """The one connection, always live."""

    def statuses(self) -> list[FeedStatus]:
        """Return its state."""
        now_us = wall_us()
        return [FeedStatus(NAME[0], "aggTrade", NAME[1], "live", now_us, now_us)]


def house() -> live.Live:
    """Build the running parts."""
    board, lag = Board(), telemetry.LagHistogram()
    flow = Flow(board)
    flow.on_lag = lag.add
    return live.Live(
        board=board,
        flow=flow,
        writer=Writer(),
        tape=EventTape(),
        publisher=Publisher(board),
        instruments=[NAME],
        label="simulated",
        clock=wall_us,
        wall_clock=wall_us,
        gaps=lambda source: 0,
        lines=[Line()],  # type: ignore[list-item]
        repairs={},
        lag=lag,
        write_rows=telemetry.LagHistogram(),
        write_seconds=telemetry.LagHistogram(),
        rejections=dict,
    )


def feed(flow: Flow, rate: float, spread: int) -> None:
    """Feed a hundred batches a second at most, each stamped with the time it is."""
    rng = random.Random(1)
    step_s = max(0.01, 1 / rate)
    next_id, due_s = 1, time.monotonic()
    while True:
        due_s += step_s
        time.sleep(max(0.0, due_s - time.monotonic()))
        size = max(1, round(rate * step_s))
        now_us = wall_us()
        trades = Trades.of(
            list(range(next_id, next_id + size)),
            [now_us] * size,
            [(4_300_000 + rng.randint(-spread, spread)) / 100 for _ in range(size)],
            [rng.randint(1, 10**6) / 1e5 for _ in range(size)],
            [rng.random() < 0.5 for _ in range(size)],
        )
        next_id += size
        flow.put(*NAME, Batch(trades, "live", now_us))


class Member(AsyncWebsocketConsumer):  # type: ignore[misc]
    """What the publisher is measured against: a consumer in a group of the in-memory layer."""

    channel_layer_alias = GROUP
    members = 0

    async def connect(self) -> None:
        """Join."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()
        Member.members += 1

    async def disconnect(self, code: int) -> None:
        """Leave."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)
        Member.members -= 1

    async def context(self, message: dict[str, str]) -> None:
        """Pass on what the group is sent."""
        await self.send(text_data=message["text"])


def send_to_group(running: live.Live) -> None:
    """Send every posting to the group as well, the same text as the publisher's."""

    def spread(posting: Posting) -> None:
        frame = running.publisher.text(Box(KEY, "1m", running.publisher.text), posting)
        message = {"type": "context", "text": frame.text.decode()}
        twisted_loop.create_task(get_channel_layer(GROUP).group_send(GROUP, message))

    def posted(key: Key, posting: Posting) -> None:
        if Member.members:
            running.board.want(KEY)
            twisted_loop.call_soon_threadsafe(spread, posting)

    running.board.listen(posted)


def bare_django() -> ASGIHandler:
    """Return Django without middleware and with one view that is no work at all."""
    body = b'{"padding":"' + b"x" * 8000 + b'"}'

    async def view(request: HttpRequest) -> HttpResponse:
        length = {"Content-Length": str(len(body))}
        return HttpResponse(body, content_type="application/json", headers=length)

    urls.urlpatterns.append(path("bare", view))
    kept, settings.MIDDLEWARE = settings.MIDDLEWARE, []
    handler = ASGIHandler()
    settings.MIDDLEWARE = kept
    return handler


class Doors:
    """ASGI: the application, and beside it what it is measured against and by."""

    def __init__(self) -> None:
        self.bare = bare_django()
        self.member = Member.as_asgi()

    async def __call__(
        self, scope: dict[str, Any], receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        """Answer."""
        if scope["path"] == "/usage":
            await usage(send)
        elif scope["path"] == "/bare":
            await self.bare(scope, receive, send)
        elif scope["path"] == "/ws/layer/":
            await self.member(scope, receive, send)
        else:
            await application(scope, receive, send)


async def usage(send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Tell CPU seconds of the loop's thread, memory and who is connected."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    told = {
        "cpu_s": time.thread_time(),
        "rss_mb": pages * resource.getpagesize() / 2**20,
        "clients": live.now().publisher.clients,
    }
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--rate", type=float, default=1000.0, help="trades a second")
    parser.add_argument("--spread", type=int, default=2000, help="ticks around the price")
    parser.add_argument("--stuck-s", type=float, default=outlet.STUCK_S)
    options = parser.parse_args()
    outlet.STUCK_S = options.stuck_s
    sys.setswitchinterval(0.0001)
    asyncio.set_event_loop(twisted_loop)
    running = house()
    live.start(running)
    instrument = Instrument(*NAME, Grid(Decimal("0.01"), Decimal("0.00001")))
    running.flow.add(Pipeline(MarketContext(instrument)), wall_us)
    running.flow.start()
    running.publisher.start(twisted_loop)
    send_to_group(running)
    feeder = threading.Thread(
        target=feed, args=(running.flow, options.rate, options.spread), daemon=True
    )
    feeder.start()

    def ready() -> None:
        gc.collect()
        gc.freeze()
        print(f"listening on {options.port}", flush=True)

    endpoint = f"tcp:port={options.port}:interface=127.0.0.1"
    Server(Doors(), endpoints=[endpoint], ready_callable=ready).run()
    running.publisher.stop()
    running.flow.stop()


if __name__ == "__main__":
    main()
