"""`Splice`: one symbol's trades as a tape, over every connection that brought a piece of it.

A connection says nothing about what came before it. So what it brings waits until the venue's page
of newest trades overlaps with it on one side and with what is held on the other; then the pieces
are one stretch. Where they do not overlap, something may be missing, and a new stretch begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from marketdata.core.coverage import Run
from marketdata.core.numbering import begun, numbered
from marketdata.core.trades import Refs, Trades

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
    paged : int
        How many of the trades, from the first on, came by the page and not over the connection.
    """

    trades: Trades
    unused: list[Run] = field(default_factory=list)
    paged: int = 0


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

    Attributes
    ----------
    is_joined : bool
        What comes now follows on what is held.
    duplicates : int
        Trades that came again.
    """

    def __init__(self, last: int = -1, last_us: int = 0, refs: Iterable[bytes] = ()) -> None:
        self.last = last
        self.last_us = last_us
        self.is_joined = False
        self.duplicates = 0
        self._known: dict[bytes, None] = dict.fromkeys(refs)
        self._waiting: list[Trades] = []

    @property
    def waiting(self) -> int:
        """How many trades wait to be joined."""
        return sum(map(len, self._waiting))

    @property
    def refs(self) -> list[bytes]:
        """The refs remembered, oldest first."""
        return list(self._known)

    def opened(self) -> None:
        """Learn of a new connection: nothing follows on anything until it is joined."""
        self.is_joined = False

    def live(self, trades: Trades) -> Piece:
        """Take live trades; return what can be handed on now."""
        if not self.is_joined:
            self._waiting.append(trades)
            return Piece(Trades.empty())
        return self._follow(trades)

    def join(self, page: Trades) -> tuple[Joint, Piece]:
        """Join what waits by the venue's newest trades, in the order in which they were matched."""
        waiting = self._waited()
        if not len(waiting):
            early = self._early(page)
            return Joint.EARLY, replace(early, paged=len(early.trades))
        whole = _overlapped(page, waiting)
        if whole is None:
            return Joint.AGAIN, Piece(Trades.empty())
        joint = Joint.PROVEN if self._meets(whole) else Joint.BEGUN
        piece = self._settle(whole, joint)
        came = np.isin(_refs(piece.trades), _refs(waiting))
        return joint, replace(piece, paged=int(came.argmax()) if came.any() else len(came))

    def give_up(self) -> Piece:
        """Begin a new stretch with what waits: no page can be had that proves more."""
        waiting = self._waited()
        return self._settle(waiting, Joint.BEGUN) if len(waiting) else Piece(waiting)

    def left_out(self, page: Trades) -> list[bytes]:
        """Return the refs of a page's trades that the feed should have brought and has not.

        Notes
        -----
        Only what the page has between two trades that are remembered counts: before them is too
        long ago, after them may be on its way.
        """
        known = self._are_known(page)
        at = np.flatnonzero(known)
        if not self.is_joined or len(at) < 2:
            return []
        between = np.zeros(len(page), dtype=np.bool_)
        between[at[0] : at[-1]] = True
        return [bytes(ref) for ref in _refs(page)[between & ~known].tolist()]

    # How pieces become one.

    def _early(self, page: Trades) -> Piece:
        """Hand on what a page adds; what is still to come is joined to that later."""
        if not len(page):
            return Piece(page)
        is_first = self.last < 0 or not self._meets(page)
        return self._begin(page) if is_first else self._follow(_after(page, self._are_known(page)))

    def _waited(self) -> Trades:
        # Two connections may have brought the same trades, each in order.
        return _in_time(_distinct(Trades.concat(self._waiting)))

    def _settle(self, whole: Trades, joint: Joint) -> Piece:
        self._waiting.clear()
        self.is_joined = True
        if joint is Joint.BEGUN:
            return self._begin(whole)
        return self._follow(_after(whole, self._are_known(whole)))

    def _begin(self, trades: Trades) -> Piece:
        # Whatever is no newer than what is held may be held: it belongs to the hole before this.
        is_newer = trades.ts_us > self.last_us
        self._known.update(dict.fromkeys(_refs(trades)[~is_newer].tolist()))
        return self._remember(*begun(_in_time(trades[is_newer]), self.last))

    def _follow(self, trades: Trades) -> Piece:
        fresh = _distinct(trades)[~self._are_known(_distinct(trades))]
        self.duplicates += len(trades) - len(fresh)
        return self._remember(*numbered(_in_time(fresh), self.last))

    def _remember(self, trades: Trades, unused: list[Run]) -> Piece:
        if not len(trades):
            return Piece(trades)
        self.last = int(trades.id[-1])
        self.last_us = max(self.last_us, int(trades.ts_us.max()))
        self._known.update(dict.fromkeys(_refs(trades).tolist()))
        for ref in list(self._known)[: len(self._known) - REMEMBERED]:
            del self._known[ref]
        return Piece(trades, unused)

    def _meets(self, trades: Trades) -> bool:
        return bool(self._are_known(trades).any())

    def _are_known(self, trades: Trades) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        known = self._known
        return np.fromiter((ref in known for ref in _refs(trades).tolist()), np.bool_, len(trades))


def _overlapped(page: Trades, waiting: Trades) -> Trades | None:
    """Return page and live trades as one, or None where they do not overlap."""
    if not len(page):
        return None
    paged, live = _refs(page), _refs(waiting)
    at = np.flatnonzero(paged == live[0])
    if len(at):
        return Trades.concat([page[: int(at[0])], waiting])
    # The page begins later than what came: it adds nothing that was before.
    return waiting if (live == paged[0]).any() else None


def _after(trades: Trades, known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Trades:
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
