"""`Link`: how a source hears and asks its venue: sockets and REST, or one shared connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from marketdata.conf import Conf, Hosts
from marketdata.core.errors import FrameError
from marketdata.core.events import Batch
from marketdata.core.facts import Fact
from marketdata.core.trades import Trades
from marketdata.feeds.ingestor import FeedStatus, Listener, Tap
from marketdata.feeds.shared_connection import Login, SharedConnection
from marketdata.feeds.socket_client import SocketClient
from marketdata.feeds.supervisor import Policy, Supervisor
from marketdata.rest.client import VenueClient
from marketdata.venues.base import Channel, DayLevels, Listing, Venue
from marketdata.venues.dialog import SocketVenue


class Line(Protocol):
    """What carries a source's trades: a supervisor, a shared connection, a child process."""

    def start(self) -> None:
        """Begin to connect."""

    def stop(self, timeout_s: float = 5.0) -> None:
        """End every connection."""

    def statuses(self) -> list[FeedStatus]:
        """Return what each connection is doing."""

    @property
    def reconnects(self) -> int:
        """How many connections were lost and made anew."""


class Client(Protocol):
    """Who asks the venue, over REST or over the socket."""

    @property
    def label(self) -> str:
        """What a simulated venue calls its trades, empty for a real one."""

    def listing(self, symbol: str) -> Listing:
        """Return tick, lot and state of a symbol. Raises BotCryptoError."""

    def day(self, symbol: str, day_us: int) -> DayLevels | None:
        """Return the levels of a UTC day. Raises BotCryptoError."""

    def close(self) -> None:
        """End every wait and connection."""


@dataclass(frozen=True, slots=True)
class Link:
    """A source's ways to its venue.

    Parameters
    ----------
    newest : callable
        Symbol → the venue's newest trades, with refs; only for venues that number no trades.
    rest : VenueClient or None
        The client, where it asks by REST.
    has_past : bool
        Whether a job can fetch trades that we number, by their time.
    """

    line: Line
    client: Client
    newest: Callable[[str], Trades]
    rest: VenueClient | None
    has_past: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """How an account's connection is made, where the venue wants one for everything.

    Parameters
    ----------
    locate : callable
        Says where to connect, each time.
    login : Login or None
        What is said first.
    """

    locate: Callable[[], str]
    login: Login | None = None


# Makes another line than a supervisor, for example one in a child process.
MakeLine = Callable[[Venue, Channel, Sequence[str], Listener], Line]


def link_of(
    venue: Venue,
    channel: Channel,
    symbols: Sequence[str],
    listener: Listener,
    settings: Conf,
    stop: threading.Event,
    wall_us: Callable[[], int],
    *,
    tap: Tap | None = None,
    access: Access | None = None,
    make_line: MakeLine | None = None,
) -> Link:
    """Return the ways to a venue, as it wants them."""
    hosts = settings.hosts(venue.source)
    policy = policy_of(settings)
    if isinstance(venue, SocketVenue):
        access = access or Access(lambda: _public(venue, hosts, settings))
        line = SharedConnection(
            venue,
            channel,
            access.locate,
            symbols,
            listener,
            policy,
            wall_us,
            login=access.login,
            tap=tap,
        )
        asker = SocketClient(venue, line, stop, hosts.timeout_s)
        return Link(line, asker, asker.newest, None, has_past=True)
    client = VenueClient(venue, hosts.rest, settings, stop)
    feed: Line
    if make_line is not None:
        feed = make_line(venue, channel, symbols, listener)
    else:
        feed = Supervisor(venue, channel, hosts.ws, symbols, listener, policy, wall_us, tap=tap)
    return Link(feed, client, lambda symbol: client.newest(channel.name, symbol), client)


def questions_line(
    venue: SocketVenue, channel: Channel, settings: Conf, wall_us: Callable[[], int]
) -> SharedConnection:
    """Return a connection that is opened for questions alone."""
    hosts = settings.hosts(venue.source)
    line = SharedConnection(
        venue,
        channel,
        lambda: _public(venue, hosts, settings),
        (),
        Nobody(),
        policy_of(settings),
        wall_us,
    )
    line.start()
    return line


class Nobody:
    """Listens to a line of questions alone, on which nothing but answers comes."""

    def opened(self, symbols: Sequence[str]) -> None:
        """Pass over it."""

    def trades(self, symbol: str, batch: Batch) -> None:
        """Pass over it."""

    def facts(self, facts: Sequence[tuple[str, Fact]]) -> None:
        """Pass over it."""

    def replies(self, replies: Mapping[int, bytes]) -> None:
        """Pass over it."""

    def rejected(self, error: FrameError) -> None:
        """Pass over it."""

    def status(self, status: FeedStatus) -> None:
        """Pass over it."""

    def closed(self, symbols: Sequence[str]) -> None:
        """Pass over it."""


def policy_of(settings: Conf) -> Policy:
    """Return when connections are given up, replaced and retried."""
    return Policy(
        settings.feed_stale_after_s, settings.feed_dead_after_s, settings.feed_roll_after_s
    )


def _public(venue: SocketVenue, hosts: Hosts, settings: Conf) -> str:
    return hosts.ws.rstrip("/") + venue.dialog.path(settings.deriv_app_id)
