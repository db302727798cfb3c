"""The limits a venue puts on its clients, and time as the simulator reads it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """Limits of the venue; the defaults are those that Binance spot documents.

    Parameters
    ----------
    weight_per_minute : int
        Request weight of all clients of one address in a minute of the clock.
    connects : int
        Stream connections of one address within five minutes.
    streams : int
        Streams of one connection.
    messages_per_s : int
        Frames a client may send in any second, pongs included.
    ping_every_s, pong_within_s : float
        When the venue pings, and how long it waits for the pong.
    lifetime_s : float
        Age at which a stream connection is closed.
    """

    weight_per_minute: int = 6000
    connects: int = 300
    streams: int = 1024
    messages_per_s: int = 5
    ping_every_s: float = 20.0
    pong_within_s: float = 60.0
    lifetime_s: float = 86_400.0


class Allowance:
    """So many events in any stretch of so many seconds."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count, self._seconds = count, seconds
        self._times: deque[float] = deque(maxlen=count)

    def allows(self) -> bool:
        """Count one event and tell whether it was within the allowance."""
        now_s = time.monotonic()
        full = len(self._times) == self._count
        within = not full or now_s - self._times[0] >= self._seconds
        self._times.append(now_s)
        return within


def wall_us() -> int:
    """Return the wall clock, microseconds since the epoch, UTC."""
    return time.time_ns() // 1000
