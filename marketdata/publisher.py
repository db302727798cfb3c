"""`Publisher`: board → one box per client, on the server's loop. The latest value wins.

A pipeline thread posts to the board; `call_soon_threadsafe` hands the key to the loop (0.3–1 ms,
where a channel layer driven from a thread may wait for seconds). Each scope is encoded once for
all clients that look at it with the same timeframe.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from marketdata import answers
from marketdata.core.bar import fold
from marketdata.core.candles import candle
from marketdata.core.timeframe import HOUR_US, TIMEFRAMES
from marketdata.payload import candle_payload, encode
from marketdata.store.board import Board, Key, Posting

# More rows than this cannot be told apart on a screen; the API has them all.
PUSH_ROWS = 200
# Rare messages (events, health) wait here for a slow client; the oldest go first.
BOX_EVENTS = 50
# A posting carries two hours of minutes, enough for two candles of these.
PUSH_TIMEFRAMES = [name for name, length_us in TIMEFRAMES.items() if length_us <= HOUR_US]


@dataclass(eq=False, slots=True)
class Box:
    """What waits to be sent to one client: the newest context and a few events."""

    key: Key
    timeframe: str
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    posting: Posting | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)

    def put_posting(self, posting: Posting) -> None:
        """Replace the context that waits."""
        self.posting = posting
        self.ready.set()

    def put_message(self, message: dict[str, Any]) -> None:
        """Add a rare message, forgetting the oldest of too many."""
        self.messages = [*self.messages[-BOX_EVENTS + 1 :], message]
        self.ready.set()

    def take(self) -> tuple[Posting | None, list[dict[str, Any]]]:
        """Empty the box."""
        taken = self.posting, self.messages
        self.posting, self.messages = None, []
        self.ready.clear()
        return taken


class Publisher:
    """Fills boxes. Everything but `posted` and `tell` runs on the loop.

    Parameters
    ----------
    board : Board
        Whose postings are published.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self._loop: asyncio.AbstractEventLoop | None = None
        self._boxes: dict[Key, list[Box]] = defaultdict(list)
        self._lock = threading.Lock()
        self._pending: dict[Key, Posting] = {}
        self._texts: dict[tuple[Key, str], tuple[Posting, str]] = {}
        board.listen(self.posted)

    @property
    def clients(self) -> int:
        """How many boxes there are."""
        return sum(len(boxes) for boxes in self._boxes.values())

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Publish on this loop from now on."""
        self._loop = loop

    def stop(self) -> None:
        """Publish no more."""
        self._loop = None

    def add(self, box: Box) -> None:
        """Fill this box from now on."""
        self._boxes[box.key].append(box)
        self.board.want(box.key)
        latest = self.board.latest(box.key)
        if latest is not None:
            box.put_posting(latest)

    def remove(self, box: Box) -> None:
        """Fill this box no more."""
        if box in self._boxes[box.key]:
            self._boxes[box.key].remove(box)
        if not self._boxes[box.key]:
            del self._boxes[box.key]
            self._texts.clear()

    def text(self, box: Box, posting: Posting) -> str:
        """Return a posting as a push, encoded once for all clients that look at the same."""
        cached = self._texts.get((box.key, box.timeframe))
        if cached is None or cached[0] is not posting:
            message = {
                "type": "context",
                "seq": posting.number,
                **answers.posting_answer(box.key, posting, PUSH_ROWS),
                "candles": _candles(posting, box.timeframe),
            }
            cached = posting, encode(message).decode()
            self._texts[box.key, box.timeframe] = cached
        return cached[1]

    def posted(self, key: Key, posting: Posting) -> None:
        """Take a posting from any thread; one hand-over carries all keys posted meanwhile."""
        if self._loop is None:
            return
        with self._lock:
            is_scheduled = bool(self._pending)
            self._pending[key] = posting
        if not is_scheduled:
            self._call(self._deliver)

    def tell(self, matches: Callable[[Key], bool], message: dict[str, Any]) -> None:
        """Send a rare message, from any thread, to the clients whose key matches."""
        if self._loop is not None and self._boxes:
            self._call(lambda: self._tell(matches, message))

    def _call(self, what: Callable[[], None]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(what)

    def _deliver(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        for key, posting in pending.items():
            for box in self._boxes.get(key, ()):
                box.put_posting(posting)
        for key in list(self._boxes):
            self.board.want(key)

    def _tell(self, matches: Callable[[Key], bool], message: dict[str, Any]) -> None:
        for key, boxes in self._boxes.items():
            if matches(key):
                for box in boxes:
                    box.put_message(message)


def _candles(posting: Posting, timeframe: str) -> list[dict[str, Any]]:
    """Return the newest two candles of the timeframe that is shown."""
    bars = fold(posting.minutes, TIMEFRAMES[timeframe])[-2:]
    grid, end_us = posting.snapshot.instrument.grid, posting.snapshot.as_of_us
    return [
        candle_payload(
            candle(start, bar, grid),
            is_closed=start + TIMEFRAMES[timeframe] <= end_us,
            coverage=None,
        )
        for start, bar in bars
    ]
