"""`Watch`: looks after a job while it runs: stop, cancel, and what its row tells."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from django.db import DatabaseError, connections

from marketdata.backfill import jobs
from marketdata.backfill.means import Means
from marketdata.backfill.progress import Progress
from marketdata.models import BackfillJob

log = logging.getLogger(__name__)

LOOK_S = 0.1
SAVE_S = 2.0


class Watch:
    """A thread for as long as a job runs; used as a context manager.

    Parameters
    ----------
    job : BackfillJob
        Its row tells how far the job is, and whether somebody wants it to end.
    means : Means
        Whose stop event ends a file that is being read.
    progress : Progress
    cancel : callable
        Called when somebody wants the job to end.
    """

    def __init__(
        self, job: BackfillJob, means: Means, progress: Progress, cancel: Callable[[], None]
    ) -> None:
        self.job = job
        self.means = means
        self.progress = progress
        self.cancel = cancel
        self._saved_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backfill-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.wait(LOOK_S):
                if self.means.stop.is_set():
                    self.means.reader.close()
                elif time.monotonic() - self._saved_s >= SAVE_S:
                    self._saved_s = time.monotonic()
                    self._save()
        finally:
            connections.close_all()

    def _save(self) -> None:
        asked = self.means.status()
        host = asked.host if asked else None
        if host is not None and host.rests_s > 1:
            self.progress.say(f"{host.host} is not asked for {host.rests_s:.0f} s: {host.reason}")
        now = self.progress.now()
        try:
            jobs.keep(self.job, expected=now.total, trades=now.current)
            if jobs.is_cancelled(self.job.pk):
                self.cancel()
        except DatabaseError as error:
            log.warning("progress not stored job=%s error=%s", self.job.pk, error)
