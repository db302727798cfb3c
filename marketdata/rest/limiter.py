"""`Limiter`: one per address of ours. Requests wait here, by priority, until the venue has room."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import IntEnum

from marketdata.core.errors import BadInputError, StoppedError
from marketdata.core.ratewindow import AdaptiveRate, Admission, RateWindow, VenueMinute
from marketdata.rest.clock import CLOCK, SLICE_S, Clock

# Of the venue's own limit this much is left to others on our address and to its miscounts.
VENUE_SHARE = 0.8
# Of our limit this much is left to live repair, so that a backfill cannot delay it by a minute.
BACKFILL_SHARE = 0.9
# A backfill that waited so long stands in line like live repair: nobody starves.
PATIENT_S = 120.0


class Priority(IntEnum):
    """Who goes first."""

    LIVE = 0
    BACKFILL = 1


@dataclass(frozen=True, slots=True)
class LimiterStatus:
    """What is used of what may be used, in request weight.

    Parameters
    ----------
    used : int
        By us, in the last minute.
    limit : int
        What we may use in any minute at present.
    full_limit : int
        The same when the venue has not refused anything lately.
    venue_used : int
        By our address in the venue's present minute, as far as its headers and we know.
    venue_limit : int
        What the venue grants our address a minute.
    rate_per_s : float
        `used` per second.
    recovers_in_s : float
        Until `limit` is `full_limit` again, should nothing be refused.
    waiting : int
        Requests that wait for room.
    refusals : int
        Times the venue refused for rate.
    """

    used: int
    limit: int
    full_limit: int
    venue_used: int
    venue_limit: int
    rate_per_s: float
    recovers_in_s: float
    waiting: int
    refusals: int


@dataclass(slots=True, eq=False)
class _Waiter:
    priority: Priority
    weight: int
    number: int
    since_s: float


class Limiter:
    """Admits requests so that no minute, ours or the venue's, holds more weight than it may.

    Parameters
    ----------
    limit : int
        Most weight we use in any minute; the setting.
    venue_limit : int
        What the venue grants; `grant` replaces it by what the venue says.
    pace_s : float
        Least time between two backfill admissions.
    """

    def __init__(
        self, limit: int, venue_limit: int, pace_s: float = 0.0, clock: Clock = CLOCK
    ) -> None:
        self.wanted = limit
        self.venue_limit = venue_limit
        self.pace_s = pace_s
        self.refusals = 0
        self._clock = clock
        self._changed = threading.Condition()
        self._window = RateWindow()
        self._minute = VenueMinute()
        self._rate = AdaptiveRate(self._ceiling_of_ours())
        self._waiters: list[_Waiter] = []
        self._numbered = 0
        self._paced_until_s = float("-inf")

    def acquire(self, weight: int, priority: Priority, stop: threading.Event) -> Admission:
        """Wait for room and take it; the admission is to be given to `answered` or `refund`.

        Raises
        ------
        BadInputError
            A weight that never fits.
        StoppedError
        """
        with self._changed:
            waiter = self._joined(weight, priority)
            try:
                while (wait_s := self._wait_s(waiter)) > 0:
                    if stop.is_set():
                        raise StoppedError(f"stopped while waiting for room for weight {weight}")
                    self._clock.wait(self._changed, min(wait_s, SLICE_S))
                return self._admit(waiter)
            finally:
                self._waiters.remove(waiter)
                self._changed.notify_all()

    def answered(
        self, admission: Admission, used: int | None = None, second: int | None = None
    ) -> None:
        """Take the outcome: the venue's own count and second of the minute, where it told them."""
        with self._changed:
            now_s = self._clock.monotonic_s()
            self._minute.answered(admission.weight, now_s, used, second)
            self._changed.notify_all()

    def refund(self, admission: Admission) -> None:
        """Give back room that was taken for a request that was not sent."""
        with self._changed:
            self._window.refund(admission)
            self._minute.withdrawn(admission.weight)
            self._changed.notify_all()

    def refused(self, admission: Admission, rests_s: float = 0.0) -> None:
        """Slow down: the venue refused this request for its rate, and is not asked for a while."""
        with self._changed:
            self.refusals += 1
            self._rate.refused(admission.at_s, self._clock.monotonic_s(), rests_s)

    def grant(self, venue_limit: int) -> None:
        """Take what the venue says that it grants a minute."""
        with self._changed:
            if venue_limit > 0 and venue_limit != self.venue_limit:
                self.venue_limit = venue_limit
                self._rate.full = self._ceiling_of_ours()
                self._changed.notify_all()

    def status(self) -> LimiterStatus:
        """Return what is used and what may be."""
        with self._changed:
            now_s = self._clock.monotonic_s()
            used = self._window.used(now_s)
            return LimiterStatus(
                used=used,
                limit=self._rate.limit(now_s),
                full_limit=self._rate.full,
                venue_used=self._minute.total(now_s),
                venue_limit=self.venue_limit,
                rate_per_s=used / self._window.span_s,
                recovers_in_s=self._rate.recovers_in_s(now_s),
                waiting=len(self._waiters),
                refusals=self.refusals,
            )

    def reset(self) -> None:
        """Return to the full limit and forget what the venue said; what we used stays counted."""
        with self._changed:
            self._rate.reset()
            self._minute.reset()
            self._changed.notify_all()

    def _ceiling(self) -> int:
        return max(1, int(self.venue_limit * VENUE_SHARE))

    def _ceiling_of_ours(self) -> int:
        return min(self.wanted, self._ceiling())

    def _joined(self, weight: int, priority: Priority) -> _Waiter:
        if weight > self._rate.full:
            raise BadInputError(
                f"a weight of at most {self._rate.full} expected, which is all of a minute's, "
                f"seen {weight}"
            )
        self._numbered += 1
        waiter = _Waiter(priority, weight, self._numbered, self._clock.monotonic_s())
        self._waiters.append(waiter)
        return waiter

    def _wait_s(self, waiter: _Waiter) -> float:
        """Return 0 where the waiter may go now, else when to look again."""
        now_s = self._clock.monotonic_s()
        if waiter is not min(self._waiters, key=lambda other: _place(other, now_s)):
            return SLICE_S
        pace_s = self._paced_until_s - now_s if waiter.priority is Priority.BACKFILL else 0.0
        room = self._room(waiter, now_s)
        if waiter.weight > room:
            return SLICE_S
        return max(
            pace_s,
            self._window.wait_s(waiter.weight, room, now_s),
            self._minute.wait_s(waiter.weight, self._ceiling(), now_s),
        )

    def _room(self, waiter: _Waiter, now_s: float) -> int:
        limit = self._rate.limit(now_s)
        if waiter.priority is Priority.BACKFILL:
            return max(min(waiter.weight, limit), int(limit * BACKFILL_SHARE))
        return limit

    def _admit(self, waiter: _Waiter) -> Admission:
        now_s = self._clock.monotonic_s()
        if waiter.priority is Priority.BACKFILL:
            self._paced_until_s = now_s + self.pace_s
        self._minute.sent(waiter.weight)
        return self._window.admit(waiter.weight, now_s)


def _place(waiter: _Waiter, now_s: float) -> tuple[int, int]:
    is_patient = now_s - waiter.since_s >= PATIENT_S
    return (Priority.LIVE if is_patient else waiter.priority), waiter.number
