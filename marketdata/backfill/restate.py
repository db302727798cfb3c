"""What stands on the trades of a past day: its minutes, its levels, its place in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from marketdata import rebuild
from marketdata.context import DAY, MarketContext, Scope
from marketdata.core.candles import candle
from marketdata.core.counted import count
from marketdata.core.coverage import Coverage
from marketdata.core.errors import OffGridError
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.sessions import OFF
from marketdata.core.timeframe import DAY_US
from marketdata.models import DailyLevel, SessionStat
from marketdata.pipeline import BASE, Pipeline
from marketdata.store import rows
from marketdata.store.restatements import Cause
from marketdata.store.sink import level_row
from marketdata.store.writer import Writer

# Rows become columns under the interpreter's lock: a thousand of them in half a millisecond, so
# that a live feed beside hardly notices.
READ_ROWS = 2_000
CANDLES_AT_ONCE = 240
Check = Callable[[], None]


def _go_on() -> None:
    """Never end early."""


@dataclass(slots=True)
class Tally:
    """Sums over trades, exact."""

    trades: int = 0
    notional: Fraction = Fraction(0)
    quantity: Fraction = Fraction(0)

    def add(self, trades: int, notional: int, lots: int, grid: Grid) -> None:
        """Take in whole ticks times lots, and lots."""
        lot = Fraction(grid.lot)
        self.trades += trades
        self.notional += notional * Fraction(grid.tick) * lot
        self.quantity += lots * lot

    def merge(self, other: Tally) -> None:
        """Take in other sums."""
        self.trades += other.trades
        self.notional += other.notional
        self.quantity += other.quantity

    @property
    def vwap(self) -> float | None:
        """Volume-weighted price, quote per base; None where nothing traded."""
        return float(self.notional / self.quantity) if self.quantity else None


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said of a day's numbers.

    Parameters
    ----------
    cause : str
        How the trades came.
    is_final : bool
        The day is over and holds every trade there is.
    """

    cause: str = Cause.BACKFILL
    is_final: bool = False


def is_stated(instrument: Instrument, day_us: int, held: int) -> bool:
    """Tell whether the stored levels of a day stand on so many trades."""
    row = DailyLevel.objects.filter(
        instrument_id=instrument.id, day_us=day_us, origin="trades"
    ).first()
    return row is not None and row.trades == held


def restate(
    instrument: Instrument,
    day_us: int,
    now_us: int,
    writer: Writer,
    first_id: int | None = None,
    check: Check = _go_on,
    claim: Claim = Claim(),
) -> Tally:
    """Write a day's finished minutes and its levels from its stored trades; return their sums.

    Parameters
    ----------
    now_us : int
        Minutes that end later are not finished.
    first_id : int or None
        The venue's first id of the day, where it is known.
    check : callable
        Called now and then; raises StoppedError where this is to end.
    claim : Claim
        What is said of the numbers; where they replace others, a record is left.
    """
    pipeline = _pipeline(instrument, day_us, day_us + DAY_US, check)
    context, tally = pipeline.context, Tally()
    if first_id is not None:
        context.set_edge(day_us, first_id)
    # First the minutes: where the day's levels are stored, its minutes are.
    pipeline.series[BASE].advance(min(now_us, day_us + DAY_US))
    _put_minutes(pipeline, writer, claim.cause, now_us)
    for row in _level_rows(instrument, pipeline, day_us, check):
        row.is_final = claim.is_final
        writer.put_levels(row, claim.cause, now_us)
    day = context.scope(DAY, day_us)
    if day.bar is not None:
        tally.add(day.trades, day.bar.notional, day.bar.lots, context.instrument.grid)
    return tally


def _pipeline(instrument: Instrument, start_us: int, end_us: int, check: Check) -> Pipeline:
    pipeline = rebuild.new_pipeline(instrument)
    for trades in rows.read_trades(instrument.id, start_us, end_us, READ_ROWS):
        check()
        # Levels and minutes do not tell where trades came from.
        pipeline.feed(Batch(trades), is_stored=True)
    rebuild.others(instrument.id, start_us, end_us).tell(pipeline.context)
    return pipeline


def _put_minutes(pipeline: Pipeline, writer: Writer, cause: str, now_us: int) -> None:
    series, instrument = pipeline.series[BASE], pipeline.instrument
    found = [
        candle(start, bar, instrument.grid)
        for start, bar in series.bars()
        if series.is_closed(start)
    ]
    for at in range(0, len(found), CANDLES_AT_ONCE):
        part = found[at : at + CANDLES_AT_ONCE]
        writer.put_candles(instrument.id, BASE, part, cause, now_us)


def _level_rows(
    instrument: Instrument, pipeline: Pipeline, day_us: int, check: Check
) -> Iterator[DailyLevel | SessionStat]:
    """Yield the rows of the day and of every session that touches it."""
    for scope in pipeline.context.scopes():
        window = scope.window
        if window.start_us >= day_us and window.end_us <= day_us + DAY_US:
            if window.name != OFF:
                yield _row(pipeline.context, scope)
            continue
        # A session over midnight has trades of two days.
        whole = _pipeline(instrument, window.start_us, window.end_us, check).context
        yield _row(whole, whole.scope(window.name, window.start_us))


def _row(context: MarketContext, scope: Scope) -> DailyLevel | SessionStat:
    as_of_us = max(scope.window.start_us, min(scope.last_ts_us, scope.window.end_us - 1))
    snapshot = context.snapshot_of(scope, scope.window.name, as_of_us)
    return level_row(snapshot, scope.hash(context.instrument.grid))


def tally_of(instrument: Instrument, start_us: int, end_us: int, check: Check = _go_on) -> Tally:
    """Return the sums over the stored trades of a range."""
    tally, grid = Tally(), instrument.grid
    for trades in rows.read_trades(instrument.id, start_us, end_us, READ_ROWS):
        check()
        try:
            counted = count(trades, grid)
        except OffGridError:
            grid = grid.refined(trades.price, trades.qty)
            counted = count(trades, grid)
        bar = counted.bar
        tally.add(len(trades), bar.notional, bar.lots, grid)
    return tally


def held_of(coverage: Coverage, first_id: int, last_id: int) -> int:
    """Count the ids of first..last that are held."""
    return sum(last - first + 1 for first, last in coverage.within(first_id, last_id))
