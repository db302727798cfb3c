"""The answers of the API about backfills."""

from __future__ import annotations

from typing import Any

from marketdata.backfill.jobs import OPEN
from marketdata.backfill.progress import ProgressNow
from marketdata.backfill.service import BackfillService
from marketdata.models import BackfillChunk, BackfillJob
from marketdata.payload import iso

SHOWN_JOBS = 20
OVER = ("completed", "failed")


def status_answer(service: BackfillService | None) -> dict[str, Any]:
    """Return what runs, how far it is, and the newest jobs."""
    running = service.running() if service else None
    newest = list(BackfillJob.objects.all()[:SHOWN_JOBS])
    now = running[1] if running else None
    return {
        "status": "running" if running else _last(newest),
        "running": running is not None,
        "job": running[0] if running else None,
        "progress": progress_answer(now),
        "jobs": [job_answer(job) for job in newest],
    }


def _last(newest: list[BackfillJob]) -> str:
    """Return how the newest job that is over ended, `idle` where none is."""
    return next((job.status for job in newest if job.status in OVER), "idle")


def progress_answer(now: ProgressNow | None) -> dict[str, Any]:
    """Return how far a job is; all done where none runs."""
    if now is None:
        return {
            "current": 0, "total": 0, "percentage": 100.0, "estimated_seconds_remaining": None,
            "trades_per_second": 0.0, "chunks": 0, "chunks_done": 0, "limit_headroom": None,
            "note": "",
        }  # fmt: skip
    return {
        "current": now.current,
        "total": now.total,
        "percentage": now.percentage,
        "estimated_seconds_remaining": now.remaining_s and round(now.remaining_s, 1),
        "trades_per_second": round(now.per_s, 1),
        "chunks": now.chunks,
        "chunks_done": now.chunks_done,
        "limit_headroom": now.headroom and round(now.headroom, 4),
        "note": now.note,
    }


def job_answer(job: BackfillJob) -> dict[str, Any]:
    """Return one job."""
    return {
        "id": job.pk,
        "source": job.source,
        "symbol": job.symbol,
        "start": iso(job.start_us),
        "end": iso(job.end_us),
        "via": job.via,
        "status": job.status,
        "cancelling": job.is_cancelling and job.status in OPEN,
        "attempts": job.attempts,
        "created_at": iso(job.created_us),
        "started_at": iso(job.started_us) if job.started_us else None,
        "finished_at": iso(job.finished_us) if job.finished_us else None,
        "expected": job.expected,
        "trades": job.trades,
        "inserted": job.inserted,
        "missing": job.missing,
        "exchange_side": job.exchange_side,
        "vwap": job.vwap,
        "error": job.error,
    }


def chunk_answer(chunk: BackfillChunk) -> dict[str, Any]:
    """Return one chunk of a job."""
    return {
        "number": chunk.number,
        "origin": chunk.origin,
        "day": iso(chunk.day_us)[:10],
        "first_id": chunk.first_id,
        "last_id": chunk.last_id,
        "status": chunk.status,
        "attempts": chunk.attempts,
        "pages": chunk.pages,
        "trades": chunk.trades,
        "lacking": chunk.lacking,
        "sha256": chunk.sha256,
        "error": chunk.error,
    }
