"""`OrderBook`: the levels of one book, from a snapshot and absolute changes; bounded and sorted."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from marketdata.core.facts import BookUpdate, Level

# Levels a side are kept up to this factor of what a snapshot tells; then the farthest go.
SPARE = 2
# With fewer levels a side than this share of a snapshot, what is known of it runs out.
THIN = 0.1
Levels = tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class BookView:
    """A book as it stood after one update; never changes.

    Parameters
    ----------
    bids, asks : tuple of (price, qty)
        Best first; quote per base, base units.
    update_id : int
    ts_us : int
        Time of the last update, microseconds UTC; 0 where the venue tells none.
    known : int
        So many levels a side are known without a hole between them, shown or not; behind them
        there may be some that have not changed since the snapshot, which did not reach so far.
    """

    bids: Levels
    asks: Levels
    update_id: int
    ts_us: int
    known: int


class _Side:
    """Levels of one side. Keys rise towards the best price: the price, or its negative for asks."""

    __slots__ = ("bound", "edge", "keys", "qty", "sign")

    def __init__(self, sign: float, bound: int) -> None:
        self.sign = sign
        self.bound = bound
        self.qty: dict[float, float] = {}
        self.keys: list[float] = []
        # Below this key there may be levels nobody told us of.
        self.edge = -inf

    def replace(self, levels: Iterable[Level], whole_below: float) -> None:
        """Forget everything and take these; fewer than `whole_below` are all there are."""
        self.qty = {price: qty for price, qty in dict(levels).items() if qty}
        self.keys = sorted(self.sign * price for price in self.qty)
        self.edge = self.keys[0] if len(self.keys) >= whole_below else -inf
        self._trim()

    def apply(self, levels: Iterable[Level]) -> None:
        """Set quantities; zero removes, also what is not there."""
        qty, keys, sign = self.qty, self.keys, self.sign
        for price, size in levels:
            if size:
                if price not in qty:
                    insort(keys, sign * price)
                qty[price] = size
            elif price in qty:
                del qty[price]
                del keys[bisect_left(keys, sign * price)]
        if len(keys) > self.bound:
            self._trim()

    def _trim(self) -> None:
        """Let the farthest levels go, some more than needed so that it happens seldom."""
        if len(self.keys) <= self.bound:
            return
        excess = len(self.keys) - (self.bound - self.bound // 8)
        for key in self.keys[:excess]:
            del self.qty[self.sign * key]
        del self.keys[:excess]
        self.edge = max(self.edge, self.keys[0])

    def best(self) -> Level | None:
        """Return the best level, in O(1)."""
        if not self.keys:
            return None
        price = self.sign * self.keys[-1]
        return price, self.qty[price]

    def depth(self, count: int) -> Levels:
        """Return the best levels, best first."""
        prices = [self.sign * key for key in self.keys[: -count - 1 : -1]]
        return tuple([(price, self.qty[price]) for price in prices])

    def known(self) -> int:
        """Return how many of the best levels have none missing between them."""
        return len(self.keys) - bisect_left(self.keys, self.edge)

    def is_thin(self, told: int) -> bool:
        """Tell whether hardly a level is left of what the snapshot told of a longer side."""
        return self.edge > -inf and self.known() < told * THIN


class OrderBook:
    """Levels of one book.

    Parameters
    ----------
    told : int
        Levels a side that a snapshot tells at most. A side with so many goes on behind them; what
        lies there is known only where it changes.
    bound : int
        Levels a side kept at most; those farthest from the best price go first. 0 is twice `told`.
    is_window : bool
        The venue tells the best `told` levels at all times, those that move up included: nothing
        behind them is missed.

    Notes
    -----
    Best prices cost O(1), a changed quantity O(1), a level that comes or goes O(log n) for its
    place and a move of memory near the best price, where the list ends.
    """

    def __init__(self, told: int, bound: int = 0, *, is_window: bool = False) -> None:
        self.told = told
        self.is_window = is_window
        self.bound = bound or told * SPARE
        self.update_id = 0
        self.ts_us = 0
        self._bids = _Side(1.0, self.bound)
        self._asks = _Side(-1.0, self.bound)

    def replace(self, update: BookUpdate) -> None:
        """Take a whole book in place of what is held."""
        whole_below = inf if self.is_window else self.told
        self._bids.replace(update.bids, whole_below)
        self._asks.replace(update.asks, whole_below)
        self._mark(update)

    def apply(self, update: BookUpdate) -> None:
        """Take changes in the order in which they follow one another."""
        self._bids.apply(update.bids)
        self._asks.apply(update.asks)
        self._mark(update)

    def _mark(self, update: BookUpdate) -> None:
        self.update_id = update.last_id
        self.ts_us = update.ts_us

    @property
    def bid(self) -> Level | None:
        """Best bid, None where there is none."""
        return self._bids.best()

    @property
    def ask(self) -> Level | None:
        """Best ask, None where there is none."""
        return self._asks.best()

    @property
    def is_crossed(self) -> bool:
        """Whether somebody bids what somebody asks, or more: a sign of a lost update."""
        bids, asks = self._bids.keys, self._asks.keys
        return bool(bids and asks) and bids[-1] >= -asks[-1]

    @property
    def is_thin(self) -> bool:
        """Whether the market has nearly left the levels that the last snapshot told."""
        return self._bids.is_thin(self.told) or self._asks.is_thin(self.told)

    def __len__(self) -> int:
        return len(self._bids.keys) + len(self._asks.keys)

    def view(self, depth: int) -> BookView:
        """Return the best levels of both sides, O(depth)."""
        bids, asks = self._bids.depth(depth), self._asks.depth(depth)
        return BookView(bids, asks, self.update_id, self.ts_us, self.known)

    @property
    def known(self) -> int:
        """How many levels a side are known without a hole between them."""
        return min(self._bids.known(), self._asks.known())
