"""The invented ticks: what they are at any second, however they are asked for."""

import numpy as np
import pytest

from marketdata.simulator.deriv.quotes import BLOCK_S, QuoteMarket, _curve
from marketdata.simulator.generator import PERIODS_S, GeneratedMarket
from marketdata.simulator.noise import Lane
from tests.simulator.conftest import HandClock, at_us

NOW_US = at_us("2026-03-04T15:20:31") + 400_000
SYMBOLS = ("cryBTCUSD", "cryETHUSD", "R_100", "R_50", "1HZ100V")


def market(symbol, seed=7):
    return QuoteMarket(symbol, seed, HandClock(NOW_US))


def seconds(trades):
    return trades.ts_us // 1_000_000


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_part_is_the_same_as_in_the_whole_whoever_asks(symbol):
    one, other = market(symbol), market(symbol)
    last = one.last_id
    whole = one.slice(last - 20_000, last)
    for first in (0, 777, 8_191, 19_999):
        part = other.slice(last - 20_000 + first, last - 20_000 + first)
        assert part.price.tolist() == [whole.price[first]]
        assert part.ts_us.tolist() == [whole.ts_us[first]]
    assert market(symbol, seed=8).slice(last, last).price.tolist() != [whole.price[-1]]


@pytest.mark.parametrize(
    ("symbol", "gaps"),
    [("R_100", {2}), ("R_50", {2}), ("1HZ100V", {1}), ("cryBTCUSD", {1, 2, 3})],
)
def test_the_pace(symbol, gaps):
    one = market(symbol)
    found = np.diff(seconds(one.slice(one.last_id - 5000, one.last_id)))
    assert set(found.tolist()) == gaps


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_ticks_are_found_by_time_and_none_is_of_the_future(symbol):
    one = market(symbol)
    rows = one.slice(one.last_id - 500, one.last_id + 5)
    for id, ts_us in zip(rows.id.tolist(), rows.ts_us.tolist(), strict=True):
        assert one.id_at(ts_us) == id
        assert one.id_at(ts_us + 1) == id + 1
        assert (id <= one.last_id) == (ts_us <= NOW_US)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_history_is_a_year_deep(symbol):
    one = market(symbol)
    oldest = one.slice(one.first_id, one.first_id).ts_us[0]
    assert 0 <= oldest - (NOW_US - 365 * 86_400_000_000) < 3_000_000


def test_quotes_are_whole_pips_and_move():
    for symbol in SYMBOLS:
        one = market(symbol)
        price = one.slice(one.last_id - 3000, one.last_id).price
        assert len(one.grid.ticks(price)) == 3001  # refuses what is off the grid
        assert 0.9 < price.max() / price.min() < 1.1
        assert (np.diff(price) != 0).mean() > 0.8


def test_an_index_of_100_percent_walks_as_one():
    # A year of 15,768,000 steps of two seconds: 1 / sqrt(15,768,000) = 2.518e-4 each.
    one = market("R_100")
    steps = np.diff(np.log(one.slice(one.last_id - 200_000, one.last_id).price))
    assert np.sqrt((steps**2).mean()) == pytest.approx(2.518e-4, rel=0.05)


def test_a_coin_moves_as_it_does_elsewhere():
    here = market("cryBTCUSD")
    there = GeneratedMarket("BTCUSDT", 7, 5.0, HandClock(NOW_US))
    rows = here.slice(here.last_id - 40_000, here.last_id)[::1000]
    for ts_us, price in zip(rows.ts_us.tolist(), rows.price.tolist(), strict=True):
        id = there.id_at(ts_us)
        assert price == pytest.approx(there.slice(id, id).price[0], rel=1.5e-3)


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_a_curve_of_a_block_is_the_smooth_curve_of_its_lane(period_s):
    lane, start = Lane.of("curve"), 71 * BLOCK_S
    times = (np.arange(BLOCK_S) + start) * 1_000_000
    expected = lane.smooth(times, period_s * 1_000_000)
    assert _curve(lane, period_s, start) == pytest.approx(expected, abs=1e-12)
