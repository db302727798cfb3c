"""`Means`: what a job works with, made for it and closed after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from marketdata.backfill.archive import Archive
from marketdata.backfill.child import FileReader
from marketdata.backfill.files import ArchiveHost
from marketdata.conf import Conf
from marketdata.core.errors import FrameError
from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from marketdata.core.trades import Trades
from marketdata.feeds.link import Client, Line, questions_line
from marketdata.feeds.shared_connection import SharedConnection
from marketdata.feeds.socket_client import SocketClient
from marketdata.feeds.source import wall_us
from marketdata.rest.client import ClientStatus, VenueClient
from marketdata.rest.limiter import Priority
from marketdata.venues import venue_of
from marketdata.venues.base import ById, Channel, Venue
from marketdata.venues.dialog import SocketVenue

Between = Callable[[str, int, int], Trades]
# How far before the end of a range its newest trade is looked for.
LOOKS_US = (SECOND_US, 10 * SECOND_US, MINUTE_US, 10 * MINUTE_US, HOUR_US, 6 * HOUR_US, DAY_US)


@dataclass(frozen=True)
class Means:
    """A channel's past, by REST and by file.

    Parameters
    ----------
    client : Client
        Tells tick and lot.
    rest : VenueClient or None
        Asks for pages by id.
    between : callable or None
        (symbol, start_us, end_us) → all trades of a time, where the venue answers that.
    line : Line or None
        A connection made for this job alone; stopped with it.
    stop : threading.Event
        Ends everything that waits.
    """

    source: str
    venue: Venue
    channel: Channel
    client: Client
    archive: Archive
    host: ArchiveHost
    reader: FileReader
    conf: Conf
    stop: threading.Event
    rest: VenueClient | None = None
    between: Between | None = None
    line: Line | None = None

    @property
    def page_limit(self) -> int:
        """Trades a page holds at most."""
        return self.venue.page_limit

    @property
    def by_time(self) -> bool:
        """Whether trades are numbered by us, and asked for by time."""
        return not self.venue.is_numbered

    @property
    def reach_us(self) -> int | None:
        """How far back pages go, microseconds; None where no end is told."""
        past = self.channel.past
        reach_s = past.reach_s if isinstance(past, ById) else None
        return None if reach_s is None else int(reach_s * SECOND_US)

    def status(self) -> ClientStatus | None:
        """Return the state of the host that is asked; None where none is."""
        return self.rest.status() if self.rest else None

    @property
    def published_s(self) -> float | None:
        """How long after its end a day's file can be expected; None where there are no files."""
        return self.channel.archive.published_s if self.channel.archive else None

    def page(self, symbol: str, first_id: int) -> Trades:
        """Return the trades from an id on, ascending, without holes."""
        return self._by_id().page(self.channel.name, symbol, first_id)

    def first_id(self, symbol: str, ts_us: int) -> int | None:
        """Return the id of the first trade at or after a time, or None."""
        return self._by_id().first_id(self.channel.name, symbol, ts_us, Priority.BACKFILL)

    def _by_id(self) -> VenueClient:
        if self.rest is None:
            raise TypeError(f"{self.venue.title} has no trades by id")
        return self.rest

    def has_before(self, symbol: str, first_id: int) -> bool:
        """Tell whether the venue has the trade before one; where it has not, there may be none.

        Notes
        -----
        How far back pages reach is not documented, and has been seen to be no farther than some
        hundreds of millions of trades.
        """
        if first_id == 0:
            return True
        page = self.page(symbol, first_id - 1)
        return len(page) > 0 and int(page.id[0]) == first_id - 1

    def last_id(self, symbol: str, start_us: int, end_us: int) -> int | None:
        """Return the id of the last trade of [start_us, end_us), or None.

        Notes
        -----
        The venue tells the first trade after a time, never the last one before it: where nothing
        follows the end, its newest trades are paged.
        """
        after = self.first_id(symbol, end_us)
        if after is not None:
            return after - 1
        for look_us in LOOKS_US:
            near = self.first_id(symbol, max(start_us, end_us - look_us))
            if near is not None:
                return self._newest(symbol, near, end_us)
            if end_us - look_us <= start_us:
                return None
        near = self.first_id(symbol, start_us)
        return None if near is None else self._newest(symbol, near, end_us)

    def _newest(self, symbol: str, from_id: int, end_us: int) -> int | None:
        """Page on from an id and return the last one before a time."""
        newest, cursor = None, from_id
        while True:
            page = self.page(symbol, cursor)
            before = page.id[page.ts_us < end_us]
            newest = int(before[-1]) if len(before) else newest
            if len(before) < len(page) or not len(page):
                return newest
            if int(page.id[-1]) < cursor:
                raise FrameError("order", f"ids from {cursor} on expected, seen {page.id[-1]}")
            cursor = int(page.id[-1]) + 1

    def close(self) -> None:
        """End the file reader and close the connections."""
        self.reader.close()
        self.host.close()
        self.client.close()
        if self.line is not None:
            self.line.stop()


def means_of(
    source: str, settings: Conf, stop: threading.Event, shared: SharedConnection | None = None
) -> Means:
    """Return what a job of a feed works with.

    Parameters
    ----------
    shared : SharedConnection, optional
        Open already, where the venue wants one connection for everything.
    """
    hosts = settings.hosts(source)
    venue = venue_of(source, hosts.variant)
    channel = venue.channel(hosts.channel)
    reader = FileReader()
    host = ArchiveHost(venue, hosts.archive or hosts.rest, settings, stop)
    client: Client
    rest: VenueClient | None = None
    own: SharedConnection | None = None
    between: Between | None = None
    if isinstance(venue, SocketVenue):
        asked = shared or questions_line(venue, channel, settings, wall_us)
        own = None if shared else asked
        client = asker = SocketClient(venue, asked, stop, hosts.timeout_s)
        between = asker.between
    else:
        client = rest = VenueClient(venue, hosts.rest, settings, stop)
    return Means(
        source=source,
        venue=venue,
        channel=channel,
        client=client,
        archive=Archive(source, channel, host, reader, settings, is_numbered=venue.is_numbered),
        host=host,
        reader=reader,
        conf=settings,
        stop=stop,
        rest=rest,
        between=between,
        line=own,
    )
