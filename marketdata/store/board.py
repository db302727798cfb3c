"""The board: the latest snapshot of each scope. The pipelines' thread posts, everybody reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from marketdata.context import Snapshot
from marketdata.core.bar import Bars

# How long a scope stays interesting after somebody looked, and how often it is posted at most.
WANTED_S = 10.0
PACE_S = 0.1
# A quiet scope is posted this often all the same: session clocks go on without trades.
REFRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class Key:
    """What a snapshot is of."""

    source: str
    symbol: str
    scope: str


@dataclass(frozen=True, slots=True)
class Posting:
    """A snapshot with the state around it, immutable.

    Parameters
    ----------
    snapshot : Snapshot
    minutes : Bars
        Copies of the newest 1m bars: two hours, so that two candles of up to 1h can be folded.
    is_backfilling : bool
        Missing trades are being fetched now.
    posted_s : float
        Monotonic seconds.
    number : int
        Counts the postings of a key from 1.
    """

    snapshot: Snapshot
    minutes: Bars
    is_backfilling: bool
    posted_s: float
    number: int


class Board:
    """Latest value per key; writing never waits for readers.

    Parameters
    ----------
    nudge : callable
        Wakes the poster when something is asked for that is not there.
    """

    def __init__(self, nudge: Callable[[], None] = lambda: None) -> None:
        self.nudge = nudge
        self._posted: dict[Key, Posting] = {}
        self._wanted: dict[Key, float] = {}
        self._changed = threading.Condition()
        self._listeners: list[Callable[[Key, Posting], None]] = []

    def listen(self, listener: Callable[[Key, Posting], None]) -> None:
        """Call `listener` with every posting, in the poster's thread."""
        self._listeners.append(listener)

    def want(self, key: Key) -> None:
        """Say that somebody looks at this key."""
        is_news = key not in self._wanted
        self._wanted[key] = time.monotonic() + WANTED_S
        if is_news:
            self.nudge()

    def wanted(self) -> list[Key]:
        """Return the keys somebody looked at lately."""
        now = time.monotonic()
        for key, until in list(self._wanted.items()):
            if until < now:
                self._wanted.pop(key, None)
        return list(self._wanted)

    def latest(self, key: Key) -> Posting | None:
        """Return the newest posting, or None."""
        return self._posted.get(key)

    def fresh(self, key: Key, timeout_s: float = 1.0) -> Posting | None:
        """Return a posting not much older than the posting pace; wait for one if need be."""
        self.want(key)
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                now = time.monotonic()
                posting = self._posted.get(key)
                if posting and now - posting.posted_s < REFRESH_S + PACE_S:
                    return posting
                if now >= deadline or not self._changed.wait(deadline - now):
                    return self._posted.get(key)

    def is_due(self, key: Key, *, has_changed: bool) -> bool:
        """Tell whether a key should be posted now."""
        posting = self._posted.get(key)
        if posting is None:
            return True
        age = time.monotonic() - posting.posted_s
        return age >= (PACE_S if has_changed else REFRESH_S)

    def post(self, key: Key, snapshot: Snapshot, minutes: Bars, *, is_backfilling: bool) -> None:
        """Replace the newest posting and tell the listeners."""
        before = self._posted.get(key)
        number = before.number + 1 if before else 1
        posting = Posting(snapshot, minutes, is_backfilling, time.monotonic(), number)
        with self._changed:
            self._posted[key] = posting
            self._changed.notify_all()
        for listener in self._listeners:
            listener(key, posting)
