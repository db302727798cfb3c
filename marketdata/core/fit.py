"""Trades that fill a hole among trades that we number: which of a list they are, and as what."""

from __future__ import annotations

from collections import Counter

import numpy as np

from marketdata.core.coverage import Run
from marketdata.core.errors import BadInputError
from marketdata.core.trades import Bools, Ints, Trades


def fitted(
    rows: Trades, hole: Run, before: Trades, after: Trades, *, is_sided: bool = True
) -> tuple[Trades, Run | None]:
    """Return the trades of a list that lie in a hole, with the hole's numbers.

    Parameters
    ----------
    rows : Trades
        All there are of the time around the hole, in the order in which they were matched; their
        ids mean nothing.
    hole : (first, last)
        Numbers that are not held.
    before, after : Trades
        What is held on both sides, the nearest; empty where nothing is.
    is_sided : bool
        Sides are told by the venue; else they are estimates, and tell nothing apart.

    Returns
    -------
    trades : Trades
        Numbered from the hole's first number on.
    unused : (first, last) or None
        Numbers of the hole that no trade has.

    Raises
    ------
    BadInputError
        More trades than numbers.

    Notes
    -----
    A time on the hole's edge may have trades on both sides of it. Those held there are told apart
    by price, quantity and side, as often as they are held: a file does not repeat the ids that a
    stream told.
    """
    rows = _in_time(rows)
    start_us = int(before.ts_us[-1]) if len(before) else None
    end_us = int(after.ts_us[0]) if len(after) else None
    inside = np.ones(len(rows), dtype=np.bool_)
    if start_us is not None:
        inside &= rows.ts_us >= start_us
    if end_us is not None:
        inside &= rows.ts_us <= end_us
    held = Counter(_traits(before, is_sided) + _traits(after, is_sided))
    found = rows[inside]
    found = found[_not_held(found, held, _at_edges(found, before, after), is_sided)]
    first, last = hole
    if len(found) > last - first + 1:
        raise BadInputError(
            f"at most {last - first + 1} trades expected between numbers {first} and {last}, "
            f"seen {len(found)}"
        )
    ids = np.arange(first, first + len(found), dtype=np.int64)
    numbered = Trades(ids, found.ts_us, found.price, found.qty, found.is_buy, found.ref)
    unused = (first + len(found), last) if first + len(found) <= last else None
    return numbered, unused


Trait = tuple[int, float, float, bool]


def reaches(rows: Trades, held: Trades) -> bool:
    """Tell whether the rows have one of some trades that are held, by time, price and quantity."""
    beside = rows[np.isin(rows.ts_us, held.ts_us)]
    return not set(_traits(beside, is_sided=False)).isdisjoint(_traits(held, is_sided=False))


def _traits(trades: Trades, is_sided: bool) -> list[Trait]:
    """Return time, price, quantity and side of trades."""
    columns = (trades.ts_us, trades.price, trades.qty, trades.is_buy & is_sided)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _not_held(rows: Trades, held: Counter[Trait], at_edges: Ints, is_sided: bool) -> Bools:
    fresh = np.ones(len(rows), dtype=np.bool_)
    for row, trait in zip(at_edges.tolist(), _traits(rows[at_edges], is_sided), strict=True):
        if held[trait] > 0:
            held[trait] -= 1
            fresh[row] = False
    return fresh


def _at_edges(rows: Trades, before: Trades, after: Trades) -> Ints:
    """Return the rows whose time is within what is held, which may be stored out of order."""
    at = np.zeros(len(rows), dtype=np.bool_)
    if len(before):
        at |= rows.ts_us <= before.ts_us.max()
    if len(after):
        at |= rows.ts_us >= after.ts_us.min()
    return np.flatnonzero(at)


def _in_time(rows: Trades) -> Trades:
    if bool((np.diff(rows.ts_us) >= 0).all()):
        return rows
    return rows[np.argsort(rows.ts_us, kind="stable")]
