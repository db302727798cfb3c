"""The page at `/proof/`: a map of what is held, and for one day how that is proved."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketdata import answers, live
from marketdata.context import DAY, day_window
from marketdata.core.instrument import Instrument
from marketdata.core.sessions import Window
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.models import Absence, BackfillJob, CoverageSegment, Restatement
from marketdata.payload import iso
from marketdata.store import (
    absences,
    certificates,
    coverage_map,
    instruments,
    ledger,
    refusals,
    restatements,
)
from marketdata.store.coverage_map import (
    ABSENT,
    FULL,
    MISSING,
    NONE,
    PARTIAL,
    DayOfHours,
    Lack,
    Map,
)
from marketdata.venues import VENUES
from marketdata.verify import certified, public, wall_us, windows_of
from marketdata.views import links
from marketdata.views.dashboard import mode_of, unknown
from marketdata.views.figures import UNKNOWN, counted, number, window
from marketdata.views.links import Asked

DAYS = 30
# More of them are told as a number; the command line prints them all.
MOST_ROWS = 100
# Rows become columns in half a millisecond: a live feed beside hardly notices.
PAGE_ROWS = 2_000
# Shape and word of each state: colour alone tells nobody anything.
STATES = {
    FULL: ("■", "full: every trade is held"),
    PARTIAL: ("◧", "partial: some trades are missing"),
    MISSING: ("□", "missing: none is held"),
    ABSENT: ("×", "absent: the venue itself does not have them"),
    NONE: ("·", "no data: nobody listened"),
}
RESTATED = {
    Restatement.What.CANDLE: ("close", "volume", "trades"),
    Restatement.What.DAY: ("vwap", "volume", "trades"),
    Restatement.What.SESSION: ("vwap", "volume", "trades"),
}
# Neither end of the calendar, where a day has no neighbour.
YEARS = range(1970, 9999)
# A day of a million trades takes seconds to count; who else asks meanwhile waits for that.
_counting = threading.Lock()


@require_safe
def proof(request: HttpRequest) -> HttpResponse:
    """Show an instrument's coverage map and the certificates of one day."""
    if not answers.names():
        return render(request, "marketdata/empty.html", {"is_running": live.is_running()})
    try:
        name = answers.resolve(request.GET.get("source"), request.GET.get("symbol"))
        until_us = _day_us(request, "until")
        day_us = _day_us(request, "day")
    except answers.UnknownNameError as error:
        return unknown(request, error)
    asked = Asked(*name, DAY, "1m")
    page = {
        "asked": asked,
        "venue": VENUES[asked.source].title,
        "instruments": [_link(*item, is_chosen=item == name) for item in answers.names()],
        "mode": mode_of(asked),
        "is_running": live.is_running(),
        "states": STATES,
        "proof": VENUES[asked.source].proof,
    }
    instrument = instruments.find(*name)
    found = None
    if instrument is not None:
        found = coverage_map.map_of(instrument.id, is_numbered=instrument.is_numbered)
    if instrument is not None and found is not None:
        page |= _content(instrument, found, until_us, day_us)
    return render(request, "marketdata/proof.html", page)


def _day_us(request: HttpRequest, name: str) -> int | None:
    """Read a date from the URL. Raises UnknownNameError."""
    text = request.GET.get(name)
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        if day.year not in YEARS:
            raise ValueError
    except ValueError:
        raise answers.UnknownNameError("day", text, ["a date such as 2024-01-01"]) from None
    return int(day.timestamp()) * 1_000_000


def _link(source: str, symbol: str, *, is_chosen: bool) -> links.Link:
    return links.Link(symbol, VENUES[source].title, links.proof(source, symbol), is_chosen)


def _date(day_us: int) -> str:
    return iso(day_us)[:10]


def _content(
    instrument: Instrument, found: Map, until_us: int | None, day_us: int | None
) -> dict[str, Any]:
    now_us = live.now().clock() if live.is_running() else wall_us()
    first_us, last_us = (open_us(at, DAY_US) for at in (found.first_us, found.last_us))
    newest_us = max(first_us, min(last_us if until_us is None else until_us, last_us))
    oldest_us = max(newest_us - (DAYS - 1) * DAY_US, first_us)
    chosen_us = newest_us if day_us is None else day_us
    name = (instrument.source, instrument.symbol)
    # First the day, so that the map knows of what is counted for it.
    day = Day(instrument, found, chosen_us, now_us).told()
    days = found.days(instrument.id, oldest_us, newest_us + DAY_US)
    return {
        "hours": [f"{hour:02d}" for hour in range(24)],
        "days": [_row(instrument, day, chosen_us, now_us) for day in days],
        "older": links.proof(*name, until=_date(oldest_us - DAY_US))
        if oldest_us > first_us
        else "",
        "newer": links.proof(*name) if newest_us < last_us else "",
        "day": day,
    }


def _row(instrument: Instrument, day: DayOfHours, chosen_us: int, now_us: int) -> dict[str, Any]:
    counted = _counted_day(instrument, day.day_us, now_us)
    missing, holes = _lacking(instrument, day, counted)
    return {
        "date": _date(day.day_us),
        "url": links.proof(instrument.source, instrument.symbol, day=_date(day.day_us)) + "#day",
        "is_chosen": day.day_us == chosen_us,
        "hours": [
            {
                "state": hour.state,
                "mark": STATES[hour.state][0],
                "title": f"{iso(hour.start_us)[11:16]} {hour.state}, {hour.trades:,} trades",
            }
            for hour in day.hours
        ],
        "held": number(counted["held"] if counted else day.trades, 0),
        "missing": _missing(missing, holes),
        "has_hole": missing != 0,
        "is_counted": counted is not None,
    }


def _lacking(
    instrument: Instrument, day: DayOfHours, counted: dict[str, Any] | None
) -> tuple[int | None, int]:
    """Return how many trades a day lacks, None where nobody can say, and how many holes it has."""
    if counted is not None:
        return counted["missing"], counted.get("holes", len(counted["ranges"]))
    if instrument.is_numbered or not day.missing:
        return day.missing + day.left_out, 0
    return None, 0


def _missing(missing: int | None, holes: int) -> str:
    if missing is not None:
        return number(missing, 0)
    return f"unknown, {counted(holes, 'hole')}" if holes else "unknown"


def _counted_day(instrument: Instrument, day_us: int, now_us: int) -> dict[str, Any] | None:
    """Return what a day was counted to hold, where that is known without counting again."""
    if day_us + DAY_US > now_us:
        return _running(instrument, DAY)
    known = certificates.stored(instrument.id, day_window(day_us))
    version = certificates.version(instrument.id, day_us, day_us + DAY_US) if known else ""
    return public(known.detail) if known and known.ledger_version == version else None


def _running(instrument: Instrument, scope: str) -> dict[str, Any] | None:
    """Return what the live context says of a window that runs; None where nothing runs."""
    name = (instrument.source, instrument.symbol)
    if answers.live_pipeline(name) is None:
        return None
    try:
        coverage: dict[str, Any] = answers.context_answer(*name, scope, 1)["coverage"]
    except (answers.NotReadyError, answers.UnknownNameError, TimeoutError):
        return None
    return coverage


@dataclass(frozen=True, slots=True)
class Day:
    """One day of an instrument, as the page tells it."""

    instrument: Instrument
    map: Map
    day_us: int
    now_us: int

    def told(self) -> dict[str, Any]:
        """Return everything the page shows of the day."""
        segments = ledger.segments_at(self.instrument.id, self.day_us, self.day_us + DAY_US)
        lacks = self.map.lacks_of(self.day_us, self.day_us + DAY_US)
        if self.day_us > self.map.last_us or self.day_us + DAY_US <= self.map.first_us:
            lacks = [lack for lack in lacks if lack.is_loss]
        records = restatements.of_window(self.instrument.id, self.day_us, self.day_us + DAY_US)
        restated = list(records[: MOST_ROWS + 1])
        return {
            "date": _date(self.day_us),
            "windows": [self._window(item) for item in windows_of(self.day_us)],
            "holes": [part for lack in lacks[:MOST_ROWS] for part in self._holes(lack)],
            "more_holes": max(0, len(lacks) - MOST_ROWS),
            "segments": [_segment(item) for item in segments[:MOST_ROWS]],
            "more_segments": max(0, len(segments) - MOST_ROWS),
            "restated": [_restated(item) for item in restated[:MOST_ROWS]],
            "more_restated": records.count() - MOST_ROWS if len(restated) > MOST_ROWS else 0,
            "jobs": self._jobs(),
        }

    def _window(self, item: Window) -> dict[str, Any]:
        answer, is_over = self._counted(item), item.end_us <= self.now_us
        certificate = answer.get("certificate", {})
        sources = certificate.get("sources", answer.get("sources", {}))
        again = refusals.count(self.instrument.id, item.start_us, item.end_us)
        return {
            "name": item.name,
            "title": item.title,
            "window": window(iso(item.start_us), iso(item.end_us)),
            "expected": _missing(answer["expected"], 0),
            "held": number(answer["held"], 0),
            "missing": _missing(answer["missing"], len(answer.get("ranges", ()))),
            "has_hole": answer["missing"] != 0,
            "left_out": number(answer.get("left_out", 0), 0),
            # Numbers of ours that no trade has say nothing about the venue.
            "absent": number(_size(answer["exchange_side"]) * self.instrument.is_numbered, 0),
            "refused": number(again, 0),
            "sources": " · ".join(f"{name} {count:,}" for name, count in sorted(sources.items())),
            "edges": answer["edges"],
            "sha256": certificate.get("sha256", ""),
            "definition": certificate.get("definition", ""),
            "as_of": answer.get("as_of", iso(self.now_us))[:19].replace("T", " "),
            "state": "over" if is_over else "to come" if item.start_us > self.now_us else "runs",
            "command": self._command(item),
        }

    def _counted(self, item: Window) -> dict[str, Any]:
        """Return a certificate, or what a window holds so far that is not over."""
        if item.start_us > self.now_us:
            return {"expected": 0, "held": 0, "missing": 0, "exchange_side": [], "edges": "held"}
        if item.end_us > self.now_us:
            running = _running(self.instrument, item.name)
            if running is not None:
                return running
        with _counting:
            return public(certified(self.instrument, item, self.now_us, PAGE_ROWS))

    def _command(self, item: Window) -> str:
        scope = "" if item.name == DAY else f" --scope {item.name}"
        return (
            f"python manage.py verify --source {self.instrument.source} "
            f"--symbol {self.instrument.symbol} --date {_date(item.start_us)}{scope}"
        )

    def _holes(self, lack: Lack) -> list[dict[str, Any]]:
        """Return the parts of a hole: what is missing, what was given up, what never was."""
        known = absences.listed(self.instrument.id, lack.first_id, lack.last_id)
        told = [(max(a.first_id, lack.first_id), min(a.last_id, lack.last_id), a) for a in known]
        parts = [_hole(lack, first, last, a) for first, last, a in told]
        gone = absences.coverage_of(known)
        parts += [_hole(lack, *run, None) for run in gone.holes(lack.first_id, lack.last_id)]
        if not self.instrument.is_numbered:
            parts = [{**part, "count": "unknown"} for part in parts]
        return sorted(parts, key=lambda part: part["first_id"])

    def _jobs(self) -> list[str]:
        mine = BackfillJob.objects.filter(
            source=self.instrument.source,
            symbol=self.instrument.symbol,
            start_us__lt=self.day_us + DAY_US,
            end_us__gt=self.day_us,
        )
        return [_job(job) for job in mine[:5]]


def _size(runs: list[list[int]]) -> int:
    return sum(last - first + 1 for first, last in runs)


def _hole(lack: Lack, first: int, last: int, absence: Absence | None) -> dict[str, Any]:
    state = {None: "missing", "exchange_side": "not at the venue", "permanent": "given up"}
    return {
        "first_id": first,
        "last_id": last,
        "count": number(last - first + 1, 0),
        "since": _moment(lack.after_us),
        "until": _moment(lack.before_us),
        "state": state[absence.kind if absence else None],
        "reason": absence.reason if absence else "",
    }


def _segment(segment: CoverageSegment) -> dict[str, Any]:
    return {
        "first_id": segment.first_id,
        "last_id": segment.last_id,
        "count": number(segment.last_id - segment.first_id + 1, 0),
        "origin": segment.origin,
        "since": _moment(segment.first_ts_us),
        "until": _moment(segment.last_ts_us),
    }


def _moment(ts_us: int) -> str:
    return iso(ts_us)[:19].replace("T", " ")


def _restated(row: Restatement) -> dict[str, Any]:
    names = [name for name in RESTATED[Restatement.What(row.what)] if name in row.new]
    changes = [
        f"{name} {_value(row.old.get(name))} → {_value(row.new.get(name))}" for name in names
    ]
    return {
        "at": _moment(row.ts_us),
        "what": row.what if row.what == row.name else f"{row.what} {row.name}",
        "start": iso(row.start_us)[11:16],
        "cause": row.get_cause_display(),
        "changes": ", ".join(changes),
    }


def _value(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else f"{value:,.8g}"


def _job(job: BackfillJob) -> str:
    told = f": {job.error}" if job.error else ""
    return f"job {job.pk} via {job.via}, {job.status}, {job.inserted:,} trades fetched{told}"
