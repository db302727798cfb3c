"""The book of one symbol as a depth of stream shows it: the best levels, update after update."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from marketdata.simulator.bybit.wire import Level
from marketdata.simulator.listing import Levels

DEPTHS = (1, 50, 200, 1000)
DEEPEST = DEPTHS[-1]
REPEAT_S = 3.0

Sides = tuple[dict[int, int], dict[int, int]]


@dataclass(frozen=True, slots=True)
class Step:
    """What one frame of a ladder says: `snapshot` or `delta`, its levels, its update id."""

    kind: str
    levels: tuple[list[Level], list[Level]]
    update_id: int


class Ladder:
    """One depth of one book; whoever follows it holds exactly these levels.

    Notes
    -----
    Update ids of each depth count on by one. What leaves the best levels is deleted, what enters
    them is told, so a follower never holds more than the depth. The first depth has snapshots
    alone.
    """

    def __init__(self, depth: int, update_id: int) -> None:
        self.depth = depth
        self.update_id = update_id
        self._held: Sides = ({}, {})
        self._seen_id = -1
        self._sent_s = time.monotonic()

    def snapshot(self) -> Step:
        """Return all levels at the present update id."""
        bids, asks = self._held
        return Step("snapshot", ([*bids.items()], [*asks.items()]), self.update_id)

    def advance(self, levels: Levels) -> Step | None:
        """Move to the newest book and return what to send, or None where nothing changed."""
        if levels.last_id == self._seen_id:
            return self._repeated()
        self._seen_id = levels.last_id
        held: Sides = (dict(levels.bids[: self.depth]), dict(levels.asks[: self.depth]))
        changed = _changes(self._held[0], held[0]), _changes(self._held[1], held[1])
        if not any(changed):
            return self._repeated()
        self._held = held
        self.update_id += 1
        self._sent_s = time.monotonic()
        return self.snapshot() if self.depth == 1 else Step("delta", changed, self.update_id)

    def restart(self) -> Step:
        """Return all levels under update id 1, as after a restart of the service."""
        self.update_id = 1
        return self.snapshot()

    def absent(self) -> Level:
        """Return the deletion of a bid that nobody holds."""
        bids = self._held[0]
        return max(1, min(bids, default=2) - 1), 0

    def _repeated(self) -> Step | None:
        """Return the first level again after three seconds of silence, its id unchanged."""
        if self.depth != 1 or time.monotonic() - self._sent_s < REPEAT_S:
            return None
        self._sent_s = time.monotonic()
        return self.snapshot()


def _changes(before: dict[int, int], now: dict[int, int]) -> list[Level]:
    gone: Sequence[Level] = [(tick, 0) for tick in before if tick not in now]
    return [*gone, *((tick, lots) for tick, lots in now.items() if before.get(tick) != lots)]
