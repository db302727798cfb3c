"""Readiness: does the database answer, does the writer commit, how exact are the numbers."""

from __future__ import annotations

import logging
from typing import Any

from django.db import DatabaseError, connection

from marketdata import live
from marketdata.core.sessions import OFF
from marketdata.feeds.flow import Lane
from marketdata.payload import precision

log = logging.getLogger(__name__)
WORST = ("exact", "backfilling", "degraded")


def ready_answer() -> dict[str, Any]:
    """Return the object of /ready."""
    running = live.now() if live.is_running() else None
    is_ready = running is not None and running.writer.is_alive() and _database_answers()
    lanes = list(running.flow.lanes.values()) if running else []
    current, total = _progress()
    is_backfilling = current < total or any(lane.is_backfilling for lane in lanes)
    name, message = _session(lanes)
    return {
        "status": "ready" if is_ready else "starting",
        "session": name,
        "session_message": message,
        "is_trading_active": name != OFF,
        "trading_enabled": False,
        "backfill_complete": not is_backfilling,
        "backfill_status": "running" if is_backfilling else "idle",
        "backfill_progress": {
            "current": current,
            "total": total,
            "percentage": round(100 * current / total, 2) if total else 100.0,
            "estimated_seconds_remaining": _remaining_s(),
        },
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


def _session(lanes: list[Lane]) -> tuple[str, str]:
    if not lanes:
        return OFF, "no instrument is followed yet"
    calendar, now_us = lanes[0].pipeline.context.calendar, lanes[0].clock()
    return calendar.current(now_us).name, calendar.message(now_us)


def _progress() -> tuple[int, int]:
    """Return trades refilled and trades asked for, of all repairs."""
    if not live.is_running():
        return 0, 0
    repairs = live.now().repairs.values()
    done = sum(repair.done for repair in repairs)
    return done, done + sum(repair.pending for repair in repairs)


def _remaining_s() -> float | None:
    if not live.is_running():
        return None
    known = [repair.remaining_s() for repair in live.now().repairs.values() if repair.pending]
    return max((s for s in known if s is not None), default=None)


def _precision(lanes: list[Lane]) -> str:
    found = [
        precision(lane.coverage, is_backfilling=lane.is_backfilling)
        if lane.coverage
        else "backfilling"
        for lane in lanes
    ]
    return max(found, key=WORST.index, default="backfilling")
