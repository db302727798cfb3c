import pytest

from marketdata.simulator.intervals import INTERVALS, next_open, opens
from tests.simulator.conftest import at_us

HOUR = 3_600_000_000


def opened(interval, start, end, offset_us=0):
    return opens(interval, at_us(start), at_us(end), offset_us).tolist()


def test_all_of_the_venues_intervals_are_known():
    assert set(INTERVALS) == {
        *("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h"),
        *("1d", "3d", "1w", "1M"),
    }


def test_the_candle_under_way_at_the_start_is_included_and_the_end_is_not():
    got = opened("1h", "2026-03-04T10:30:00", "2026-03-04T13:00:00")
    assert got == [at_us(f"2026-03-04T{hour}:00:00") for hour in (10, 11, 12)]


def test_weeks_open_on_monday_and_months_on_the_first():
    # 2026-03-04 is a Wednesday.
    assert opened("1w", "2026-03-04T00:00:00", "2026-03-10T00:00:00") == [
        at_us("2026-03-02T00:00:00"),
        at_us("2026-03-09T00:00:00"),
    ]
    months = opened("1M", "2024-01-31T23:59:59", "2024-03-01T00:00:01")
    assert months == [at_us(f"2024-0{month}-01T00:00:00") for month in (1, 2, 3)]
    assert next_open("1M", months[1]) == at_us("2024-03-01T00:00:00")
    assert next_open("1d", months[1]) == at_us("2024-02-02T00:00:00")


@pytest.mark.parametrize("interval", ["1d", "1M"])
def test_a_time_zone_moves_the_cut(interval):
    # Midnight of UTC+8 on 1 March is 16:00 UTC of 28 February.
    start, end = "2026-02-28T17:00:00", "2026-02-28T18:00:00"
    assert opened(interval, start, end, 8 * HOUR) == [at_us("2026-02-28T16:00:00")]
    after = next_open(interval, at_us("2026-02-28T16:00:00"), 8 * HOUR)
    days = {"1d": "2026-03-01T16:00:00", "1M": "2026-03-31T16:00:00"}
    assert after == at_us(days[interval])
