"""Trades that a venue has and its feed did not bring, each once, though numbers of ours go on."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count, F

from marketdata.core.events import Event
from marketdata.core.trades import Trades
from marketdata.models import Omission

LEFT_OUT = "left_out"
# Refs named in one event; the table has all of them.
MOST_TOLD = 20


def event(trades: Trades, now_us: int) -> Event:
    """Return what is to be stated of trades that were left out."""
    detail = {"trades": len(trades), "refs": _refs(trades)[:MOST_TOLD]}
    return Event(LEFT_OUT, now_us, detail)


def add(instrument_id: int, trades: Trades) -> None:
    """Note trades that were left out; one that is noted stays so. Call it in a transaction."""
    rows = [
        Omission(instrument_id=instrument_id, ts_us=ts_us, ref=ref)
        for ts_us, ref in zip(trades.ts_us.tolist(), _refs(trades), strict=True)
    ]
    Omission.objects.bulk_create(rows, ignore_conflicts=True)


def times(instrument_id: int) -> Iterable[int]:
    """Return when the trades that were left out were traded, ascending."""
    mine = Omission.objects.filter(instrument_id=instrument_id).order_by("ts_us")
    return mine.values_list("ts_us", flat=True)


def count(instrument_id: int, start_us: int, end_us: int) -> int:
    """Return how many trades of [start_us, end_us) were left out."""
    mine = Omission.objects.filter(instrument_id=instrument_id)
    return mine.filter(ts_us__gte=start_us, ts_us__lt=end_us).count()


def by_span(instrument_id: int, start_us: int, end_us: int, span_us: int) -> dict[int, int]:
    """Return how many trades of [start_us, end_us) were left out, by the start of each span."""
    mine = Omission.objects.filter(
        instrument_id=instrument_id, ts_us__gte=start_us, ts_us__lt=end_us
    )
    spans = mine.annotate(span=F("ts_us") / span_us).order_by().values_list("span")
    return {span * span_us: found for span, found in spans.annotate(found=Count("id"))}


def newest_refs(instrument_id: int, most: int) -> list[bytes]:
    """Return the venue's names of the newest trades that were left out, oldest first."""
    mine = Omission.objects.filter(instrument_id=instrument_id).order_by("-ts_us", "-id")
    return [ref.encode() for ref in mine.values_list("ref", flat=True)[:most]][::-1]


def _refs(trades: Trades) -> list[str]:
    return [] if trades.ref is None else [ref.decode() for ref in trades.ref.tolist()]
