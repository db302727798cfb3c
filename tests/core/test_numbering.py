"""Numbers that we give: dense where nothing can be missing, a jump where something may be."""

from __future__ import annotations

import numpy as np

from marketdata.core.numbering import begun, day_numbers, number_at, numbered, time_at
from marketdata.core.trades import Trades

# 2026-08-09T00:00:00Z, and what 2019-01-01 to there is in milliseconds.
DAY_US = 86_400_000_000
SUNDAY_US = 1_786_233_600_000_000
SINCE_2019_MS = 1_786_233_600_000 - 1_546_300_800_000


def at(*ts_us: int) -> Trades:
    count = len(ts_us)
    refs = np.array([b"%d" % n for n in range(count)])
    return Trades.of([0] * count, ts_us, [1.0] * count, [1.0] * count, [True] * count, ref=refs)


def test_a_number_is_its_millisecond_times_1024():
    assert number_at(SUNDAY_US) == SINCE_2019_MS * 1024
    assert number_at(SUNDAY_US + 999) == number_at(SUNDAY_US)
    assert number_at(SUNDAY_US + 1000) == number_at(SUNDAY_US) + 1024
    assert time_at(number_at(SUNDAY_US) + 1023) == SUNDAY_US
    assert number_at(0) == 0


def test_numbers_fit_the_store_and_json_until_2088():
    assert number_at(3_723_000_000_000_000) < 2**51


def test_a_stretch_is_dense_whatever_its_times():
    trades, unused = numbered(at(SUNDAY_US, SUNDAY_US, SUNDAY_US + 7_000_000), -1)
    first = SINCE_2019_MS * 1024
    assert trades.id.tolist() == [first, first + 1, first + 2]
    assert unused == []
    later, unused = numbered(at(SUNDAY_US + 9_000_000), first + 2)
    assert later.id.tolist() == [first + 3]
    assert unused == []


def test_a_day_keeps_to_its_own_numbers_and_says_which_are_left_over():
    monday = SUNDAY_US + DAY_US
    trades, unused = numbered(at(monday - 1000, monday - 1000, monday, monday + 1), 5_000)
    first_of_monday = (SINCE_2019_MS + 86_400_000) * 1024
    # 5,001 lies years before Sunday: numbers of a stretch follow, but never into another day.
    assert trades.id.tolist()[2:] == [first_of_monday, first_of_monday + 1]
    assert trades.id.tolist()[:2] == [SINCE_2019_MS * 1024, SINCE_2019_MS * 1024 + 1]
    assert unused == [
        (5_001, SINCE_2019_MS * 1024 - 1),
        (SINCE_2019_MS * 1024 + 2, first_of_monday - 1),
    ]
    assert day_numbers(monday)[0] == first_of_monday
    assert day_numbers(SUNDAY_US)[1] == first_of_monday - 1


def test_a_new_stretch_jumps_even_within_one_millisecond():
    first, _ = numbered(at(SUNDAY_US, SUNDAY_US), -1)
    second, unused = begun(at(SUNDAY_US, SUNDAY_US + 1000), int(first.id[-1]))
    assert second.id.tolist() == [first.id[-1] + 2, first.id[-1] + 3]
    assert unused == []
    third, _ = begun(at(SUNDAY_US + 5_000_000), int(second.id[-1]))
    assert third.id.tolist() == [number_at(SUNDAY_US + 5_000_000)]


def test_no_trades_take_no_numbers():
    assert len(begun(at(), 7)[0]) == 0
    assert len(numbered(at(), 7)[0]) == 0
