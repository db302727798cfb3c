"""Trades that came again: counted by the minute they traded in, never stored twice."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import F, Sum

from marketdata.models import Refusal


def add(instrument_id: int, minutes: Mapping[int, int]) -> None:
    """Add to the counts of minutes; call it in a transaction."""
    for minute_us, trades in minutes.items():
        mine = Refusal.objects.filter(instrument_id=instrument_id, minute_us=minute_us)
        if not mine.update(trades=F("trades") + trades):
            Refusal.objects.create(instrument_id=instrument_id, minute_us=minute_us, trades=trades)


def count(instrument_id: int, start_us: int, end_us: int) -> int:
    """Return how many trades of [start_us, end_us) came again."""
    mine = Refusal.objects.filter(instrument_id=instrument_id)
    inside = mine.filter(minute_us__gte=start_us, minute_us__lt=end_us)
    return int(inside.aggregate(total=Sum("trades"))["total"] or 0)
