"""`Path`: the running delta over a stretch of consecutive ids, ready to be joined to others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marketdata.core.coverage import runs_of
from marketdata.core.trades import Bools, Ints


@dataclass(frozen=True, slots=True)
class Path:
    """Total, lowest and highest running delta after each trade, relative to the start, in lots."""

    total: int
    low: int
    high: int

    def then(self, later: Path) -> Path:
        """Return the path of this stretch followed by `later`."""
        return Path(
            self.total + later.total,
            min(self.low, self.total + later.low),
            max(self.high, self.total + later.high),
        )

    def scaled(self, lots: int) -> Path:
        """Return the path on a grid that is `lots` times finer."""
        return Path(self.total * lots, self.low * lots, self.high * lots)


Paths = list[tuple[int, int, Path]]


def paths_of(ids: Ints, lots: Ints, is_buy: Bools) -> Paths:
    """Return (first id, last id, path) of each run of consecutive ids, ids ascending."""
    if len(ids) == 1:
        only = int(lots[0]) if is_buy[0] else -int(lots[0])
        return [(int(ids[0]), int(ids[0]), Path(only, only, only))]
    signed = np.where(is_buy, lots, -lots)
    found: Paths = []
    at = 0
    for first, last in runs_of(ids):
        running = signed[at : at + last - first + 1].cumsum()
        path = Path(int(running[-1]), int(running.min()), int(running.max()))
        found.append((first, last, path))
        at += len(running)
    return found
