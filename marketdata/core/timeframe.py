"""Names of candle intervals and their length."""

from __future__ import annotations

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
# The epoch was a Thursday; venues open weeks on Monday.
MONDAY_US = 4 * DAY_US

TIMEFRAMES: dict[str, int] = {
    "1m": MINUTE_US,
    "3m": 3 * MINUTE_US,
    "5m": 5 * MINUTE_US,
    "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US,
    "1h": HOUR_US,
    "2h": 2 * HOUR_US,
    "4h": 4 * HOUR_US,
    "6h": 6 * HOUR_US,
    "8h": 8 * HOUR_US,
    "12h": 12 * HOUR_US,
    "1d": DAY_US,
    "1w": WEEK_US,
}


def open_us(ts_us: int, length_us: int) -> int:
    """Return the opening time of the candle that holds `ts_us`, both microseconds UTC.

    Examples
    --------
    >>> open_us(61_000_000, MINUTE_US)
    60000000
    """
    origin = MONDAY_US if length_us == WEEK_US else 0
    return (ts_us - origin) // length_us * length_us + origin
