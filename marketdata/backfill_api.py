"""The JSON API of backfills: what runs, ask for one, end one."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema
from ninja.security import APIKeyHeader
from ninja.security.session import SessionAuthIsStaff

from marketdata import live
from marketdata.backfill.jobs import Request
from marketdata.backfill.service import BackfillService
from marketdata.backfill.status import chunk_answer, job_answer, status_answer
from marketdata.conf import conf
from marketdata.core.errors import BadInputError
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.models import BackfillJob

router = Router(tags=["backfill"])


class ApiKey(APIKeyHeader):
    """The key of the settings; where there is none, no key opens."""

    param_name = "X-API-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        """Compare in constant time."""
        wanted = conf().api_key
        if wanted and key and hmac.compare_digest(key.encode(), wanted.encode()):
            return "api key"
        return None


# The key first: a session without its CSRF token is refused outright.
WRITERS = [ApiKey(), SessionAuthIsStaff()]


class JobProgress(Schema):
    """How far the running job is."""

    current: int
    total: int
    percentage: float
    estimated_seconds_remaining: float | None
    trades_per_second: float
    chunks: int
    chunks_done: int
    limit_headroom: float | None
    note: str


class Job(Schema):
    """A job; `trades` are held of `expected`, `inserted` came by it."""

    id: int
    source: str
    symbol: str
    start: str
    end: str
    via: str
    status: str
    cancelling: bool
    attempts: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    expected: int
    trades: int
    inserted: int
    missing: int
    exchange_side: list[list[int]]
    vwap: float | None
    error: str


class Chunk(Schema):
    """A part of a job."""

    number: int
    origin: str
    day: str
    first_id: int | None
    last_id: int | None
    status: str
    attempts: int
    pages: int
    trades: int
    lacking: list[list[int]]
    sha256: str
    error: str


class JobDetail(Job):
    """A job with its parts."""

    chunks: list[Chunk]


class Backfills(Schema):
    """What runs, and the newest jobs."""

    status: str
    running: bool
    job: int | None
    progress: JobProgress
    jobs: list[Job]


class Wanted(Schema):
    """A day, a range, or today so far; source and symbol default to the first configured ones."""

    source: str | None = None
    symbol: str | None = None
    date: str | None = None
    start: str | None = None
    end: str | None = None
    today: bool = False
    via: Literal["auto", "rest", "archive"] = "auto"
    workers: int = 0


class Refused(Schema):
    """An error in words."""

    detail: str


class Cancelled(Schema):
    """Whether the job will end."""

    id: int
    cancelling: bool


class Retried(Schema):
    """Whether the job waits again; one that is not over does not."""

    id: int
    queued: bool


REFUSALS = {401: Refused, 403: Refused, 503: Refused}


@router.get("/status", response=Backfills)
def status(request: HttpRequest) -> HttpResponse:
    """Return what runs, how far it is, and the newest jobs."""
    return _reply(status_answer(live.now().backfill if live.is_running() else None))


@router.get("/jobs/{job_id}", response={200: JobDetail, 404: Refused})
def job(request: HttpRequest, job_id: int) -> HttpResponse:
    """Return a job with its parts."""
    found = BackfillJob.objects.filter(pk=job_id).first()
    if found is None:
        return _unknown(job_id)
    chunks = [chunk_answer(chunk) for chunk in found.chunks.order_by("number")]
    return _reply({**job_answer(found), "chunks": chunks})


@router.post("/jobs", auth=WRITERS, response={202: Job, 422: Refused, **REFUSALS})
def submit(request: HttpRequest, wanted: Wanted) -> HttpResponse:
    """Queue a backfill; the same one again, while it is not done, is the same job."""
    service = _service()
    try:
        queued = service.submit(_request(wanted, service.clock()))
    except BadInputError as error:
        return _reply({"detail": str(error)}, 422)
    return _reply(job_answer(queued), 202)


@router.post(
    "/jobs/{job_id}/cancel", auth=WRITERS, response={202: Cancelled, 404: Refused, **REFUSALS}
)
def cancel(request: HttpRequest, job_id: int) -> HttpResponse:
    """End a job that waits or runs; what it brought stays."""
    service = _service()
    if not BackfillJob.objects.filter(pk=job_id).exists():
        return _unknown(job_id)
    return _reply({"id": job_id, "cancelling": service.cancel(job_id)}, 202)


@router.post(
    "/jobs/{job_id}/retry", auth=WRITERS, response={202: Retried, 404: Refused, **REFUSALS}
)
def retry(request: HttpRequest, job_id: int) -> HttpResponse:
    """Queue a job that is over again; what it holds already is not fetched twice."""
    service = _service()
    if not BackfillJob.objects.filter(pk=job_id).exists():
        return _unknown(job_id)
    return _reply({"id": job_id, "queued": service.retry(job_id)}, 202)


def _service() -> BackfillService:
    service = live.now().backfill
    if service is None:
        raise live.NotRunningError("backfill is turned off in this process")
    return service


def _unknown(job_id: int) -> HttpResponse:
    known = list(BackfillJob.objects.values_list("pk", flat=True)[:20])
    return _reply({"detail": f"job {job_id} is not known", "known": known}, 404)


def _request(wanted: Wanted, now_us: int) -> Request:
    settings = conf()
    source = wanted.source or settings.data_source[0]
    start_us, end_us = _range(wanted, now_us)
    return Request(
        source=source,
        symbol=wanted.symbol or settings.watched(source)[0],
        start_us=start_us,
        end_us=end_us,
        via=wanted.via,
        workers=wanted.workers,
        asked_by="api",
    )


def _range(wanted: Wanted, now_us: int) -> tuple[int, int]:
    ways = [wanted.today, wanted.date is not None, wanted.start is not None]
    if sum(ways) != 1 or (wanted.start is None) != (wanted.end is None):
        raise BadInputError("one of today, date, or start with end expected")
    if wanted.today:
        return open_us(now_us, DAY_US), now_us
    if wanted.date is not None:
        day_us = open_us(_moment("date", wanted.date), DAY_US)
        return day_us, day_us + DAY_US
    return _moment("start", wanted.start or ""), _moment("end", wanted.end or "")


def _moment(name: str, text: str) -> int:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise BadInputError(
            f"{name}: an ISO time or date such as 2024-01-01 expected, seen {text!r}"
        ) from None
    moment = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def _reply(answer: dict[str, Any], status: int = 200) -> HttpResponse:
    headers = {"Cache-Control": "no-store"}
    body = msgspec.json.encode(answer)
    return HttpResponse(body, content_type="application/json", status=status, headers=headers)
