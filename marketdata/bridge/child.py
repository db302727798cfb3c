"""`ChildLine`: a venue heard by a process of its own, which is started, watched and replaced."""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import marketdata
from marketdata.backfill.wire import ChildLostError
from marketdata.bridge import pipe
from marketdata.bridge.worker import Task
from marketdata.conf import Conf
from marketdata.core.backoff import Backoff
from marketdata.feeds.ingestor import FeedStatus, Listener
from marketdata.feeds.link import Line, MakeLine, policy_of
from marketdata.feeds.supervisor import GOOD_AFTER_S, Policy
from marketdata.venues.base import Channel, Venue

log = logging.getLogger(__name__)

ROOT = Path(marketdata.__file__).parent.parent
COMMAND = (sys.executable, "-m", "marketdata.bridge.worker")
PIPE_BYTES = 1 << 20
# A beat comes each second; the first one after the start of the interpreter.
SILENT_S, START_S = 5.0, 20.0
LOOK_S = 0.2
# A process that was asked to end has so long before it is ended.
END_S = 1.5
STOPPED, BACKOFF = "stopped", "backoff"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a process may be silent, and how soon it is started anew.

    Parameters
    ----------
    silent_s, start_s : float
        Seconds without a word after which it is replaced, and the same until its first word.
    backoff_s, backoff_cap_s : float
        First and longest delay before it is started anew.
    """

    silent_s: float = SILENT_S
    start_s: float = START_S
    backoff_s: float = 0.5
    backoff_cap_s: float = 30.0


class _Child:
    """One process, from its start to its end."""

    def __init__(self, task: Task) -> None:
        self.process = subprocess.Popen(  # noqa: S603  (our own module)
            COMMAND, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=PIPE_BYTES
        )
        self.started_s = time.monotonic()
        self.statuses: list[FeedStatus] = []
        self.dropped = 0
        self.why = ""
        # Since when we wait for its next word; None while we are busy with the last one.
        self.waits_since_s: float | None = self.started_s
        self.has_spoken = False
        with suppress(OSError):
            self.into.write(json.dumps(asdict(task)).encode() + b"\n")
            self.into.flush()

    @property
    def into(self) -> IO[bytes]:
        """Its stdin."""
        return _piped(self.process.stdin)

    @property
    def out(self) -> IO[bytes]:
        """Its stdout."""
        return _piped(self.process.stdout)

    @property
    def reconnects(self) -> int:
        """Connections that it has made anew."""
        return sum(status.reconnects for status in self.statuses)

    def take(self) -> pipe.Told:
        """Wait for its next word. Raises ChildLostError."""
        self.waits_since_s = time.monotonic()
        try:
            told = pipe.take(self.out)
        except (OSError, ValueError) as error:
            raise ChildLostError(f"the connector's pipe is broken: {error}") from error
        self.waits_since_s = None
        self.has_spoken = True
        return told

    def note(self, message: pipe.Message) -> None:
        """Note what it says of itself."""
        if "beat" in message:
            beat = message["beat"]
            self.statuses = [FeedStatus(**status) for status in beat["statuses"]]
            self.dropped = beat["dropped"]

    def silent_s(self) -> float:
        """Return for how long we have waited for it in vain."""
        since_s = self.waits_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def kill(self, why: str) -> None:
        """End it at once; whoever waits for its words learns so."""
        self.why = self.why or why
        self.process.kill()

    def end(self, timeout_s: float) -> None:
        """Ask it to end, and end it where it does not."""
        with suppress(OSError, ValueError):
            self.into.close()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill("it did not end when it was asked to")
            self.process.wait(timeout_s)

    def close(self) -> str:
        """Let go of a process that has ended; return why it has."""
        self.end(END_S)
        with suppress(OSError, ValueError):
            self.out.close()
        return self.why or f"its process ended with code {self.process.returncode}"


class ChildLine(threading.Thread):
    """Hears a venue over a process of its own; a `Line` as any supervisor.

    Parameters
    ----------
    task : Task
        What is heard.
    listener : Listener
        Who takes what comes; called in this thread.
    patience : Patience

    Notes
    -----
    A process that ends, or is silent although nobody keeps it from speaking, is replaced after a
    delay. To the listener that is a connection lost: `closed`, then `opened`; what was missed
    between them is joined or stated as ever.
    """

    def __init__(self, task: Task, listener: Listener, patience: Patience | None = None) -> None:
        super().__init__(name=f"child-{task.source}", daemon=True)
        self.task = task
        self.listener = listener
        self.patience = patience or Patience()
        self.restarts = 0
        self.dropped = 0
        self._past_reconnects = 0
        self._last_error = ""
        self._last_message_us: int | None = None
        self._child: _Child | None = None
        self._open: set[str] = set()
        self._told: tuple[str, int, str] | None = None
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._watch = threading.Thread(target=self._guard, name=f"guard-{task.source}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process that hears now, if any."""
        child = self._child
        return child.process.pid if child else None

    @property
    def reconnects(self) -> int:
        """How many processes and connections were lost and made anew."""
        child = self._child
        return self.restarts + self._past_reconnects + (child.reconnects if child else 0)

    def statuses(self) -> list[FeedStatus]:
        """Return what each connection is doing; where there is no process, what becomes of it."""
        child = self._child
        if child is None or not child.statuses or self._stopping.is_set():
            return [self._own_status()]
        own = self.restarts + self._past_reconnects
        first, *others = child.statuses
        error = first.last_error or self._last_error
        return [replace(first, reconnects=first.reconnects + own, last_error=error), *others]

    def _own_status(self) -> FeedStatus:
        state = STOPPED if self._stopping.is_set() else BACKOFF if self.restarts else "connecting"
        return FeedStatus(
            self.task.source,
            self.task.channel,
            ",".join(self.task.symbols),
            state=state,
            last_message_us=self._last_message_us,
            reconnects=self.reconnects,
            last_error=self._last_error,
        )

    def start(self) -> None:
        """Begin to hear, and to watch whoever hears."""
        super().start()
        self._watch.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the process, within three seconds whatever it does."""
        self._stopping.set()
        with self._changing:
            child = self._child
        if child is not None:
            child.end(min(END_S, timeout_s / 2))
        for thread in (self, self._watch):
            if thread.is_alive():
                thread.join(timeout_s / 2)
        self._tell()

    def run(self) -> None:
        """Keep a process alive until stopped."""
        backoff = Backoff(self.patience.backoff_s, cap_s=self.patience.backoff_cap_s)
        while not self._stopping.is_set():
            self._tell()
            began_s = time.monotonic()
            self._lost(self._heard())
            if time.monotonic() - began_s >= GOOD_AFTER_S:
                backoff.reset()
            self._stopping.wait(backoff.next(random.random()))

    def _heard(self) -> str:
        """Start a process and hand on what it says to its end; return why it has ended."""
        with self._changing:
            if self._stopping.is_set():
                return ""
            try:
                child = self._child = _Child(self.task)
            except OSError as error:
                return f"no process can be started: {error}"
        try:
            while True:
                self._take(child, child.take())
        except ChildLostError as error:
            log.debug("connector lost: %s", error)
        except Exception as error:
            # This thread must not die unseen, nor leave a process behind.
            log.exception("what the connector said was not taken source=%s", self.task.source)
            child.kill(f"{type(error).__name__}: {error}")
        return child.close()

    def _take(self, child: _Child, told: pipe.Told) -> None:
        message, _ = told
        child.note(message)
        if "opened" in message:
            self._open.update(message["opened"])
        elif "closed" in message:
            self._open.difference_update(message["closed"])
        elif "status" in message or "beat" in message:
            self._tell()
            return
        pipe.hand_on(told, self.listener)

    def _lost(self, why: str) -> None:
        """Let go of a process: for the listener its connections have ended."""
        child, self._child = self._child, None
        if child is not None:
            self._past_reconnects += child.reconnects
            self.dropped += child.dropped
            heard = [status.last_message_us or 0 for status in child.statuses]
            self._last_message_us = max(heard, default=0) or self._last_message_us
        if self._open:
            closed, self._open = tuple(s for s in self.task.symbols if s in self._open), set()
            self.listener.closed(closed)
        if not self._stopping.is_set():
            self.restarts += 1
            self._last_error = f"the connector was lost: {why}"
            log.warning("connector lost source=%s why=%s", self.task.source, why)
        self._tell()

    def _tell(self) -> None:
        """Tell the listener of a change, once."""
        for status in self.statuses()[:1]:
            told = (status.state, status.reconnects, status.last_error)
            if told != self._told:
                self._told = told
                self.listener.status(status)

    def _guard(self) -> None:
        """End a process that is silent while we wait for it."""
        while not self._stopping.wait(LOOK_S):
            child = self._child
            if child is None:
                continue
            most_s = self.patience.silent_s if child.has_spoken else self.patience.start_s
            if child.silent_s() > most_s:
                child.kill(f"it was silent for {most_s:g} s")


def connector_line(settings: Conf, record: Path | None = None) -> MakeLine:
    """Return what makes the line of a source that is heard by a process of its own.

    Parameters
    ----------
    settings : Conf
        Whose hosts and patience hold.
    record : Path or None
        Folder in which that process keeps the frames of trades.
    """

    def make(venue: Venue, channel: Channel, symbols: Sequence[str], listener: Listener) -> Line:
        hosts = settings.hosts(venue.source)
        task = Task(
            venue.source,
            hosts.variant,
            channel.name,
            list(symbols),
            hosts.ws,
            _told(policy_of(settings)),
            str(record.resolve()) if record else "",
        )
        return ChildLine(task, listener)

    return make


def _told(policy: Policy) -> dict[str, float]:
    told: dict[str, float] = asdict(policy)
    return told


def _piped(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ChildLostError("a pipe to the connector expected, there is none")
    return stream
