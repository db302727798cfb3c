"""`Clock`: time and waiting, so that tests can move both by hand."""

from __future__ import annotations

import threading
import time

from marketdata.core.errors import StoppedError

# The longest a wait goes on without a look at the stop event.
SLICE_S = 0.2


class Clock:
    """The real one. Durations are monotonic; the wall clock is for times the venue names."""

    def monotonic_s(self) -> float:
        """Return seconds that only grow."""
        return time.monotonic()

    def wall_us(self) -> int:
        """Return microseconds UTC."""
        return time.time_ns() // 1000

    def wait(self, changed: threading.Condition, seconds: float) -> None:
        """Wait for a change, at most so long; the condition's lock is held."""
        changed.wait(seconds)

    def pause(self, seconds: float, stop: threading.Event) -> None:
        """Let time pass. Raises StoppedError as soon as `stop` is set."""
        if stop.wait(seconds):
            raise StoppedError(f"stopped while waiting {seconds:.1f} s")


CLOCK = Clock()
