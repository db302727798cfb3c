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
