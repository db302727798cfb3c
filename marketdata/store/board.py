"""The board: the latest snapshot of each scope. The pipelines' thread posts, everybody reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from marketdata.context import Snapshot
from marketdata.core.bar import Bars

# How long a scope stays interesting after somebody looked, and how often it is posted at most:
# with a word on health each second that makes a little less than ten messages a client.
WANTED_S = 10.0
PACE_S = 0.115
# A quiet scope is posted this often all the same: session clocks go on without trades.
REFRESH_S = 1.0
# Posting may take this share of the thread; a snapshot of a wide day costs some milliseconds, so
# that it takes dozens of scopes on screen before the pace slows down.
POST_SHARE = 0.25


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
    damage : str
        What went wrong inside the process, where the numbers may be wrong for it; else empty.
    """

    snapshot: Snapshot
    minutes: Bars
    is_backfilling: bool
    posted_s: float
    number: int
    damage: str = ""


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
        self._changed_s: dict[Key, float] = {}
        self._cost_s: dict[Key, float] = {}
        self._wanted: dict[Key, float] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._listeners: list[Callable[[Key, Posting], None]] = []

    def listen(self, listener: Callable[[Key, Posting], None]) -> None:
        """Call `listener` with every posting, in the poster's thread."""
        self._listeners.append(listener)

    def want(self, key: Key) -> None:
        """Say that somebody looks at this key."""
        with self._lock:
            is_news = key not in self._wanted
            self._wanted[key] = time.monotonic() + WANTED_S
        if is_news:
            self.nudge()

    def wanted(self) -> list[Key]:
        """Return the keys somebody looked at lately."""
        now = time.monotonic()
        with self._lock:
            for key, until in list(self._wanted.items()):
                if until < now:
                    del self._wanted[key]
                    self._cost_s.pop(key, None)
            return list(self._wanted)

    def latest(self, key: Key, max_age_s: float = REFRESH_S + PACE_S) -> Posting | None:
        """Return the newest posting unless it is older than what is posted on a quiet market."""
        posting = self._posted.get(key)
        if posting and time.monotonic() - posting.posted_s < max_age_s:
            return posting
        return None

    def fresh(self, key: Key, timeout_s: float = 1.0) -> Posting | None:
        """Return the newest posting; wait for one where there is none or only an old one.

        Notes
        -----
        Where the poster is too busy to post in time, one of the last ten seconds will do.
        """
        self.want(key)
        with self._changed:
            self._changed.wait_for(lambda: self.latest(key), timeout_s)
        return self.latest(key, WANTED_S)

    def due_in(self, key: Key, *, has_changed: bool) -> float:
        """Return the seconds until a key should be posted; zero or less means now.

        Notes
        -----
        A change waits for nothing but the last change posted: one trade after a quiet time is
        posted at once, the next ones together a pace later.
        """
        posting = self._posted.get(key)
        if posting is None:
            return 0.0
        now, pace_s = time.monotonic(), self._pace_s()
        due_s = posting.posted_s + max(REFRESH_S, pace_s)
        if has_changed:
            due_s = min(due_s, self._changed_s.get(key, 0.0) + pace_s)
        return due_s - now

    def _pace_s(self) -> float:
        return max(PACE_S, sum(self._cost_s.values()) / POST_SHARE)

    def post(
        self,
        key: Key,
        snapshot: Snapshot,
        minutes: Bars,
        *,
        is_backfilling: bool = False,
        has_changed: bool = True,
        damage: str = "",
        cost_s: float = 0.0,
    ) -> None:
        """Replace the newest posting and tell the listeners.

        Parameters
        ----------
        has_changed : bool
            There are new trades in it; else only the clock has moved.
        cost_s : float
            What the snapshot cost to make, in seconds.
        """
        now, before = time.monotonic(), self._posted.get(key)
        number = before.number + 1 if before else 1
        posting = Posting(snapshot, minutes, is_backfilling, now, number, damage)
        self._cost_s[key] = cost_s
        if has_changed:
            self._changed_s[key] = now
        with self._changed:
            self._posted[key] = posting
            self._changed.notify_all()
        for listener in self._listeners:
            listener(key, posting)
