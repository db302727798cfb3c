"""What the tests of feeds share: a listener that remembers, and waiting with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from marketdata.core.coverage import Coverage, runs_of
from marketdata.core.errors import FrameError
from marketdata.core.events import Batch
from marketdata.core.facts import Fact
from marketdata.feeds.ingestor import FeedStatus
from marketdata.feeds.supervisor import Policy, Supervisor
from marketdata.venues import VENUES

VENUE = VENUES["binance_ws"]
WAIT_S = 15.0
# Silence counts in tenths of a second here; a market of forty trades a second never pauses so long.
QUICK = Policy(stale_s=0.4, dead_s=1.0, roll_s=3600.0, backoff_s=0.05, backoff_cap_s=0.2)


class Listener:
    """Remembers trades, refusals and states."""

    def __init__(self) -> None:
        self.ids: dict[str, list[int]] = {}
        self.errors: list[FrameError] = []
        self.statuses: list[FeedStatus] = []
        self.opens: list[tuple[str, ...]] = []
        self.closes: list[tuple[str, ...]] = []
        self.seen: list[tuple[str, Fact]] = []
        self.answers: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def trades(self, symbol: str, batch: Batch) -> None:
        with self._lock:
            self.ids.setdefault(symbol, []).extend(batch.trades.id.tolist())

    def opened(self, symbols: Sequence[str]) -> None:
        self.opens.append(tuple(symbols))

    def facts(self, facts: Sequence[tuple[str, Fact]]) -> None:
        self.seen.extend(facts)

    def replies(self, replies: Mapping[int, bytes]) -> None:
        self.answers.update(replies)

    def closed(self, symbols: Sequence[str]) -> None:
        self.closes.append(tuple(symbols))

    def rejected(self, error: FrameError) -> None:
        self.errors.append(error)

    def status(self, status: FeedStatus) -> None:
        self.statuses.append(status)

    def count(self, symbol: str = "BTCUSDT") -> int:
        return len(self.ids.get(symbol, ()))

    def held(self, symbol: str = "BTCUSDT") -> Coverage:
        import numpy as np

        with self._lock:
            ids = np.unique(np.array(self.ids.get(symbol, []), dtype=np.int64))
        return Coverage(runs_of(ids))

    @property
    def states(self) -> list[str]:
        """The states in order, repeats left out."""
        states = [status.state for status in self.statuses]
        return [state for at, state in enumerate(states) if at == 0 or states[at - 1] != state]


def supervised(
    url: str,
    listener: Listener,
    symbols: tuple[str, ...] = ("BTCUSDT",),
    policy: Policy = QUICK,
    channel: str = "aggTrade",
) -> Supervisor:
    return Supervisor(
        VENUE,
        VENUE.channels[channel],
        url,
        symbols,
        listener,
        policy,
        lambda: time.time_ns() // 1000,
    )


def until(holds: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.005)
