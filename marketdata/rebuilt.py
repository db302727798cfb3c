"""The newest stored day of instruments that nothing feeds here, rebuilt once and kept."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from dataclasses import dataclass

from django.db.models import Count, F, Sum

from marketdata import rebuild
from marketdata.context import Definition
from marketdata.core.instrument import Grid
from marketdata.core.sessions import SessionDefinition
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.models import CoverageSegment, DailyLevel
from marketdata.pipeline import Pipeline
from marketdata.store import instruments, omissions, rows

# A wide day is some megabytes and a second's work, so few are kept and none is built twice.
KEPT = 4
# Another process may be writing the day that is asked for: what costs more than this is not
# rebuilt more often than that it takes a tenth of the time.
DEAR_S = 0.1
REST = 10.0


@dataclass(frozen=True, slots=True)
class _Version:
    """All that a rebuilt day is made of, in short."""

    instrument_id: int
    grid: Grid
    newest_id: int
    runs: int
    ids: int
    levels_id: int
    left_out: int
    definition: Definition
    sessions: tuple[SessionDefinition, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    version: _Version
    pipeline: Pipeline
    rest_until_s: float


_kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
_locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


def newest_day(source: str, symbol: str) -> Pipeline | None:
    """Return the newest stored day of an instrument, for reading; None where nothing is stored.

    Notes
    -----
    A question that comes while the day is being rebuilt waits for that, instead of doing it again.
    """
    name = (source, symbol)
    with _locks[name]:
        version = _version(source, symbol)
        if version is None:
            return None
        found = _kept.pop(name, None)
        if found is None or (found.version != version and found.rest_until_s <= time.monotonic()):
            found = _rebuilt(name, version)
        if found is None:
            return None
        _kept[name] = found
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
        return found.pipeline


def forget() -> None:
    """Forget every day."""
    _kept.clear()


def _rebuilt(name: tuple[str, str], version: _Version) -> _Kept | None:
    began_s = time.monotonic()
    pipeline = rebuild.newest_day(*name)
    cost_s = time.monotonic() - began_s
    if pipeline is None:
        return None
    rest_s = cost_s * REST if cost_s > DEAR_S else 0.0
    return _Kept(version, pipeline, began_s + cost_s + rest_s)


def _version(source: str, symbol: str) -> _Version | None:
    instrument = instruments.find(source, symbol)
    if instrument is None:
        return None
    newest = rows.latest(instrument.id, 1)
    if not len(newest):
        return None
    day_us = open_us(int(newest.ts_us[-1]), DAY_US)
    segments = CoverageSegment.objects.filter(instrument_id=instrument.id)
    held = segments.aggregate(runs=Count("id"), ids=Sum(F("last_id") - F("first_id")))
    levels = DailyLevel.objects.filter(instrument_id=instrument.id).order_by("-id")
    return _Version(
        instrument.id,
        instrument.grid,
        int(newest.id[-1]),
        held["runs"] or 0,
        held["ids"] or 0,
        levels.values_list("id", flat=True).first() or 0,
        omissions.count(instrument.id, day_us, day_us + DAY_US),
        rebuild.definition(),
        tuple(instruments.trading_sessions()),
    )
