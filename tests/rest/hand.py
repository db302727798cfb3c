"""Clocks that tests move, and bans kept in memory."""

from __future__ import annotations

import threading
import time

from marketdata.core.errors import StoppedError
from marketdata.rest.clock import Clock

START_US = 1_760_000_400_000_000


class HandClock(Clock):
    """Waiting moves it; nothing sleeps. With `is_held`, only the test moves it."""

    def __init__(self, is_held=False):
        self.now_s = 1000.0
        self.is_held = is_held
        self.pauses: list[float] = []

    def monotonic_s(self):
        return self.now_s

    def wall_us(self):
        return START_US + int((self.now_s - 1000.0) * 1e6)

    def wait(self, changed, seconds):
        if self.is_held:
            changed.wait(0.005)
        else:
            self.now_s += seconds

    def pause(self, seconds, stop):
        if stop.is_set():
            raise StoppedError("stopped")
        if seconds:
            self.pauses.append(seconds)
            self.now_s += seconds


class ScaledClock(Clock):
    """Real, and `speed` times as fast."""

    def __init__(self, speed):
        self.speed = speed

    def monotonic_s(self):
        return time.monotonic() * self.speed

    def wait(self, changed, seconds):
        changed.wait(seconds / self.speed)


class MemoryBans:
    """Outlives clients, as the table does."""

    def __init__(self):
        self.rows: dict[str, tuple[int, str]] = {}

    def until(self, host):
        return self.rows.get(host, (0, ""))

    def keep(self, host, until_us, reason, now_us):
        self.rows[host] = (until_us, reason)


def until(condition, deadline_s=5.0):
    """Wait for something that must come true."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.002)


def in_thread(work):
    """Run `work` beside the test."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
