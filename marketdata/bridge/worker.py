"""The process that hears a venue: `python -m marketdata.bridge.worker`.

It reads one line of JSON from stdin, what to hear; from then on it writes messages to stdout, and
ends when stdin does. No Django is set up here, no database is open.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from marketdata.bridge import pipe
from marketdata.bridge.recorder import Recorder
from marketdata.core.errors import FrameError
from marketdata.core.events import Batch
from marketdata.core.facts import Fact
from marketdata.feeds.ingestor import FeedStatus
from marketdata.feeds.supervisor import Policy, Supervisor
from marketdata.venues import venue_of

log = logging.getLogger(__name__)

BEAT_S = 1.0
# Messages that wait for a slow parent at most; a second of a wild market.
MOST_WAITING = 5_000
# Sockets may take so long to close; whatever hangs then is left behind.
END_S = 1.0
# Kinds that are kept even where trades are dropped: there are few of them.
ALWAYS = frozenset({"status", "closed", "beat"})


@dataclass(frozen=True, slots=True)
class Task:
    """What to hear.

    Parameters
    ----------
    source, variant, channel : str
        Which venue, which kind of it, which of its channels.
    symbols : list of str
    url : str
        `wss://host` before the venue's own path.
    policy : dict
        As `Policy`.
    record : str
        Folder in which frames are kept; empty keeps none.
    """

    source: str
    variant: str
    channel: str
    symbols: list[str]
    url: str
    policy: dict[str, float]
    record: str = ""


class Outbox:
    """Messages on their way to the parent: bounded, in order, honest about what was dropped.

    Parameters
    ----------
    symbols : sequence of str
        What is told of.
    most_waiting : int

    Notes
    -----
    A listener. Once it is full, nothing more of the data is taken until half of it is gone; then
    `opened` is said again, for nothing that follows joins on what came before.
    """

    def __init__(self, symbols: Sequence[str], most_waiting: int = MOST_WAITING) -> None:
        self.symbols = tuple(symbols)
        self.most_waiting = most_waiting
        self.dropped = 0
        self._waiting: deque[pipe.Told] = deque()
        self._is_dropping = False
        self._changed = threading.Condition()

    def put(self, told: pipe.Told) -> None:
        """Take a message; never waits."""
        with self._changed:
            if self._has_room() or not ALWAYS.isdisjoint(told[0]):
                self._waiting.append(told)
                self._changed.notify()
            else:
                self.dropped += 1

    def _has_room(self) -> bool:
        if self._is_dropping and len(self._waiting) <= self.most_waiting // 2:
            self._is_dropping = False
            log.warning("the parent is slow, messages were dropped dropped=%s", self.dropped)
            self._waiting.append(pipe.opened(self.symbols))
        elif len(self._waiting) >= self.most_waiting:
            self._is_dropping = True
        return not self._is_dropping

    def take(self, timeout_s: float) -> pipe.Told | None:
        """Return the next message, None where none comes in time."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(timeout_s)
            return self._waiting.popleft() if self._waiting else None

    # What the connections say.

    def opened(self, symbols: Sequence[str]) -> None:
        """Hand on that a connection is open."""
        self.put(pipe.opened(symbols))

    def closed(self, symbols: Sequence[str]) -> None:
        """Hand on that a connection has ended."""
        self.put(pipe.closed(symbols))

    def trades(self, symbol: str, batch: Batch) -> None:
        """Hand on trades."""
        self.put(pipe.trades(symbol, batch))

    def facts(self, facts: Sequence[tuple[str, Fact]]) -> None:
        """Hand on what is no trade."""
        self.put(pipe.facts(facts))

    def replies(self, replies: Mapping[int, bytes]) -> None:
        """Hand on answers."""
        self.put(pipe.replies(replies))

    def rejected(self, error: FrameError) -> None:
        """Hand on a refused frame."""
        self.put(pipe.rejected(error))

    def status(self, status: FeedStatus) -> None:
        """Hand on a change of state."""
        self.put(pipe.status(status))


def main() -> None:
    """Hear what the first line says until stdin ends."""
    with suppress(ValueError):
        # Ctrl-C is sent to the whole group; it is the parent that decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    task = Task(**json.loads(sys.stdin.buffer.readline()))
    # Whoever prints must not write between the messages.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    outbox = Outbox(task.symbols)
    recorder = Recorder(Path(task.record)) if task.record else None
    feed = supervised(task, outbox, recorder)
    if recorder is not None:
        recorder.start()
    feed.start()
    threading.Thread(target=_tell, args=(out, outbox, feed), name="pipe", daemon=True).start()
    # Its end, not its content: the parent says nothing more, and when it is gone it says so too.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # A thread that writes to a pipe nobody reads cannot be waited for.
    threading.Timer(END_S, os._exit, args=(0,)).start()
    feed.stop(END_S / 2)
    if recorder is not None:
        recorder.stop(END_S / 2)
    os._exit(0)


def supervised(task: Task, outbox: Outbox, recorder: Recorder | None) -> Supervisor:
    """Return what hears the venue and reconnects."""
    venue = venue_of(task.source, task.variant)
    channel = venue.channel(task.channel)
    return Supervisor(
        venue,
        channel,
        task.url,
        task.symbols,
        outbox,
        Policy(**task.policy),
        lambda: time.time_ns() // 1000,
        tap=recorder.tap(task.source, channel.name) if recorder else None,
    )


def _tell(out: IO[bytes], outbox: Outbox, feed: Supervisor) -> None:
    """Write messages and beats; end the process where nobody reads any more."""
    next_beat_s = time.monotonic()
    try:
        while True:
            told = outbox.take(max(0.0, next_beat_s - time.monotonic()))
            if told is not None:
                pipe.put(out, told)
            if time.monotonic() >= next_beat_s:
                next_beat_s = time.monotonic() + BEAT_S
                pipe.put(out, pipe.beat(feed.statuses(), outbox.dropped))
    except OSError:
        os._exit(0)


if __name__ == "__main__":
    main()
