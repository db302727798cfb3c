"""`Progress`: how far a job is, for the terminal, the API and the page. Any thread may tell it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

# The pace of the last half minute tells the rest better than that of an hour.
RECENT_S = 30.0


@dataclass(frozen=True, slots=True)
class ProgressNow:
    """A moment of a job.

    Parameters
    ----------
    current, total : int
        Ids fetched and ids to be fetched, as far as known.
    chunks, chunks_done : int
        Pieces of work.
    per_s : float
        Trades a second of late.
    remaining_s : float or None
        Estimated; None before there is a pace.
    headroom : float or None
        Share of the request weight that is free; None where nothing was asked.
    note : str
        What it does or waits for.
    """

    current: int
    total: int
    chunks: int
    chunks_done: int
    per_s: float
    remaining_s: float | None
    headroom: float | None
    note: str

    @property
    def percentage(self) -> float:
        """Of the trades where they are known, else of the chunks."""
        if self.total:
            return round(100.0 * min(self.current, self.total) / self.total, 2)
        return round(100.0 * self.chunks_done / self.chunks, 2) if self.chunks else 0.0


class Progress:
    """Counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current = 0
        self._total = 0
        self._chunks = 0
        self._chunks_done = 0
        self._note = "starting"
        self._headroom: float | None = None
        # (monotonic seconds, trades so far), one a second.
        self._pulse: list[tuple[float, int]] = []
        self.moved_s = time.monotonic()

    def expect(self, trades: int, chunks: int) -> None:
        """Take that so much more is to be done."""
        with self._lock:
            self._total += trades
            self._chunks += chunks

    def add(self, trades: int) -> None:
        """Take that trades were fetched."""
        now_s = time.monotonic()
        with self._lock:
            self.moved_s = now_s
            self._current += trades
            self._total = max(self._total, self._current)
            if not self._pulse or now_s - self._pulse[-1][0] >= 1.0:
                self._pulse.append((now_s, self._current - trades))

    def finish_chunk(self, short_by: int = 0) -> None:
        """Take that a chunk is done; `short_by` trades that were expected of it do not exist."""
        with self._lock:
            self._chunks_done += 1
            self._total = max(self._current, self._total - short_by)

    def say(self, note: str) -> None:
        """Take what is going on."""
        with self._lock:
            self._note = note

    def breathe(self, headroom: float) -> None:
        """Take how much of the venue's limit is free, 0 to 1."""
        with self._lock:
            self._headroom = headroom

    def now(self) -> ProgressNow:
        """Return the present moment."""
        with self._lock:
            per_s = self._per_s()
            left = self._total - self._current
            return ProgressNow(
                current=self._current,
                total=self._total,
                chunks=self._chunks,
                chunks_done=self._chunks_done,
                per_s=per_s,
                remaining_s=left / per_s if per_s else None,
                headroom=self._headroom,
                note=self._note,
            )

    def _per_s(self) -> float:
        """Return the pace of late; it falls to nothing while nothing comes."""
        now_s = time.monotonic()
        while len(self._pulse) > 1 and now_s - self._pulse[0][0] > RECENT_S:
            self._pulse.pop(0)
        if not self._pulse or now_s - self.moved_s > RECENT_S:
            return 0.0
        began_s, before = self._pulse[0]
        return (self._current - before) / max(now_s - began_s, 0.001)
