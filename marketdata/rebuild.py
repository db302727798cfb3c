"""Contexts from what is stored: after a restart, for a past day, for the command line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marketdata.conf import conf
from marketdata.context import Definition, MarketContext, PreviousDay
from marketdata.core.coverage import Run
from marketdata.core.events import ORIGINS, Batch
from marketdata.core.instrument import Instrument
from marketdata.core.sessions import SessionCalendar
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.core.trades import Trades
from marketdata.models import DailyLevel
from marketdata.pipeline import Pipeline
from marketdata.store import absences, edges, instruments, ledger, omissions, rows


def definition() -> Definition:
    """Return how levels are computed, from the settings."""
    now = conf()
    return Definition(now.value_area_rule, now.value_area_pct, now.profile_tick_size)


def new_pipeline(instrument: Instrument) -> Pipeline:
    """Return an empty pipeline with the stored sessions and the settings' definition.

    It knows what the venue told of the instrument: where days begin, which ids it lacks, and what
    its feed left out.
    """
    calendar = SessionCalendar(instruments.trading_sessions())
    pipeline = Pipeline(MarketContext(instrument, calendar, definition()))
    for start_us, first_id in edges.known(instrument.id).items():
        pipeline.context.set_edge(start_us, first_id)
    for first, last in absences.coverage(instrument.id, absences.Kind.EXCHANGE_SIDE):
        pipeline.context.lack(first, last)
    pipeline.context.leave_out(omissions.times(instrument.id))
    return pipeline


def by_origin(instrument_id: int, trades: Trades) -> list[Batch]:
    """Cut stored trades, ascending and not empty, into batches of one origin each."""
    found = []
    for segment in ledger.segments(instrument_id, int(trades.id[0]), int(trades.id[-1])):
        low, high = np.searchsorted(trades.id, [segment.first_id, segment.last_id + 1])
        if low < high:
            origin = segment.origin if segment.origin in ORIGINS else "live"
            found.append(Batch(trades[int(low) : int(high)], origin))
    return found


def previous_day(instrument: Instrument, day_us: int) -> PreviousDay | None:
    """Return the stored levels of the UTC day before `day_us`, the venue's own where there are."""
    row = (
        DailyLevel.objects.filter(instrument_id=instrument.id, day_us=day_us - DAY_US)
        .exclude(high=None)
        .order_by("origin")
        .first()
    )
    if row is None or row.high is None or row.low is None or row.close is None:
        return None
    return PreviousDay(row.high, row.low, row.close, row.origin)


def stored_day(instrument: Instrument, day_us: int) -> Pipeline:
    """Rebuild the context of one UTC day from its stored trades."""
    pipeline = new_pipeline(instrument)
    levels = previous_day(instrument, day_us)
    if levels is not None:
        pipeline.context.set_previous(day_us - DAY_US, levels)
    for trades in rows.read_trades(instrument.id, day_us, day_us + DAY_US):
        for batch in by_origin(instrument.id, trades):
            pipeline.feed(batch, is_stored=True)
    others(instrument.id, day_us, day_us + DAY_US).tell(pipeline.context)
    return pipeline


@dataclass(frozen=True, slots=True)
class Others:
    """What is held besides a stretch of time: it decides where its ids begin and end.

    Parameters
    ----------
    runs : tuple of (first, last)
        Everything held.
    before, after : int or None
        The nearest ids held from before and after the stretch.
    """

    runs: tuple[Run, ...]
    before: int | None
    after: int | None

    def tell(self, context: MarketContext) -> None:
        """Let a context know, once it holds the trades of the stretch."""
        for run in self.runs:
            context.held.add(*run)
        context.set_beside(self.before, self.after)


def others(instrument_id: int, start_us: int, end_us: int) -> Others:
    """Return what is held of an instrument besides [start_us, end_us)."""
    segments = ledger.segments(instrument_id)
    return Others(
        tuple((s.first_id, s.last_id) for s in segments),
        max((s.last_id for s in segments if s.first_ts_us < start_us), default=None),
        min((s.first_id for s in segments if s.last_ts_us >= end_us), default=None),
    )


def earlier(instrument_id: int, since_us: int) -> Others:
    """Return what is held from before a time, and nothing of what came after.

    Notes
    -----
    Somebody else may be storing trades of the present day: what a pipeline has not counted it must
    not take for held.
    """
    runs: list[Run] = []
    for segment in ledger.segments(instrument_id):
        last = segment.last_id
        if segment.last_ts_us >= since_us:
            last = rows.id_at(instrument_id, segment.first_id, last, since_us) - 1
        if segment.first_ts_us < since_us and segment.first_id <= last:
            runs.append((segment.first_id, last))
    return Others(tuple(runs), max((last for _, last in runs), default=None), None)


def newest_day(source: str, symbol: str) -> Pipeline | None:
    """Rebuild the newest stored day of an instrument; None where nothing is stored."""
    instrument = instruments.find(source, symbol)
    if instrument is None:
        return None
    newest = rows.latest(instrument.id, 1)
    if not len(newest):
        return None
    return stored_day(instrument, open_us(int(newest.ts_us[-1]), DAY_US))
