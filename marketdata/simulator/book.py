"""An invented order book around the last trade, whose updates chain without holes."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from dataclasses import dataclass, field

DEPTH = 200
# Ids leap with the clock, so that a restarted simulator never goes back.
IDS_PER_MS = 100


@dataclass(frozen=True, slots=True)
class BookChange:
    """The levels that changed between two update ids; prices in ticks, sizes in lots."""

    first: int
    last: int
    bids: dict[int, int]
    asks: dict[int, int]

    def then(self, later: BookChange) -> BookChange:
        """Return this change followed by the next."""
        return BookChange(self.first, later.last, self.bids | later.bids, self.asks | later.asks)


@dataclass
class Side:
    """One side of the book: ticks ascending, with their lots."""

    ticks: list[int] = field(default_factory=list)
    lots: dict[int, int] = field(default_factory=dict)
    changed: dict[int, int] = field(default_factory=dict)

    def put(self, tick: int, lots: int) -> None:
        """Set a level; 0 lots removes it."""
        held = self.lots.get(tick, 0)
        if held == lots:
            return
        if lots and not held:
            insort(self.ticks, tick)
        if not lots:
            del self.ticks[bisect_left(self.ticks, tick)]
            del self.lots[tick]
        else:
            self.lots[tick] = lots
        self.changed[tick] = lots


class Book:
    """The book of one symbol.

    Parameters
    ----------
    now_ms : int
        Time of birth; update ids count on from it.
    size_lots : int
        Typical size of a level, lots, > 0.
    seed : int
        Seed of sizes and distances.
    """

    def __init__(self, now_ms: int, size_lots: int, seed: int = 0) -> None:
        self.last_id = now_ms * IDS_PER_MS
        self.bids, self.asks = Side(), Side()
        self._size = size_lots
        self._random = random.Random(seed)
        self.sent_id = self.last_id

    @property
    def best(self) -> tuple[int, int, int, int]:
        """Best bid and its lots, best ask and its lots."""
        bid, ask = self.bids.ticks[-1], self.asks.ticks[0]
        return bid, self.bids.lots[bid], ask, self.asks.lots[ask]

    def follow(self, tick: int, is_buy: bool) -> None:
        """Move to the last trade, which hit the best price."""
        bid = max(1, tick - 1) if is_buy else tick
        for crossed in self.bids.ticks[bisect_left(self.bids.ticks, bid + 1) :]:
            self.bids.put(crossed, 0)
        for crossed in self.asks.ticks[: bisect_left(self.asks.ticks, bid + 1)]:
            self.asks.put(crossed, 0)
        self._fill(self.bids, bid, -1)
        self._fill(self.asks, bid + 1, 1)
        self._count()

    def breathe(self) -> None:
        """Change a few sizes near the best prices, as resting orders come and go."""
        for side, near in ((self.bids, self.bids.ticks[-12:]), (self.asks, self.asks.ticks[:12])):
            for tick in self._random.sample(near, min(3, len(near))):
                side.put(tick, self._lots())
        self._count()

    def change(self) -> BookChange | None:
        """Return what changed since the last call, or None."""
        if self.last_id == self.sent_id:
            return None
        change = BookChange(
            self.sent_id + 1, self.last_id, dict(self.bids.changed), dict(self.asks.changed)
        )
        self.sent_id = self.last_id
        self.bids.changed.clear()
        self.asks.changed.clear()
        return change

    def _fill(self, side: Side, best: int, step: int) -> None:
        if best not in side.lots:
            side.put(best, self._lots())
        self._thin(side, step)
        gap = 1
        while len(side.ticks) < DEPTH:
            # Levels lie denser near the best; a price stays above zero.
            best += step * self._random.randint(1, gap)
            gap = min(400, gap + 3)
            if best < 1:
                return
            if best not in side.lots:
                side.put(best, self._lots())

    def _thin(self, side: Side, step: int) -> None:
        while len(side.ticks) > DEPTH:
            side.put(side.ticks[0] if step < 0 else side.ticks[-1], 0)

    def _lots(self) -> int:
        return max(1, int(self._random.lognormvariate(0.0, 1.0) * self._size))

    def _count(self) -> None:
        pending = len(self.bids.changed) + len(self.asks.changed)
        if pending:
            self.last_id = max(self.last_id + 1, self.sent_id + pending)
