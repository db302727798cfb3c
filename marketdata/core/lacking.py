"""How many trades a window lacks, as far as a venue lets anybody know."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from marketdata.core.coverage import Run, count_of
from marketdata.core.instrument import Instrument
from marketdata.core.ticks import expected


def lacking(
    instrument: Instrument,
    ranges: Sequence[Run],
    held: int,
    ends: tuple[int, int] | None,
    times: tuple[int, int] | None,
    start_us: int,
    left_out: int = 0,
) -> int:
    """Count what is missing: by the venue's ids, by its cadence, or the holes alone.

    Parameters
    ----------
    ranges : sequence of (first, last)
        Ids that are missing, ascending.
    held : int
        Trades.
    ends, times : (first, last) or None
        Ids, and times in microseconds UTC, of the first and the last trade held; None without any.
    start_us : int
        Where the window begins.
    left_out : int
        Trades that the venue told and its feed did not, between numbers of ours that follow on
        each other. Ids and cadences count them by themselves.
    """
    if instrument.is_numbered:
        return count_of(ranges)
    if instrument.cadence_us is None or ends is None or times is None:
        return len(ranges) + left_out
    # Where a hole lies before the first tick, ticks are due from the window's beginning on.
    is_late = bool(ranges) and ranges[0][1] < ends[0]
    due = expected(start_us if is_late else times[0], times[1] + 1, instrument.cadence_us, times[1])
    return max(len(ranges), due - held)


def within(times: Sequence[int], start_us: int, end_us: int) -> int:
    """Return how many of some ascending times lie in [start_us, end_us)."""
    return max(0, bisect_left(times, end_us) - bisect_left(times, start_us))
