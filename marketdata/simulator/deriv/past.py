"""History: which ticks and candles a request means, and what they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from marketdata.core.timeframe import SECOND_US
from marketdata.core.trades import Trades
from marketdata.simulator.deriv.requests import LEGACY, RefusedError, Request
from marketdata.simulator.markets import Market

DAY_S = 86_400
YEAR_S = 365 * DAY_S
FUTURE_S = 300
DEFAULT_COUNT, MOST = 1000, 5000
# Ticks of about so many seconds are in memory at once.
CHUNK_S = 200_000


class Candle(NamedTuple):
    """One candle; `epoch` is where it opens."""

    epoch: int
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True)
class Window:
    """What a request means.

    Parameters
    ----------
    start, end : int
        Seconds since the epoch, both inclusive; nothing where `start` is later.
    count : int
        How many at most; the newest win.
    granularity : int
        Seconds of a candle; 0 for ticks.
    is_aligned : bool
        False: the first candle begins at `start`, be that in the middle of one.
    """

    start: int
    end: int
    count: int
    granularity: int
    is_aligned: bool

    @classmethod
    def of(cls, request: Request, dialect: str, now: int) -> Window:
        """Read a request, checked already, at second `now`."""
        start, end = request.get("start"), request.get("end")
        is_legacy = dialect == LEGACY
        last = now if end == "latest" else min(int(end), now)
        if is_legacy and last <= now - YEAR_S:
            last = now
        if start is None and request.get("style") == "candles":
            start = _looked_back(request, last)
        if start is None:
            start = last - DAY_S
        count = request.get("count", DEFAULT_COUNT)
        return cls(
            _legacy_start(start, last, now) if is_legacy else max(start, now - YEAR_S),
            last,
            min(MOST, count) if count > 0 else DEFAULT_COUNT,
            granularity(request),
            is_legacy,
        )

    @property
    def work_s(self) -> int:
        """Seconds of ticks that must be looked at, at most."""
        wanted = self.count * self.granularity if self.granularity else 3 * self.count
        return max(0, min(self.end - self.start, wanted))


def check(request: Request) -> None:
    """Raise RefusedError where a request ends before it begins."""
    start, end = request.get("start"), request.get("end")
    if start is not None and end != "latest" and start > int(end):
        raise RefusedError("InvalidStartEnd", f"Start time {start} must be before end time {end}")


def granularity(request: Request) -> int:
    """Return the seconds of the candles that are asked for; 0 for ticks."""
    return int(request.get("granularity", 60)) if request.get("style") == "candles" else 0


def ticks(market: Market, window: Window) -> Trades:
    """Return the newest public ticks of a window, oldest first."""
    last = min(market.last_id, market.id_at((window.end + 1) * SECOND_US) - 1)
    first = max(market.first_id, market.id_at(window.start * SECOND_US), last - window.count + 1)
    return market.slice(first, last)


def candles(market: Market, window: Window) -> list[Candle]:
    """Return the newest candles of a window, oldest first; the last one may be under way."""
    length = window.granularity
    start = window.start // length * length if window.is_aligned else window.start
    start = max(start, (window.end // length - window.count + 1) * length)
    step = max(1, CHUNK_S // length) * length
    edges = [start, *range(start // length * length + step, window.end + 1, step)]
    return [
        candle
        for begin, end in zip(edges, [*edges[1:], window.end + 1], strict=True)
        for candle in _candles(between(market, begin, end), begin, length)
    ]


def between(market: Market, begin: int, end: int) -> Trades:
    """Return the public ticks of the seconds [begin, end)."""
    first = max(market.first_id, market.id_at(begin * SECOND_US))
    return market.slice(first, min(market.last_id, market.id_at(end * SECOND_US) - 1))


def _candles(trades: Trades, begin: int, length: int) -> Iterator[Candle]:
    if not len(trades):
        return
    opens = np.maximum(begin, trades.ts_us // SECOND_US // length * length)
    rows = np.flatnonzero(np.diff(opens, prepend=opens[0] - 1))
    ends = np.append(rows[1:], len(opens)) - 1
    price = trades.price
    yield from map(
        Candle,
        opens[rows].tolist(),
        price[rows].tolist(),
        np.maximum.reduceat(price, rows).tolist(),
        np.minimum.reduceat(price, rows).tolist(),
        price[ends].tolist(),
    )


def _looked_back(request: Request, last: int) -> int | None:
    """Return where candles begin that are asked for by count and granularity alone."""
    count, granularity = request.get("count"), request.get("granularity")
    if not count or not granularity:
        return None
    return int(max(0, last - min(MOST, count) * granularity + 1))


def _legacy_start(start: int, last: int, now: int) -> int:
    """Bring a start that is too old or in the future to the last day, without a word."""
    if not now - YEAR_S < start <= now + FUTURE_S:
        start = now - DAY_S
    return last - DAY_S if start > last else start
