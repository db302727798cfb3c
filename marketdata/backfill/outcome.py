"""What a job came to, counted from the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from marketdata.backfill.fetch import Work
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.plan import Part
from marketdata.backfill.restate import Claim, Tally, held_of, is_stated, restate, tally_of
from marketdata.core.coverage import Coverage, Run, count_of, missing_of
from marketdata.core.errors import BotCryptoError, StoppedError
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import DAY_US
from marketdata.models import BackfillChunk, BackfillJob, DailyLevel, Edge
from marketdata.store import absences, ledger
from marketdata.store.absences import Kind
from marketdata.store.restatements import Cause

Status = BackfillJob.Status
Say = Callable[[str], None]
Clock = Callable[[], int]
Check = Callable[[], None]
SHOWN_RUNS = 20


@dataclass(frozen=True)
class Evidence:
    """What is known when a job has ended.

    Parameters
    ----------
    before : Coverage
        Ids held when it began.
    touched : frozenset of int
        UTC days that new trades came for.
    is_sample : bool
        Only a small part was asked for.
    error : str
        What ended it early.
    by_time : bool
        Ids are our numbers: of a hole nobody knows how many trades it lacks.
    why : str
        Why something may be missing although nothing failed.
    """

    instrument: Instrument | None = None
    parts: tuple[Part, ...] = ()
    works: tuple[Work, ...] = ()
    before: Coverage = field(default_factory=Coverage)
    touched: frozenset[int] = frozenset()
    is_sample: bool = False
    is_stopped: bool = False
    is_cancelled: bool = False
    error: str = ""
    by_time: bool = False
    why: str = ""


@dataclass
class Outcome:
    """A job's end.

    Parameters
    ----------
    expected, trades, missing : int
        Ids of the range as far as known, how many are held, how many are not and could be; where
        ids are our numbers, each hole counts as one.
    inserted : int
        Trades this run brought.
    exchange_side : list of Run
        Ids that the venue itself does not have.
    vwap : float or None
        Over the stored trades of the range, quote per base.
    """

    job: int
    status: str = Status.FAILED
    expected: int = 0
    trades: int = 0
    inserted: int = 0
    missing: int = 0
    vwap: float | None = None
    chunks: int = 0
    chunks_ok: int = 0
    seconds: float = 0.0
    exchange_side: list[Run] = field(default_factory=list)
    error: str = ""

    def answer(self) -> dict[str, Any]:
        """Return what the command prints."""
        names = (
            "job", "status", "trades", "inserted", "missing", "vwap", "chunks", "chunks_ok",
            "seconds",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def columns(self) -> dict[str, Any]:
        """Return what the job's row keeps."""
        names = ("status", "expected", "trades", "inserted", "missing", "vwap", "error")
        runs = [list(run) for run in self.exchange_side]
        return {**{name: getattr(self, name) for name in names}, "exchange_side": runs}

    def line(self) -> str:
        """Return it as a log line."""
        told = {**self.answer(), "exchange_side": self.exchange_side[:SHOWN_RUNS]}
        words = " ".join(f"{name}={value}" for name, value in told.items())
        return f"{words} error={self.error!r}" if self.error else words


def outcome_of(
    job_id: int, found: Evidence, inlet: Inlet, say: Say, clock: Clock, check: Check
) -> Outcome:
    """Count what is held of a job's range, and state the days that have changed.

    Parameters
    ----------
    say : callable
        Told what is going on.
    check : callable
        Raises StoppedError where the job is to end.
    """
    outcome = Outcome(
        job_id,
        chunks=len(found.works),
        chunks_ok=sum(work.status == BackfillChunk.Status.DONE for work in found.works),
        error=found.error,
    )
    inlet.settle()
    instrument = found.instrument
    if instrument is not None:
        held = ledger.coverage(instrument.id)
        _keep_told(instrument, held, found, inlet, clock())
        _count(outcome, held, absences.coverage(instrument.id, Kind.EXCHANGE_SIDE), found)
        if not (found.is_stopped or found.error):
            say("writing candles and levels")
            found = _state(outcome, instrument, held, found, inlet, clock, check)
            inlet.settle()
    outcome.status = _status(outcome, found)
    if outcome.status == Status.FAILED and not outcome.error:
        reasons = (work.error for work in found.works if work.error)
        short = f"{outcome.missing} of {outcome.expected} trades are missing"
        outcome.error = next(reasons, found.why or short)
    return outcome


def _keep_told(
    instrument: Instrument, held: Coverage, found: Evidence, inlet: Inlet, now_us: int
) -> None:
    """Keep what the venue told: where days begin, and which ids it does not have."""
    for start_us, first_id in _edges(found.parts, found.works).items():
        inlet.writer.put_row(
            Edge(instrument_id=instrument.id, start_us=start_us, first_id=first_id)
        )
    lacking = Coverage(run for work in found.works for run in work.lacking)
    inlet.lack(instrument, [part for run in lacking for part in held.holes(*run)], now_us)
    inlet.settle()


def _edges(parts: Sequence[Part], works: Sequence[Work]) -> dict[int, int]:
    """Return the first ids that the venue told, by the time from which they count.

    Notes
    -----
    Pages may not reach back as far as files do: the lower id counts.
    """
    told = {p.start_us: p.first_id for p in parts if p.is_told and p.first_id is not None}
    for work in works:
        start_us = work.chunk.start_us
        if work.read and work.read.rows and start_us in told:
            told[start_us] = min(told[start_us], work.read.first_id)
    last = parts[-1] if parts else None
    if last is not None and last.last_id is not None and last.is_told and last.is_to_midnight:
        told[last.end_us] = last.last_id + 1
    return told


def _count(outcome: Outcome, held: Coverage, absent: Coverage, found: Evidence) -> None:
    first, last = _reach(found.parts, found.works)
    if first is None or last is None:
        return
    # Numbers of ours that no trade has say nothing about the venue.
    outcome.exchange_side = [] if found.by_time else list(absent.within(first, last))
    holes = missing_of(held, absent, first, last)
    outcome.missing = len(holes) if found.by_time else count_of(holes)
    outcome.trades = held_of(held, first, last)
    outcome.expected = outcome.trades + outcome.missing
    outcome.inserted = outcome.trades - held_of(found.before, first, last)


def _reach(parts: Sequence[Part], works: Sequence[Work]) -> tuple[int | None, int | None]:
    """Return the first and last id of the range, as the venue and the files tell them."""
    told = [(part.first_id, part.last_id) for part in parts if part.is_told]
    told += [(w.read.first_id, w.read.last_id) for w in works if w.read and w.read.rows]
    firsts = [first for first, _ in told if first is not None]
    lasts = [last for _, last in told if last is not None]
    return min(firsts, default=None), max(lasts, default=None)


def _status(outcome: Outcome, found: Evidence) -> str:
    if found.is_cancelled:
        return Status.CANCELLED
    if found.is_stopped:
        return Status.STOPPED
    is_short = outcome.missing > 0 and not found.is_sample
    is_unknown = any(not part.is_known and not _is_read(part, found.works) for part in found.parts)
    if outcome.error or is_short or is_unknown or not found.parts:
        return Status.FAILED
    return Status.COMPLETED


def _is_read(part: Part, works: Sequence[Work]) -> bool:
    """Tell whether a file was read that holds a day of which the venue did not tell the ids."""
    return any(
        work.status == BackfillChunk.Status.DONE
        and work.read is not None
        and work.chunk.start_us <= part.start_us < work.chunk.end_us
        for work in works
    )


def _state(
    outcome: Outcome,
    instrument: Instrument,
    held: Coverage,
    found: Evidence,
    inlet: Inlet,
    clock: Clock,
    check: Check,
) -> Evidence:
    """Write candles and levels of the days that changed, and sum up the range."""
    total = Tally()
    try:
        for part in found.parts:
            total.merge(_stated(instrument, part, held, found, inlet, clock, check))
    except StoppedError:
        return replace(found, is_stopped=True)
    except BotCryptoError as error:
        outcome.error = str(error)
    # Ticks have no size to weigh a price by.
    outcome.vwap = total.vwap if instrument.is_sized else None
    return found


def _stated(
    instrument: Instrument,
    part: Part,
    held: Coverage,
    found: Evidence,
    inlet: Inlet,
    clock: Clock,
    check: Check,
) -> Tally:
    check()
    day_us, is_whole = part.day_us, part.end_us - part.start_us == DAY_US
    if inlet.holds(instrument.source, instrument.symbol, day_us):
        return tally_of(instrument, part.start_us, part.end_us, check)
    known = part.held(held) if is_whole else 0
    if known and day_us not in found.touched and is_stated(instrument, day_us, known):
        return _stored(instrument, day_us)
    first_id = part.first_id if part.is_told and part.start_us == day_us else None
    claim = _claim(instrument, part, held, found, clock())
    tally = restate(instrument, day_us, clock(), inlet.writer, first_id, check, claim)
    return tally if is_whole else tally_of(instrument, part.start_us, part.end_us, check)


def _claim(
    instrument: Instrument, part: Part, held: Coverage, found: Evidence, now_us: int
) -> Claim:
    """Return what can be said of a day: how its trades came, and whether all of them are here."""
    mine = [work for work in found.works if work.chunk.day_us == part.day_us and work.trades]
    by_file = any(work.chunk.origin != "rest" for work in mine)
    is_whole_day = part.end_us - part.start_us == DAY_US and part.end_us <= now_us
    absent = absences.coverage(instrument.id, Kind.EXCHANGE_SIDE)
    is_all_here = part.is_told and not any(absent.missing(*run) for run in part.holes(held))
    return Claim(Cause.ARCHIVE if by_file else Cause.BACKFILL, is_whole_day and is_all_here)


def _stored(instrument: Instrument, day_us: int) -> Tally:
    row = DailyLevel.objects.get(instrument_id=instrument.id, day_us=day_us, origin="trades")
    quantity = Fraction(row.volume)
    return Tally(row.trades, Fraction(row.vwap or 0) * quantity, quantity)
