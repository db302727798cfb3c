"""Trades that a venue has and its feed did not bring: stated by the minute they traded in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from marketdata.core.events import Event
from marketdata.core.timeframe import MINUTE_US
from marketdata.core.trades import Trades
from marketdata.models import Event as EventRow

LEFT_OUT = "left_out"
# Refs named in one event.
MOST_TOLD = 100


def events(trades: Trades, now_us: int) -> Iterator[Event]:
    """Return what is to be stated of trades that were left out, an event for each minute."""
    opens = trades.ts_us // MINUTE_US * MINUTE_US
    for minute_us in np.unique(opens).tolist():
        some = trades[opens == minute_us]
        refs = [] if some.ref is None else some.ref[:MOST_TOLD].tolist()
        told = [ref.decode() for ref in refs]
        detail = {"trades": len(some), "minute_us": minute_us, "refs": told}
        yield Event(LEFT_OUT, now_us, detail)


def minutes(instrument_id: int) -> dict[int, int]:
    """Return how many trades were left out, by minute."""
    found: Counter[int] = Counter()
    rows = EventRow.objects.filter(kind=LEFT_OUT, instrument_id=instrument_id)
    for detail in rows.values_list("detail", flat=True):
        found[detail["minute_us"]] += detail["trades"]
    return dict(found)
