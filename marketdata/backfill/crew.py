"""`Crew`: the workers of one job. Each takes a chunk, does it, or gives it up for a reason."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from marketdata.backfill.archive import ArchiveError
from marketdata.backfill.fetch import Fetcher, Work
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.plan import Chunk
from marketdata.core.backoff import Backoff
from marketdata.core.errors import BotCryptoError, FrameError, StoppedError
from marketdata.models import BackfillChunk, BackfillJob
from marketdata.store.writer import WriterStoppedError

log = logging.getLogger(__name__)

# A page that makes no sense is asked for so often.
FRAME_TRIES = 3
Status = BackfillChunk.Status


class Crew:
    """Does chunks in parallel.

    Parameters
    ----------
    job : BackfillJob
    fetcher : Fetcher
    inlet : Inlet
        Where trades go, and the rows that tell of chunks behind them.
    most : int
        Workers.
    patience_s : float
        How long to go on without any trade.
    """

    def __init__(
        self,
        job: BackfillJob,
        fetcher: Fetcher,
        inlet: Inlet,
        most: int,
        patience_s: float,
    ) -> None:
        self.job = job
        self.fetcher = fetcher
        self.inlet = inlet
        self.most = most
        self.patience_s = patience_s
        self.works: list[Work] = []
        self._stop = fetcher.means.stop
        self._broken: BotCryptoError | None = None

    def work(self, chunks: Sequence[Chunk]) -> None:
        """Do chunks and return when all are done, given up or stopped.

        Raises
        ------
        BotCryptoError
            What makes every further chunk hopeless too.
        """
        works = [Work(len(self.works) + at, chunk) for at, chunk in enumerate(chunks, 1)]
        self.works += works
        self.fetcher.progress.expect(sum(chunk.size for chunk in chunks), len(chunks))
        todo = deque(works)
        count = min(self.most, len(works))
        with ThreadPoolExecutor(count, "backfill") as pool:
            drains = [pool.submit(self._drain, todo) for _ in range(count)]
        for drain in drains:
            drain.result()
        if self._broken is not None:
            raise self._broken

    def _drain(self, todo: deque[Work]) -> None:
        try:
            while not self._stop.is_set():
                try:
                    work = todo.popleft()
                except IndexError:
                    return
                self._do(work)
        finally:
            # A thread that touched the database and ended would leave its connection open.
            connections.close_all()

    def _do(self, work: Work) -> None:
        """Do a chunk, again where that can help."""
        backoff = Backoff(base_s=0.5, cap_s=30.0)
        self._tell(work)
        while work.status == Status.RUNNING:
            work.attempts += 1
            # What the try before said; a hole that this one cannot fill is an error of its own.
            work.error = ""
            try:
                self.fetcher.fetch(work)
            except (StoppedError, WriterStoppedError):
                work.status = Status.STOPPED
            except BotCryptoError as error:
                self._failed(work, error, backoff)
            else:
                self._done(work)
        self._tell(work)

    def _done(self, work: Work) -> None:
        if work.status == Status.RUNNING:
            work.status = Status.DONE
        else:
            instead = "pages are asked for" if self.job.via == "auto" else "the day stays open"
            log.warning("%s symbol=%s; %s", work.error, self.job.symbol, instead)
        self.fetcher.progress.finish_chunk(work.chunk.size - work.trades)

    def _failed(self, work: Work, error: BotCryptoError, backoff: Backoff) -> None:
        """Wait before the next try, or give up the chunk, or the job where none can do better."""
        work.error = str(error)
        if self._stop.is_set():
            work.status = Status.STOPPED
            return
        wait_s = self._wait_s(work, error, backoff)
        if wait_s is None:
            self._give_up(work, error)
            return
        self.fetcher.progress.say(f"waiting {wait_s:.0f} s: {error}")
        log.warning("chunk tried again job=%s in_s=%.1f error=%s", self.job.pk, wait_s, error)
        self._stop.wait(wait_s)

    def _give_up(self, work: Work, error: BotCryptoError) -> None:
        work.status = Status.FAILED
        self.fetcher.progress.finish_chunk()
        log.error("chunk given up job=%s number=%s error=%s", self.job.pk, work.number, error)
        if not isinstance(error, ArchiveError | FrameError):
            # What the others wait for will not come either.
            self._broken = error
            self._stop.set()

    def _wait_s(self, work: Work, error: BotCryptoError, backoff: Backoff) -> float | None:
        """Return how long to wait before the next try; None where there is none."""
        if isinstance(error, FrameError):
            return backoff.next(random.random()) if work.attempts < FRAME_TRIES else None
        still_s = time.monotonic() - self.fetcher.progress.moved_s
        return wait_of(error, backoff, self.patience_s - still_s)

    def _tell(self, work: Work) -> None:
        """Put the chunk's row behind the trades it speaks of."""
        if self.inlet.holds(self.job.source, self.job.symbol, work.chunk.day_us):
            self.inlet.drained()
        try:
            self.inlet.writer.put_row(work.row(self.job.pk, self.fetcher.clock()))
        except WriterStoppedError:
            self._stop.set()


def wait_of(error: BotCryptoError, backoff: Backoff, patience_s: float) -> float | None:
    """Return how long to wait before asking again; None where it is no use, or takes too long."""
    told_s = getattr(error, "retry_after_s", None) or 0.0
    if not error.retryable or told_s > patience_s or patience_s <= 0:
        return None
    return max(backoff.next(random.random()), told_s)
