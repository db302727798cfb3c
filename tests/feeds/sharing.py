"""What the tests of a shared connection share: a venue's answers, and a line to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from marketdata.feeds.shared_connection import SharedConnection
from marketdata.feeds.supervisor import Policy
from marketdata.venues.deriv import VENUE
from tests.feeds.listening import Listener

NOW = 1_790_873_176
POLICY = Policy(stale_s=5.0, dead_s=20.0, backoff_cap_s=0.2)


class Remembers(Listener):
    """And hears of lines."""

    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def opened(self, symbols):
        self.lines.append("opened")

    def closed(self, symbols):
        self.lines.append("closed")

    def facts(self, facts):
        raise AssertionError(facts)

    def replies(self, replies):
        raise AssertionError("answers are not for the listener")


def tick(symbol, epoch=NOW, number=1):
    return {
        "msg_type": "tick",
        "req_id": number,
        "tick": {"symbol": symbol, "epoch": epoch, "quote": 619.5, "pip_size": 2},
    }


def error(request, code, words="no"):
    name = next(iter(request))
    said = {"msg_type": name, "error": {"code": code, "message": words}}
    return said | {"req_id": request["req_id"]}


def obliging(request, line):
    """Answer as the venue does when all is well."""
    name, number = next(iter(request)), request.get("req_id")
    if name == "ping":
        return [{"msg_type": "ping", "ping": "pong"} | ({"req_id": number} if number else {})]
    if name == "ticks":
        return [tick(request["ticks"], number=number)]
    if name == "time":
        return [{"msg_type": "time", "time": NOW, "req_id": number, "line": line}]
    return []


def answering(request, line):
    if "balance" not in request:
        return obliging(request, line)
    told = {"balance": 10000.0, "currency": "USD", "loginid": "DOT90004580"}
    return [{"msg_type": "balance", "balance": told, "req_id": request["req_id"]}]


@contextmanager
def shared(room, symbols=("R_100",), venue=VENUE, **options) -> Iterator[tuple]:
    listener = Remembers()
    line = SharedConnection(
        venue,
        options.pop("stream", venue.channel()),
        options.pop("locate", lambda: room.url + venue.dialog.path("")),
        symbols,
        listener,
        options.pop("policy", POLICY),
        lambda: time.time_ns() // 1000,
        **options,
    )
    line.start()
    try:
        yield line, listener
    finally:
        line.stop()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("feed-")]
    assert left == [], "a feed thread outlived its connection"
