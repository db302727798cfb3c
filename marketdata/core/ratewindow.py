"""Counting request weight: our own sliding minute, the venue's minute, and a rate that adapts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from marketdata.core.errors import BadInputError

MINUTE_S = 60.0
# Ten steps of 0.1 are 1, in spite of float.
ROUNDING = 1e-9


@dataclass(slots=True, eq=False)
class Admission:
    """One request that may go: when it was admitted (seconds) and what it weighs."""

    at_s: float
    weight: int


class RateWindow:
    """Weight admitted in the last minute, ourselves counting.

    Parameters
    ----------
    span_s : float
        Length of the window in seconds.

    Notes
    -----
    The window is half-open, (now − span, now]. Any clock-aligned minute lies within the sliding
    minute that ends with its last admission, so a limit kept here is kept in every aligned
    minute too, whatever the venue's clock says. Times must not go back. Amortised O(1).
    """

    def __init__(self, span_s: float = MINUTE_S) -> None:
        self.span_s = span_s
        self._admitted: deque[Admission] = deque()
        self._sum = 0

    def used(self, now_s: float) -> int:
        """Return the weight in the window that ends now."""
        while self._admitted and self._admitted[0].at_s + self.span_s <= now_s:
            self._sum -= self._admitted.popleft().weight
        return self._sum

    def wait_s(self, weight: int, room: int, now_s: float) -> float:
        """Return after how many seconds `weight` fits beside the rest into `room`; 0 is now.

        Raises
        ------
        BadInputError
            A weight that does not fit into an empty window.
        """
        if weight > room:
            raise BadInputError(f"a weight of at most {room} expected, seen {weight}")
        excess = self.used(now_s) + weight - room
        if excess <= 0:
            return 0.0
        freed = accumulate(admission.weight for admission in self._admitted)
        last = next(
            row for row, weight in zip(self._admitted, freed, strict=True) if weight >= excess
        )
        return last.at_s + self.span_s - now_s

    def admit(self, weight: int, now_s: float) -> Admission:
        """Count a request that goes now."""
        admission = Admission(now_s, weight)
        self._admitted.append(admission)
        self._sum += weight
        return admission

    def refund(self, admission: Admission) -> None:
        """Forget a request that was admitted and not sent."""
        if admission in self._admitted:
            self._admitted.remove(admission)
            self._sum -= admission.weight


class VenueMinute:
    """What the venue says was used of its present minute, by us and by others on our address.

    Notes
    -----
    The truth lies between the last header and the header plus everything in flight; the upper
    end counts. Every answer tells the venue's second of the minute, so its end is known without
    trusting our clock.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._used = 0
        self._ends_s = float("-inf")

    def total(self, now_s: float) -> int:
        """Return the weight used in the venue's present minute, at most."""
        return self.in_flight + (self._used if now_s < self._ends_s else 0)

    def wait_s(self, weight: int, ceiling: int, now_s: float) -> float:
        """Return after how many seconds `weight` may fit below `ceiling`; 0 is now."""
        if self.total(now_s) + weight <= ceiling:
            return 0.0
        # With the minute over, only answers to what is in flight make room: ask again at each.
        return self._ends_s - now_s if now_s < self._ends_s else MINUTE_S

    def sent(self, weight: int) -> None:
        """Count a request as in flight."""
        self.in_flight += weight

    def withdrawn(self, weight: int) -> None:
        """Take back a request that was not sent after all."""
        self.in_flight -= weight

    def answered(
        self, weight: int, now_s: float, used: int | None = None, second: int | None = None
    ) -> None:
        """Take the outcome of a request.

        Parameters
        ----------
        weight : int
            As given to `sent`.
        now_s : float
            When the outcome was known, seconds.
        used : int, optional
            The venue's count; None where no answer told it, and the request may have counted.
        second : int, optional
            The venue's second of the minute, 0 to 59.
        """
        self.in_flight -= weight
        if used is None:
            if now_s >= self._ends_s:
                self._used, self._ends_s = 0, now_s + MINUTE_S
            self._used += weight
            return
        # A second has passed in part when it is told, and the answer took a while: one more.
        ends_s = now_s + MINUTE_S + 1 - (second or 0)
        if ends_s > self._ends_s + MINUTE_S / 2:
            self._used, self._ends_s = used, ends_s
        elif ends_s > self._ends_s - MINUTE_S / 2:
            self._used = max(self._used, used)

    def reset(self) -> None:
        """Forget what the venue said."""
        self._used, self._ends_s = 0, float("-inf")


class AdaptiveRate:
    """A limit that is halved when the venue refuses, and grows back in small steps.

    Parameters
    ----------
    full : int
        The limit when all is well.
    floor : int
        No halving goes below it.
    most_halvings : int
        Halvings between two full recoveries.
    step : float
        Share of `full` regained after each quiet span.
    quiet_s : float
        Length of that span in seconds.
    """

    def __init__(
        self,
        full: int,
        floor: int = 600,
        most_halvings: int = 3,
        step: float = 0.1,
        quiet_s: float = MINUTE_S,
    ) -> None:
        self.full = full
        self.floor = floor
        self.most_halvings = most_halvings
        self.step = step
        self.quiet_s = quiet_s
        self.halvings = 0
        self._share = 1.0
        self._since_s = float("-inf")

    def limit(self, now_s: float) -> int:
        """Return the limit that holds now."""
        share = self._share_at(now_s)
        return max(min(self.floor, self.full), int(self.full * share))

    def refused(self, sent_s: float, now_s: float, rests_s: float = 0.0) -> None:
        """Halve, unless the refused request went out before the last halving could help it.

        Parameters
        ----------
        sent_s, now_s : float
            When the request went out, and when it was known to be refused, seconds.
        rests_s : float
            Nothing is sent for so long, which is no quiet that proves anything.
        """
        if sent_s < self._since_s:
            return
        share = self._share_at(now_s)
        if self.halvings < self.most_halvings:
            self.halvings += 1
            share = max(share / 2, min(self.floor, self.full) / self.full)
        self._share, self._since_s = share, now_s + rests_s

    def recovers_in_s(self, now_s: float) -> float:
        """Return the seconds until the limit is full again, should no refusal come."""
        if self._share_at(now_s) >= 1.0:
            return 0.0
        steps = ceil((1.0 - self._share) / self.step - ROUNDING)
        return self._since_s + steps * self.quiet_s - now_s

    def reset(self) -> None:
        """Return to the full limit."""
        self.halvings, self._share, self._since_s = 0, 1.0, float("-inf")

    def _share_at(self, now_s: float) -> float:
        if self._share < 1.0:
            steps = max(0, int((now_s - self._since_s) / self.quiet_s))
            if self._share + steps * self.step >= 1.0 - ROUNDING:
                self.reset()
                return 1.0
            return self._share + steps * self.step
        return 1.0
