"""`SignedClient`: questions that prove who asks, through the same limits, bans and verdicts.

Nothing here sends an order: a question is a GET.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import replace

from marketdata.conf import Conf
from marketdata.core.errors import VenueError
from marketdata.rest.client import ClientStatus, VenueClient
from marketdata.rest.clock import CLOCK, Clock
from marketdata.rest.limiter import Priority
from marketdata.rest.pool import Pool
from marketdata.rest.session import Reply
from marketdata.venues.base import Question, Signed, Venue

log = logging.getLogger(__name__)

# A clock of quartz drifts by 0.2 s in an hour at worst; a second ahead is refused.
OFFSET_AGE_S = 3600.0
Sign = Callable[[Question, int], Signed]


class SignedClient:
    """Asks one host's private questions. Any thread may use it.

    Parameters
    ----------
    venue : Venue
    base_url : str
        Before the venue's own path; nobody else is ever sent a signed question.
    sign : callable
        (question, milliseconds UTC by the venue's clock) → query and headers.
    clock_codes : frozenset of int
        Codes of refusals that mean: your clock is wrong.
    clock : Clock
        This machine's; the pool's own in tests.
    """

    def __init__(
        self,
        venue: Venue,
        base_url: str,
        conf: Conf,
        stop: threading.Event,
        sign: Sign,
        clock_codes: frozenset[int],
        *,
        pool: Pool | None = None,
        clock: Clock = CLOCK,
        random01: Callable[[], float] = random.random,
    ) -> None:
        # Asking again with the same clock would be refused again.
        codes = venue.retryable_codes - clock_codes
        asked = replace(venue, fallbacks={}, retryable_codes=codes)
        self.venue = venue
        self._client = VenueClient(asked, base_url, conf, stop, pool=pool, random01=random01)
        self._sign = sign
        self._clock_codes = clock_codes
        self._clock = clock
        self._lock = threading.Lock()
        self._offset_us = 0
        self._measured_s = float("-inf")

    def ask(self, question: Question) -> Reply:
        """Ask; where the venue finds our clock wrong, measure it and ask once more.

        Raises
        ------
        BotCryptoError
            As `VenueClient.ask`; VenueError has the venue's own code.
        """
        self.offset_us()
        try:
            return self._asked(question)
        except VenueError as error:
            if error.code not in self._clock_codes:
                raise
            log.warning("clock refused venue=%s error=%s; measuring it", self.venue.key, error)
        self.measure()
        return self._asked(question)

    def offset_us(self) -> int:
        """Return the venue's clock minus ours, microseconds; measured where it is not known."""
        with self._lock:
            is_old = self._clock.monotonic_s() - self._measured_s > OFFSET_AGE_S
        return self.measure() if is_old else self._offset_us

    def measure(self) -> int:
        """Measure the venue's clock minus ours anew, microseconds."""
        offset_us = self._client.clock_offset_us()
        with self._lock:
            self._offset_us, self._measured_s = offset_us, self._clock.monotonic_s()
        return offset_us

    @property
    def is_simulated(self) -> bool:
        """Whether a simulator gave the last answer."""
        return self._client.is_simulated

    def status(self) -> ClientStatus:
        """Return the state of host and limiter."""
        return self._client.status()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _asked(self, question: Question) -> Reply:
        def signed() -> Signed:
            time_us = self._clock.wall_us() + self._offset_us
            return self._sign(question, time_us // 1000)

        return self._client.ask(replace(question, sign=signed), Priority.BACKFILL)
