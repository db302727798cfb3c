"""`SocketClient`: a venue's answers, typed, from a connection that is shared.

What `VenueClient` is over REST, for venues that are asked over their socket. Any thread may use it.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any, Protocol, TypeVar

from marketdata.core.backoff import Backoff
from marketdata.core.errors import BotCryptoError, FrameError, StoppedError, VenueError
from marketdata.core.ticks import tick_rule
from marketdata.core.trades import LATEST_US, Trades
from marketdata.rest.clock import CLOCK, SLICE_S, Clock
from marketdata.venues.base import DayLevels, Listing, Question
from marketdata.venues.dialog import Balance, SocketVenue

log = logging.getLogger(__name__)

ANSWER_S = 30.0
# A question that failed for a while is asked so often in all, after 1, 2 and 4 s.
TRIES = 4
CLOCK_SAMPLES = 5
# The venue tells whole seconds: half of one more than what VenueClient notes.
NOTED_OFFSET_US = 1_000_000
T = TypeVar("T")


class Line(Protocol):
    """A connection that answers requests."""

    @property
    def label(self) -> str:
        """What a simulated venue calls its trades, empty for a real one."""

    def ask(self, request: Mapping[str, Any], timeout_s: float = ANSWER_S) -> bytes:
        """Return the answer. Raises BotCryptoError."""


class SocketClient:
    """One venue's answers.

    Parameters
    ----------
    venue : SocketVenue
    line : Line
        The connection; its owner closes it.
    stop : threading.Event
        Ends every wait before another try with StoppedError.
    timeout_s : float
        Deadline of one request.
    random01 : callable
        Jitter of those waits.
    clock : Clock
    """

    def __init__(
        self,
        venue: SocketVenue,
        line: Line,
        stop: threading.Event,
        timeout_s: float = ANSWER_S,
        *,
        random01: Callable[[], float] = random.random,
        clock: Clock = CLOCK,
    ) -> None:
        self.venue = venue
        self.timeout_s = timeout_s
        self.retries = 0
        self._line = line
        self._stop = stop
        self._closed = threading.Event()
        self._random01 = random01
        self._clock = clock

    @property
    def label(self) -> str:
        """What a simulated venue calls its trades, empty for a real one."""
        return self._line.label

    @property
    def is_simulated(self) -> bool:
        """Whether a simulator gives the answers."""
        return self.label != ""

    def ask(self, question: Question, read: Callable[[bytes], T]) -> T:
        """Return the venue's answer to a question, as `read` has it.

        Raises
        ------
        BotCryptoError
            As `SharedConnection.ask`, after the last try; FrameError where the answer is none.
        """
        return self._tried(lambda: read(self._line.ask(question.params, self.timeout_s)))

    def listing(self, symbol: str) -> Listing:
        """Return tick and state of a symbol; the lot is one tick of the feed."""
        return self.ask(
            self.venue.listing(symbol), lambda body: self.venue.listing_of(body, symbol)
        )

    def day(self, symbol: str, day_us: int) -> DayLevels | None:
        """Return the levels of the UTC day that starts at `day_us`; None without ticks."""
        return self.ask(
            self.venue.day(symbol, day_us), lambda body: self.venue.day_of(body, day_us)
        )

    def clock_offset_us(self) -> int:
        """Return the venue's clock minus ours, microseconds, to about half a second."""
        offset_us = int(median(self._clock_sample() for _ in range(CLOCK_SAMPLES)))
        if abs(offset_us) > NOTED_OFFSET_US:
            log.warning(
                "clock differs venue=%s offset_ms=%d: set this machine's clock",
                self.venue.key,
                offset_us // 1000,
            )
        return offset_us

    def newest(self, symbol: str) -> Trades:
        """Return the newest ticks, as many as a page holds."""
        dialog = self.venue.dialog
        question = dialog.newest(symbol, self.venue.page_limit)
        return _sided(self.ask(question, lambda body: dialog.page_of(body, 0, LATEST_US)))

    def between(self, symbol: str, start_us: int, end_us: int) -> Trades:
        """Return all ticks that the venue has in [start_us, end_us), ascending.

        Notes
        -----
        A page holds the newest of what is asked for, so pages go back from the end. Only an empty
        one says that there is nothing before; a short one does not. Sides are told by the tick
        rule within the range; up to the first move of the price they are not known.

        Raises
        ------
        BotCryptoError
            As `ask`. Nothing is returned of a range of which a part cannot be had.
        """
        pages: list[Trades] = []
        until_us = end_us
        while start_us < until_us:
            page = self._page(symbol, start_us, until_us)
            if not len(page):
                break
            pages.append(page)
            until_us = int(page.ts_us[0])
        return _sided(Trades.concat(reversed(pages)))

    def balance(self) -> Balance:
        """Return what the account of the connection holds, asked for now."""
        return self.ask(self.venue.dialog.balance, self.venue.dialog.balance_of)

    def close(self) -> None:
        """End every wait; the connection is its owner's."""
        self._closed.set()

    def _page(self, symbol: str, start_us: int, end_us: int) -> Trades:
        dialog, limit = self.venue.dialog, self.venue.page_limit

        def read(body: bytes) -> Trades:
            page = dialog.page_of(body, start_us, end_us)
            if len(page) > limit:
                raise FrameError("size", f"at most {limit} ticks expected, seen {len(page)}", body)
            return page

        return self.ask(dialog.between(symbol, start_us, end_us, limit), read)

    def _clock_sample(self) -> float:
        return self._tried(self._clock_once)

    def _clock_once(self) -> float:
        sent_us = self._clock.wall_us()
        told_us = self.venue.clock_of(self._line.ask(self.venue.clock().params, self.timeout_s))
        return told_us - (sent_us + self._clock.wall_us()) / 2

    def _tried(self, action: Callable[[], T]) -> T:
        """Act, and again where an error passes by itself."""
        backoff = Backoff(1.0, cap_s=30.0)
        for _ in range(TRIES - 1):
            try:
                return action()
            except BotCryptoError as error:
                if not error.retryable:
                    raise
                delay_s = backoff.next(self._random01())
                asked_s = error.retry_after_s if isinstance(error, VenueError) else None
                self._pause(max(delay_s, asked_s or 0.0), error)
        return action()

    def _pause(self, seconds: float, error: BotCryptoError) -> None:
        self.retries += 1
        log.info("asked again source=%s in_s=%.1f error=%s", self.venue.source, seconds, error)
        until_s = self._clock.monotonic_s() + seconds
        while (left_s := until_s - self._clock.monotonic_s()) > 0:
            if self._closed.is_set():
                raise StoppedError("closed before the venue was asked again")
            self._clock.pause(min(left_s, SLICE_S), self._stop)


def _sided(ticks: Trades) -> Trades:
    return replace(ticks, is_buy=tick_rule(ticks.price))
