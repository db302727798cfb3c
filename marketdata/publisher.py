"""`Publisher`: board → one box per client, on the server's loop. The latest value wins.

A pipeline thread posts to the board; `call_soon_threadsafe` hands the key to the loop (0.3–1 ms,
where a channel layer driven from a thread may wait for seconds). Each scope is encoded once for
all clients that look at it with the same timeframe.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from marketdata import answers, encoded
from marketdata.core.bar import fold
from marketdata.core.timeframe import HOUR_US, TIMEFRAMES
from marketdata.outlet import Frame
from marketdata.payload import bars_payload, encode
from marketdata.store.board import Board, Key, Posting

# More rows than this cannot be told apart on a screen; the API has them all.
PUSH_ROWS = 200
# Rare events wait here for a slow client; the oldest go first.
BOX_EVENTS = 50
# Connections are told of this often, so that data age is right on a quiet market.
HEALTH_S = 1.0
# A posting carries two hours of minutes, enough for two candles of these.
PUSH_TIMEFRAMES = [name for name, length_us in TIMEFRAMES.items() if length_us <= HOUR_US]


@dataclass(eq=False, slots=True)
class Box:
    """What waits to be sent to one client: the newest of everything, and a few events.

    Parameters
    ----------
    text : callable
        Makes a frame of a posting, when it is about to be sent.
    wake : callable
        Called when there is something new.
    stored : Frame or None
        The context to begin with where nothing feeds the instrument.
    """

    key: Key
    timeframe: str
    text: Callable[[Box, Posting], Frame]
    wake: Callable[[], None] = lambda: None
    posting: Posting | None = None
    stored: Frame | None = None
    health: Frame | None = None
    events: deque[Frame] = field(default_factory=lambda: deque(maxlen=BOX_EVENTS))
    is_introduced: bool = False
    was_event: bool = False

    def put(self, *, posting: Posting | None = None, stored: Frame | None = None) -> None:
        """Replace the context that waits."""
        self.posting = posting or self.posting
        self.stored = stored or self.stored
        self.wake()

    def put_health(self, frame: Frame) -> None:
        """Replace the word on health that waits."""
        self.health = frame
        self.wake()

    def put_event(self, frame: Frame) -> None:
        """Add an event, forgetting the oldest of too many."""
        self.events.append(frame)
        self.wake()

    def take(self) -> Frame | None:
        """Take what is to be sent next: a context first of all, then events in turn with others."""
        taken = self._next() if self.is_introduced else self._context()
        self.is_introduced = self.is_introduced or taken is not None
        return taken

    def _next(self) -> Frame | None:
        if self.events and not self.was_event:
            self.was_event = True
            return self.events.popleft()
        self.was_event = False
        if self.health is not None:
            taken, self.health = self.health, None
            return taken
        found = self._context()
        return self.events.popleft() if found is None and self.events else found

    def _context(self) -> Frame | None:
        posting, stored = self.posting, self.stored
        self.posting = self.stored = None
        return stored if posting is None else self.text(self, posting)


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
        self._boxes: defaultdict[Key, list[Box]] = defaultdict(list)
        self._lock = threading.Lock()
        self._pending: dict[Key, Posting] = {}
        self._texts: dict[tuple[Key, str], tuple[Posting, Frame]] = {}
        board.listen(self.posted)

    @property
    def clients(self) -> int:
        """How many boxes there are."""
        return sum(len(boxes) for boxes in list(self._boxes.values()))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Publish on this loop from now on."""
        self._loop = loop
        self._call(self._tick)

    def stop(self) -> None:
        """Publish no more."""
        self._loop = None

    def add(self, box: Box) -> None:
        """Fill this box from now on."""
        self._boxes[box.key].append(box)
        self.board.want(box.key)
        latest = self.board.latest(box.key)
        if latest is not None:
            box.put(posting=latest)

    def remove(self, box: Box) -> None:
        """Fill this box no more."""
        boxes = self._boxes.get(box.key, [])
        if box in boxes:
            boxes.remove(box)
        if not boxes:
            self._boxes.pop(box.key, None)
            self._texts = {at: text for at, text in self._texts.items() if at[0] != box.key}

    def text(self, box: Box, posting: Posting) -> Frame:
        """Return a posting as a push, encoded once for all clients that look at the same."""
        cached = self._texts.get((box.key, box.timeframe))
        if cached is None or cached[0] is not posting:
            cached = posting, _text(box.key, posting, box.timeframe)
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
            self._call(self._tell, matches, Frame(encode(message)))

    def _call(self, what: Callable[..., None], *args: object) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            with self._lock:
                self._pending.clear()
            return
        loop.call_soon_threadsafe(what, *args)

    def _deliver(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        for key, posting in pending.items():
            for box in self._boxes.get(key, ()):
                box.put(posting=posting)

    def _tell(self, matches: Callable[[Key], bool], frame: Frame) -> None:
        for key, boxes in self._boxes.items():
            if matches(key):
                for box in boxes:
                    box.put_event(frame)

    def _tick(self) -> None:
        """Say who is looked at and how the connections are, until stopped."""
        if self._loop is None:
            return
        self._loop.call_later(HEALTH_S, self._tick)
        if not self._boxes:
            return
        frame = Frame(encode({"type": "health", **answers.health_answer()}))
        for key, boxes in self._boxes.items():
            self.board.want(key)
            for box in boxes:
                box.put_health(frame)


def _text(key: Key, posting: Posting, timeframe: str) -> Frame:
    start = encoded.head(key, posting, PUSH_ROWS)
    context = b'{"type":"context","seq":%d,' % posting.number + start[1:]
    candles = {"candles": _candles(posting, timeframe)}
    return Frame(encoded.joined(context, candles, answers.state(key, posting)), posting.number)


def _candles(posting: Posting, timeframe: str) -> list[dict[str, Any]]:
    """Return the newest two candles of the timeframe that is shown."""
    length_us = TIMEFRAMES[timeframe]
    bars = fold(posting.minutes, length_us)[-2:]
    return bars_payload(
        bars,
        posting.snapshot.instrument.grid,
        closed_us=posting.snapshot.as_of_us,
        length_us=length_us,
        ratios=[None] * len(bars),
        is_sized=posting.snapshot.instrument.is_sized,
    )
