"""`BookLine`: the sockets that carry a source's books, and the keeper they feed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from marketdata.conf import Conf
from marketdata.core.errors import ConnectionLostError, FrameError
from marketdata.core.events import Batch
from marketdata.core.facts import BookUpdate, Fact
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.ingestor import FeedStatus, TapOf
from marketdata.feeds.link import policy_of
from marketdata.feeds.supervisor import Supervisor
from marketdata.rest.client import VenueClient
from marketdata.rest.limiter import Priority
from marketdata.venues.base import Depth, Venue


class Complaints(Protocol):
    """Who is told of refused frames and of states."""

    def rejected(self, error: FrameError) -> None:
        """Take a refused frame."""

    def status(self, status: FeedStatus) -> None:
        """Take a change of state."""


class BookLine:
    """Connections of their own, so that a book that is made anew never stops trades.

    Parameters
    ----------
    venue : Venue
        With a `depth`.
    symbols : sequence of str
    settings : Conf
    client : VenueClient
        Asks for whole books, where the stream does not send them.
    complaints : Complaints
    wall_us : callable
        Microseconds UTC.
    tap_of : callable, optional
        Name of a stream → what is given its frames, and whole books, as they came.
    """

    def __init__(
        self,
        venue: Venue,
        depth: Depth,
        symbols: Sequence[str],
        settings: Conf,
        client: VenueClient,
        complaints: Complaints,
        wall_us: Callable[[], int],
        tap_of: TapOf | None = None,
    ) -> None:
        self.depth = depth
        self.client = client
        self.complaints = complaints
        self.keeper = BookKeeper(
            venue.source,
            depth,
            symbols,
            snapshot=self._snapshot if depth.snapshot is not None else None,
            resubscribe=self._resubscribe if depth.resubscribe is not None else None,
        )
        stream = depth.stream(settings.depth_interval_ms)
        self.tap = tap_of(stream.name) if tap_of else None
        self.line = Supervisor(
            venue,
            stream,
            settings.hosts(venue.source).ws,
            symbols,
            self,
            policy_of(settings),
            wall_us,
            tap=self.tap,
        )
        self._interval_ms = settings.depth_interval_ms
        # Connections that carry each book: two of them while one replaces the other.
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the keeper, then what feeds it."""
        self.keeper.start()
        self.line.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop what feeds the keeper, then the keeper."""
        self.line.stop(timeout_s)
        self.keeper.stop(timeout_s)

    # What the keeper asks for; called in its helper's thread.

    def _snapshot(self, symbol: str) -> BookUpdate:
        return self.client.book(symbol, Priority.LIVE, lambda body: self._keep(symbol, body))

    def _keep(self, symbol: str, body: bytes) -> None:
        if self.tap is not None:
            self.tap([body], [symbol])

    def _resubscribe(self, symbol: str) -> None:
        say = self.depth.resubscribe
        if say is None or not self.line.send(symbol, say(self._interval_ms, symbol)):
            raise ConnectionLostError(f"no connection for the book of {symbol} is open")

    # What the sockets say; called in their threads.

    def opened(self, symbols: Sequence[str]) -> None:
        """Count it: a book is unknown since the connection before ended."""
        with self._lock:
            self._open.update(symbols)

    def closed(self, symbols: Sequence[str]) -> None:
        """Give the books up until they are whole again, unless a successor carries them on."""
        with self._lock:
            self._open.subtract(symbols)
            lost = [symbol for symbol in symbols if self._open[symbol] <= 0]
        self.keeper.ended(lost)

    def trades(self, symbol: str, batch: Batch) -> None:
        """Pass over trades: they come over another line."""

    def facts(self, facts: Sequence[tuple[str, Fact]]) -> None:
        """Hand updates and best prices to the keeper."""
        for symbol, fact in facts:
            self.keeper.put(symbol, fact)

    def replies(self, replies: Mapping[int, bytes]) -> None:
        """Pass over answers: nothing is asked over this line."""

    def rejected(self, error: FrameError) -> None:
        """Hand on a refused frame."""
        self.complaints.rejected(error)

    def status(self, status: FeedStatus) -> None:
        """Hand on a change of state."""
        self.complaints.status(status)
