import hashlib
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.simulator.generator import Character, GeneratedMarket
from tests.simulator.conftest import DAY_US, HandClock, at_us

DAY = at_us("2026-03-03T00:00:00")
COLUMNS = ("id", "ts_us", "price", "qty", "is_buy")


def market(symbol="BTCUSDT", seed=7, rate=2.0, now="2026-03-04T15:20:30"):
    return GeneratedMarket(symbol, seed, rate, HandClock(at_us(now)))


@pytest.fixture(scope="module")
def week():
    """Return seven days of trades and the market they come from."""
    made = market()
    first, last = made.id_at(DAY - 6 * DAY_US), made.id_at(DAY + DAY_US) - 1
    return made, made.slice(first, last)


def digest(trades):
    packed = b"".join(getattr(trades, name).tobytes() for name in COLUMNS)
    return hashlib.sha256(packed).hexdigest()


OTHER_PROCESS = """
from marketdata.simulator.generator import GeneratedMarket
from tests.simulator.test_generator import digest
made = GeneratedMarket("BTCUSDT", 7, 2.0, lambda: 0)
print(digest(made.slice(900_000_123, 900_009_876)))
"""


def test_another_process_makes_the_same_trades():
    ran = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == digest(market().slice(900_000_123, 900_009_876))


def test_a_trade_does_not_depend_on_how_it_is_reached():
    made, other = market(), market()
    whole = made.slice(391_000_001, 391_030_000)
    parts = [other.slice(first, first + 999) for first in range(391_029_001, 391_000_000, -1000)]
    assert digest(whole) == digest(Trades.concat(parts[::-1]))
    assert digest(other.after(391_000_000, 30_000)) == digest(whole)


@pytest.mark.parametrize("change", [{"symbol": "ETHUSDT"}, {"seed": 8}, {"rate": 3.0}])
def test_another_name_is_another_market(change):
    assert (
        market(**change).slice(1001, 1100).price.tolist()
        != market().slice(1001, 1100).price.tolist()
    )


def test_ids_are_contiguous_and_times_never_fall(week):
    made, trades = week
    assert np.diff(trades.id).tolist() == [1] * (len(trades) - 1)
    assert np.diff(trades.ts_us).min() >= 0
    assert len(trades) == 7 * made.per_day == 7 * 172_800
    trades.checked()


def test_the_first_id_at_a_time_is_the_first(week):
    made, trades = week
    for row in range(0, len(trades), 50_021):
        ts_us = int(trades.ts_us[row])
        first = made.id_at(ts_us)
        found = made.slice(first - 1, first)
        assert found.ts_us[0] < ts_us <= found.ts_us[1]


def test_prices_and_quantities_are_on_the_grid(week):
    made, trades = week
    assert made.grid.ticks(trades.price[:100_000]).min() > 0
    assert made.grid.lots(trades.qty[:100_000]).min() >= made.fills.most


def test_aggressors_come_in_runs_on_both_sides(week):
    _, trades = week
    bought = trades.is_buy.mean()
    assert 0.4 < bought < 0.6
    # Independent sides would repeat about half of the time.
    assert 0.65 < (trades.is_buy[1:] == trades.is_buy[:-1]).mean() < 0.95


def test_buyers_lift_the_offer_and_sellers_hit_the_bid(week):
    made, trades = week
    ticks = made.grid.ticks(trades.price)
    # Two orders may meet in one millisecond, but rarely.
    order = (trades.ts_us[1:] == trades.ts_us[:-1]) & (trades.is_buy[1:] == trades.is_buy[:-1])
    moves = np.where(trades.is_buy[1:], 1, -1)[order] * np.diff(ticks)[order]
    assert (moves >= 0).mean() > 0.999
    assert (moves > 0).mean() > 0.1


def test_there_are_bursts_and_sessions(week):
    _, trades = week
    minutes = np.bincount((trades.ts_us - trades.ts_us[0]) // 60_000_000)
    assert minutes.max() > 4 * np.median(minutes)
    hours = np.bincount(trades.ts_us // 3_600_000_000 % 24)
    assert hours[13:17].mean() > 1.3 * hours[8:12].mean() > 1.3 * hours[2:6].mean()


def test_price_trends_and_stays_sensible_for_days(week):
    _, trades = week
    assert 90_000 < trades.price.min() < trades.price.max() < 110_000
    days = trades.ts_us // DAY_US
    closes = np.array([trades.price[days == day][-1] for day in np.unique(days)])
    ranges = [np.ptp(trades.price[days == day]) / 100_000 for day in np.unique(days)]
    assert 0.005 < min(ranges) < max(ranges) < 0.06
    assert np.abs(np.diff(np.log(closes))).max() < 0.05
    assert np.abs(np.diff(np.log(trades.price))).max() < 0.005


def test_a_rising_minute_has_more_buyers(week):
    _, trades = week
    minute = trades.ts_us // 60_000_000
    head = np.concatenate(([0], np.flatnonzero(np.diff(minute)) + 1))
    tail = np.concatenate((head[1:], [len(minute)])) - 1
    move = trades.price[tail] - trades.price[head]
    bought = np.add.reduceat(trades.is_buy, head) / (tail - head + 1)
    assert np.corrcoef(move, bought)[0, 1] > 0.3


def test_only_what_has_happened_is_public():
    clock = HandClock(at_us("2026-03-04T15:20:30"))
    made = GeneratedMarket("BTCUSDT", 7, 20.0, clock)
    made.start()
    public = made.last_id
    assert (
        made.slice(public, public).ts_us[0]
        <= clock.now_us
        < made.slice(public + 1, public + 1).ts_us[0]
    )
    assert len(made.due(100)) == 0
    clock.now_us += int(made.wait_s() * 1e6)
    assert made.due(100).id[0] == public + 1


def test_trades_become_due_once_and_in_order():
    clock = HandClock(at_us("2026-03-04T15:20:30"))
    made = GeneratedMarket("BTCUSDT", 7, 20.0, clock)
    made.start()
    first = made.last_id + 1
    clock.now_us += 20_000_000
    last = made.last_id
    assert last - first > 100
    got = [made.due(64) for _ in range(30)]
    assert np.concatenate([batch.id for batch in got]).tolist() == list(range(first, last + 1))


def test_a_day_is_archived_when_it_is_over():
    made = market()
    first, last = made.archived(DAY)
    assert last - first + 1 == made.per_day
    assert made.archived(DAY + DAY_US) is None
    assert made.archived(at_us("2019-12-31T00:00:00")) is None
    assert made.archived(DAY - DAY_US)[1] == first - 1


def test_an_unknown_symbol_has_a_character_of_its_own():
    made = market("币安人生USDT")
    trades = made.slice(1_000, 2_000).checked()
    made.grid.ticks(trades.price)
    made.grid.lots(trades.qty)
    assert made.grid == market("币安人生USDT").grid


def test_a_slow_market_has_minutes_without_trades():
    made = market(rate=0.001)
    assert made.per_day == 86
    trades = made.slice(made.first_id, made.last_id)
    assert made.last_id - made.first_id + 1 == len(trades) > 600
    assert made.id_at(int(trades.ts_us[5]) + 1) == trades.id[6]


def test_each_venue_has_trades_of_its_own_whose_price_stays_within_a_thousandth():
    now = HandClock(DAY)
    spot = GeneratedMarket("BTCUSDT", 7, 2.0, now)
    futures = GeneratedMarket("BTCUSDT", 7, 2.0, now, venue="futures")
    other = GeneratedMarket("BTCUSDT", 7, 2.0, now, venue="other")
    assert len({one.last_id for one in (spot, futures, other)}) == 3
    minutes = DAY - np.arange(12 * 60)[::-1] * 60_000_000
    prices = [
        np.array([one.slice(id, id).price[0] for id in map(one.id_at, minutes.tolist())])
        for one in (spot, futures)
    ]
    # The trades themselves are some seconds and a spread apart.
    basis = prices[1] / prices[0] - 1
    assert np.abs(basis).max() < 2.5e-3
    assert basis.std() > 1e-4
    assert np.corrcoef(*(np.diff(np.log(price)) for price in prices))[0, 1] > 0.8


def test_a_venue_is_random_access_too():
    made, again = (
        GeneratedMarket("BTCUSDT", 7, 2.0, HandClock(DAY), venue="futures") for _ in range(2)
    )
    first, last = made.id_at(DAY - DAY_US), made.id_at(DAY) - 1
    day = made.slice(first, last)
    assert len(day) == made.per_day == 172_800
    assert (np.diff(day.id) == 1).all()
    assert digest(again.slice(first + 90_000, first + 90_999)) == digest(day[90_000:91_000])


def test_a_character_gives_grid_and_size():
    large = Character(100_000.0, Grid(Decimal("0.10"), Decimal("0.001")), value=6_000.0)
    made = GeneratedMarket("BTCUSDT", 7, 2.0, HandClock(DAY), venue="x", character=large)
    trades = made.after(made.first_id, 5000)
    assert (made.grid.ticks(trades.price) > 0).all()
    assert (made.grid.lots(trades.qty) >= 3).all()
    assert 0.04 < np.median(trades.qty) < 0.09
