"""`Fetcher`: does one chunk, by pages, by the archive or from a file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from marketdata.backfill.archive import FileRead, Span
from marketdata.backfill.means import Means
from marketdata.backfill.plan import Chunk
from marketdata.backfill.progress import Progress
from marketdata.backfill.width import Width
from marketdata.core.coverage import Coverage, Run
from marketdata.core.errors import BadInputError, FrameError, StoppedError, VenueError
from marketdata.core.fit import fitted, reaches
from marketdata.core.ticks import tick_rule
from marketdata.core.timeframe import MINUTE_US
from marketdata.core.trades import Trades
from marketdata.models import BackfillChunk
from marketdata.rest.client import ClientStatus

log = logging.getLogger(__name__)

LOOK_S = 0.2
# Neighbouring ids may be stamped out of order; a page of another day is something else.
MARGIN_US = MINUTE_US
Status = BackfillChunk.Status


@dataclass
class Work:
    """A chunk and how far it is.

    Parameters
    ----------
    cursor : int
        Ids below it were handed in.
    lacking : list of Run
        Ids that the venue answered it does not have.
    read : FileRead or None
        What a file came to.
    """

    number: int
    chunk: Chunk
    cursor: int = 0
    attempts: int = 0
    pages: int = 0
    trades: int = 0
    status: str = Status.RUNNING
    error: str = ""
    lacking: list[Run] = field(default_factory=list)
    read: FileRead | None = None

    @property
    def ids(self) -> tuple[int | None, int | None]:
        """The first and last id of it, as far as known."""
        if self.chunk.runs:
            return self.chunk.runs[0][0], self.chunk.runs[-1][1]
        return (self.read.first_id, self.read.last_id) if self.read else (None, None)

    def row(self, job_id: int, now_us: int) -> BackfillChunk:
        """Return its row for people."""
        first_id, last_id = self.ids
        return BackfillChunk(
            job_id=job_id,
            number=self.number,
            origin=self.chunk.origin,
            day_us=self.chunk.day_us,
            first_id=first_id,
            last_id=last_id,
            status=self.status,
            attempts=self.attempts,
            pages=self.pages,
            trades=self.trades,
            lacking=[list(run) for run in self.lacking],
            sha256=self.read.made_from if self.read else "",
            error=self.error,
            updated_us=now_us,
        )


class Gate:
    """Lets so many requests through at a time as the venue bears."""

    def __init__(self, most: int, stop: threading.Event) -> None:
        self.width = Width(most)
        self._stop = stop
        self._busy = 0
        self._changed = threading.Condition()
        self._refusals = 0
        self._answers = 0
        self._seconds = 0.0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Wait for a place and hold it. Raises StoppedError."""
        with self._changed:
            while self._busy >= self.width.value:
                self._changed.wait(LOOK_S)
                if self._stop.is_set():
                    raise StoppedError("stopped while waiting for a place")
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify()

    def note(self, status: ClientStatus) -> None:
        """Take how the venue did lately."""
        answers, seconds = sum(status.host.answers.values()), status.host.seconds
        with self._changed:
            is_first = not self._answers
            if status.limiter.refusals > self._refusals and not is_first:
                self.width.refused()
            elif answers > self._answers and not is_first:
                self.width.answered((seconds - self._seconds) / (answers - self._answers))
            self._refusals = status.limiter.refusals
            self._answers, self._seconds = answers, seconds
            self._changed.notify_all()


Put = Callable[[Trades, str], int]
Beside = Callable[[int, int], tuple[Trades, Trades]]


class Fetcher:
    """Fetches the chunks of one job. Several threads use it.

    Parameters
    ----------
    means : Means
    symbol, via, path : str
        Whose trades, how they may come, and from which file where there is one.
    put : callable
        Takes (trades, origin) and returns how many were missing.
    gate : Gate
    progress : Progress
    clock : callable
        Microseconds UTC.
    beside : callable
        (first, last) number of a hole → what is held on both sides, the nearest.
    """

    def __init__(
        self,
        means: Means,
        symbol: str,
        via: str,
        path: str,
        put: Put,
        gate: Gate,
        progress: Progress,
        clock: Callable[[], int],
        beside: Beside,
    ) -> None:
        self.means = means
        self.symbol = symbol
        self.via = via
        self.path = path
        self.put = put
        self.gate = gate
        self.progress = progress
        self.clock = clock
        self.beside = beside

    def fetch(self, work: Work) -> None:
        """Do a chunk, or what is left of it. Raises BotCryptoError."""
        if work.chunk.by_time:
            self._by_time(work)
        elif work.chunk.origin == "rest":
            self._by_pages(work)
        else:
            self._by_file(work)

    def _by_pages(self, work: Work) -> None:
        runs = work.chunk.runs
        self.progress.say(f"asking {self.means.venue.title} for pages")
        for first, last in runs:
            cursor = max(first, work.cursor)
            while cursor <= last:
                page = self._page(cursor)
                work.pages += 1
                self._note_lacking(work, page, cursor, runs[-1][1])
                self._hand_on(work, page[page.id <= runs[-1][1]])
                work.cursor = cursor = int(page.id[-1]) + 1

    def _page(self, cursor: int) -> Trades:
        with self.gate.entered():
            page = self.means.page(self.symbol, cursor)
        status = self.means.status()
        if status is not None:
            self.gate.note(status)
            self.progress.breathe(1 - status.limiter.used / max(1, status.limiter.limit))
        if not len(page):
            raise FrameError("empty", f"trades from id {cursor} on expected, the venue sent none")
        return page

    def _note_lacking(self, work: Work, page: Trades, cursor: int, last: int) -> None:
        """Note ids that the venue skips, once it has said so twice."""
        lowest = int(page.id[0])
        if lowest == cursor:
            return
        again = int(self._page(cursor).id[0])
        if again != lowest:
            detail = f"the same trade after id {cursor} twice expected, seen {lowest} and {again}"
            raise FrameError("order", detail)
        work.lacking += Coverage(work.chunk.runs).within(cursor, min(lowest - 1, last))

    def _hand_on(self, work: Work, trades: Trades) -> None:
        if not len(trades):
            return
        low, high = int(trades.ts_us.min()), int(trades.ts_us.max())
        chunk = work.chunk
        if low < chunk.start_us - MARGIN_US or high >= chunk.end_us + MARGIN_US:
            detail = f"times of {chunk.start_us}..{chunk.end_us} expected, seen {low}..{high}"
            raise FrameError("number", detail)
        work.trades += self.put(trades, chunk.origin)

    def _by_time(self, work: Work) -> None:
        """Fill holes among trades that we number, by all that there is of their time."""
        chunk, rows = work.chunk, Trades.empty()
        if chunk.origin != "rest":
            parts: list[Trades] = []
            self._read(work, lambda trades, origin: parts.append(trades))
            if work.read is None:
                return
            # A file that is read again is handed on again: the last time counts.
            read = Trades.concat(parts)
            rows = read[len(read) - work.read.rows :]
            # What the file numbers its trades by is none of our numbers.
            work.read = replace(work.read, rows=0, first_id=0, last_id=-1)
        filled = Trades.empty()
        for hole in chunk.runs:
            try:
                found = self._fill(work, hole, rows, filled)
            except BadInputError as error:
                # It stays a hole; those beside it may well be filled.
                log.error("hole not filled symbol=%s error=%s", self.symbol, error)
                work.error = str(error)
                continue
            filled = Trades.concat([filled, found])
            # The next hole may lie within the same moment.
            filled = filled[filled.ts_us == filled.ts_us.max(initial=0)]

    def _fill(self, work: Work, hole: Run, rows: Trades, filled: Trades) -> Trades:
        """Fill one hole; `filled` has been handed in, and may not be stored yet."""
        before, after = self.beside(*hole)
        if len(before):
            before = Trades.concat([filled[filled.ts_us == before.ts_us[-1]], before])
        if work.chunk.origin == "rest":
            rows = self._between(work.chunk, before, after)
            work.pages += 1
        is_sided = self.means.venue.is_sized
        found, unused = fitted(rows, hole, before, after, is_sided=is_sided)
        if not is_sided:
            found = replace(found, is_buy=tick_rule(found.price, before))
        if len(found):
            work.trades += self.put(found, work.chunk.origin)
        if unused is not None and _vouches(work.chunk, rows, before, after):
            work.lacking.append(unused)
        return found

    def _between(self, chunk: Chunk, before: Trades, after: Trades) -> Trades:
        if self.means.between is None:
            raise VenueError(f"{self.means.venue.title} answers no question about a time")
        self.progress.say(f"asking {self.means.venue.title} for the time of a hole")
        start_us = int(before.ts_us[-1]) if len(before) else chunk.start_us
        end_us = int(after.ts_us[0]) + 1 if len(after) else chunk.end_us
        return self.means.between(
            self.symbol, max(start_us, chunk.start_us), min(end_us, chunk.end_us)
        )

    def _by_file(self, work: Work) -> None:
        def take(trades: Trades, origin: str) -> None:
            work.trades += self.put(trades, origin)

        self._read(work, take)

    def _read(self, work: Work, put: Callable[[Trades, str], object]) -> None:
        """Read a file, of the venue's or of ours, and hand on what lies in the chunk's time."""
        chunk = work.chunk
        span = Span(self.symbol, chunk.day_us, chunk.start_us, chunk.end_us)

        def take(trades: Trades, origin: str) -> None:
            if self.means.stop.is_set():
                raise StoppedError("stopped while reading a file")
            put(trades, origin)

        if chunk.origin == "file":
            self.progress.say(f"reading {Path(self.path).name}")
            work.read = self.means.archive.file(Path(self.path), span, take)
            return
        self.progress.say("fetching a day's file")
        only_files = self.via == "archive"
        work.read = self.means.archive.day(span, self.clock(), take, only_files=only_files)
        if work.read is None:
            work.status, work.error = Status.ABSENT, "the venue has no file of this day"


def _vouches(chunk: Chunk, rows: Trades, before: Trades, after: Trades) -> bool:
    """Tell whether the rows are all there is between two sides of a hole.

    What is held at a side must be among the rows, for a file may end early. Where nothing of the
    chunk's time is held, the chunk's edge is the side; of somebody's file nobody knows whether it
    begins and ends there.
    """
    if len(before) and before.ts_us[-1] >= chunk.end_us:
        return False
    if len(after) and after.ts_us[0] < chunk.start_us:
        return False
    sides = (before[before.ts_us >= chunk.start_us], after[after.ts_us < chunk.end_us])
    is_whole = chunk.origin != "file"
    return all(reaches(rows, held) if len(held) else is_whole for held in sides)
