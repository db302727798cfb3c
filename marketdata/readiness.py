"""Readiness: does the database answer, does the writer commit, how exact are the numbers."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import DatabaseError, connection

from marketdata import answers, live
from marketdata.backfill.service import BackfillService
from marketdata.core.sessions import OFF
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.feeds.flow import Lane, Name
from marketdata.payload import precision
from marketdata.store.writer import Writer

log = logging.getLogger(__name__)
# From the best to the worst; the whole is as good as its worst part.
WORST = ("exact", "backfilling", "degraded")
# A writer that has rows commits several times a second, however many wait behind them. Where it
# was idle before, it is given a moment.
RECENT_S = 5.0
WRITER_S = 1.0


def ready_answer() -> dict[str, Any]:
    """Return the object of /ready."""
    running = live.now() if live.is_running() else None
    checks = {
        "database": _database_answers(),
        "writer": running is not None and writer_answers(running.writer),
    }
    status = "ready" if all(checks.values()) else "unavailable" if running else "starting"
    lanes = dict(running.flow.lanes) if running else {}
    return {
        "status": status,
        "checks": checks,
        **_session(lanes),
        "trading_enabled": False,
        **_backfill(lanes),
        "metrics_precision": _precision(lanes),
    }


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone() == (1,))
    except DatabaseError as error:
        log.warning("database does not answer error=%s", error)
        return False


def writer_answers(writer: Writer) -> bool:
    """Tell whether rows handed to the writer are committed."""
    if not writer.is_alive() or writer.last_error:
        return False
    if not writer.depth_rows:
        return True
    is_recent = time.monotonic() - writer.statistics.last_commit_s < RECENT_S
    return is_recent or writer.flush(WRITER_S)


def _session(lanes: dict[Name, Lane]) -> dict[str, Any]:
    name, message = OFF, "no instrument is followed yet"
    if lanes:
        lane = next(iter(lanes.values()))
        calendar, now_us = lane.pipeline.context.calendar, lane.clock()
        name, message = calendar.current(now_us).name, calendar.message(now_us)
    return {"session": name, "session_message": message, "is_trading_active": name != OFF}


def _backfill(lanes: dict[Name, Lane]) -> dict[str, Any]:
    """Say how far the fetching of missing trades is, all repairs and the running job together.

    It is complete where the numbers of today wait for nothing: a job for a day that is over runs
    beside a complete one.
    """
    repairs = list(live.now().repairs.values()) if live.is_running() else []
    done, pending = sum(x.done for x in repairs), sum(x.pending for x in repairs)
    status = "completed" if done else "idle"
    is_repairing = bool(pending) or any(lane.is_backfilling for lane in lanes.values())
    is_complete = not is_repairing and bool(lanes) and not _unopened(lanes)
    known = [repair.remaining_s() for repair in repairs if repair.pending]
    service = live.now().backfill if live.is_running() else None
    job = service.running() if service else None
    if service and job:
        is_complete = is_complete and not _is_of_today(service, lanes)
        done, pending = done + job[1].current, pending + job[1].total - job[1].current
        known.append(job[1].remaining_s)
    return {
        "backfill_complete": is_complete,
        "backfill_status": "running" if is_repairing or job else status,
        "backfill_progress": {
            "current": done,
            "total": done + pending,
            "percentage": round(_percentage(done, pending, is_complete=is_complete), 2),
            "estimated_seconds_remaining": max((s for s in known if s is not None), default=None),
        },
    }


def _is_of_today(service: BackfillService, lanes: dict[Name, Lane]) -> bool:
    todays = {name: open_us(lane.clock(), DAY_US) for name, lane in lanes.items()}
    return any(service.concerns(*name, day_us) for name, day_us in todays.items())


def _percentage(done: int, pending: int, *, is_complete: bool) -> float:
    if done or pending:
        return 100 * done / (done + pending)
    return 100.0 if is_complete else 0.0


def _unopened(lanes: dict[Name, Lane]) -> list[Name]:
    return [name for name in answers.configured() if name not in lanes]


def _precision(lanes: dict[Name, Lane]) -> str:
    """Return the worst precision of today's contexts."""
    found = [_precision_of(name, lane) for name, lane in lanes.items()]
    if _unopened(lanes) or not lanes:
        # Its tick, its stored day and its first trade of the day are still being asked for.
        found.append("backfilling")
    return max(found, key=WORST.index)


def _precision_of(name: Name, lane: Lane) -> str:
    if lane.coverage is None:
        return "backfilling"
    return precision(
        lane.coverage,
        is_live=True,
        is_backfilling=lane.is_backfilling,
        is_doubtful=bool(lane.damage) or answers.is_deaf(name) or not live.now().flow.is_alive(),
    )
