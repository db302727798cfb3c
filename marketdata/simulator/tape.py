"""A recorded tape as a market: its trades become public as it plays."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np

from marketdata.core.errors import TapeError
from marketdata.core.instrument import Grid
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.simulator.fills import ONE_EACH


class RecordedMarket:
    """The trades of a tape, public up to where it has been played.

    Parameters
    ----------
    symbol : str
        The venue's spelling.
    trades : Trades
        The whole tape, ascending ids; at least one trade.
    speed : float
        1 plays in real time, N plays N times as fast, 0 plays as fast as clients read.
    source : str
        Name of the feed that the tape was recorded from.

    Notes
    -----
    The clock is the tape's: it waits for the first trade until `start`, runs between trades, and
    stands still at the last one. A tape holds aggregates or raw trades, not both; it is served as
    aggregates of one raw trade with the same id.
    """

    label = "recorded"
    fills = ONE_EACH

    def __init__(
        self, symbol: str, trades: Trades, speed: float = 1.0, source: str = "binance_ws"
    ) -> None:
        if not len(trades):
            raise TapeError(f"tape of {symbol}: at least one trade expected, seen none")
        self.symbol = symbol
        self.source = source
        self.grid = Grid.of_values(trades.price, trades.qty)
        self.speed = speed
        self.played = 0
        self._trades = trades
        # Recorders write some rows out of order; time is searched in what is never behind.
        self._latest_us = np.maximum.accumulate(trades.ts_us)
        self._started: float | None = None

    @classmethod
    def open(cls, path: Path, speed: float = 1.0, symbol: str | None = None) -> RecordedMarket:
        """Read a tape file whole; `symbol` replaces the one found in it. Raises TapeError."""
        from marketdata.store.tape import open_tape

        tape = open_tape(path, symbol=symbol)
        return cls(tape.symbol, Trades.concat(tape.batches(100_000)).sorted(), speed, tape.source)

    def __len__(self) -> int:
        return len(self._trades)

    def start(self) -> None:
        """Let the clock run; a second call changes nothing."""
        if self._started is None:
            self._started = time.monotonic()

    @property
    def is_paced(self) -> bool:
        """Whether readers set the pace."""
        return self.speed == 0

    @property
    def ended(self) -> bool:
        """Whether every trade has been played."""
        return self.played >= len(self._trades)

    def now_us(self) -> int:
        """Return the tape's clock, never behind what was played nor past what was not."""
        newest = int(self._latest_us[max(0, self.played - 1)])
        coming = int(self._latest_us[min(self.played, len(self) - 1)])
        return max(newest, min(coming, self._target_us()))

    def due(self, at_most: int) -> Trades:
        """Play the trades whose time has come, `at_most` at once, and return them."""
        stop = min(len(self), self.played + at_most)
        if self.speed:
            target_us = self._target_us()
            ready = int(np.searchsorted(self._latest_us, target_us, side="right"))
            stop = min(stop, max(ready, self.played)) if self._started is not None else self.played
        batch = self._trades[self.played : stop]
        self.played = stop
        return batch

    def wait_s(self) -> float:
        """Return the wall seconds until the next trade is due; endless when there is none."""
        if self.ended:
            return math.inf
        if not self.speed:
            return 0.0
        behind_us = int(self._latest_us[self.played]) - self._target_us()
        return max(0.0, behind_us / 1e6 / self.speed)

    @property
    def first_id(self) -> int:
        """The tape's first id."""
        return int(self._trades.id[0])

    @property
    def last_id(self) -> int:
        """The last id played; the one before the tape when nothing was."""
        return int(self._trades.id[self.played - 1]) if self.played else self.first_id - 1

    def id_at(self, ts_us: int) -> int:
        """Return the first id whose time is at or after `ts_us`."""
        row = int(np.searchsorted(self._latest_us, ts_us))
        return int(self._trades.id[row]) if row < len(self) else int(self._trades.id[-1]) + 1

    def slice(self, first: int, last: int) -> Trades:
        """Return the trades with ids in [first, last], played or not."""
        low = int(np.searchsorted(self._trades.id, first))
        high = int(np.searchsorted(self._trades.id, last, side="right"))
        return self._trades[low:high]

    def after(self, id: int, limit: int) -> Trades:
        """Return the next `limit` trades with a greater id, played or not."""
        low = int(np.searchsorted(self._trades.id, id, side="right"))
        return self._trades[low : low + limit]

    def archived(self, day_us: int) -> tuple[int, int] | None:
        """Return first and last id of the day where the tape holds it, played or not."""
        low, high = np.searchsorted(self._latest_us, (day_us, day_us + DAY_US))
        if low == high:
            return None
        return int(self._trades.id[low]), int(self._trades.id[high - 1])

    def _target_us(self) -> int:
        first = int(self._latest_us[0])
        if self._started is None:
            return first
        return first + int((time.monotonic() - self._started) * self.speed * 1e6)
