"""Jobs as rows: what was asked for and how it went. What is held is the ledger's to say."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.db.models import Max

from marketdata.backfill.plan import VIAS, checked_range
from marketdata.conf import SOURCES
from marketdata.core.errors import BadInputError
from marketdata.core.timeframe import DAY_US
from marketdata.models import BackfillChunk, BackfillJob
from marketdata.store.lock import writing

Status = BackfillJob.Status
OPEN = (Status.QUEUED, Status.RUNNING)
UNFINISHED = (*OPEN, Status.FAILED, Status.STOPPED)
MOST_WORKERS = 32
SYMBOL_LENGTH = 64


def wall_us() -> int:
    """Return this machine's time, microseconds UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for.

    Parameters
    ----------
    start_us, end_us : int
        Half-open, microseconds UTC; an end in the future counts as now.
    via : {"auto", "rest", "archive", "file"}
    path : str
        The file, for `file`.
    workers : int
        Pages asked for at a time; 0 is the default.
    asked_by : str
        For people.
    """

    source: str
    symbol: str
    start_us: int
    end_us: int
    via: str = "auto"
    path: str = ""
    workers: int = 0
    asked_by: str = ""


def checked(request: Request, now_us: int) -> Request:
    """Return a request with its end in the past. Raises BadInputError where it makes no sense."""
    if request.source not in SOURCES:
        raise BadInputError(f"a source of {', '.join(SOURCES)} expected, seen {request.source!r}")
    if not 0 < len(request.symbol) <= SYMBOL_LENGTH:
        raise BadInputError(
            f"a symbol of 1 to {SYMBOL_LENGTH} characters expected, seen {request.symbol!r}"
        )
    if request.via not in VIAS:
        raise BadInputError(f"via {', '.join(VIAS)} expected, seen {request.via!r}")
    if (request.via == "file") != bool(request.path):
        raise BadInputError("a file expected with via file, and only then")
    if not 0 <= request.workers <= MOST_WORKERS:
        raise BadInputError(f"0 to {MOST_WORKERS} workers expected, seen {request.workers}")
    start_us, end_us = checked_range(request.start_us, request.end_us, now_us)
    return Request(
        request.source, request.symbol, start_us, end_us, request.via, request.path,
        request.workers, request.asked_by,
    )  # fmt: skip


def opened(request: Request, now_us: int) -> BackfillJob:
    """Return the row of a checked request: the one that is not finished yet, or a new one."""
    same = {name: getattr(request, name) for name in ("source", "symbol", "start_us", "end_us")}
    asked = {name: getattr(request, name) for name in ("via", "path")}
    with writing():
        job = BackfillJob.objects.filter(**same, **asked, status__in=UNFINISHED).first()
        if job is None:
            job = BackfillJob(**same, **asked, created_us=now_us)
        job.workers, job.asked_by = request.workers, request.asked_by
        if job.status != Status.RUNNING:
            job.status = Status.QUEUED
        job.is_cancelling = False
        job.save()
    return job


def begin(job: BackfillJob, now_us: int) -> None:
    """Note that a job runs; the chunks of an earlier try are forgotten."""
    job.attempts += 1
    with writing():
        BackfillChunk.objects.filter(job=job).delete()
        keep(
            job,
            status=Status.RUNNING,
            started_us=now_us,
            finished_us=0,
            error="",
            attempts=job.attempts,
        )


def keep(job: BackfillJob, **values: Any) -> None:
    """Store some columns of a job, and no others: somebody may be cancelling it."""
    for name, value in values.items():
        setattr(job, name, value)
    with writing():
        BackfillJob.objects.filter(pk=job.pk).update(**values)


def is_cancelled(job_id: int) -> bool:
    """Tell whether somebody wants a job to end."""
    return BackfillJob.objects.filter(pk=job_id, is_cancelling=True).exists()


def cancel(job_id: int, now_us: int) -> bool:
    """Want a job to end; one that waits ends at once. Returns False where it is over or unknown."""
    with writing():
        mine = BackfillJob.objects.filter(pk=job_id, status__in=OPEN)
        found = mine.update(is_cancelling=True)
        mine.filter(status=Status.QUEUED).update(status=Status.CANCELLED, finished_us=now_us)
    return bool(found)


def retry(job_id: int) -> bool:
    """Queue a job again that is over. Returns False where it is not over, or unknown."""
    with writing():
        over = BackfillJob.objects.filter(pk=job_id).exclude(status__in=OPEN)
        return bool(over.update(status=Status.QUEUED, is_cancelling=False, error=""))


def recovered() -> int:
    """Queue the jobs again that ran when their process died; return how many."""
    with writing():
        return BackfillJob.objects.filter(status=Status.RUNNING).update(status=Status.QUEUED)


def waiting() -> BackfillJob | None:
    """Return the job to run next, or None."""
    return BackfillJob.objects.filter(status=Status.QUEUED).order_by("id").first()


def newest_end_us() -> int:
    """Return when the newest job ended, 0 where none has."""
    return BackfillJob.objects.aggregate(at=Max("finished_us"))["at"] or 0


def is_open(source: str, symbol: str, day_us: int) -> bool:
    """Tell whether a job that waits or runs may bring trades of a UTC day."""
    mine = BackfillJob.objects.filter(source=source, symbol=symbol, status__in=OPEN)
    return mine.filter(start_us__lt=day_us + DAY_US, end_us__gt=day_us).exists()
