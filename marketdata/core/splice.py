"""`Splice`: one symbol's trades as a tape, over every connection that brought a piece of it.

A connection says nothing about what came before it. So what it brings waits until the venue's page
of newest trades overlaps with it on one side and with what is held on the other; then the pieces
are one stretch. Where they do not overlap, something may be missing, and a new stretch begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import pairwise

import numpy as np

from marketdata.core.coverage import Run
from marketdata.core.numbering import begun, numbered
from marketdata.core.trades import Bools, Refs, Trades

# Trades whose refs are remembered: twice the largest page of newest trades.
REMEMBERED = 4096


class Joint(Enum):
    """What joining came to.

    PROVEN: one stretch with what is held. BEGUN: a new one; something may be missing before it.
    EARLY: nothing came over the connection yet, so it may begin anywhere. AGAIN: the page does not
    reach to what came; a later one may.
    """

    PROVEN = "proven"
    BEGUN = "begun"
    EARLY = "early"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Piece:
    """What can be handed on.

    Parameters
    ----------
    trades : Trades
        Numbered.
    unused : list of Run
        Numbers that no trade will have.
    came : (n,) bool or None
        Which of the trades came over a connection and not by the page alone; None: all of them.
    is_begun : bool
        They begin a new stretch: some may be missing before it.
    """

    trades: Trades
    unused: list[Run] = field(default_factory=list)
    came: Bools | None = None
    is_begun: bool = False

    @property
    def paged(self) -> int:
        """How many of the trades came by the page alone."""
        return 0 if self.came is None else len(self.came) - int(self.came.sum())

    @classmethod
    def concat(cls, pieces: Iterable[Piece]) -> Piece:
        """Join pieces that follow on each other in time."""
        parts = list(pieces)
        return cls(
            Trades.concat([part.trades for part in parts]),
            [run for part in parts for run in part.unused],
            is_begun=any(part.is_begun for part in parts),
        )


class Splice:
    """Numbers the trades of one symbol. One thread at a time.

    Parameters
    ----------
    last : int
        Highest number held; -1 where nothing is.
    last_us : int
        Time of the newest trade held, microseconds UTC.
    refs : iterable of bytes
        Refs of the newest trades held, oldest first.
    cadence_us : int or None
        Time from trade to trade where the venue keeps to one: a longer pause is a loss until a
        page says otherwise.
    since_us : int
        When the stretch that is held and goes on began, microseconds UTC: what is missing before
        it belongs to a hole.
    told : iterable of bytes
        Refs of the newest trades that are known to be left out.

    Attributes
    ----------
    is_joined : bool
        What comes now follows on what is held.
    duplicates : int
        Trades that came again.
    """

    def __init__(
        self,
        last: int = -1,
        last_us: int = 0,
        refs: Iterable[bytes] = (),
        cadence_us: int | None = None,
        since_us: int = 0,
        told: Iterable[bytes] = (),
    ) -> None:
        self.last = last
        self.last_us = last_us
        self.cadence_us = cadence_us
        self.is_joined = False
        self.duplicates = 0
        self._known: dict[bytes, None] = dict.fromkeys(refs)
        # What waits, by connection: between two of them something may be lost.
        self._waiting: list[list[Trades]] = [[]]
        self._missed: set[bytes] = set()
        self._told: dict[bytes, None] = dict.fromkeys(told)
        self._since_us = since_us
        # A new stretch began of which nothing could be handed on: the next trade jumps.
        self._is_due = False

    @property
    def waiting(self) -> int:
        """How many trades wait to be joined."""
        return sum(len(trades) for parts in self._waiting for trades in parts)

    @property
    def refs(self) -> list[bytes]:
        """The refs remembered, oldest first."""
        return list(self._known)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last page had trades that may still be on their way."""
        return not self._missed <= self._told.keys()

    def opened(self) -> None:
        """Learn that a connection began or ended: nothing follows on anything until joined."""
        self.is_joined = False
        if self._waiting[-1]:
            self._waiting.append([])

    def live(self, trades: Trades) -> Piece:
        """Take live trades; return what can be handed on now."""
        if not len(trades):
            return Piece(trades)
        starts = self._skips(trades)
        if self.is_joined and not starts:
            return self._follow(trades)
        for start, end in pairwise([*({0} - set(starts)), *starts, len(trades)]):
            if start in starts:
                self.opened()
            self._waiting[-1].append(trades[start:end])
        return Piece(Trades.empty())

    def join(self, page: Trades) -> tuple[Joint, Piece]:
        """Join what waits by the venue's newest trades, in the order in which they were matched."""
        waiting = self._waited()
        # What an earlier connection brought is joined, too, but says nothing about this one.
        is_early = not self._waiting[-1]
        earlier = waiting if is_early else waiting[:-1]
        whole = page if is_early else _overlapped(page, waiting[-1])
        if whole is None or (earlier and not len(whole)):
            return Joint.AGAIN, Piece(Trades.empty())
        piece = self._settle(_stretches(earlier, whole))
        self.is_joined = not is_early
        came = np.isin(_refs(piece.trades), _refs(Trades.concat(waiting)))
        piece = replace(piece, came=came)
        if is_early:
            return Joint.EARLY, piece
        return Joint.BEGUN if piece.is_begun else Joint.PROVEN, piece

    def give_up(self) -> Piece:
        """Begin a new stretch with what waits: no page can be had that proves more."""
        self.is_joined = bool(self._waiting[-1])
        waiting = self._waited()
        self._waiting = [[]]
        return Piece.concat(self._begin(trades) for trades in waiting)

    def left_out(self, page: Trades) -> Trades:
        """Return a page's trades that the feed should have brought and has not.

        Notes
        -----
        Only what the page has between two trades that are remembered counts: before them is too
        long ago, after them may be on its way. So may be what only one page says. Where the stretch
        begins between the two, what lies before it is its hole's. Each is told once.
        """
        known = self._are_known(page)
        at = np.flatnonzero(known)
        if not self.is_joined or len(at) < 2:
            return Trades.empty()
        between = np.zeros(len(page), dtype=np.bool_)
        between[at[0] : at[-1]] = True
        missed = page[between & ~known & (page.ts_us > self._since_us)]
        refs = _refs(missed).tolist()
        is_fresh = [ref in self._missed and ref not in self._told for ref in refs]
        fresh = missed[np.array(is_fresh, dtype=np.bool_)]
        self._missed = set(refs)
        self._told.update(dict.fromkeys(_refs(fresh).tolist()))
        _shorten(self._told)
        return fresh

    # How pieces become one.

    def _waited(self) -> list[Trades]:
        """Return what waits, connection by connection."""
        # Two of them may have brought the same trades, each in order.
        return [_in_time(_distinct(Trades.concat(parts))) for parts in self._waiting if parts]

    def _settle(self, stretches: list[Trades]) -> Piece:
        self._waiting = [[]]
        return Piece.concat([self._settled(trades) for trades in stretches])

    def _settled(self, stretch: Trades) -> Piece:
        known = self._are_known(stretch)
        if not known.any():
            return self._begin(stretch)
        return self._follow(_after(stretch, known))

    def _skips(self, trades: Trades) -> list[int]:
        """Return the rows before which a trade is due that did not come."""
        if self.cadence_us is None:
            return []
        waiting = self._waiting[-1]
        before_us = int(waiting[-1].ts_us[-1]) if waiting else self.last_us
        pauses = np.diff(trades.ts_us, prepend=before_us or trades.ts_us[0])
        return np.flatnonzero(pauses > self.cadence_us).tolist()

    def _begin(self, trades: Trades) -> Piece:
        # Whatever is no newer than what is held may be held: it belongs to the hole before this.
        is_newer = trades.ts_us > self.last_us
        self._known.update(dict.fromkeys(_refs(trades)[~is_newer].tolist()))
        self._is_due = len(trades) > 0 and not is_newer.any()
        return replace(self._begun(trades[is_newer]), is_begun=len(trades) > 0)

    def _begun(self, trades: Trades) -> Piece:
        if len(trades):
            self._since_us = int(trades.ts_us.min())
        return self._remember(*begun(_in_time(trades), self.last))

    def _follow(self, trades: Trades) -> Piece:
        fresh = _distinct(trades)[~self._are_known(_distinct(trades))]
        self.duplicates += len(trades) - len(fresh)
        if self._is_due and len(fresh):
            self._is_due = False
            return self._begun(fresh)
        return self._remember(*numbered(_in_time(fresh), self.last))

    def _remember(self, trades: Trades, unused: list[Run]) -> Piece:
        if not len(trades):
            return Piece(trades)
        self.last = int(trades.id[-1])
        self.last_us = max(self.last_us, int(trades.ts_us.max()))
        self._known.update(dict.fromkeys(_refs(trades).tolist()))
        _shorten(self._known)
        return Piece(trades, unused)

    def _are_known(self, trades: Trades) -> Bools:
        known = self._known
        return np.fromiter((ref in known for ref in _refs(trades).tolist()), np.bool_, len(trades))


def _overlapped(page: Trades, waiting: Trades) -> Trades | None:
    """Return page and live trades as one, or None where they do not overlap.

    What the page has between two that came is taken, too: of two connections that replace each
    other the one may end before the other brings anything.
    """
    if not len(page):
        return None
    paged, live = _refs(page), _refs(waiting)
    begins = np.flatnonzero(paged == live[0])
    if not len(begins) and not (live == paged[0]).any():
        return None
    at = int(begins[0]) if len(begins) else 0
    # What the page has after all that came is on its way.
    until = int(np.flatnonzero(np.isin(paged, live))[-1]) + 1
    return _in_time(_distinct(Trades.concat([page[:at], waiting, page[at:until]])))


def _stretches(earlier: list[Trades], newest: Trades) -> list[Trades]:
    """Join earlier pieces to the newest where they overlap; return what is whole, in order."""
    found = [newest]
    for piece in reversed(earlier):
        first = found[0]
        fresh = ~np.isin(_refs(piece), _refs(first))
        if fresh.all():
            found.insert(0, piece)
        else:
            found[0] = _in_time(Trades.concat([piece[fresh], first]))
    return found


def _shorten(refs: dict[bytes, None]) -> None:
    """Forget the oldest refs of too many."""
    for ref in list(refs)[: max(0, len(refs) - REMEMBERED)]:
        del refs[ref]


def _after(trades: Trades, known: Bools) -> Trades:
    """Return the trades after the last one that is known."""
    return trades[int(np.flatnonzero(known)[-1]) + 1 :]


def _distinct(trades: Trades) -> Trades:
    """Return the trades without those whose ref came before, in order of arrival."""
    if not len(trades):
        return trades
    _, first = np.unique(_refs(trades), return_index=True)
    return trades if len(first) == len(trades) else trades[np.sort(first)]


def _in_time(trades: Trades) -> Trades:
    """Return the trades in order of time, then of the venue's sequence, then of arrival."""
    later, follows = np.diff(trades.ts_us), np.diff(trades.id)
    if bool(((later > 0) | ((later == 0) & (follows >= 0))).all()):
        return trades
    return trades[np.lexsort((trades.id, trades.ts_us))]


def _refs(trades: Trades) -> Refs:
    if trades.ref is None:
        return np.full(len(trades), b"", "S1")
    return trades.ref
