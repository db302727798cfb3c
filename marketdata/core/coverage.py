"""`Coverage`, the ledger's arithmetic: which venue ids are held, as a set of inclusive runs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from marketdata.core.errors import BadInputError
from marketdata.core.trades import Ints

Run = tuple[int, int]


class Coverage:
    """A set of integers kept as sorted, disjoint, non-adjacent inclusive runs.

    Parameters
    ----------
    runs : iterable of (first, last)
        Inclusive id pairs, in any order, overlapping or not.

    Notes
    -----
    `add` costs O(log n) for n runs plus the runs it swallows; a tape without holes is one run.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in runs:
            self.add(first, last)

    def __iter__(self) -> Iterator[Run]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        """Return how many runs there are (not how many ids: see `held`)."""
        return len(self._firsts)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coverage) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # mutable, so not hashable

    def __contains__(self, id: int) -> bool:
        at = bisect_right(self._firsts, id) - 1
        return at >= 0 and id <= self._lasts[at]

    def __repr__(self) -> str:
        return f"Coverage({list(self)})"

    @property
    def first(self) -> int | None:
        """The lowest id held."""
        return self._firsts[0] if self._firsts else None

    @property
    def last(self) -> int | None:
        """The highest id held."""
        return self._lasts[-1] if self._lasts else None

    @property
    def held(self) -> int:
        """How many ids are held."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def copy(self) -> Coverage:
        """Return an independent copy."""
        twin = Coverage()
        twin._firsts = self._firsts.copy()
        twin._lasts = self._lasts.copy()
        return twin

    def add(self, first: int, last: int) -> None:
        """Add the ids `first` to `last`, inclusive. Raises BadInputError when last < first."""
        if last < first:
            raise BadInputError(f"a run of ids with first <= last expected, seen {first}..{last}")
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def remove(self, first: int, last: int) -> None:
        """Take the ids `first` to `last`, inclusive, out of the set."""
        kept = list(self.within(first, last))
        for run in kept:
            self._cut(*run)

    def _cut(self, first: int, last: int) -> None:
        at = bisect_right(self._firsts, first) - 1
        low, high = self._firsts[at], self._lasts[at]
        rest = [(a, b) for a, b in ((low, first - 1), (last + 1, high)) if a <= b]
        self._firsts[at : at + 1] = [a for a, _ in rest]
        self._lasts[at : at + 1] = [b for _, b in rest]

    def within(self, first: int, last: int) -> Iterator[Run]:
        """Yield the held runs inside `first`..`last`, clipped to it; none where last < first."""
        at = bisect_left(self._lasts, first)
        while first <= last and at < len(self._firsts) and self._firsts[at] <= last:
            yield max(first, self._firsts[at]), min(last, self._lasts[at])
            at += 1

    def holes(self, first: int, last: int) -> Iterator[Run]:
        """Yield the runs inside `first`..`last` that are not held."""
        cursor = first
        for low, high in list(self.within(first, last)):
            if cursor < low:
                yield cursor, low - 1
            cursor = high + 1
        if cursor <= last:
            yield cursor, last

    def before(self, id: int) -> int | None:
        """Return the highest id held below `id`, or None."""
        at = bisect_left(self._firsts, id) - 1
        return None if at < 0 else min(self._lasts[at], id - 1)

    def after(self, id: int) -> int | None:
        """Return the lowest id held above `id`, or None."""
        at = bisect_left(self._lasts, id + 1)
        return max(self._firsts[at], id + 1) if at < len(self._firsts) else None

    def missing(self, first: int, last: int) -> int:
        """Count the ids inside `first`..`last` that are not held."""
        return sum(high - low + 1 for low, high in self.holes(first, last))


def runs_of(ids: Ints) -> list[Run]:
    """Group strictly ascending ids into inclusive runs: (n,) int64 → list of pairs."""
    if not len(ids):
        return []
    first, last = int(ids[0]), int(ids[-1])
    if last - first == len(ids) - 1:
        return [(first, last)]
    breaks = np.flatnonzero(np.diff(ids) != 1)
    starts = [first, *(int(ids[at + 1]) for at in breaks)]
    ends = [*(int(ids[at]) for at in breaks), last]
    return list(zip(starts, ends, strict=True))


@dataclass(frozen=True, slots=True)
class ScopeCoverage:
    """What a scope should hold and does.

    Parameters
    ----------
    expected, held, missing : int
        Venue ids from the scope's first trade, as far as it is known, to its newest. Where ids do
        not count what is missing, each hole counts as one: a lower bound.
    ranges : tuple of (first, last)
        Missing ids, inclusive.
    edges : {"venue", "neighbour", "held"}
        How the first id is known.
    sources : dict
        Trades by origin.
    exchange_side : tuple of (first, last)
        Ids that the venue itself does not have; not expected, and not missing.
    is_counted : bool
        Ids or a cadence tell how many are missing in a hole.
    left_out : int
        Of the missing: trades that the venue told and its feed did not, within what has no hole.
    first_id : int or None
        Of the first trade held; None without any.
    """

    expected: int
    held: int
    missing: int
    ranges: tuple[tuple[int, int], ...]
    edges: str
    sources: dict[str, int]
    exchange_side: tuple[Run, ...] = ()
    is_counted: bool = True
    left_out: int = 0
    first_id: int | None = None

    @property
    def has_first(self) -> bool:
        """Whether the first trade held is the scope's first, as far as known."""
        if self.first_id is None or self.edges == "held":
            return False
        return not self.ranges or self.ranges[0][0] > self.first_id

    @property
    def is_known(self) -> bool:
        """Whether anybody knows how many are missing."""
        return self.is_counted or not self.ranges

    @property
    def ratio(self) -> float | None:
        """Held over expected; None where nothing is expected, or nobody knows how much."""
        return self.held / self.expected if self.expected and self.is_known else None


@dataclass(frozen=True, slots=True)
class Reach:
    """The ids a window should hold.

    Parameters
    ----------
    first, last : int
        Inclusive; `last` below `first`: none.
    begin, end : {"venue", "neighbour", "held"}
        How each is known: told by the venue, next to a trade held outside, or the outermost held.
    """

    first: int
    last: int
    begin: str
    end: str


def reach(
    held: Coverage,
    lowest: int,
    highest: int,
    begin_id: int | None = None,
    after_id: int | None = None,
) -> Reach:
    """Return which ids a window should hold that holds some.

    Parameters
    ----------
    held : Coverage
        All ids held, of other windows too.
    lowest, highest : int
        Ids of the window's trades.
    begin_id, after_id : int or None
        The first id of the window and the first one after it, where the venue told them.

    Notes
    -----
    Ids missing over an edge count for both windows: nobody can say which they belong to.
    """
    begin, first = "held", lowest
    before = held.before(lowest)
    if begin_id is not None:
        begin, first = "venue", min(begin_id, lowest)
    elif before is not None:
        begin, first = "neighbour", before + 1
    following = held.after(highest)
    known = [id for id in (following, after_id) if id is not None]
    end = "neighbour" if following is not None else "held" if after_id is None else "venue"
    return Reach(first, max(highest, min(known) - 1) if known else highest, begin, end)


def missing_of(held: Coverage, absent: Coverage, first: int, last: int) -> list[Run]:
    """Return the runs inside `first`..`last` that are neither held nor known to be absent."""
    return [part for run in held.holes(first, last) for part in absent.holes(*run)]


def count_of(runs: Iterable[Run]) -> int:
    """Count the ids of disjoint runs."""
    return sum(last - first + 1 for first, last in runs)
