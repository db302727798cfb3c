"""The venue's candle intervals, and when their candles open."""

from __future__ import annotations

import numpy as np

from marketdata.core.timeframe import DAY_US, SECOND_US, TIMEFRAMES, open_us
from marketdata.core.trades import Ints

MONTH = "1M"
LENGTHS = {"1s": SECOND_US, **TIMEFRAMES, "3d": 3 * DAY_US}
INTERVALS = (*LENGTHS, MONTH)


def opens(interval: str, start_us: int, end_us: int, offset_us: int = 0) -> Ints:
    """Return the opening times of the candles that overlap [start, end), ascending.

    Parameters
    ----------
    interval : str
        One of INTERVALS.
    start_us, end_us : int
        Microseconds since the epoch, UTC.
    offset_us : int
        How far the local clock that cuts days, weeks and months is ahead of UTC.
    """
    begin, end = start_us + offset_us, end_us + offset_us
    if interval == MONTH:
        months = np.array([begin, end - 1], dtype="datetime64[us]").astype("datetime64[M]")
        held = np.arange(months[0], months[1] + 1).astype("datetime64[us]")
        return np.asarray(held.astype(np.int64) - offset_us, dtype=np.int64)
    length_us = LENGTHS[interval]
    return np.arange(open_us(begin, length_us), end, length_us, dtype=np.int64) - offset_us


def next_open(interval: str, opened_us: int, offset_us: int = 0) -> int:
    """Return when the candle after the one that opened at `opened_us` opens."""
    if interval == MONTH:
        # 40 days later is always in the next month or the one after: the second opening is ours.
        return int(opens(interval, opened_us, opened_us + 40 * DAY_US, offset_us)[1])
    return opened_us + LENGTHS[interval]
