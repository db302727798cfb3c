"""Numbers for trades that their venue does not number one by one.

Where a venue tells trades apart by UUIDs, by numbers that symbols share, or by time alone, we
number them: one after the other within a stretch that is known to be whole. What begins after an
unknown pause, and each UTC day, begins at a number made of its time. So numbers ascend with time,
those of a day lie in the day's own block, and what is not known to be held is a jump, just as with
a venue's own ids. How far it jumps says nothing about how many trades are missing.
"""

from __future__ import annotations

from marketdata.core.coverage import Run
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.core.trades import Trades

# 2019-01-01: before the first trade of the venues that need it. 41 bits of milliseconds last until
# 2088, and ten more bits leave room for any burst; the store takes 51 bits.
EPOCH_US = 1_546_300_800_000_000
ROOM_BITS = 10


def number_at(ts_us: int) -> int:
    """Return the number at which a stretch that begins at a time begins.

    Parameters
    ----------
    ts_us : int
        Microseconds UTC.
    """
    return max(0, (ts_us - EPOCH_US) // 1000) << ROOM_BITS


def time_at(number: int) -> int:
    """Return the time of which a number is made, microseconds UTC: no later than its trade's."""
    return (number >> ROOM_BITS) * 1000 + EPOCH_US


def day_numbers(day_us: int) -> Run:
    """Return the first and last number of a UTC day."""
    return number_at(day_us), number_at(day_us + DAY_US) - 1


def numbered(trades: Trades, last: int) -> tuple[Trades, list[Run]]:
    """Give numbers to trades that follow without a hole on the one numbered `last`.

    Parameters
    ----------
    trades : Trades
        In the order in which they were matched.
    last : int
        Number of the trade before; -1 where there is none: a new stretch begins.

    Returns
    -------
    trades : Trades
        With ascending ids.
    unused : list of (first, last)
        Numbers that no trade will have, because a day ended: they are not missing.
    """
    parts: list[Trades] = []
    unused: list[Run] = []
    start = 0
    while start < len(trades):
        day_us = open_us(int(trades.ts_us[start]), DAY_US)
        end = start + _within(trades, start, day_us + DAY_US)
        first = _first(trades, start, last, day_us)
        if 0 <= last < first - 1:
            unused.append((last + 1, first - 1))
        parts.append(_counted(trades[start:end], first))
        last, start = first + end - start - 1, end
    return Trades.concat(parts), unused


def begun(trades: Trades, last: int) -> tuple[Trades, list[Run]]:
    """Give numbers to trades before which some may be missing: `numbered` after a jump."""
    if not len(trades):
        return trades, []
    at = max(number_at(int(trades.ts_us[0])), last + 2)
    head = _within(trades, 0, open_us(int(trades.ts_us[0]), DAY_US) + DAY_US)
    first, rest = _counted(trades[:head], at), trades[head:]
    if not len(rest):
        return first, []
    later, unused = numbered(rest, int(first.id[-1]))
    return Trades.concat([first, later]), unused


def _first(trades: Trades, start: int, last: int, day_us: int) -> int:
    if last < 0:
        return number_at(int(trades.ts_us[start]))
    return max(last + 1, number_at(day_us))


def _within(trades: Trades, start: int, end_us: int) -> int:
    """Count the trades from `start` on that come before the first one at or after a time."""
    later = trades.ts_us[start:] >= end_us
    return int(later.argmax()) if later.any() else len(later)


def _counted(trades: Trades, first: int) -> Trades:
    ids = range(first, first + len(trades))
    return Trades.of(ids, trades.ts_us, trades.price, trades.qty, trades.is_buy, ref=trades.ref)
