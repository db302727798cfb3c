"""Certificates of windows that are over, kept beside a hash of the ledger they stand on."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from django.db.models import QuerySet

from marketdata.core.sessions import Window
from marketdata.models import Certificate, CoverageSegment
from marketdata.store import absences, edges, ledger, omissions, refusals
from marketdata.store.lock import writing


def version(instrument_id: int, start_us: int, end_us: int) -> str:
    """Return a hash of everything in the ledger that bears on [start_us, end_us).

    Notes
    -----
    Rows never change, and are claimed in the transaction that writes them: while this is the same,
    so is the certificate. Reads segments alone: a millisecond for a day of a few.
    """
    near = ledger.segments_at(instrument_id, start_us, end_us)
    mine = CoverageSegment.objects.filter(instrument_id=instrument_id)
    first = near[0].first_id if near else 0
    last = near[-1].last_id if near else ledger.EVERYTHING[1]
    before = mine.filter(first_ts_us__lt=start_us, first_id__lt=first).order_by("-first_id")[:1]
    after = mine.filter(last_ts_us__gte=end_us, first_id__gt=last).order_by("first_id")[:1]
    beside = [(s.first_id, s.last_id) for s in (*before, *after)]
    told = {
        "held": [(s.first_id, s.last_id, s.origin, s.first_ts_us, s.last_ts_us) for s in near],
        "beside": beside,
        "absent": [
            (a.first_id, a.last_id, a.kind, a.reason)
            for a in absences.listed(
                instrument_id,
                min([first, *(s[0] for s in beside)]),
                max([last, *(s[1] for s in beside)]),
            )
        ],
        "edges": sorted(edges.known(instrument_id, start_us, end_us).items()),
        "refused": refusals.count(instrument_id, start_us, end_us),
        "left_out": omissions.count(instrument_id, start_us, end_us),
    }
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def stored(instrument_id: int, window: Window) -> Certificate | None:
    """Return the certificate of a window, however old, or None."""
    return Certificate.objects.filter(
        instrument_id=instrument_id,
        scope=window.name,
        start_us=window.start_us,
        end_us=window.end_us,
    ).first()


def keep(
    instrument_id: int, window: Window, answer: dict[str, Any], ledger_version: str, as_of_us: int
) -> Certificate:
    """Store what a window was found to hold, in place of what was said of it before."""
    counted = {name: answer[name] for name in ("expected", "held", "missing", "refused")}
    with writing():
        row, _ = Certificate.objects.update_or_create(
            instrument_id=instrument_id,
            scope=window.name,
            start_us=window.start_us,
            defaults={
                **counted,
                "end_us": window.end_us,
                "sha256": answer["certificate"]["sha256"],
                "detail": answer,
                "ledger_version": ledger_version,
                "as_of_us": as_of_us,
            },
        )
    return row


def of_days(instrument_id: int, start_us: int, end_us: int) -> QuerySet[Certificate]:
    """Return the certificates of windows that begin in [start_us, end_us)."""
    mine = Certificate.objects.filter(instrument_id=instrument_id)
    return mine.filter(start_us__gte=start_us, start_us__lt=end_us)
