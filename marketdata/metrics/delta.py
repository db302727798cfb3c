"""Cumulative delta: buying minus selling aggressor volume, and the extremes it passed through."""

from __future__ import annotations

from bisect import bisect_left

from marketdata.core.counted import Counted
from marketdata.core.path import Path


class CumulativeDelta:
    """Running delta and its extremes after each trade, in the order of ids, not of arrival.

    Notes
    -----
    Paths are kept per run of consecutive ids and joined when a run becomes adjacent to its
    neighbour. A late trade can only fall between runs, so its place in the running sum is known
    and the extremes come out as if everything had arrived in order. A tape without holes is one
    path; a value costs O(holes).
    """

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._paths: list[Path] = []

    def update(self, batch: Counted) -> None:
        """Add trades not added before, ascending ids."""
        for first, last, path in batch.paths:
            self._add(first, last, path)

    def _add(self, first: int, last: int, path: Path) -> None:
        at = bisect_left(self._firsts, first)
        if at < len(self._firsts) and self._firsts[at] == last + 1:
            last, path = self._lasts[at], path.then(self._paths[at])
            self._drop(at)
        if at and self._lasts[at - 1] == first - 1:
            at -= 1
            first, path = self._firsts[at], self._paths[at].then(path)
            self._drop(at)
        self._firsts.insert(at, first)
        self._lasts.insert(at, last)
        self._paths.insert(at, path)

    def _drop(self, at: int) -> None:
        del self._firsts[at], self._lasts[at], self._paths[at]

    def value(self) -> Path:
        """Return total, lowest and highest running delta in lots; zeros before the first trade."""
        if not self._paths:
            return Path(0, 0, 0)
        joined = self._paths[0]
        for path in self._paths[1:]:
            joined = joined.then(path)
        return joined

    def runs(self) -> list[tuple[int, int]]:
        """Return the runs of ids taken in, ascending."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def scale(self, lots: int) -> None:
        """Recount on a grid that is `lots` times finer."""
        self._paths = [path.scaled(lots) for path in self._paths]

    def reset(self) -> None:
        """Forget everything."""
        self._firsts, self._lasts, self._paths = [], [], []
