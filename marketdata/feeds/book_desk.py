"""`Desk`: one book of a feed with its metrics, and when its next snapshot is asked for."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from marketdata.core.backoff import Backoff
from marketdata.core.booksync import BookSync, QuoteCheck
from marketdata.core.errors import BotCryptoError, VenueError
from marketdata.core.facts import BookUpdate, Fact, Quote
from marketdata.core.orderbook import BookView
from marketdata.core.timeframe import SECOND_US
from marketdata.metrics.liquidity import Liquidity, OrderFlow, measured
from marketdata.venues.base import Depth

log = logging.getLogger(__name__)

# A book that was whole for so long was a good one: the next snapshot is asked for at once.
GOOD_AFTER_S = 30.0
# So long a stream that sends whole books by itself may take to do so.
GRACE_S = 5.0
ENDED = "the connection ended"


@dataclass(frozen=True, slots=True)
class BookReport:
    """A whole book and what it comes to.

    Parameters
    ----------
    view : BookView
    liquidity : Liquidity
    ofi : float or None
        Order flow imbalance of the last minute, base units; None until two states are known.
    age_ms : int
        Since the last update came.
    """

    view: BookView
    liquidity: Liquidity
    ofi: float | None
    age_ms: int


@dataclass(frozen=True, slots=True)
class BookStatus:
    """How one book fares.

    Parameters
    ----------
    why : str
        Why it is not in step; empty where it is.
    age_ms : int or None
        Since the last update came; None before the first.
    asked : int
        Snapshots or new subscriptions asked for.
    compared, mismatched : int
        Best prices that the venue told at an update id of the book, and those that differed.
    """

    source: str
    symbol: str
    is_synced: bool
    why: str
    update_id: int
    age_ms: int | None
    updates: int
    gaps: int
    resyncs: int
    crossed: int
    asked: int
    compared: int
    mismatched: int


class Desk:
    """One book and what surrounds it. One thread at a time.

    Parameters
    ----------
    source, symbol : str
    depth : Depth
        How the venue's books are kept.
    backoff : Backoff
        Waiting times between two snapshots.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, source: str, symbol: str, depth: Depth, backoff: Backoff, clock: Callable[[], float]
    ) -> None:
        self.source = source
        self.symbol = symbol
        self.is_asked = depth.snapshot is not None
        self.sync = BookSync(depth.sequencer, depth.levels, is_asked=self.is_asked)
        self.check = QuoteCheck()
        self.flow = OrderFlow()
        self.backoff = backoff
        self.clock = clock
        self.asked = 0
        self.last_error = ""
        self._is_asking = False
        self._was_synced = False
        self._heard_s: float | None = None
        self._synced_s = clock()
        self._due_s = clock() if self.is_asked else clock() + GRACE_S

    def _now_us(self) -> int:
        return round(self.clock() * SECOND_US)

    def fact(self, fact: Fact) -> None:
        """Take what the stream told of this symbol."""
        sync = self.sync
        if isinstance(fact, Quote):
            self.check.quote(fact, sync.book if sync.is_synced else None)
        elif isinstance(fact, BookUpdate):
            self._heard_s = self.clock()
            if sync.put(fact, self._now_us()):
                self._changed()
            self._tell()

    def _changed(self) -> None:
        book = self.sync.book
        self.check.book(book)
        bid, ask = book.bid, book.ask
        self.flow.update((bid, ask) if bid and ask else None, self._now_us())

    def lost(self, why: str) -> None:
        """Give the book up: updates of it were lost."""
        self.sync.lost(why)
        self._tell()

    def ended(self) -> None:
        """Give the book up with its connection: a whole one broke by no fault of its own."""
        was_whole = self.sync.is_synced
        self.lost(ENDED)
        if was_whole:
            self.backoff.reset()
            self._due_s = self.clock()
        if not self.is_asked:
            # The connection that comes subscribes anew, and a whole book comes by that.
            self._due_s = max(self._due_s, self.clock() + GRACE_S)

    def _tell(self) -> None:
        """Note that the book was lost or became whole."""
        if self.sync.is_synced == self._was_synced:
            return
        self._was_synced = self.sync.is_synced
        place, last_id = (self.source, self.symbol), self.sync.book.update_id
        if self._was_synced:
            self._synced_s, self.last_error = self.clock(), ""
            log.info("book whole source=%s symbol=%s update=%s", *place, last_id)
            return
        log.warning("book lost source=%s symbol=%s why=%s", *place, self.sync.why)
        self.flow.reset()
        self.check.forget()
        if self.clock() - self._synced_s >= GOOD_AFTER_S:
            self.backoff.reset()
            self._due_s = self.clock()
        else:
            self._wait()

    def _wait(self, at_least_s: float = 0.0) -> None:
        self._due_s = self.clock() + max(at_least_s, self.backoff.next(random.random()))

    def tend(self) -> bool:
        """Look at what time alone changes; return whether to ask for a whole book now."""
        self.sync.tend(self._now_us())
        self._tell()
        is_wanted = self.sync.wants_snapshot if self.is_asked else not self.sync.is_synced
        if not is_wanted or self._is_asking or self.clock() < self._due_s:
            return False
        self._is_asking = True
        self.asked += 1
        return True

    def answer(self, snapshot: BookUpdate | None) -> None:
        """Take the answer: a whole book, or None where the stream will send it."""
        self._is_asking = False
        if snapshot is None:
            self._wait(GRACE_S)
        elif self.sync.offer(snapshot, self._now_us()):
            self._changed()
            self._tell()
        else:
            self._wait()

    def failed(self, error: BotCryptoError) -> None:
        """Take it that no answer came."""
        self._is_asking = False
        if str(error) != self.last_error:
            place = self.source, self.symbol
            log.warning("no whole book source=%s symbol=%s error=%s", *place, error)
        self.last_error = str(error)
        rest_s = error.retry_after_s if isinstance(error, VenueError) else None
        self._wait(rest_s or 0.0)

    @property
    def age_ms(self) -> int | None:
        """Milliseconds since the last update came; None before the first."""
        return None if self._heard_s is None else round((self.clock() - self._heard_s) * 1000)

    def report(self, depth: int, levels: int) -> BookReport:
        """Return the book and its metrics. Raises OutOfSyncError while it is not known."""
        view = self.sync.whole().view(max(depth, levels))
        ofi = self.flow.value(self._now_us())
        return BookReport(view, measured(view, levels), ofi, self.age_ms or 0)

    def status(self, stopped: str = "") -> BookStatus:
        """Return how the book fares; `stopped` says why nobody keeps it any more."""
        sync, counts = self.sync, self.sync.counts
        return BookStatus(
            source=self.source,
            symbol=self.symbol,
            is_synced=sync.is_synced and not stopped,
            why=stopped or sync.why,
            update_id=sync.book.update_id,
            age_ms=self.age_ms,
            updates=counts.updates,
            gaps=counts.gaps,
            resyncs=counts.resyncs,
            crossed=counts.crossed,
            asked=self.asked,
            compared=self.check.compared,
            mismatched=self.check.mismatched,
        )
