from datetime import UTC, datetime

import numpy as np
import pytest

from marketdata.core.bar import buckets
from marketdata.core.timeframe import DAY_US, TIMEFRAMES, WEEK_US, open_us


def us(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("timeframe", "at", "opens"),
    [
        ("1m", "2024-01-01 10:17:59", "2024-01-01 10:17"),
        ("1m", "2024-01-01 10:18:00", "2024-01-01 10:18"),
        ("5m", "2024-01-01 10:17:59", "2024-01-01 10:15"),
        ("4h", "2024-01-01 15:59:59", "2024-01-01 12:00"),
        ("1d", "2024-02-29 23:59:59", "2024-02-29 00:00"),
        # 2024-01-01 was a Monday; a week opens then and holds the following Sunday.
        ("1w", "2024-01-01 00:00:00", "2024-01-01 00:00"),
        ("1w", "2024-01-07 23:59:59", "2024-01-01 00:00"),
        ("1w", "2024-01-08 00:00:00", "2024-01-08 00:00"),
        ("1w", "2023-12-31 23:59:59", "2023-12-25 00:00"),
    ],
)
def test_an_interval_opens_at_a_whole_multiple_and_a_week_on_monday(timeframe, at, opens):
    assert open_us(us(at), TIMEFRAMES[timeframe]) == us(opens)


def test_every_timeframe_is_its_name_long():
    unit_us = {"m": 60_000_000, "h": 3_600_000_000, "d": DAY_US, "w": WEEK_US}
    for name, length_us in TIMEFRAMES.items():
        assert length_us == int(name[:-1]) * unit_us[name[-1]]


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_columns_open_as_single_times_do(timeframe):
    times = np.random.default_rng(7).integers(0, 4_102_444_800_000_000, 500)
    length_us = TIMEFRAMES[timeframe]
    assert buckets(times, length_us).tolist() == [open_us(int(ts), length_us) for ts in times]
