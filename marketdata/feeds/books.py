"""`BookKeeper`: the books of one feed in their own thread, and a helper that asks for snapshots.

Feeds put updates and never wait. A book that lost one is unknown until a snapshot comes that the
updates follow; it is asked for at once, and then ever more slowly while that does not help.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from marketdata.core.backoff import Backoff
from marketdata.core.errors import BotCryptoError, OutOfSyncError
from marketdata.core.facts import BookUpdate, Fact
from marketdata.feeds.book_desk import BookReport, BookStatus, Desk
from marketdata.venues.base import Depth

# Updates and best prices waiting before some are dropped: two seconds of 500 busy books.
MOST_WAITING = 20_000
# How often books are looked at, whether anything comes or not.
TEND_S = 0.1
# Levels a side in imbalance and depth.
LEVELS = 10
STOPPED = "the keeper of the books does not run"
DROPPED = "updates were dropped by a full queue"


@dataclass(frozen=True, slots=True)
class _Ended:
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    symbol: str
    snapshot: BookUpdate | None
    error: BotCryptoError | None = None


_Item = tuple[str, Fact] | _Ended | _Answer | None


class BookKeeper(threading.Thread):
    """Keeps the books of one feed.

    Parameters
    ----------
    source : str
        Name of the feed.
    depth : Depth
        How the venue's books are kept.
    symbols : sequence of str
    snapshot : callable, optional
        Symbol → whole book; asks the venue, may wait for its turn, raises BotCryptoError. Wanted
        where `depth` has such a question.
    resubscribe : callable, optional
        Symbol → makes the stream send a whole book; raises BotCryptoError. Wanted where it has not.
    most_waiting : int
        Updates and best prices waiting before some are dropped, which breaks their books.
    backoff : callable
        Returns the waiting times between two snapshots of one book.
    clock : callable
        Monotonic seconds.

    Raises
    ------
    ValueError
        There is no way to whole books.
    """

    def __init__(
        self,
        source: str,
        depth: Depth,
        symbols: Sequence[str],
        *,
        snapshot: Callable[[str], BookUpdate] | None = None,
        resubscribe: Callable[[str], None] | None = None,
        most_waiting: int = MOST_WAITING,
        backoff: Callable[[], Backoff] = Backoff,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name=f"books-{source}", daemon=True)
        ask = snapshot if depth.snapshot is not None else resubscribe
        if ask is None:
            raise ValueError(f"{source}: a way to whole books expected, none is given")
        self.source = source
        self.most_waiting = most_waiting
        self.dropped = 0
        self.clock = clock
        self._helper = _Helper(source, ask, self._answered)
        self._desks = {name: Desk(source, name, depth, backoff(), clock) for name in symbols}
        self._inbox: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._overflowed: set[str] = set()
        self._drops = threading.Lock()
        # For the desks: this thread changes them, readers look at them.
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._updates = 0
        # (monotonic seconds, updates so far) over the last ten seconds.
        self._pulse: deque[tuple[float, int]] = deque(maxlen=round(10 / TEND_S) + 1)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Whose books are kept."""
        return tuple(self._desks)

    @property
    def waiting(self) -> int:
        """How many updates and best prices wait."""
        return self._inbox.qsize()

    @property
    def updates_per_s(self) -> float:
        """Updates of all books per second, over the last ten seconds."""
        pulse = list(self._pulse)
        if len(pulse) < 2 or pulse[-1][0] <= pulse[0][0]:
            return 0.0
        return (pulse[-1][1] - pulse[0][1]) / (pulse[-1][0] - pulse[0][0])

    def put(self, symbol: str, fact: Fact) -> None:
        """Hand in what a stream told; never waits. What is of no book is passed over."""
        if self._inbox.qsize() < self.most_waiting:
            self._inbox.put((symbol, fact))
            return
        with self._drops:
            self.dropped += 1
            if isinstance(fact, BookUpdate) and symbol in self._desks:
                self._overflowed.add(symbol)

    def ended(self, symbols: Sequence[str]) -> None:
        """Give books up until they are whole again: their connection ended."""
        self._inbox.put(_Ended(tuple(symbols)))

    def view(self, symbol: str, depth: int = 50, levels: int = LEVELS) -> BookReport:
        """Return a book with the best `depth` levels a side, and its metrics, as of now.

        Raises
        ------
        KeyError
            Nobody keeps a book of that symbol.
        OutOfSyncError
            The book is not known now; the words say why.
        """
        desk = self._desks[symbol]
        if not self.is_alive():
            raise OutOfSyncError(STOPPED)
        with self._lock:
            return desk.report(depth, levels)

    def statuses(self) -> list[BookStatus]:
        """Return how each book fares."""
        stopped = "" if self.is_alive() else STOPPED
        with self._lock:
            return [desk.status(stopped) for desk in self._desks.values()]

    def stop(self, timeout_s: float = 5.0) -> None:
        """End both threads; a question on its way ends with its answer, which nobody takes."""
        self._stopping.set()
        self._inbox.put(None)
        self._helper.stop()
        for thread in (self, self._helper):
            if thread.is_alive():
                thread.join(timeout_s)

    def run(self) -> None:
        """Keep the books until stopped."""
        self._helper.start()
        tend_s = self.clock()
        while not self._stopping.is_set():
            with suppress(queue.Empty):
                self._take(self._inbox.get(timeout=TEND_S))
            now_s = self.clock()
            if self._overflowed or now_s >= tend_s:
                tend_s = now_s + TEND_S
                self._tend(now_s)

    def _take(self, item: _Item) -> None:
        with self._lock:
            if isinstance(item, tuple):
                self._fact(*item)
            elif isinstance(item, _Ended):
                for symbol in item.symbols:
                    if symbol in self._desks:
                        self._desks[symbol].ended()
            elif isinstance(item, _Answer):
                self._answer(item)

    def _fact(self, symbol: str, fact: Fact) -> None:
        desk = self._desks.get(symbol)
        if desk is not None:
            self._updates += isinstance(fact, BookUpdate)
            desk.fact(fact)

    def _answer(self, item: _Answer) -> None:
        desk = self._desks[item.symbol]
        if item.error is not None:
            desk.failed(item.error)
        else:
            desk.answer(item.snapshot)

    def _answered(self, answer: _Answer) -> None:
        self._inbox.put(answer)

    def _tend(self, now_s: float) -> None:
        with self._lock:
            while self._overflowed:
                self._desks[self._overflowed.pop()].lost(DROPPED)
            for desk in self._desks.values():
                if desk.tend():
                    self._helper.ask(desk.symbol)
            self._pulse.append((now_s, self._updates))


class _Helper(threading.Thread):
    """Asks for whole books, one after another, so that updates go on being taken meanwhile."""

    def __init__(
        self,
        source: str,
        ask_venue: Callable[[str], BookUpdate | None],
        answered: Callable[[_Answer], None],
    ) -> None:
        super().__init__(name=f"books-{source}-snapshots", daemon=True)
        self._ask_venue = ask_venue
        self._answered = answered
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stopping = threading.Event()

    def ask(self, symbol: str) -> None:
        """Ask for a whole book, soon."""
        self._wanted.put(symbol)

    def stop(self) -> None:
        """Ask for nothing more."""
        self._stopping.set()
        self._wanted.put(None)

    def run(self) -> None:
        """Ask until stopped."""
        while (symbol := self._wanted.get()) is not None and not self._stopping.is_set():
            try:
                answer = _Answer(symbol, self._ask_venue(symbol))
            except BotCryptoError as error:
                answer = _Answer(symbol, None, error)
            self._answered(answer)
