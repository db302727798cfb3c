"""Values as JSON: exact decimals, times, profiles regrouped, nothing that is no JSON."""

import json
import random
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from marketdata.context import Definition, MarketContext
from marketdata.core.bar import Bar
from marketdata.core.coverage import ScopeCoverage
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.trades import Trades
from marketdata.metrics.profile import Rows
from marketdata.payload import (
    _times,
    bars_payload,
    context_payload,
    counts,
    encode,
    iso,
    precision,
    profile_payload,
    regrouping,
)
from marketdata.pipeline import Pipeline

GRID = Grid(Decimal("0.01"), Decimal("0.00001"))


@pytest.mark.parametrize(
    ("ts_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_704_067_199_999_999, "2023-12-31T23:59:59.999Z"),
        (1_704_067_200_001_000, "2024-01-01T00:00:00.001Z"),
        (4_102_444_799_000_500, "2099-12-31T23:59:59.000Z"),
    ],
)
def test_times_are_utc_with_milliseconds_cut_off(ts_us: int, text: str) -> None:
    assert iso(ts_us) == text


@pytest.mark.parametrize("step", ["0.01", "0.1", "0.05", "0.25", "1", "10", "2.5", "1E+2", "1E-12"])
def test_counts_of_steps_are_the_nearest_floats(step: str) -> None:
    rng = random.Random(step)
    numbers = [0, 1, 3, 7, *(rng.randrange(10**9) for _ in range(500))]
    exact = [float(Decimal(step) * number) for number in numbers]
    assert _times(np.array(numbers, dtype=np.int64), Decimal(step)) == exact


# Profiles


def plain_regrouping(first: int, last: int, limit: int) -> int:
    factor = 1
    while last // factor - first // factor + 1 > limit:
        factor += 1
    return factor


def test_regrouping_takes_the_least_factor() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        first = rng.randrange(10 ** rng.randint(1, 5))
        last = first + rng.randrange(400)
        limit = rng.randint(1, 60)
        found, least = regrouping(first, last, limit), plain_regrouping(first, last, limit)
        assert last // found - first // found + 1 <= limit
        # Fewer rows than the limit may come from a smaller factor only where rows straddle.
        assert found == least or found == max(least, -(-(last - first + 1) // limit))


def test_regrouping_of_a_wide_profile_is_quick() -> None:
    # From 9 * 1,050,000 = 9,450,000 to 10 * 1,050,000; trying every factor takes 50,000 steps.
    assert regrouping(9_500_001, 10_499_999, 1) == 1_050_000


def snapshot(rows: Rows, size: str = "0.1"):
    context = MarketContext(
        Instrument("binance_ws", "BTCUSDT", GRID),
        definition=Definition(profile_tick_size=Decimal(size)),
    )
    empty = context.snapshot("day", 1_704_067_200_000_000)
    return replace(empty, rows=rows)


def test_a_profile_has_the_rows_that_traded_alone() -> None:
    sell = np.array([5, 0, 0, 7], dtype=np.int64)
    buy = np.array([0, 0, 0, 3], dtype=np.int64)
    profile, size = profile_payload(snapshot(Rows(421_807, 10, sell, buy)), None)
    assert profile == [
        {"price": 42180.7, "volume": 0.00005, "buy_vol": 0.0, "sell_vol": 0.00005},
        {"price": 42181.0, "volume": 0.0001, "buy_vol": 0.00003, "sell_vol": 0.00007},
    ]
    assert size == 0.1


def test_regrouped_profiles_hold_the_same_and_no_more_rows_than_asked() -> None:
    rng = np.random.default_rng(3)
    sell = rng.integers(0, 4, 997).astype(np.int64)
    buy = rng.integers(0, 4, 997).astype(np.int64)
    shown = snapshot(Rows(421_807, 10, sell, buy))
    for limit in (1, 2, 3, 10, 200, 996, 997, 5000):
        profile, size = profile_payload(shown, limit)
        assert 0 < len(profile) <= limit
        lots = sum(Decimal(str(row["volume"])) for row in profile)
        assert lots == Decimal(int(sell.sum() + buy.sum())) * GRID.lot
        for row in profile:
            # Each edge is a multiple of the height.
            assert Decimal(str(row["price"])) % Decimal(str(size)) == 0


# Precision


def coverage(missing: int) -> ScopeCoverage:
    return ScopeCoverage(10, 10 - missing, missing, ((1, missing),) if missing else (), "held", {})


@pytest.mark.parametrize(
    ("missing", "backfilling", "doubtful", "word"),
    [
        (0, False, False, "exact"),
        (3, False, False, "degraded"),
        (3, True, False, "backfilling"),
        (0, True, False, "backfilling"),
        (0, False, True, "degraded"),
        (0, True, True, "degraded"),
    ],
)
def test_precision(missing: int, backfilling: bool, doubtful: bool, word: str) -> None:
    told = precision(coverage(missing), is_backfilling=backfilling, is_doubtful=doubtful)
    assert told == word


# Whole answers


def test_many_missing_ranges_are_cut_off_and_counted_all_the_same() -> None:
    pipeline = Pipeline(MarketContext(Instrument("binance_ws", "BTCUSDT", GRID)))
    ids = list(range(1, 601, 3))
    times = [1_704_067_200_000_000 + id for id in ids]
    size = len(ids)
    pipeline.feed(Batch(Trades.of(ids, times, [1.0] * size, [1.0] * size, [True] * size)))
    answer = context_payload(pipeline.context.snapshot("day", times[-1]), proof="id_exact")
    assert len(answer["coverage"]["ranges"]) == 100
    assert answer["coverage"]["missing"] == 398
    assert answer["precision"] == "degraded"


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def test_what_is_no_number_becomes_null() -> None:
    text = encode({"a": float("nan"), "b": float("inf"), "c": -float("inf"), "d": 1.5})
    assert json.loads(text, parse_constant=refuse) == {"a": None, "b": None, "c": None, "d": 1.5}


def test_bars_are_exact_decimals() -> None:
    # 27174.29903 bought and sold, of them 14331.7318 bought: a difference of floats would be off.
    bar = Bar(4228358, 4418410, 4218077, 4417955, 2717429903, 1433173180, 7, 3, 11, 13)
    (told,) = bars_payload(
        [(1_704_067_200_000_000, bar)],
        GRID,
        closed_us=1_704_067_260_000_000,
        length_us=60_000_000,
        ratios=[0.75],
    )
    assert told == {
        "time": "2024-01-01T00:00:00.000Z",
        "open": 42283.58,
        "high": 44184.1,
        "low": 42180.77,
        "close": 44179.55,
        "volume": 27174.29903,
        "buy_volume": 14331.7318,
        "sell_volume": 12842.56723,
        "delta": 1489.16457,
        "trades": 3,
        "vwap": pytest.approx(7 / 2717429903 / 100, rel=1e-15),
        "coverage": 0.75,
        "closed": True,
    }


def test_words_are_counted_in_order() -> None:
    assert counts(["gap", "day_roll", "gap"]) == {"day_roll": 1, "gap": 2}
    assert list(counts(["b", "a"])) == ["a", "b"]
