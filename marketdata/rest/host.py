"""`Host`: whether a host may be asked now, and why not. Shared by all threads of the process."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from marketdata.core.breaker import Breaker
from marketdata.core.errors import (
    BannedError,
    BlockedError,
    HostRestingError,
    VenueError,
)
from marketdata.rest.bans import Bans
from marketdata.rest.clock import Clock
from marketdata.rest.verdict import LONGEST_BAN_S, Kind

log = logging.getLogger(__name__)

# How often the table of bans is read: another process on this machine may have been banned.
BANS_READ_S = 5.0
# A page of HTML is a firewall's: minutes are needed, and nothing is gained by asking again.
BLOCK_S = 300.0
# A region rule stands until the operator changes host or place; one question an hour finds out.
REGION_S = 3600.0
RESTS = {Kind.BLOCK: BLOCK_S, Kind.REGION: REGION_S}
SLOWNESS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# These need people, or at least their attention.
LASTING = {Kind.BAN, *RESTS}


@dataclass(frozen=True, slots=True)
class HostStatus:
    """State of one host.

    Parameters
    ----------
    host : str
    state : {"closed", "open", "half_open"}
        Of the circuit breaker; while open nothing is asked.
    rests_s : float
        For how long nothing is asked, seconds.
    reason : str
        Why it rests, empty while it does not.
    banned_until_us : int or None
        End of a ban, microseconds UTC.
    answers : mapping of str to int
        Answers by HTTP status, and `lost` for none.
    seconds : float
        Sum of the time that answers took.
    slowness : tuple of int
        Answers by time: up to each edge of `SLOWNESS_S`, and beyond the last one.
    """

    host: str
    state: str
    rests_s: float
    reason: str
    banned_until_us: int | None
    answers: dict[str, int]
    seconds: float
    slowness: tuple[int, ...]


class Host:
    """One host's breaker, pause and ban.

    Parameters
    ----------
    name : str
        Host and port.
    breaker : Breaker
    bans : Bans
        Where bans are kept across restarts.
    """

    def __init__(self, name: str, breaker: Breaker, bans: Bans, clock: Clock) -> None:
        self.name = name
        self._breaker = breaker
        self._bans = bans
        self._clock = clock
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._paused_until_s = float("-inf")
        self._bans_read_s = float("-inf")
        self._banned_until_us = 0
        self._kind = Kind.RETRY
        self._reason = ""
        self._answers: Counter[str] = Counter()
        self._seconds = 0.0
        self._slowness = [0] * (len(SLOWNESS_S) + 1)

    def wait_s(self, *, urgent: bool = False) -> float:
        """Return for how long nothing may be asked, seconds; 0 when it may."""
        self._read_bans()
        with self._lock:
            now_s = self._clock.monotonic_s()
            breaker_s = self._breaker.wait_s(now_s, urgent=urgent)
            return max(0.0, self._paused_until_s - now_s, breaker_s)

    def enter(self, *, urgent: bool = False) -> float | None:
        """Return the time a request may be sent, which is now, or None where it may not."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            may = now_s >= self._paused_until_s and self._breaker.enter(now_s, urgent=urgent)
            return now_s if may else None

    def resting(self, wait_s: float) -> VenueError:
        """Return the error that tells a caller why nothing was asked."""
        words = f"{self.name} is not asked for {wait_s:.0f} s more: {self._reason or 'it rests'}"
        if self._kind is Kind.BAN:
            return BannedError(words, 418, retryable=True, retry_after_s=wait_s)
        if self._kind in RESTS:
            is_region = self._kind is Kind.REGION
            return BlockedError(words, retryable=not is_region, retry_after_s=wait_s)
        return HostRestingError(words, retryable=True, retry_after_s=wait_s)

    def is_barred(self) -> bool:
        """Tell whether a region rule closes this host."""
        return self._kind is Kind.REGION and self.wait_s() > 0

    def succeeded(self, sent_s: float) -> None:
        """Take that a request was answered properly."""
        with self._changing():
            self._breaker.succeeded(sent_s)

    def failed(self, sent_s: float, reason: str) -> None:
        """Take that a request was not answered, or by an error of the server."""
        with self._changing() as (now_s, is_open):
            if not is_open:
                self._explain(Kind.RETRY, f"it fails again and again, last: {reason}")
            self._breaker.failed(sent_s, now_s)

    def refused(self, sent_s: float, wait_s: float, reason: str) -> None:
        """Take that a request was refused for its rate: everybody pauses."""
        with self._changing() as (now_s, is_open):
            self._paused_until_s = max(self._paused_until_s, now_s + wait_s)
            if not is_open:
                self._explain(Kind.RATE, reason)
            self._breaker.refused(sent_s, now_s)

    def left(self, sent_s: float) -> None:
        """Take that a request came to no verdict on the host."""
        with self._lock:
            self._breaker.left(sent_s)

    def shut(self, kind: Kind, reason: str) -> float:
        """Leave the host alone after a block or a region rule; return for how long, seconds."""
        with self._changing() as (now_s, _):
            self._explain(kind, reason)
            self._breaker.trip(now_s, RESTS[kind])
        return RESTS[kind]

    def ban(self, wait_s: float, reason: str) -> None:
        """Leave the host alone until a ban ends, restart or not."""
        now_us = self._clock.wall_us()
        until_us = now_us + int(wait_s * 1e6)
        self._take_ban(until_us, now_us, reason)
        self._bans.keep(self.name, until_us, reason, now_us)

    def count(self, outcome: str, seconds: float) -> None:
        """Count an answer by its status, or `lost`."""
        with self._lock:
            self._answers[outcome] += 1
            self._seconds += seconds
            self._slowness[bisect_left(SLOWNESS_S, seconds)] += 1

    def status(self) -> HostStatus:
        """Return the state for people."""
        wait_s = self.wait_s()
        with self._lock:
            is_banned = self._banned_until_us > self._clock.wall_us()
            return HostStatus(
                host=self.name,
                state=self._breaker.state(self._clock.monotonic_s()),
                rests_s=wait_s,
                reason=self._reason if wait_s else "",
                banned_until_us=self._banned_until_us if is_banned else None,
                answers=dict(self._answers),
                seconds=self._seconds,
                slowness=tuple(self._slowness),
            )

    def reset(self) -> None:
        """Close the breaker by hand; a ban stays until its end."""
        with self._lock:
            self._breaker.reset()
            self._paused_until_s = float("-inf")
            until_us, reason = self._banned_until_us, self._reason
        now_us = self._clock.wall_us()
        if until_us > now_us:
            self._take_ban(until_us, now_us, reason)

    def _read_bans(self) -> None:
        # Whoever comes while the table is read for the first time must wait for the answer.
        with self._reading:
            now_s = self._clock.monotonic_s()
            if now_s - self._bans_read_s < BANS_READ_S:
                return
            self._bans_read_s = now_s
            until_us, reason = self._bans.until(self.name)
            now_us = self._clock.wall_us()
            until_us = min(until_us, now_us + int(LONGEST_BAN_S * 1e6))
            if until_us > max(now_us, self._banned_until_us):
                self._take_ban(until_us, now_us, reason)

    def _take_ban(self, until_us: int, now_us: int, reason: str) -> None:
        with self._changing() as (now_s, _):
            self._banned_until_us = until_us
            self._explain(Kind.BAN, reason)
            self._breaker.trip(now_s, (until_us - now_us) / 1e6)

    def _explain(self, kind: Kind, reason: str) -> None:
        self._kind, self._reason = kind, reason

    @contextmanager
    def _changing(self) -> Iterator[tuple[float, bool]]:
        """Change the breaker: give the time and whether it is open, and log what becomes of it."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            was = self._breaker.state(now_s)
            yield now_s, was == "open"
            state, for_s = self._breaker.state(now_s), self._breaker.wait_s(now_s)
            words = (self.name, for_s, self._reason)
            if state == "open" and was != "open":
                level = logging.ERROR if self._kind in LASTING else logging.WARNING
                log.log(level, "host left alone host=%s for_s=%.0f reason=%s", *words)
            elif state == "closed" and was != "closed":
                log.info("host asked again host=%s", self.name)
