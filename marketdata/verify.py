"""The ledger's answer for a window of time: expected, held, missing, and a certificate over it."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError

from marketdata import rebuild
from marketdata.context import DAY, day_window
from marketdata.core.canonical import ROW, canonical
from marketdata.core.coverage import Coverage, Reach, missing_of, reach
from marketdata.core.errors import BadInputError
from marketdata.core.instrument import Instrument
from marketdata.core.lacking import lacking
from marketdata.core.sessions import SessionCalendar, Window
from marketdata.models import Absence
from marketdata.payload import iso
from marketdata.store import (
    absences,
    certificates,
    edges,
    instruments,
    ledger,
    omissions,
    refusals,
    rows,
)
from marketdata.venues import VENUES

log = logging.getLogger(__name__)

# A page of rows becomes columns under the interpreter's lock: so many in ten milliseconds.
PAGE_ROWS = 20_000
RANGE = "range"


def wall_us() -> int:
    """Return this machine's time, microseconds UTC."""
    return time.time_ns() // 1000


@dataclass(slots=True)
class Held:
    """What is stored of a range of time.

    Parameters
    ----------
    trades : int
        Rows inside the range.
    ends : (first, last) or None
        Lowest and highest of their ids.
    times : (first, last) or None
        Times of the first and the last one, microseconds UTC.
    sources : dict
        Rows by origin.
    digest
        SHA-256 over their canonical bytes.
    """

    trades: int = 0
    ends: tuple[int, int] | None = None
    times: tuple[int, int] | None = None
    sources: dict[str, int] = field(default_factory=dict)
    digest: Any = field(default_factory=hashlib.sha256)


def window_of(scope: str, day_us: int) -> Window:
    """Return the UTC day, or the session of a name that starts on it.

    Raises
    ------
    BadInputError
        There is no such session, or it does not open on that day.
    """
    if scope == DAY:
        return day_window(day_us)
    calendar = SessionCalendar(instruments.trading_sessions())
    known = [DAY, *(item.name for item in calendar.definitions)]
    if scope not in known:
        raise BadInputError(f"a scope of {', '.join(known)} expected, seen {scope!r}")
    for window in calendar.windows(day_us):
        if window.name == scope and window.start_us >= day_us:
            return window
    raise BadInputError(f"a day on which {scope} opens expected, seen {iso(day_us)[:10]}")


def windows_of(day_us: int) -> list[Window]:
    """Return the UTC day and every session that starts on it."""
    calendar = SessionCalendar(instruments.trading_sessions())
    sessions = [w for w in calendar.windows(day_us) if w.start_us >= day_us]
    return [day_window(day_us), *sessions]


def certified(
    instrument: Instrument,
    window: Window,
    now_us: int,
    page_rows: int = PAGE_ROWS,
    pause: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Return the certificate of a window; one that is over is counted again only when it changed.

    Parameters
    ----------
    pause : callable
        Called after each page of rows.
    """
    is_over = window.end_us <= now_us
    version = certificates.version(instrument.id, window.start_us, window.end_us)
    if is_over:
        known = certificates.stored(instrument.id, window)
        if known is not None and known.ledger_version == version:
            return known.detail
    answer = verified(instrument, window, now_us, page_rows, pause)
    if is_over and answer["expected"]:
        _keep(instrument, window, answer, version, now_us)
    return answer


def _keep(
    instrument: Instrument, window: Window, answer: dict[str, Any], version: str, now_us: int
) -> None:
    try:
        certificates.keep(instrument.id, window, answer, version, now_us)
    except DatabaseError as error:
        # Another process may be writing, or the disk be full: the answer is right all the same.
        log.warning("certificate not kept scope=%s error=%s", window.name, error)


def verified(
    instrument: Instrument,
    window: Window,
    now_us: int,
    page_rows: int = PAGE_ROWS,
    pause: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Count what is held of a window against the venue's ids, row by row.

    Notes
    -----
    The window reaches from the venue's first id of it, or the one after the last trade held before
    it, to the one before the first held or told after it; with neither, from the first to the last
    id held. A hole over an edge counts whole.
    """
    start_us, end_us = window.start_us, window.end_us
    held = _held(instrument.id, start_us, end_us, page_rows, pause)
    everything = ledger.coverage(instrument.id)
    at = _reach(instrument.id, everything, held, start_us, end_us)
    known = list(absences.listed(instrument.id, at.first, at.last))
    absent = _of_kind(known, Absence.Kind.EXCHANGE_SIDE)
    ranges = missing_of(everything, absent, at.first, at.last)
    given_up = _of_kind(known, Absence.Kind.PERMANENT)
    left_out = omissions.count(instrument.id, start_us, end_us)
    missing = lacking(instrument, ranges, held.trades, held.ends, held.times, start_us, left_out)
    return {
        "source": instrument.source,
        "symbol": instrument.symbol,
        "scope": window.name,
        "start": iso(start_us),
        "end": iso(end_us),
        "as_of": iso(now_us),
        "expected": held.trades + missing,
        "held": held.trades,
        "missing": missing,
        # Else what is missing is at least one trade for each hole, and nobody knows how many.
        "counted": instrument.is_numbered or instrument.cadence_us is not None or not ranges,
        # Of the missing: what the feed did not bring where numbers of ours have no hole.
        "left_out": left_out,
        "ranges": [list(run) for run in ranges],
        # Numbers of ours that no trade has say nothing about the venue.
        "exchange_side": [list(run) for run in absent.within(at.first, at.last)]
        if instrument.is_numbered
        else [],
        "permanent": [list(p) for run in ranges for p in given_up.within(*run)],
        "reasons": _reasons(known),
        # An id is the row's key: a second row of it cannot be.
        "duplicates": 0,
        "refused": refusals.count(instrument.id, start_us, end_us),
        "edges": _edges(at),
        "proof": VENUES[instrument.source].proof,
        "certificate": {
            "first_id": at.first if held.trades else None,
            "last_id": at.last if held.trades else None,
            "trades": held.trades,
            "sources": held.sources,
            "sha256": held.digest.hexdigest(),
            "definition": f"SHA-256 over {ROW}, little-endian, row by row",
        },
    }


def public(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as programs get it: what nobody can count is null."""
    if answer.get("counted", True):
        return answer
    return {**answer, "expected": None, "missing": None}


def _held(
    instrument_id: int, start_us: int, end_us: int, page_rows: int, pause: Callable[[], object]
) -> Held:
    held = Held()
    for page in rows.read_trades(instrument_id, start_us, end_us, page_rows):
        held.trades += len(page)
        held.digest.update(canonical(page))
        first = held.ends[0] if held.ends else int(page.id[0])
        held.ends = first, int(page.id[-1])
        held.times = (held.times or (int(page.ts_us[0]),))[0], int(page.ts_us[-1])
        for part in rebuild.by_origin(instrument_id, page):
            count = held.sources.get(part.origin, 0) + len(part.trades)
            held.sources[part.origin] = count
        pause()
    return held


def _reach(
    instrument_id: int, everything: Coverage, held: Held, start_us: int, end_us: int
) -> Reach:
    """Return the ids that the window should hold, and how its ends are known."""
    told = edges.known(instrument_id, start_us, end_us)
    begin_id, after_id = told.get(start_us), told.get(end_us)
    if held.ends is not None:
        return reach(everything, *held.ends, begin_id, after_id)
    if begin_id is not None and after_id is not None:
        return Reach(begin_id, after_id - 1, "venue", "venue")
    # Nothing is held: the window lies in a hole, or the market was quiet, or nobody knows.
    others = rebuild.others(instrument_id, start_us, end_us)
    if others.before is None or others.after is None:
        return Reach(0, -1, "held", "held")
    return Reach(others.before + 1, others.after - 1, "neighbour", "neighbour")


def _edges(at: Reach) -> str:
    if "venue" in (at.begin, at.end):
        return "venue"
    return "held" if at.begin == at.end == "held" else "neighbour"


def _of_kind(known: list[Absence], kind: str) -> Coverage:
    return Coverage((a.first_id, a.last_id) for a in known if a.kind == kind)


def _reasons(known: list[Absence]) -> list[dict[str, Any]]:
    return [
        {"first_id": a.first_id, "last_id": a.last_id, "kind": a.kind, "reason": a.reason}
        for a in known
    ]
