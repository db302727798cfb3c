"""`VenueClient`: a venue's REST as typed answers. Any thread may use it."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import numpy as np

from marketdata.conf import Conf
from marketdata.core.errors import FrameError
from marketdata.core.facts import BookUpdate, Reading
from marketdata.core.trades import Trades
from marketdata.rest.asker import Asker
from marketdata.rest.host import HostStatus
from marketdata.rest.limiter import Limiter, LimiterStatus, Priority
from marketdata.rest.pool import Pool, shared_pool
from marketdata.rest.session import Reply
from marketdata.venues.base import DayLevels, Listing, Newest, Question, Venue

log = logging.getLogger(__name__)

CLOCK_SAMPLES = 5
# Beyond this the local time of events misleads people, and signed requests begin to fail.
NOTED_OFFSET_US = 500_000
SIMULATED = "X-Simulated"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """State of a client.

    Parameters
    ----------
    label : str
        What a simulated venue calls its trades, empty for a real one.
    host : HostStatus
        The host asked at present.
    limiter : LimiterStatus
    retries : int
        Requests asked again.
    """

    label: str
    host: HostStatus
    limiter: LimiterStatus
    retries: int


class VenueClient:
    """One venue's REST.

    Parameters
    ----------
    venue : Venue
    base_url : str
        Before the venue's own path.
    conf : Conf
        Timeouts, retries and limits.
    stop : threading.Event
        Ends every wait and every request under way with StoppedError.
    limiter : Limiter, optional
        In place of the one that all clients of this venue and URL share.
    pool : Pool, optional
        In place of the shared one, with a clock and bans of its own.
    random01 : callable
        Jitter of the waits before retries.
    """

    def __init__(
        self,
        venue: Venue,
        base_url: str,
        conf: Conf,
        stop: threading.Event,
        limiter: Limiter | None = None,
        *,
        pool: Pool | None = None,
        random01: Callable[[], float] = random.random,
    ) -> None:
        base_url = base_url.rstrip("/")
        pool = pool or shared_pool(venue, base_url, conf)
        urls = tuple(url for url in (base_url, venue.fallbacks.get(base_url)) if url)
        self.venue = venue
        self.limiter = limiter or pool.limiter
        self.label = ""
        self._asker = Asker(venue, urls, conf, stop, pool, self.limiter, random01)

    @property
    def is_simulated(self) -> bool:
        """Whether a simulator gave the last answer."""
        return self.label != ""

    def ask(self, question: Question, priority: Priority = Priority.BACKFILL) -> Reply:
        """Return the venue's answer to a question.

        Raises
        ------
        BotCryptoError
            VenueError and its kinds, ConnectionLostError, UntrustedHostError, StoppedError,
            FrameError where the answer is too large.
        """
        return self._asked(question, lambda reply: reply, priority)

    def listing(self, symbol: str) -> Listing:
        """Return tick, lot and state of a symbol; keep to the limits that come with them."""
        listing = self._asked(
            self.venue.listing(symbol),
            lambda reply: self.venue.listing_of(reply.body, symbol),
            Priority.LIVE,
        )
        if listing.weight_per_minute is not None:
            self.limiter.grant(listing.weight_per_minute)
        return listing

    def clock_offset_us(self) -> int:
        """Return the venue's clock minus ours, microseconds, as of half-way there and back.

        Notes
        -----
        The median of several samples: one slow answer would mislead by half of its time.
        """
        offset_us = int(median(self._clock_sample() for _ in range(CLOCK_SAMPLES)))
        if abs(offset_us) > NOTED_OFFSET_US:
            log.warning(
                "clock differs venue=%s offset_ms=%d: set this machine's clock",
                self.venue.key,
                offset_us // 1000,
            )
        return offset_us

    def day(self, symbol: str, day_us: int) -> DayLevels | None:
        """Return the levels of the UTC day that starts at `day_us`; None without trades."""
        return self._asked(
            self.venue.day(symbol, day_us),
            lambda reply: self.venue.day_of(reply.body, day_us),
            Priority.LIVE,
        )

    def first_id(
        self, channel: str, symbol: str, ts_us: int, priority: Priority = Priority.LIVE
    ) -> int | None:
        """Return the id of the first trade at or after a time; None where there is none yet."""
        asked = self.venue.channels[channel].by_id
        return self._asked(
            asked.first(symbol, ts_us), lambda reply: asked.first_of(reply.body), priority
        )

    def newest(self, channel: str, symbol: str, priority: Priority = Priority.LIVE) -> Trades:
        """Return the venue's one page of newest trades, in match order, with refs.

        Raises
        ------
        BotCryptoError
        """
        asked = self.venue.channels[channel].past
        if not isinstance(asked, Newest):
            raise TypeError(f"channel {channel} has no page of newest trades")
        return self._asked(asked.ask(symbol), lambda reply: asked.read(reply.body), priority)

    def book(
        self,
        symbol: str,
        priority: Priority = Priority.LIVE,
        seen: Callable[[bytes], object] = lambda body: None,
    ) -> BookUpdate:
        """Return a whole book, as deep as the venue serves it.

        Parameters
        ----------
        seen : callable
            Given the answer as it came, before it is read.

        Raises
        ------
        BotCryptoError
        """
        depth = self.venue.depth
        if depth is None or depth.snapshot is None or depth.snapshot_of is None:
            raise TypeError(f"{self.venue.title} answers no question for a whole book")
        snapshot_of = depth.snapshot_of

        def read(reply: Reply) -> BookUpdate:
            seen(reply.body)
            return snapshot_of(reply.body)

        return self._asked(depth.snapshot(symbol), read, priority)

    def series(
        self, kind: str, symbol: str, start_us: int, end_us: int, priority: Priority = Priority.LIVE
    ) -> list[Reading]:
        """Return readings of a series in [start_us, end_us), ascending, a page at most.

        Raises
        ------
        BotCryptoError
        """
        asked = self.venue.series[kind]
        question = asked.ask(symbol, start_us, end_us)
        return self._asked(question, lambda reply: asked.read(reply.body), priority)

    def page(
        self,
        channel: str,
        symbol: str,
        first_id: int,
        limit: int | None = None,
        priority: Priority = Priority.BACKFILL,
    ) -> Trades:
        """Return the trades from an id on, ascending.

        Notes
        -----
        Where ids are exact, what is returned has no hole: a page is cut before its first hole,
        so that the next page asks for the very ids that are missing. A page that starts beyond
        `first_id` says that the venue does not have what lies between.

        Raises
        ------
        BotCryptoError
            As `ask`; FrameError also where a page is not in order or not what was asked for.
        """
        limit = limit or self.venue.page_limit
        asked = self.venue.channels[channel].by_id
        page = self._asked(
            asked.page(symbol, first_id, limit),
            lambda reply: checked_page(asked.page_of(reply.body), first_id, limit, reply.body),
            priority,
        )
        return before_hole(page) if self.venue.proof == "id_exact" else page

    def status(self) -> ClientStatus:
        """Return the state of host and limiter."""
        host = self._asker.host().status()
        return ClientStatus(self.label, host, self.limiter.status(), self._asker.retries)

    def reset(self) -> None:
        """Return to the full limit and ask every host again, as an operator wants; bans stay."""
        self._asker.reset()

    def close(self) -> None:
        """Close the connections."""
        self._asker.close()

    def _asked(self, question: Question, read: Callable[[Reply], T], priority: Priority) -> T:
        def noted(reply: Reply) -> T:
            self.label = reply.headers.get(SIMULATED, "")
            return read(reply)

        return self._asker.ask(question, noted, priority)

    def _clock_sample(self) -> float:
        def sample(reply: Reply) -> float:
            half_us = reply.elapsed_s * 1e6 / 2
            return self.venue.clock_of(reply.body) - (reply.sent_us + half_us)

        return self._asked(self.venue.clock(), sample, Priority.LIVE)


def checked_page(page: Trades, first_id: int, limit: int, body: bytes) -> Trades:
    """Return a page that is what was asked for. Raises FrameError."""
    if len(page) > limit:
        raise FrameError("size", f"at most {limit} trades expected, seen {len(page)}", body)
    steps = np.diff(page.id)
    if len(page) and int(page.id.min()) < first_id:
        detail = f"ids from {first_id} on expected, seen {int(page.id.min())}"
        raise FrameError("order", detail, body)
    if len(steps) and int(steps.min()) <= 0:
        at = int(np.argmin(steps))
        detail = f"ascending ids expected, seen {page.id[at]} before {page.id[at + 1]}"
        raise FrameError("order", detail, body)
    return page


def before_hole(page: Trades) -> Trades:
    """Return the trades before the first id that is missing."""
    holes = np.flatnonzero(np.diff(page.id) != 1)
    return page[: int(holes[0]) + 1] if len(holes) else page
