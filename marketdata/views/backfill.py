"""The page at `/backfill/`: what is fetched of the past, and what was; `backfill.js` goes on."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketdata import answers, live
from marketdata.backfill.status import chunk_answer, status_answer
from marketdata.conf import SOURCES, conf
from marketdata.models import BackfillJob, Instrument
from marketdata.views.figures import UNKNOWN, number

# Shape and word of each state, as `backfill.js` has them: colour alone tells nobody anything.
STATES = {
    "queued": "◌ waiting",
    "running": "▶ running",
    "completed": "✓ completed",
    "failed": "✕ failed",
    "stopped": "■ stopped",
    "cancelled": "⊘ cancelled",
}
CANCELLING = "◌ being cancelled"
OPEN = ("queued", "running")
HOW_IT_ENDED = {"completed": "It completed.", "failed": "It failed."}
# More of them are told as a number; the API tells them all.
MOST_CHUNKS = 200


@require_safe
def backfill(request: HttpRequest) -> HttpResponse:
    """Show what runs and the newest jobs; with `?job=`, one job and its parts."""
    service = live.now().backfill if live.is_running() else None
    answer = status_answer(service)
    asked = request.GET.get("job", "")
    chosen = _chosen(asked)
    page = {
        "mode": _mode(answer["jobs"]),
        "is_running": live.is_running(),
        "has_service": service is not None,
        "is_staff": request.user.is_active and request.user.is_staff,
        "now": now_texts(answer),
        "rows": [job_row(job) for job in answer["jobs"]],
        "unknown": "" if chosen else asked,
        "detail": chosen and _detail(chosen),
        "form": _form(),
    }
    status = 404 if page["unknown"] else 200
    return render(request, "marketdata/backfill.html", page, status=status)


def _chosen(asked: str) -> BackfillJob | None:
    # No row id has more digits, and SQLite takes no larger number.
    if not asked.isdecimal() or len(asked) > len(str(2**62)) - 1:
        return None
    return BackfillJob.objects.filter(pk=int(asked)).first()


def _mode(jobs: list[dict[str, Any]]) -> str:
    """Return `simulated`, `replay`, or nothing: what the page must say about the trades."""
    if live.is_running():
        return live.now().label
    invented = set(Instrument.objects.filter(simulated=True).values_list("source", "symbol"))
    return "simulated" if any((x["source"], x["symbol"]) in invented for x in jobs) else ""


def now_texts(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what the page says of the running job."""
    progress, job = answer["progress"], answer["job"]
    left, headroom = progress["estimated_seconds_remaining"], progress["limit_headroom"]
    return {
        "title": f"Job {job} runs" if answer["running"] else "No backfill runs",
        "is_running": answer["running"],
        "share": progress["percentage"],
        "percentage": f"{progress['percentage']:.1f} %",
        "trades": f"{number(progress['current'], 0)} of {number(progress['total'], 0)}",
        "pace": f"{number(progress['trades_per_second'], 0)} trades/s",
        "left_text": "" if left is None else f"{duration(left)} left",
        "parts": f"{number(progress['chunks_done'], 0)} of {number(progress['chunks'], 0)}",
        "limit": UNKNOWN if headroom is None else f"{100 * headroom:.0f} % free",
        "note": progress["note"] or UNKNOWN,
        "idle": idle_text(answer),
    }


def idle_text(answer: dict[str, Any]) -> str:
    """Return why nothing runs, in words."""
    for job in answer["jobs"]:
        if job["status"] == "running":
            return f"Job {job['id']} was begun by another process, which alone knows how far it is."
    over = next((job for job in answer["jobs"] if job["status"] in HOW_IT_ENDED), None)
    if over is None:
        return "No job has ended yet."
    return f"The newest job that is over is job {over['id']}. {HOW_IT_ENDED[over['status']]}"


def duration(seconds: float) -> str:
    """Return a time that is left, as people say it."""
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def job_row(job: dict[str, Any]) -> dict[str, Any]:
    """Return the texts of a job's row."""
    is_open = job["status"] in OPEN
    return {
        "id": job["id"],
        "status": job["status"],
        "state": CANCELLING if job["cancelling"] else STATES[job["status"]],
        "symbol": job["symbol"],
        "source": job["source"],
        "range": span(job["start"], job["end"]),
        "via": job["via"],
        "held": held_text(job),
        "missing": number(job["missing"], 0) if is_counted(job) else UNKNOWN,
        "has_hole": job["missing"] > 0,
        "attempts": str(job["attempts"]),
        "when": moment(job["finished_at"] or job["started_at"] or job["created_at"]),
        "error": job["error"],
        "can_cancel": is_open and not job["cancelling"],
        "can_retry": not is_open and not is_whole(job),
    }


def is_counted(job: dict[str, Any]) -> bool:
    """Tell whether it is known what a job's range holds: before that, none missing says nothing."""
    return bool(job["expected"]) or job["status"] == "completed"


def is_whole(job: dict[str, Any]) -> bool:
    """Tell whether a job left nothing to be fetched."""
    return job["status"] == "completed" and not job["missing"]


def held_text(job: dict[str, Any]) -> str:
    """Return how many trades are held, where that was counted."""
    if not job["expected"]:
        return UNKNOWN
    return f"{number(job['trades'], 0)} of {number(job['expected'], 0)}"


def moment(iso: str) -> str:
    """Return a time to the minute."""
    return f"{iso[:10]} {iso[11:16]}"


def day_before(iso: str) -> str:
    """Return the date of the day before a midnight."""
    return f"{datetime.fromisoformat(iso).date() - timedelta(days=1)}"


def span(start: str, end: str) -> str:
    """Return a range of time; whole days by their dates, the last one included."""
    if start[11:] != "00:00:00.000Z":
        return f"{moment(start)} – {moment(end)}"
    if end[11:] == "00:00:00.000Z":
        first, last = start[:10], day_before(end)
        return first if first == last else f"{first} – {last}"
    is_same = start[:10] == end[:10]
    return f"{start[:10]} until {end[11:16]}" if is_same else f"{moment(start)} – {moment(end)}"


def _detail(job: BackfillJob) -> dict[str, Any]:
    rows = job.chunks.order_by("number")
    shown = [_chunk(chunk_answer(chunk)) for chunk in rows[:MOST_CHUNKS]]
    return {
        "id": job.pk,
        "vwap": UNKNOWN if job.vwap is None else f"{job.vwap:,.2f}",
        "inserted": number(job.inserted, 0),
        "absent": sum(last - first + 1 for first, last in job.exchange_side),
        "asked_by": job.asked_by or UNKNOWN,
        "chunks": shown,
        "more": rows.count() - len(shown),
    }


def _chunk(chunk: dict[str, Any]) -> dict[str, Any]:
    ids = UNKNOWN if chunk["first_id"] is None else f"{chunk['first_id']}–{chunk['last_id']}"
    lacking = sum(last - first + 1 for first, last in chunk["lacking"])
    return {**chunk, "ids": ids, "trades": number(chunk["trades"], 0), "lacking": lacking}


def _form() -> dict[str, Any]:
    """Return the choices of the form that asks for a job."""
    settings = conf()
    source, symbol = settings.instruments[0]
    symbols = [symbol for _, symbol in answers.names()] or [
        symbol for _, symbol in settings.instruments
    ]
    return {
        "sources": SOURCES,
        "source": source,
        "symbol": symbol,
        "symbols": sorted(set(symbols)),
    }
