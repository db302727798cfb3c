"""Contexts from what is stored: after a restart, for a past day, for the command line."""

from __future__ import annotations

from marketdata.conf import conf
from marketdata.context import Definition, MarketContext, PreviousDay
from marketdata.core.coverage import runs_of
from marketdata.core.events import ORIGINS, Batch
from marketdata.core.instrument import Instrument
from marketdata.core.sessions import SessionCalendar
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.core.trades import Trades
from marketdata.models import DailyLevel
from marketdata.pipeline import Pipeline
from marketdata.store import instruments, ledger, rows


def definition() -> Definition:
    """Return how levels are computed, from the settings."""
    now = conf()
    return Definition(now.value_area_rule, now.value_area_pct, now.profile_tick_size)


def new_pipeline(instrument: Instrument) -> Pipeline:
    """Return an empty pipeline with the stored sessions and the settings' definition."""
    calendar = SessionCalendar(instruments.trading_sessions())
    return Pipeline(MarketContext(instrument, calendar, definition()))


def by_origin(instrument_id: int, trades: Trades) -> list[Batch]:
    """Cut stored trades into batches of one origin each."""
    found = []
    for first, last in runs_of(trades.id):
        for segment in ledger.segments(instrument_id, first, last):
            low, high = max(first, segment.first_id), min(last, segment.last_id)
            part = trades[(trades.id >= low) & (trades.id <= high)]
            found.append(Batch(part, segment.origin if segment.origin in ORIGINS else "live"))
    return found


def previous_day(instrument: Instrument, day_us: int) -> PreviousDay | None:
    """Return the stored levels of the UTC day before `day_us`."""
    row = DailyLevel.objects.filter(
        instrument_id=instrument.id, day_us=day_us - DAY_US, trades__gt=0
    ).first()
    return row and PreviousDay(row.high, row.low, row.close, row.origin)


def stored_day(instrument: Instrument, day_us: int) -> Pipeline:
    """Rebuild the context of one UTC day from its stored trades."""
    pipeline = new_pipeline(instrument)
    levels = previous_day(instrument, day_us)
    if levels is not None:
        pipeline.context.set_previous(day_us - DAY_US, levels)
    for trades in rows.read_trades(instrument.id, day_us, day_us + DAY_US):
        for batch in by_origin(instrument.id, trades):
            pipeline.feed(batch, is_stored=True)
    return pipeline


def newest_day(source: str, symbol: str) -> Pipeline | None:
    """Rebuild the newest stored day of an instrument; None where nothing is stored."""
    instrument = instruments.find(source, symbol)
    if instrument is None:
        return None
    newest = rows.latest(instrument.id, 1)
    if not len(newest):
        return None
    return stored_day(instrument, open_us(int(newest.ts_us[-1]), DAY_US))
