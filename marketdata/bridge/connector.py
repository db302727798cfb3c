"""`ConnectorWrapper`: a venue as a stream of typed events that is asked for, one at a time.

Ours hears the venue over the same sockets as every feed; hftbacktest's is in `hft.py`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Condition

from marketdata.conf import Conf
from marketdata.core.errors import BotCryptoError, FrameError
from marketdata.core.events import Batch
from marketdata.core.facts import Fact
from marketdata.core.trades import Trades
from marketdata.feeds.ingestor import FeedStatus
from marketdata.feeds.link import policy_of
from marketdata.feeds.supervisor import Supervisor
from marketdata.venues import venue_of


class NotAvailableError(BotCryptoError):
    """What a connector needs is not there."""


@dataclass(frozen=True, slots=True)
class Traded:
    """Trades, in order of arrival; `trades.ref` is None where the way hands on no ids."""

    symbol: str
    trades: Trades
    recv_us: int


@dataclass(frozen=True, slots=True)
class Told:
    """What is no trade."""

    symbol: str
    fact: Fact


@dataclass(frozen=True, slots=True)
class Missed:
    """What follows does not join on what came before.

    Parameters
    ----------
    reason : {"opened", "overflow"}
        A new connection, or nobody asked for events in time.
    dropped : int
        Events that were dropped since the last one handed out; 0 where nobody can know.
    """

    symbols: tuple[str, ...]
    reason: str
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """A connection is in another state."""

    status: FeedStatus


Event = Traded | Told | Missed | Changed


@dataclass(frozen=True, slots=True)
class Health:
    """How a connector fares.

    Parameters
    ----------
    is_connected : bool
        Data is coming.
    waiting, dropped : int
        Events not yet asked for, and dropped because of that, since the beginning.
    rejected : int
        Frames refused.
    last_error : str
        Empty where there was none.
    """

    is_connected: bool
    symbols: tuple[str, ...]
    waiting: int
    dropped: int
    reconnects: int
    rejected: int
    last_error: str


class ConnectorWrapper(ABC):
    """A venue's public data as events. One thread asks."""

    @abstractmethod
    def connect(self) -> None:
        """Begin to hear what is subscribed. Raises NotAvailableError."""

    @abstractmethod
    def disconnect(self) -> None:
        """End every connection; what waits can still be asked for."""

    @abstractmethod
    def subscribe(self, symbols: Sequence[str]) -> None:
        """Hear these symbols besides those before."""

    @abstractmethod
    def next_event(self, timeout_s: float) -> Event | None:
        """Return the next event, None where none comes in time."""

    @abstractmethod
    def health(self) -> Health:
        """Return how it fares."""


class FeedConnector(ConnectorWrapper):
    """Our own connector: the venue's sockets, a bounded queue, nothing dropped in silence.

    Parameters
    ----------
    source : str
        Feed name.
    settings : Conf
        `max_queue` events wait at most; then what comes is dropped until half of them are taken,
        and a `Missed` stands where it was.
    """

    def __init__(self, source: str, settings: Conf) -> None:
        hosts = settings.hosts(source)
        self.venue = venue_of(source, hosts.variant)
        self.channel = self.venue.channel(hosts.channel)
        self.url = hosts.ws
        self.policy = policy_of(settings)
        self.most_waiting = settings.max_queue
        self.symbols: tuple[str, ...] = ()
        self.dropped = 0
        self._rejected = 0
        self._overflow = 0
        self._feed: Supervisor | None = None
        self._events: deque[Event] = deque()
        self._news = Condition()

    def connect(self) -> None:
        """Begin to hear; a second call changes nothing."""
        if self._feed is None and self.symbols:
            self._feed = Supervisor(
                self.venue, self.channel, self.url, self.symbols, self, self.policy, wall_us
            )
            self._feed.start()

    def disconnect(self) -> None:
        """End every connection."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.stop()

    def subscribe(self, symbols: Sequence[str]) -> None:
        """Hear these too; where a connection is open, it is made anew with all of them."""
        more = tuple(symbol for symbol in dict.fromkeys(symbols) if symbol not in self.symbols)
        is_open = self._feed is not None
        if more and is_open:
            self.disconnect()
        self.symbols += more
        if is_open:
            self.connect()

    def next_event(self, timeout_s: float) -> Event | None:
        """Return the next event, None where none comes in time."""
        with self._news:
            if not self._events:
                self._news.wait(timeout_s)
            return self._events.popleft() if self._events else None

    def health(self) -> Health:
        """Return how it fares."""
        feed = self._feed
        statuses = feed.statuses() if feed else []
        errors = [status.last_error for status in statuses if status.last_error]
        return Health(
            is_connected=bool(statuses) and all(status.state == "live" for status in statuses),
            symbols=self.symbols,
            waiting=len(self._events),
            dropped=self.dropped,
            reconnects=feed.reconnects if feed else 0,
            rejected=self._rejected,
            last_error=errors[0] if errors else "",
        )

    def _put(self, event: Event) -> None:
        """Take an event; called in the threads of connections, never waits."""
        with self._news:
            if self._overflow and len(self._events) <= self.most_waiting // 2:
                self._events.append(Missed(self.symbols, "overflow", self._overflow))
                self._overflow = 0
            if self._overflow or len(self._events) >= self.most_waiting:
                self._overflow += 1
                self.dropped += 1
                return
            self._events.append(event)
            self._news.notify()

    # What the connections say.

    def opened(self, symbols: Sequence[str]) -> None:
        """Say that what follows joins on nothing."""
        self._put(Missed(tuple(symbols), "opened"))

    def closed(self, symbols: Sequence[str]) -> None:
        """Do nothing: the status says so."""

    def trades(self, symbol: str, batch: Batch) -> None:
        """Queue trades."""
        self._put(Traded(symbol, batch.trades, batch.recv_us))

    def facts(self, facts: Sequence[tuple[str, Fact]]) -> None:
        """Queue what is no trade."""
        for symbol, fact in facts:
            self._put(Told(symbol, fact))

    def replies(self, replies: Mapping[int, bytes]) -> None:
        """Pass over answers: nothing is asked."""

    def rejected(self, error: FrameError) -> None:
        """Count a refused frame."""
        self._rejected += 1

    def status(self, status: FeedStatus) -> None:
        """Queue a change of state."""
        self._put(Changed(status))


def wall_us() -> int:
    """Return this machine's time, microseconds UTC."""
    return time.time_ns() // 1000
