"""Ids of raw trades: one in 200 is no trade of the book, and no aggregate counts it."""

from __future__ import annotations

from marketdata.core.trades import Ints

EVERY = 200
TRADED = EVERY - 1


def numbered(fills: Ints) -> Ints:
    """Return the venue's ids of fills that are counted without holes: (n,) int64 → (n,) int64."""
    return fills + fills // TRADED


def has_stranger(fill: int) -> bool:
    """Tell whether the id after a fill's own belongs to no fill."""
    return fill % TRADED == TRADED - 1
