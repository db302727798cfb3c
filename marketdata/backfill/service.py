"""`BackfillService`: the daemon's queue of jobs, one at a time, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from django.db import DatabaseError, connections

from marketdata.backfill import jobs
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request
from marketdata.backfill.means import Means, means_of
from marketdata.backfill.progress import ProgressNow
from marketdata.backfill.runner import Runner
from marketdata.conf import Conf
from marketdata.models import BackfillJob

log = logging.getLogger(__name__)

# A daemon outwaits the longest ban.
PATIENCE_S = 4 * 86_400.0
LOOK_S = 1.0
# After an error nobody expected the next job waits, so that a broken disk is not hammered.
PAUSE_S = 5.0
MakeMeans = Callable[[str, Conf, threading.Event], Means]


class BackfillService(threading.Thread):
    """Runs the jobs of this database.

    Parameters
    ----------
    settings : Conf
    inlet : Inlet
        Where trades go.
    clock : callable
        Microseconds UTC.
    make_means : callable
        (source, settings, stop) → what a job fetches with.

    Notes
    -----
    Jobs that ran when their process died are queued again at the start.
    """

    def __init__(
        self,
        settings: Conf,
        inlet: Inlet,
        clock: Callable[[], int] = jobs.wall_us,
        make_means: MakeMeans = means_of,
    ) -> None:
        super().__init__(name="backfill", daemon=True)
        self.settings = settings
        self.inlet = inlet
        self.clock = clock
        self.last_error = ""
        self._make_means = make_means
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._news = threading.Event()
        self._stopping = threading.Event()

    def submit(self, request: Request) -> BackfillJob:
        """Queue a job; the same one again is the same job. Raises BadInputError."""
        job = jobs.opened(jobs.checked(request, self.clock()), self.clock())
        self._news.set()
        return job

    def cancel(self, job_id: int) -> bool:
        """End a job for good. Returns False where it is over, or unknown."""
        found = jobs.cancel(job_id, self.clock())
        with self._lock:
            if self._runner is not None and self._runner.job.pk == job_id:
                self._runner.cancel()
        return found

    def retry(self, job_id: int) -> bool:
        """Queue a job again that is over. Returns False where it is not over, or unknown."""
        found = jobs.retry(job_id)
        self._news.set()
        return found

    def running(self) -> tuple[int, ProgressNow] | None:
        """Return the job that runs and how far it is, or None."""
        with self._lock:
            runner = self._runner
        return None if runner is None else (runner.job.pk, runner.progress.now())

    def concerns(self, source: str, symbol: str, since_us: int) -> bool:
        """Tell whether the job that runs may bring trades of an instrument since a moment."""
        with self._lock:
            job = self._runner.job if self._runner else None
        if job is None:
            return False
        return (job.source, job.symbol) == (source, symbol) and job.end_us > since_us

    def stop(self, timeout_s: float = 8.0) -> bool:
        """End after the page at hand; the job goes on at the next start. False where it hangs."""
        self._stopping.set()
        self._news.set()
        with self._lock:
            if self._runner is not None:
                self._runner.stop()
        if self.is_alive():
            self.join(timeout_s)
        return not self.is_alive()

    def run(self) -> None:
        """Run jobs until stopped, whatever one of them does."""
        try:
            self._recover()
            while not self._stopping.is_set():
                self._turn()
        finally:
            connections.close_all()

    def _recover(self) -> None:
        try:
            count = jobs.recovered()
        except DatabaseError as error:
            log.error("jobs of the last run are not resumed error=%s", error)
        else:
            if count:
                log.info("backfill jobs resumed count=%s", count)

    def _turn(self) -> None:
        job: BackfillJob | None = None
        try:
            job = jobs.waiting()
            if job is None:
                self._news.wait(LOOK_S)
                self._news.clear()
                return
            self._run_job(job)
        except Exception as error:  # noqa: BLE001  (one job must not end all that follow)
            self._complain(job, error)
            self._stopping.wait(PAUSE_S)

    def _complain(self, job: BackfillJob | None, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self.last_error:
            log.error("backfill goes on after an error", exc_info=error)
        self.last_error = text
        if job is not None:
            with suppress(DatabaseError):
                jobs.keep(job, status=jobs.Status.FAILED, error=text)

    def _run_job(self, job: BackfillJob) -> None:
        means = self._make_means(job.source, self.settings, threading.Event())
        runner = Runner(job, means, self.inlet, PATIENCE_S, self.clock)
        with self._lock:
            self._runner = runner
            if self._stopping.is_set():
                runner.stop()
        try:
            runner.run()
        finally:
            with self._lock:
                self._runner = None
        if job.status == jobs.Status.STOPPED:
            # The process ends; its successor goes on.
            jobs.keep(job, status=jobs.Status.QUEUED)
