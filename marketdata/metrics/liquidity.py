"""What a book says of the moment: spread, microprice, imbalance, depth; and order flow at its top.

Source: Cont, Kukanov, Stoikov, "The price impact of order book events", arXiv 1011.6402.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import floor, fsum, log10

from marketdata.core.facts import Level
from marketdata.core.orderbook import BookView, Levels
from marketdata.core.timeframe import SECOND_US

# Float64 holds so many decimal digits for certain.
DIGITS = 15
# Order flow is summed over so long.
WINDOW_S = 60
Top = tuple[Level, Level]


def _told(value: float) -> float:
    """Return a value in the digits that are certain, so that 0.1 + 0.2 is told as 0.3."""
    return float(f"{value:.{DIGITS}g}")


def top(view: BookView) -> Top | None:
    """Return best bid and best ask, or None while a side is empty.

    Parameters
    ----------
    view : BookView

    Returns
    -------
    ((price, qty), (price, qty)) or None
    """
    return (view.bids[0], view.asks[0]) if view.bids and view.asks else None


def spread(best: Top) -> float:
    """Return best ask minus best bid.

    Parameters
    ----------
    best : Top
        Best bid and best ask.

    Returns
    -------
    float
        Quote per base. Negative in a crossed book.

    Notes
    -----
    Rounded to the digits that prices of this size hold, so that 61837.64 − 61837.63 is 0.01.
    """
    bid, ask = best[0][0], best[1][0]
    return round(ask - bid, DIGITS - 1 - floor(log10(ask)))


def mid(best: Top) -> float:
    """Return the middle of best bid and best ask.

    Parameters
    ----------
    best : Top
        Best bid and best ask.

    Returns
    -------
    float
        Quote per base.

    Examples
    --------
    >>> mid(((98586.86, 1.0), (98586.87, 1.0)))
    98586.865
    """
    return _told((best[0][0] + best[1][0]) / 2)


def microprice(best: Top) -> float:
    """Return the mid price, drawn to the side that is about to give way.

    Parameters
    ----------
    best : Top
        Best bid and best ask, quantities above zero.

    Returns
    -------
    float
        (Pa·Qb + Pb·Qa) / (Qa + Qb), quote per base.

    Notes
    -----
    The first-order weighting; Stoikov's own (SSRN 2970694) is estimated from history.

    Examples
    --------
    >>> microprice(((100.0, 3.0), (101.0, 1.0)))
    100.75
    """
    (bid, bid_qty), (ask, ask_qty) = best
    return (ask * bid_qty + bid * ask_qty) / (bid_qty + ask_qty)


def depth(levels: Levels, count: int) -> float:
    """Return the quantity of the best levels of one side.

    Parameters
    ----------
    levels : tuple of (price, qty)
        Best first.
    count : int
        Levels summed.

    Returns
    -------
    float
        Base units.
    """
    return _told(fsum(qty for _, qty in levels[:count]))


def imbalance(view: BookView, count: int) -> float | None:
    """Return how much more is bid than asked on the best levels.

    Parameters
    ----------
    view : BookView
    count : int
        Levels a side.

    Returns
    -------
    float or None
        (B − A) / (B + A) from −1, only asks, to 1, only bids; None of an empty book.
    """
    bids, asks = depth(view.bids, count), depth(view.asks, count)
    return (bids - asks) / (bids + asks) if bids + asks else None


def flow(before: Top, after: Top) -> float:
    """Return the order flow imbalance between two states of the best prices.

    Parameters
    ----------
    before, after : Top
        Best bid and best ask of successive states.

    Returns
    -------
    float
        e = 1[Pb ≥ Pb′]·qb − 1[Pb ≤ Pb′]·qb′ − 1[Pa ≤ Pa′]·qa + 1[Pa ≥ Pa′]·qa′, primes before;
        base units. Above zero: buyers came or sellers went.

    Examples
    --------
    >>> flow(((100.0, 5.0), (101.0, 4.0)), ((100.0, 8.0), (101.0, 3.0)))
    4.0
    """
    (old_bid, old_bid_qty), (old_ask, old_ask_qty) = before
    (bid, bid_qty), (ask, ask_qty) = after
    total = 0.0
    if bid >= old_bid:
        total += bid_qty
    if bid <= old_bid:
        total -= old_bid_qty
    if ask <= old_ask:
        total -= ask_qty
    if ask >= old_ask:
        total += old_ask_qty
    return total


class OrderFlow:
    """Order flow imbalance over a window that moves along, second by second.

    Parameters
    ----------
    window_s : int
        Whole seconds summed; the one that runs counts as one of them.

    Notes
    -----
    An update costs O(1), a value O(window). Between two states many orders may have come and
    gone: from updates every 100 ms it is the flow that these leave visible.
    """

    def __init__(self, window_s: int = WINDOW_S) -> None:
        self.window_s = window_s
        self._before: Top | None = None
        self._sums: deque[tuple[int, float]] = deque(maxlen=window_s)
        self._is_known = False

    def update(self, best: Top | None, now_us: int) -> None:
        """Take the next state; None is a book with an empty side, from which nothing follows."""
        before, self._before = self._before, best
        if best is None or before is None:
            return
        self._is_known = True
        if best == before:
            return
        second, came = now_us // SECOND_US, flow(before, best)
        if self._sums and self._sums[-1][0] == second:
            came += self._sums.pop()[1]
        self._sums.append((second, came))

    def value(self, now_us: int) -> float | None:
        """Return the sum over the window, base units; None before two states are known."""
        if not self._is_known:
            return None
        oldest = now_us // SECOND_US - self.window_s
        return _told(fsum(came for second, came in self._sums if second > oldest))

    def reset(self) -> None:
        """Begin anew: what happened in between is not known."""
        self._before, self._is_known = None, False
        self._sums.clear()


@dataclass(frozen=True, slots=True)
class Liquidity:
    """Metrics of one book at one moment; None where a side is empty.

    Parameters
    ----------
    spread, mid, microprice : float or None
        Quote per base.
    imbalance : float or None
        From −1 to 1, over `levels` a side.
    bid_depth, ask_depth : float
        Base units on `levels` a side.
    levels : int
    """

    spread: float | None
    mid: float | None
    microprice: float | None
    imbalance: float | None
    bid_depth: float
    ask_depth: float
    levels: int


def measured(view: BookView, levels: int) -> Liquidity:
    """Return every metric of a book, O(levels).

    Parameters
    ----------
    view : BookView
    levels : int
        Levels a side for imbalance and depth.

    Returns
    -------
    Liquidity
    """
    best = top(view)
    return Liquidity(
        spread=spread(best) if best else None,
        mid=mid(best) if best else None,
        microprice=microprice(best) if best else None,
        imbalance=imbalance(view, levels),
        bid_depth=depth(view.bids, levels),
        ask_depth=depth(view.asks, levels),
        levels=levels,
    )
