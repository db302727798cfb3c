"""Candles and events that reach back beyond memory: what is stored, joined with what is live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from marketdata.context import DAY, MarketContext
from marketdata.core.bar import Bar, Bars, fold
from marketdata.core.coverage import Coverage, Run
from marketdata.core.events import Event
from marketdata.core.instrument import Instrument
from marketdata.core.lacking import within
from marketdata.core.timeframe import TIMEFRAMES
from marketdata.feeds.flow import copies
from marketdata.models import CoverageSegment
from marketdata.models import Event as EventRow
from marketdata.payload import bars_payload, encode
from marketdata.pipeline import BASE, Pipeline
from marketdata.store import absences, ledger, restatements
from marketdata.store.bars import finished_bars, stored_bars

Begin = tuple[int, int]
Ask = Callable[[Callable[[], "Recent"]], "Recent"]


@dataclass(frozen=True, slots=True)
class Recent:
    """What a pipeline holds of the newest bars.

    Parameters
    ----------
    instrument : Instrument
        On the grid the bars are counted on.
    bars : Bars
        Copies, of `length_us` each.
    is_all : bool
        There are no older ones in memory.
    runs : list of (first, last)
        Ids held, or not at the venue, of those between the first and the last of the bars.
    begin : (id, us) or None
        From which id, and since when, the oldest bar should hold all; None where nobody knows.
    watermark_us : int
        What ends at or before it is complete.
    left_out : tuple of int
        When trades were made that the feed did not bring, ascending.
    """

    instrument: Instrument
    bars: Bars
    length_us: int
    is_all: bool
    runs: list[Run]
    begin: Begin | None
    watermark_us: int
    left_out: tuple[int, ...]


def recent(pipeline: Pipeline, timeframe: str, count: int) -> Recent:
    """Copy what `count` candles of a timeframe need; runs in the pipeline's thread."""
    series = pipeline.series.get(timeframe, pipeline.series[BASE])
    # One candle more than asked for, because the oldest may be cut in two.
    wanted = (count + 1) * (TIMEFRAMES[timeframe] // series.length_us)
    bars = copies(series.bars(wanted))
    first = min((bar.first_id for _, bar in bars), default=0)
    last = max((bar.last_id for _, bar in bars), default=-1)
    return Recent(
        instrument=pipeline.instrument,
        bars=bars,
        length_us=series.length_us,
        is_all=len(bars) < wanted,
        runs=[
            *pipeline.context.held.within(first, last),
            *pipeline.context.absent.within(first, last),
        ],
        begin=_begin(pipeline.context, *bars[0]) if bars else None,
        watermark_us=pipeline.watermark_us,
        left_out=pipeline.context.left_out,
    )


def _begin(context: MarketContext, start_us: int, bar: Bar) -> Begin | None:
    before = context.held.before(bar.first_id)
    if before is not None:
        return before + 1, 0
    day = context.scope(DAY, start_us)
    told = context.coverage(day)
    if told.edges != "venue":
        return None
    return min([bar.first_id, *(first for first, _ in told.ranges)]), day.window.start_us


def candles(pipeline: Pipeline, ask: Ask, timeframe: str, count: int) -> list[dict[str, Any]]:
    """Return the newest candles, oldest first, each with what it holds of what it should.

    Parameters
    ----------
    ask : callable
        Runs a question in the thread that owns the pipeline.
    """
    length_us = TIMEFRAMES[timeframe]
    held_now = ask(lambda: recent(pipeline, timeframe, count))
    bars = fold(held_now.bars, length_us)
    held, begin = Coverage(held_now.runs), held_now.begin
    instrument_id = held_now.instrument.id
    if held_now.is_all and instrument_id and len(bars) <= count:
        longer = _with_stored(held_now, length_us, count)
        if longer and (not bars or longer[0][1].first_id < bars[0][1].first_id):
            begin = _stored_begin(instrument_id, longer[0][1])
        bars = longer
        _claim_stored(held, instrument_id, bars)
    left_out = [within(held_now.left_out, start_us, start_us + length_us) for start_us, _ in bars]
    is_numbered = held_now.instrument.is_numbered
    ratios = _ratios(bars, held, begin, left_out, is_counted=is_numbered)
    return bars_payload(
        bars[-count:],
        held_now.instrument.grid,
        closed_us=held_now.watermark_us,
        length_us=length_us,
        ratios=ratios[-count:],
        is_sized=held_now.instrument.is_sized,
    )


def _with_stored(held_now: Recent, length_us: int, count: int) -> Bars:
    """Put the stored bars before those in memory; no minute counts twice."""
    bars, instrument = held_now.bars, held_now.instrument
    if not bars:
        return stored_bars(instrument, length_us, count)
    edge_us = bars[0][0]
    # Memory may begin inside a bar that is stored whole.
    at_edge = finished_bars(
        instrument, held_now.length_us, 1, edge_us, edge_us + held_now.length_us
    )
    if at_edge and at_edge[0][1].trades > bars[0][1].trades:
        bars = at_edge + bars[1:]
    # One more than is lacking: the newest stored bar and the oldest in memory may be one.
    older = stored_bars(instrument, length_us, count + 1, edge_us, bars[0][1].first_id)
    return fold(older + bars, length_us)


def _claim_stored(held: Coverage, instrument_id: int, bars: Bars) -> None:
    if bars:
        first = min(bar.first_id for _, bar in bars)
        last = max(bar.last_id for _, bar in bars)
        for low, high in ledger.coverage(instrument_id, first, last):
            held.add(low, high)
        for low, high in absences.coverage(instrument_id, absences.Kind.EXCHANGE_SIDE):
            held.add(low, high)


def _stored_begin(instrument_id: int, bar: Bar) -> Begin | None:
    mine = CoverageSegment.objects.filter(instrument_id=instrument_id)
    before = mine.filter(first_id__lt=bar.first_id).order_by("-first_id").first()
    return None if before is None else (min(before.last_id, bar.first_id - 1) + 1, 0)


def _ratios(
    bars: Bars,
    held: Coverage,
    begin: Begin | None,
    left_out: Sequence[int],
    *,
    is_counted: bool = True,
) -> list[float | None]:
    """Return held over expected trades of each bar; None where a hole is of unknown size.

    Notes
    -----
    Nobody can say which of two bars the ids missing between them belong to, so that they count
    for both: only what is proved complete is 1. `left_out` are the trades of each bar that the
    feed did not bring.
    """
    begin_id = begin[0] if begin and begin[1] <= bars[0][0] else None
    found: list[float | None] = []
    for at, (_, bar) in enumerate(bars):
        first = bars[at - 1][1].last_id + 1 if at else begin_id
        last = bars[at + 1][1].first_id - 1 if at + 1 < len(bars) else bar.last_id
        if first is None:
            found.append(None)
            continue
        missing = held.missing(min(first, bar.first_id), max(last, bar.last_id))
        expected = bar.trades + missing + left_out[at]
        found.append(bar.trades / expected if is_counted or not missing else None)
    return found


def events(
    instrument_id: int, fresh: Sequence[Event], limit: int, since_us: int = 0
) -> list[Event]:
    """Return the newest events of an instrument, newest first.

    Parameters
    ----------
    fresh : sequence of Event
        Those in memory, oldest first; the newest of them may not be stored yet.
    """
    mine = EventRow.objects.filter(instrument_id=instrument_id, ts_us__gte=since_us)
    stored = [Event(row.kind, row.ts_us, row.detail) for row in mine.order_by("-id")[:limit]]
    stored += restatements.events(instrument_id, since_us, limit)
    newest = [event for event in reversed(fresh) if event.ts_us >= since_us][:limit]
    known = {_identity(event) for event in newest}
    older = [event for event in stored if _identity(event) not in known]
    return sorted(newest + older, key=lambda event: event.ts_us, reverse=True)[:limit]


def _identity(event: Event) -> bytes:
    return encode([event.kind, event.ts_us, sorted(event.detail.items())])
