"""What was published and has changed since: the old numbers, the new ones, and why.

A stored candle was published as closed, stored levels marked final were published as those of a
window that is over. Whoever replaces one by another made of other trades leaves a record here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet

from marketdata.core.events import Event
from marketdata.models import Candle, DailyLevel, Restatement, SessionStat
from marketdata.pipeline import BASE

Cause = Restatement.Cause
What = Restatement.What
# By the origin of the trades that came.
CAUSES = {
    "live": Cause.LATE,
    "rest": Cause.REFILL,
    "archive": Cause.ARCHIVE,
    "file": Cause.ARCHIVE,
}
CANDLE = ("open", "high", "low", "close", "volume", "buy_volume", "trades")
LEVELS = (
    "open", "high", "low", "close", "vwap", "poc", "vah", "val", "volume", "buy_volume", "delta",
    "trades",
)  # fmt: skip


def of_candles(rows: Sequence[Candle], cause: str, ts_us: int) -> list[Restatement]:
    """Return what candles of one instrument and timeframe change of the stored ones."""
    stored = Candle.objects.filter(
        instrument_id=rows[0].instrument_id,
        timeframe=rows[0].timeframe,
        open_us__in=[row.open_us for row in rows],
    )
    known = {row.open_us: row for row in stored}
    return [
        Restatement(
            instrument_id=row.instrument_id,
            what=What.CANDLE,
            name=row.timeframe,
            start_us=row.open_us,
            cause=cause,
            old=_values(known[row.open_us], CANDLE),
            new=_values(row, CANDLE),
            ts_us=ts_us,
        )
        for row in rows
        # Trades never change, so that the same number of them is the same trades.
        if row.open_us in known and known[row.open_us].trades != row.trades
    ]


def of_levels(row: DailyLevel | SessionStat, cause: str, ts_us: int) -> list[Restatement]:
    """Return what levels change of stored ones that were final; the new ones are final too."""
    known = _stored(row)
    if known is None or not known.is_final:
        return []
    row.is_final = True
    if known.trades == row.trades:
        return []
    what, name, start_us = _window(row)
    return [
        Restatement(
            instrument_id=row.instrument_id,
            what=what,
            name=name,
            start_us=start_us,
            cause=cause,
            old=_values(known, LEVELS),
            new=_values(row, LEVELS),
            ts_us=ts_us,
        )
    ]


def _stored(row: DailyLevel | SessionStat) -> DailyLevel | SessionStat | None:
    if isinstance(row, DailyLevel):
        return DailyLevel.objects.filter(
            instrument_id=row.instrument_id, day_us=row.day_us, origin=row.origin
        ).first()
    # A session that was given another end is another session.
    return SessionStat.objects.filter(
        instrument_id=row.instrument_id, name=row.name, start_us=row.start_us, end_us=row.end_us
    ).first()


def _window(row: DailyLevel | SessionStat) -> tuple[str, str, int]:
    if isinstance(row, DailyLevel):
        return What.DAY, What.DAY, row.day_us
    return What.SESSION, row.name, row.start_us


def _values(row: Candle | DailyLevel | SessionStat, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def minutes(instrument_id: int, start_us: int, end_us: int) -> dict[int, int]:
    """Return the trades of each stored minute of [start_us, end_us), by its start."""
    rows = Candle.objects.filter(
        instrument_id=instrument_id, timeframe=BASE, open_us__gte=start_us, open_us__lt=end_us
    )
    return dict(rows.values_list("open_us", "trades"))


def of_window(instrument_id: int, start_us: int, end_us: int) -> QuerySet[Restatement]:
    """Return the records of what begins in [start_us, end_us), newest first."""
    mine = Restatement.objects.filter(instrument_id=instrument_id)
    return mine.filter(start_us__gte=start_us, start_us__lt=end_us).order_by("-id")


def count(instrument_id: int, start_us: int, end_us: int) -> int:
    """Count the records of what begins in [start_us, end_us)."""
    return of_window(instrument_id, start_us, end_us).count()


class Counts:
    """Counts kept in memory: they are asked for on the event loop, many times a second."""

    def __init__(self) -> None:
        self._starts: dict[int, list[int]] = {}
        self._known: dict[tuple[int, int, int], int] = {}

    def load(self, instrument_id: int, since_us: int) -> None:
        """Read the records of what begins at or after a time."""
        mine = Restatement.objects.filter(instrument_id=instrument_id, start_us__gte=since_us)
        self._starts[instrument_id] = list(mine.values_list("start_us", flat=True))
        self._known = {}

    def add(self, rows: Sequence[Restatement]) -> None:
        """Take in new records."""
        for row in rows:
            self._starts.setdefault(row.instrument_id, []).append(row.start_us)
        self._known = {}

    def of(self, instrument_id: int, start_us: int, end_us: int) -> int:
        """Return how many records there are of what begins in [start_us, end_us)."""
        key, known = (instrument_id, start_us, end_us), self._known
        if key not in known:
            starts = self._starts.get(instrument_id, ())
            known[key] = sum(start_us <= start < end_us for start in starts)
        return known[key]


def event(row: Restatement) -> Event:
    """Return a record as what happened."""
    detail = {
        "what": str(row.what),
        "name": row.name,
        "start_us": row.start_us,
        "cause": str(row.cause),
        "old": row.old,
        "new": row.new,
    }
    return Event("restated", row.ts_us, detail)


def events(instrument_id: int, since_us: int, limit: int) -> list[Event]:
    """Return the newest records since a time, as what happened."""
    mine = Restatement.objects.filter(instrument_id=instrument_id, ts_us__gte=since_us)
    return [event(row) for row in mine.order_by("-id")[:limit]]
