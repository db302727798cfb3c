"""How updates of a book follow one another: each venue's rule is one pure function."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from marketdata.core.facts import BookUpdate


class Step(Enum):
    """What to do with an update: take it, pass over it, or give the book up."""

    APPLY = "apply"
    STALE = "stale"
    GAP = "gap"


# (update, update id of the book, whether that is a snapshot's) → what to do.
Sequencer = Callable[[BookUpdate, int, bool], Step]


def spot(update: BookUpdate, last_id: int, is_snapshot: bool) -> Step:
    """Follow ids that count every change: an update begins right after the one before.

    Parameters
    ----------
    update : BookUpdate
    last_id : int
        Update id of the book as it stands.
    is_snapshot : bool
        Whether that id is a snapshot's, so that an update may begin before it.

    Notes
    -----
    An update that begins before the book's id and ends after it repeats what is known and adds
    to it: quantities are absolute, so that taking it whole is right.
    Source: binance-spot-api-docs, web-socket-streams.md, "How to manage a local order book".
    """
    if update.is_snapshot:
        return Step.APPLY
    if update.last_id <= last_id:
        return Step.STALE
    return Step.APPLY if update.first_id <= last_id + 1 else Step.GAP


def futures(update: BookUpdate, last_id: int, is_snapshot: bool) -> Step:
    """Follow updates that name the one before; the first after a snapshot spans its id.

    Parameters
    ----------
    update, last_id, is_snapshot
        As in `spot`.

    Notes
    -----
    Ids are shared by all contracts: an update's first id says nothing of the one before. One that
    names the snapshot's own id as the one before follows it too.
    Source: developers.binance.com, USD-M "How to manage a local order book correctly".
    """
    if update.is_snapshot:
        return Step.APPLY
    if is_snapshot:
        if update.last_id < last_id:
            return Step.STALE
        follows = update.first_id <= last_id or update.prev_id == last_id
    else:
        if update.last_id <= last_id:
            return Step.STALE
        follows = update.prev_id == last_id
    return Step.APPLY if follows else Step.GAP


# A service that restarts counts from here.
RESTARTED = 1


def increasing(update: BookUpdate, last_id: int, is_snapshot: bool) -> Step:
    """Follow ids that rise by one; snapshots come by themselves and replace the book.

    Parameters
    ----------
    update, last_id, is_snapshot
        As in `spot`.

    Notes
    -----
    The venue promises rising ids, not steps of one; on every book recorded they are. A jump is
    therefore taken for a loss: a new snapshot costs less than a wrong book. The id 1 is a restart
    and its update a whole book, whatever it is called.
    Source: bybit-exchange.github.io/docs/v5/websocket/public/orderbook.
    """
    if update.is_snapshot or update.last_id == RESTARTED:
        return Step.APPLY
    if update.last_id <= last_id:
        return Step.STALE
    return Step.APPLY if update.last_id == last_id + 1 else Step.GAP
