"""`BookSync`: the life of one book, from the first update over losses to the next snapshot."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from marketdata.core.errors import OutOfSyncError
from marketdata.core.facts import BookUpdate, Quote
from marketdata.core.orderbook import OrderBook
from marketdata.core.sequencer import Sequencer, Step

UNHEARD = "no update has come yet"
# A minute of updates every 100 ms; a snapshot that takes longer finds the oldest ones gone.
MOST_BUFFERED = 600
# Both sides change in one update; a book that stays crossed has lost one.
CROSSED_US = 1_000_000
# Best prices that wait for the update with their id: they come some hundred in 100 ms at most.
MOST_QUOTES = 500


@dataclass(slots=True)
class BookCounts:
    """What happened to a book.

    Parameters
    ----------
    updates, stale : int
        Taken, and passed over because what they say was known.
    gaps, crossed : int
        Times an update was lost, and times the book was crossed.
    syncs : int
        Times the book became whole.
    too_old : int
        Snapshots that no update followed.
    """

    updates: int = 0
    stale: int = 0
    gaps: int = 0
    crossed: int = 0
    syncs: int = 0
    too_old: int = 0

    @property
    def resyncs(self) -> int:
        """Times the book became whole again."""
        return max(0, self.syncs - 1)


class BookSync:
    """Keeps one book in step with its updates, and says when it is not.

    Parameters
    ----------
    rule : callable
        How the venue's updates follow one another.
    told : int
        Levels a side that a snapshot tells at most.
    is_asked : bool
        Whether snapshots are asked for; else the stream sends them.
    crossed_us : int
        How long a book may stay crossed, microseconds.

    Notes
    -----
    Where snapshots are asked for, updates are kept from the first one on until a snapshot comes
    that they follow. An older snapshot is refused and the updates stay. A book whose known levels
    run out goes on, and keeps its updates for the next snapshot.
    """

    def __init__(
        self, rule: Sequencer, told: int, *, is_asked: bool, crossed_us: int = CROSSED_US
    ) -> None:
        self.rule = rule
        self.is_asked = is_asked
        self.crossed_us = crossed_us
        self.book = OrderBook(told, is_window=not is_asked)
        self.counts = BookCounts()
        self.is_synced = False
        self.why = UNHEARD
        self._is_fresh = False
        self._is_thin = False
        self._crossed_at_us: int | None = None
        self._kept: deque[BookUpdate] = deque(maxlen=MOST_BUFFERED)

    @property
    def wants_snapshot(self) -> bool:
        """Whether a snapshot should be asked for: there are updates that one could precede."""
        if not self.is_asked:
            return False
        return self._is_thin if self.is_synced else bool(self._kept)

    @property
    def kept(self) -> int:
        """How many updates wait for a snapshot."""
        return len(self._kept)

    def whole(self) -> OrderBook:
        """Return the book. Raises OutOfSyncError where it is not known."""
        if not self.is_synced:
            raise OutOfSyncError(self.why)
        return self.book

    def put(self, update: BookUpdate, now_us: int) -> bool:
        """Take an update from the stream; return whether the book changed."""
        if update.is_snapshot:
            self._load(update, [], now_us)
            return True
        if self.is_asked and (self._is_thin or not self.is_synced):
            self._kept.append(update)
        return self.is_synced and self._follow(update, now_us)

    def _follow(self, update: BookUpdate, now_us: int) -> bool:
        step = self.rule(update, self.book.update_id, self._is_fresh)
        if step is Step.STALE:
            self.counts.stale += 1
            return False
        if step is Step.GAP:
            self.counts.gaps += 1
            held = self.book.update_id
            self.lost(f"update {update.first_id} came where one that follows {held} was expected")
            self._keep(update)
            return False
        if update.last_id < self.book.update_id:
            # Taken although its id goes back: the venue counts anew, nothing of before holds.
            self._load(update, [], now_us)
            return True
        self._apply(update)
        self.check(now_us)
        return True

    def _keep(self, update: BookUpdate) -> None:
        if self.is_asked:
            self._kept.append(update)

    def _apply(self, update: BookUpdate) -> None:
        self.book.apply(update)
        self._is_fresh = False
        self.counts.updates += 1

    def offer(self, snapshot: BookUpdate, now_us: int) -> bool:
        """Take a snapshot that was asked for; return False where the updates do not follow it."""
        if not self.wants_snapshot:
            return False
        last_id, is_fresh = snapshot.last_id, True
        following: list[BookUpdate] = []
        for at, update in enumerate(self._kept):
            step = self.rule(update, last_id, is_fresh)
            if step is Step.GAP:
                self._refuse(snapshot, update, at)
                return False
            if step is Step.APPLY:
                following.append(update)
                last_id, is_fresh = update.last_id, False
        if self.is_synced and last_id < self.book.update_id:
            self.counts.too_old += 1
            return False
        self._load(snapshot, following, now_us)
        return True

    def _refuse(self, snapshot: BookUpdate, update: BookUpdate, at: int) -> None:
        self.counts.too_old += 1
        if not self.is_synced:
            self.why = f"snapshot {snapshot.last_id} is older than update {update.first_id}"
        # No later snapshot has a use for what comes before the hole.
        for _ in range(at):
            self._kept.popleft()

    def _load(self, snapshot: BookUpdate, following: list[BookUpdate], now_us: int) -> None:
        self.book.replace(snapshot)
        self._is_fresh = True
        for update in following:
            self._apply(update)
        self._kept.clear()
        self._is_thin = False
        self._crossed_at_us = None
        if not self.is_synced:
            self.counts.syncs += 1
        self.is_synced, self.why = True, ""
        self.check(now_us)

    def check(self, now_us: int) -> None:
        """Give the book up where it has been crossed for too long."""
        if not (self.is_synced and self.book.is_crossed):
            self._crossed_at_us = None
            return
        if self._crossed_at_us is None:
            self._crossed_at_us = now_us
            self.counts.crossed += 1
        crossed_us = now_us - self._crossed_at_us
        if crossed_us >= self.crossed_us:
            self.lost(f"the book has been crossed for {crossed_us // 1000} ms")

    def tend(self, now_us: int) -> None:
        """Look at what time alone changes; to be called some times a second."""
        self.check(now_us)
        # From here on the updates are kept that the next snapshot will need.
        self._is_thin = self._is_thin or (self.is_asked and self.is_synced and self.book.is_thin)

    def lost(self, why: str) -> None:
        """Give the book up: the connection ended, or updates were lost."""
        self.is_synced, self.why = False, why
        self._is_thin = False
        self._crossed_at_us = None
        self._kept.clear()


class QuoteCheck:
    """Compares a book with the best prices that the venue tells at the same update id.

    Notes
    -----
    Best prices come at once, updates of the book in bundles: most often the quote waits for the
    update, now and then it comes later.
    """

    def __init__(self) -> None:
        self.compared = 0
        self.mismatched = 0
        self.last = ""
        self._waiting: dict[int, Quote] = {}

    def quote(self, quote: Quote, book: OrderBook | None) -> None:
        """Take best prices; `book` is None while it is not known."""
        if book is not None and quote.update_id <= book.update_id:
            if quote.update_id == book.update_id:
                self._compare(quote, book)
            return
        self._waiting[quote.update_id] = quote
        if len(self._waiting) > MOST_QUOTES:
            del self._waiting[next(iter(self._waiting))]

    def book(self, book: OrderBook) -> None:
        """Take the book as it stands after an update."""
        waiting = self._waiting
        # Ids rise: the first ones in are those that the book has passed.
        while waiting and (update_id := next(iter(waiting))) <= book.update_id:
            quote = waiting.pop(update_id)
            if update_id == book.update_id:
                self._compare(quote, book)

    def forget(self) -> None:
        """Wait for no update any more."""
        self._waiting.clear()

    def _compare(self, quote: Quote, book: OrderBook) -> None:
        told = (quote.bid, quote.bid_qty), (quote.ask, quote.ask_qty)
        held = book.bid, book.ask
        self.compared += 1
        if held != told:
            self.mismatched += 1
            self.last = f"update {quote.update_id}: {told} told, {held} held"
