"""Ticks of a quote feed: which way each one went, and how many there should be."""

from __future__ import annotations

import numpy as np

from marketdata.core.trades import Bools, Floats, Trades


def tick_rule(price: Floats, after: Trades | None = None) -> Bools:
    """Tell of each tick whether it counts as bought: up, or level after up.

    Parameters
    ----------
    price : (n,) float64
        Quotes in order of time.
    after : Trades, optional
        What is held of the same instrument; its last tick decides how the first one went. Without
        any, a tick counts as bought until the price first moves.

    Returns
    -------
    (n,) bool
        An estimate: a quote feed tells no side.

    Notes
    -----
    Applied to a batch with what came before it, the rule gives what it gives to both as one.
    Source: C. Lee, M. Ready, "Inferring Trade Direction from Intraday Data", J. Finance 46, 1991.
    """
    if not len(price):
        return np.empty(0, np.bool_)
    last = after[-1:] if after is not None else Trades.empty()
    before = last.price[0] if len(last) else price[0]
    moves = np.sign(np.diff(price, prepend=before))
    # Where the price stands still, the last move counts: the index of each tick's latest move.
    at = np.maximum.accumulate(np.where(moves != 0, np.arange(len(moves)), -1))
    first = bool(last.is_buy[0]) if len(last) else True
    return np.where(at >= 0, moves[at] > 0, first)


def expected(start_us: int, end_us: int, cadence_us: int, at_us: int = 0) -> int:
    """Count the ticks due in [start_us, end_us) of a feed that keeps to a cadence.

    Parameters
    ----------
    start_us, end_us : int
        Microseconds UTC.
    cadence_us : int
        From tick to tick, > 0.
    at_us : int
        Time of any one tick.
    """
    due = -((at_us - end_us) // cadence_us) + ((at_us - start_us) // cadence_us)
    return max(0, due)
