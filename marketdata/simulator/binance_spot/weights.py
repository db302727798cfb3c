"""Request weight: counted per window of the clock, refused beyond the limit, banned if ignored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MINUTE_S = 60
# So many requests after a 429, in the same window, and the address is banned.
PATIENCE = 20
BAN_S = 120


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the venue makes of a request: 200, 429 or 418, and the seconds to wait."""

    status: int
    used: int
    retry_after_s: int = 0


class Weights:
    """The weight that all clients of one address have used in this window.

    Parameters
    ----------
    limit : int
        Weight a window.
    clock_us : callable
        Wall clock, microseconds since the epoch; windows begin at second 00.
    minutes : int
        Length of a window.
    """

    def __init__(self, limit: int, clock_us: Callable[[], int], minutes: int = 1) -> None:
        self.limit = limit
        self._length_s = minutes * MINUTE_S
        self._clock_us = clock_us
        self._window = -1
        self._used = 0
        self._refused = 0
        self._banned_until_s = 0.0

    @property
    def used(self) -> int:
        """Weight used in this window."""
        self._turn()
        return self._used

    def charge(self, weight: int) -> Verdict:
        """Count a request and judge it."""
        now_s = self._turn()
        if now_s < self._banned_until_s:
            return Verdict(418, self._used, _up(self._banned_until_s - now_s))
        self._used += weight
        if self._used <= self.limit:
            return Verdict(200, self._used)
        self._refused += 1
        if self._refused > PATIENCE:
            self._banned_until_s = now_s + BAN_S
            return Verdict(418, self._used, BAN_S)
        return Verdict(429, self._used, _up(self._length_s - now_s % self._length_s))

    def _turn(self) -> float:
        now_s = self._clock_us() / 1e6
        window = int(now_s // self._length_s)
        if window != self._window:
            self._window, self._used, self._refused = window, 0, 0
        return now_s


def _up(seconds: float) -> int:
    return max(1, int(-(-seconds // 1)))
