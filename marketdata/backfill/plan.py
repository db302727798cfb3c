"""What to fetch: a range of time, its ids as the venue tells them, what is held → chunks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from marketdata.core.coverage import Coverage, Run
from marketdata.core.errors import BadInputError
from marketdata.core.timeframe import DAY_US, SECOND_US, open_us

VIAS = ("auto", "rest", "archive", "file")
# A worker takes so many pages at a time: few enough to share the end of a day evenly.
CHUNK_PAGES = 10
# What fewer pages hold comes sooner by REST than a file of the whole day.
FEW_PAGES = 20


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of one UTC day, and which ids its trades have.

    Parameters
    ----------
    start_us, end_us : int
        Half-open, microseconds UTC.
    first_id, last_id : int or None
        Inclusive; None where the venue was not asked. `last_id` below `first_id`: no trades.
    is_proven : bool
        Whether the venue also has the trade before the first; else its pages may just not reach
        back any farther.
    """

    start_us: int
    end_us: int
    first_id: int | None = None
    last_id: int | None = None
    is_proven: bool = True

    @property
    def day_us(self) -> int:
        """The UTC day it belongs to."""
        return open_us(self.start_us, DAY_US)

    def holes(self, held: Coverage) -> tuple[Run, ...]:
        """Return the ids that are not held; none where they are not known."""
        if self.first_id is None or self.last_id is None:
            return ()
        return tuple(held.holes(self.first_id, self.last_id))

    def held(self, held: Coverage) -> int:
        """Count the ids that are held; 0 where they are not known."""
        if self.first_id is None or self.last_id is None:
            return 0
        return sum(last - first + 1 for first, last in held.within(self.first_id, self.last_id))

    @property
    def is_to_midnight(self) -> bool:
        """Whether it ends with its UTC day."""
        return self.end_us % DAY_US == 0

    @property
    def is_known(self) -> bool:
        """Whether the venue was asked, and told ids or that there are no trades."""
        return self.first_id is not None and self.last_id is not None

    @property
    def is_told(self) -> bool:
        """Whether the venue told ids of trades."""
        first_id, last_id = self.first_id, self.last_id
        return first_id is not None and last_id is not None and first_id <= last_id


@dataclass(frozen=True, slots=True)
class Rules:
    """How a job may fetch.

    Parameters
    ----------
    via : {"auto", "rest", "archive", "file"}
    now_us : int
        Microseconds UTC.
    page_limit : int
        Trades of a REST page.
    published_s : float or None
        How long after its end a day's file can be expected; None where there are no files.
    tried : frozenset of int
        Days whose file was read, or is not there, or is bad.
    newest_only : bool
        Only the newest page, or the newest day of an archive.
    reach_us : int or None
        How far back pages go, microseconds; None where no end is told.
    by_time : bool
        Trades are numbered by us: what is missing is asked for by time, a hole at a time.
    has_pages : bool
        Whether there is any past but the newest page to be asked for.
    """

    via: str
    now_us: int
    page_limit: int
    published_s: float | None = None
    tried: frozenset[int] = frozenset()
    newest_only: bool = False
    reach_us: int | None = None
    by_time: bool = False
    has_pages: bool = True

    def is_reached(self, start_us: int) -> bool:
        """Tell whether pages go back to a time."""
        return self.reach_us is None or start_us >= self.now_us - self.reach_us


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of work.

    Parameters
    ----------
    origin : {"rest", "archive", "file"}
    start_us, end_us : int
        Times outside are not taken.
    runs : tuple of Run
        Ids that are missing, ascending; empty where they are not known.
    by_time : bool
        Ids are our numbers, and say nothing about how many trades are missing.
    """

    origin: str
    start_us: int
    end_us: int
    runs: tuple[Run, ...] = ()
    by_time: bool = False

    @property
    def size(self) -> int:
        """How many ids are missing, as far as known."""
        return 0 if self.by_time else sum(last - first + 1 for first, last in self.runs)

    @property
    def day_us(self) -> int:
        """The UTC day it belongs to."""
        return open_us(self.start_us, DAY_US)


def checked_range(start_us: int, end_us: int, now_us: int) -> tuple[int, int]:
    """Return a range that ends now at the latest. Raises BadInputError where nothing is left."""
    end_us = min(end_us, now_us)
    if start_us >= end_us:
        raise BadInputError(
            f"a range of the past that starts before it ends expected, seen {start_us}..{end_us} "
            f"at {now_us} (microseconds UTC)"
        )
    return start_us, end_us


def stretches(start_us: int, end_us: int) -> list[Run]:
    """Cut a half-open range of time at each UTC midnight."""
    edges = [start_us, *range(open_us(start_us, DAY_US) + DAY_US, end_us, DAY_US), end_us]
    return list(pairwise(edges))


def parts_of(
    start_us: int,
    end_us: int,
    first_ids: Mapping[int, int | None],
    last_id: int | None,
    *,
    is_proven: bool = True,
) -> list[Part]:
    """Cut a range into days and give each its ids.

    Parameters
    ----------
    first_ids : mapping
        For the start and each midnight inside: the first id at or after it, None where there is
        none; an empty mapping where the venue was not asked.
    last_id : int or None
        The last id before the end; None where there is none.
    is_proven : bool
        Whether the venue has the trade before the first one, too.
    """
    spans = stretches(start_us, end_us)
    if not first_ids:
        return [Part(*span) for span in spans]
    firsts = [first_ids[start] for start, _ in spans]
    return [
        Part(
            *span,
            *_ids(firsts[at : at + 2], is_last=at + 1 == len(spans), last_id=last_id),
            is_proven=is_proven or firsts[at] != firsts[0],
        )
        for at, span in enumerate(spans)
    ]


def _ids(firsts: Sequence[int | None], *, is_last: bool, last_id: int | None) -> Run:
    first = firsts[0]
    if first is None or last_id is None:
        return 0, -1
    after = None if is_last else firsts[1]
    return first, last_id if after is None else after - 1


def plan(parts: Sequence[Part], held: Coverage, rules: Rules) -> list[Chunk]:
    """Return what is left to fetch, ascending; nothing where all is held. A file is read whole."""
    if rules.by_time:
        return [chunk for part in parts for chunk in _by_time(part, part.holes(held), rules)]
    if rules.via == "file":
        return [Chunk("file", parts[0].start_us, parts[-1].end_us)]
    chunks = [chunk for part in parts for chunk in _chunks(part, part.holes(held), rules)]
    return _newest(chunks, rules) if rules.newest_only else chunks


def _chunks(part: Part, holes: tuple[Run, ...], rules: Rules) -> list[Chunk]:
    if part.is_told and not holes and (part.is_proven or not _takes_archive(part, (), rules)):
        return []
    if _takes_archive(part, holes, rules):
        return [Chunk("archive", part.start_us, part.end_us, holes)]
    if rules.via == "archive":
        return []
    return [
        Chunk("rest", part.start_us, part.end_us, runs) for runs in cut(holes, rules.page_limit)
    ]


def _by_time(part: Part, holes: tuple[Run, ...], rules: Rules) -> list[Chunk]:
    """Return the one piece of work for a stretch of a day: its file, or its time by pages."""
    if not holes:
        return []
    origin = "file" if rules.via == "file" else ""
    if not origin and _has_file(part, rules):
        origin = "archive"
    if not origin and rules.has_pages and rules.via != "archive":
        origin = "rest"
    return [Chunk(origin, part.start_us, part.end_us, holes, by_time=True)] if origin else []


def _has_file(part: Part, rules: Rules) -> bool:
    if rules.via == "rest" or rules.published_s is None or part.day_us in rules.tried:
        return False
    expected_us = part.day_us + DAY_US + int(rules.published_s * SECOND_US)
    return rules.via == "archive" or rules.now_us >= expected_us


def _takes_archive(part: Part, holes: tuple[Run, ...], rules: Rules) -> bool:
    if rules.via == "rest" or rules.published_s is None or part.day_us in rules.tried:
        return False
    if rules.via == "archive":
        return True
    expected_us = part.day_us + DAY_US + int(rules.published_s * SECOND_US)
    if rules.now_us < expected_us or rules.newest_only:
        return False
    # Where REST tells of no trades it may just not reach back so far.
    return (
        not (part.is_told and part.is_proven)
        or sum(1 for _ in pages(holes, rules.page_limit)) > FEW_PAGES
    )


def pages(runs: Sequence[Run], limit: int) -> Iterator[int]:
    """Yield the first id of each page that is needed to cover runs, ascending."""
    reach = -1
    for first, last in runs:
        start = max(first, reach + 1)
        while start <= last:
            yield start
            reach = start + limit - 1
            start = reach + 1


def cut(runs: Sequence[Run], limit: int, size: int = CHUNK_PAGES) -> Iterator[tuple[Run, ...]]:
    """Yield runs in groups that take `size` pages each, the last one maybe fewer."""
    if not runs:
        return
    wanted, starts = Coverage(runs), list(pages(runs, limit))[::size]
    for start, after in pairwise([*starts, runs[-1][1] + 1]):
        yield tuple(wanted.within(start, after - 1))


def _newest(chunks: list[Chunk], rules: Rules) -> list[Chunk]:
    if not chunks or chunks[-1].origin != "rest":
        return chunks[-1:]
    last = chunks[-1]
    *_, runs = cut(last.runs, rules.page_limit, 1)
    return [Chunk("rest", last.start_us, last.end_us, runs)]
