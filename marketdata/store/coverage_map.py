"""The coverage map: for each hour of some days, whether all its trades are held.

It is drawn from the ledger and the stored minutes, never from the trades themselves: a month of
millions of trades costs some tens of milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from django.db import connection

from marketdata.core.coverage import Coverage, Run, count_of, missing_of
from marketdata.core.timeframe import DAY_US, HOUR_US, open_us
from marketdata.models import CoverageSegment
from marketdata.store import absences, edges, ledger, omissions
from marketdata.store.absences import Kind
from marketdata.store.ledger import Hole

FULL, PARTIAL, MISSING, ABSENT, NONE = "full", "partial", "missing", "absent", "none"
Point = tuple[int, int]
COUNTS = """
SELECT open_us / %s, SUM(trades) FROM marketdata_candle
WHERE instrument_id = %s AND timeframe = '1m' AND open_us >= %s AND open_us < %s GROUP BY 1"""


@dataclass(frozen=True, slots=True)
class Lack:
    """Ids that are not held, and between which times they were traded.

    Parameters
    ----------
    is_loss : bool
        Somebody listened or asked: no history that nobody wanted.
    """

    first_id: int
    last_id: int
    after_us: int
    before_us: int
    is_loss: bool


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of a day.

    Parameters
    ----------
    state : {"full", "partial", "missing", "absent", "none"}
        `absent`: only what the venue itself does not have is lacking; `none`: nobody listened.
    trades : int
        In its stored minutes.
    """

    start_us: int
    state: str
    trades: int


@dataclass(frozen=True, slots=True)
class DayOfHours:
    """A day of the map.

    Parameters
    ----------
    trades : int
        In its stored minutes.
    missing : int
        Ids of the holes that touch the day and may still be had or were given up.
    left_out : int
        Trades that the feed did not bring between ids of ours that follow on each other.
    """

    day_us: int
    hours: tuple[Hour, ...]
    trades: int
    missing: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Map:
    """What is known of an instrument's past.

    Parameters
    ----------
    first_us, last_us : int
        Times of the first and last trade held.
    lacks : list of Lack
        Ascending, cut where the venue told which id a day begins with.
    is_numbered : bool
        Ids are the venue's: one that it does not have is told apart.
    """

    first_us: int
    last_us: int
    lacks: list[Lack]
    absent: Coverage
    given_up: Coverage
    is_numbered: bool

    def days(self, instrument_id: int, start_us: int, end_us: int) -> list[DayOfHours]:
        """Return the days of [start_us, end_us), the newest first."""
        counts = _counts(instrument_id, start_us, end_us)
        left_out = omissions.by_span(instrument_id, start_us, end_us, HOUR_US)
        starts = range(start_us, end_us, DAY_US)
        return [self._day(day_us, counts, left_out) for day_us in reversed(starts)]

    def _day(self, day_us: int, counts: dict[int, int], left_out: dict[int, int]) -> DayOfHours:
        mine = self.lacks_of(day_us, day_us + DAY_US)
        hours = tuple(
            Hour(start, self._state(start, mine, left_out.get(start, 0)), counts.get(start, 0))
            for start in range(day_us, day_us + DAY_US, HOUR_US)
        )
        held = sum(hour.trades for hour in hours)
        has_any = any(hour.state != NONE for hour in hours)
        missing = count_of(run for lack in mine for run in self.missing(lack)) if has_any else 0
        lost = sum(left_out.get(hour.start_us, 0) for hour in hours)
        return DayOfHours(day_us, hours, held, missing, lost)

    def lacks_of(self, start_us: int, end_us: int) -> list[Lack]:
        """Return the ids that may belong to [start_us, end_us) and are not held."""
        return [lack for lack in self.lacks if lack.after_us < end_us and lack.before_us > start_us]

    def missing(self, lack: Lack) -> list[Run]:
        """Return those of the ids that the venue does have."""
        return missing_of(Coverage(), self.absent, lack.first_id, lack.last_id)

    def _state(self, start_us: int, mine: list[Lack], left_out: int) -> str:
        end_us = start_us + HOUR_US
        touching = [x for x in mine if x.after_us < end_us and x.before_us > start_us]
        is_outside = end_us <= self.first_us or start_us > self.last_us
        if not touching and is_outside:
            return NONE
        if not touching:
            return PARTIAL if left_out else FULL
        whole = [x for x in touching if x.after_us <= start_us and x.before_us >= end_us]
        if whole and not whole[0].is_loss:
            return NONE
        if not any(self.missing(lack) for lack in touching):
            # Numbers of ours that no trade has say nothing about the venue.
            whole_state = ABSENT if self.is_numbered else FULL
            return PARTIAL if left_out else whole_state
        return MISSING if whole or is_outside else PARTIAL


def map_of(instrument_id: int, *, is_numbered: bool = True) -> Map | None:
    """Return the map of an instrument; None where nothing is held."""
    ends = _ends(instrument_id)
    if ends is None:
        return None
    first, last = ends
    told = sorted(edges.known(instrument_id).items())
    lacks = [part for hole in ledger.holes(instrument_id) for part in _cut(hole, told)]
    # Before the first and after the last trade held only the venue's word tells of others.
    before = [(at, id) for at, id in told if at < first[0] and id < first[1]]
    after = [(at, id) for at, id in told if at > last[0] and id > last[1] + 1]
    lacks += _between([*before, first]) + _between([(last[0], last[1] + 1), *after])
    return Map(
        first[0],
        last[0],
        sorted(lacks, key=lambda lack: lack.first_id),
        absences.coverage(instrument_id, Kind.EXCHANGE_SIDE),
        absences.coverage(instrument_id, Kind.PERMANENT),
        is_numbered,
    )


def _cut(hole: Hole, told: list[Point]) -> list[Lack]:
    """Cut a hole at the ids that days begin with."""
    inside = [
        (at, id)
        for at, id in told
        if hole.first_id <= id <= hole.last_id + 1 and hole.after_us < at <= hole.before_us
    ]
    is_inside_day = open_us(hole.after_us, DAY_US) == open_us(hole.before_us, DAY_US)
    return _between(
        [(hole.after_us, hole.first_id), *inside, (hole.before_us, hole.last_id + 1)],
        is_loss=is_inside_day or hole.origin == "live",
    )


def _between(points: list[Point], *, is_loss: bool = True) -> list[Lack]:
    """Return what lies between (time, id) and the next one."""
    return [
        Lack(first, after - 1, at, to, is_loss)
        for (at, first), (to, after) in pairwise(points)
        if first < after
    ]


def _ends(instrument_id: int) -> tuple[Point, Point] | None:
    """Return (time, id) of the first and of the last trade held."""
    mine = CoverageSegment.objects.filter(instrument_id=instrument_id)
    first, last = mine.order_by("first_id").first(), mine.order_by("-first_id").first()
    if first is None or last is None:
        return None
    return (first.first_ts_us, first.first_id), (last.last_ts_us, last.last_id)


def _counts(instrument_id: int, start_us: int, end_us: int) -> dict[int, int]:
    """Return the trades of each hour, by its start."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, [HOUR_US, instrument_id, start_us, end_us])
        return {int(hour) * HOUR_US: int(trades) for hour, trades in cursor.fetchall()}
