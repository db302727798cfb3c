"""The ledger: which venue ids are held, run by run, with where they came from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from django.db.models import Q

from marketdata.core.coverage import Coverage, runs_of
from marketdata.core.trades import Trades
from marketdata.models import ID_BITS, CoverageSegment, Trade

EVERYTHING = (0, (1 << ID_BITS) - 1)


def claim(instrument_id: int, trades: Trades, origin: str) -> None:
    """Note that ascending trades are held; call it in the transaction that writes them.

    Notes
    -----
    Two indexed reads and about one write per run of ids, whatever the run's length.
    """
    for first, last in runs_of(trades.id):
        low, high = np.searchsorted(trades.id, [first, last + 1])
        _claim_run(instrument_id, trades[int(low) : int(high)], origin)


def _claim_run(instrument_id: int, trades: Trades, origin: str) -> None:
    first, last = int(trades.id[0]), int(trades.id[-1])
    near = _near(instrument_id, first, last)
    claimed = Coverage((segment.first_id, segment.last_id) for segment in near)
    for low, high in list(claimed.holes(first, last)):
        part = trades[low - first : high - first + 1]
        piece = CoverageSegment(
            instrument_id=instrument_id,
            first_id=low,
            last_id=high,
            origin=origin,
            first_ts_us=int(part.ts_us.min()),
            last_ts_us=int(part.ts_us.max()),
        )
        near = _join(near, piece)


def _near(instrument_id: int, first: int, last: int) -> list[CoverageSegment]:
    """Return the segments that overlap or touch first..last, ascending."""
    mine = CoverageSegment.objects.filter(instrument_id=instrument_id).order_by("first_id")
    before = mine.filter(first_id__lt=first).order_by("-first_id").first()
    touching = list(mine.filter(first_id__gte=first, first_id__lte=last + 1))
    if before is not None and before.last_id >= first - 1:
        return [before, *touching]
    return touching


def _join(near: list[CoverageSegment], piece: CoverageSegment) -> list[CoverageSegment]:
    """Save a piece, grown into the neighbours of its origin that it touches."""
    same = [segment for segment in near if segment.origin == piece.origin]
    left = next((s for s in same if s.last_id == piece.first_id - 1), None)
    right = next((s for s in same if s.first_id == piece.last_id + 1), None)
    if right is not None:
        piece.last_id = right.last_id
        piece.first_ts_us = min(piece.first_ts_us, right.first_ts_us)
        piece.last_ts_us = max(piece.last_ts_us, right.last_ts_us)
        right.delete()
    if left is not None:
        left.last_id = piece.last_id
        left.first_ts_us = min(left.first_ts_us, piece.first_ts_us)
        left.last_ts_us = max(left.last_ts_us, piece.last_ts_us)
        piece = left
    piece.save()
    return [s for s in near if s is not right and s is not left] + [piece]


def segments(
    instrument_id: int, first: int = EVERYTHING[0], last: int = EVERYTHING[1]
) -> list[CoverageSegment]:
    """Return the segments that hold any id of first..last, ascending."""
    overlapping = Q(first_id__lte=last, last_id__gte=first)
    mine = CoverageSegment.objects.filter(overlapping, instrument_id=instrument_id)
    return list(mine.order_by("first_id"))


def coverage(instrument_id: int, first: int = EVERYTHING[0], last: int = EVERYTHING[1]) -> Coverage:
    """Return the ids of first..last that are held."""
    return Coverage(_clipped(segments(instrument_id, first, last), first, last))


def _clipped(found: Iterable[CoverageSegment], first: int, last: int) -> Iterable[tuple[int, int]]:
    return ((max(first, s.first_id), min(last, s.last_id)) for s in found)


def origins(instrument_id: int, first: int, last: int) -> dict[str, int]:
    """Return how many ids of first..last came from where."""
    found: dict[str, int] = {}
    for segment in segments(instrument_id, first, last):
        held = min(last, segment.last_id) - max(first, segment.first_id) + 1
        found[segment.origin] = found.get(segment.origin, 0) + held
    return found


def audit(instrument_id: int) -> list[str]:
    """Return every disagreement between ledger and rows, in words; none is the promise."""
    base = instrument_id << ID_BITS
    rows = Trade.objects.filter(id__gte=base, id__lt=base + (1 << ID_BITS)).order_by("id")
    ids = np.fromiter(rows.values_list("trade_id", flat=True).iterator(50_000), dtype=np.int64)
    held = Coverage(runs_of(ids))
    claimed = Coverage()
    found = []
    for segment in segments(instrument_id):
        if claimed.missing(segment.first_id, segment.last_id) <= segment.last_id - segment.first_id:
            found.append(f"segment {segment} overlaps another")
        claimed.add(segment.first_id, segment.last_id)
    if held != claimed:
        found.append(f"rows hold {held}, the ledger claims {claimed}")
    return found
