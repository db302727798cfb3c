"""Pages and candles against a plain fold over all trades, one at a time."""

import csv
from decimal import Decimal

import numpy as np
import pytest

from marketdata.core.trades import Trades
from marketdata.simulator.generator import GeneratedMarket
from marketdata.simulator.history import History, money
from marketdata.simulator.tape import RecordedMarket
from tests.simulator.conftest import HandClock, at_us, tape

NOW = at_us("2026-03-04T15:20:30")
MINUTE = 60_000_000
HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def history():
    return History(GeneratedMarket("BTCUSDT", 7, 2.0, HandClock(NOW)))


@pytest.fixture(scope="module")
def public(history):
    """Return all public trades of the last two days."""
    market = history.market
    return market.slice(market.id_at(NOW - 48 * HOUR), market.last_id)


def folded(trades, begin, end, market):
    """Return the candle of [begin, end) as the venue writes it, or None; one trade at a time."""
    rows = [row for row in range(len(trades)) if begin <= trades.ts_us[row] < end]
    if not rows:
        return None
    price = [round(Decimal(float(trades.price[row])), 2) for row in rows]
    qty = [round(Decimal(float(trades.qty[row])), 5) for row in rows]
    bought = [bool(trades.is_buy[row]) for row in rows]
    quote = [p * q for p, q in zip(price, qty, strict=True)]
    raw = [int(market.fills.first(trades.id[[rows[0]]])[0])]
    raw.append(int(market.fills.last(trades.id[[rows[-1]]])[0]))
    return (
        *(price[0], max(price), min(price), price[-1], sum(qty), sum(quote)),
        sum(q for q, buy in zip(qty, bought, strict=True) if buy),
        sum(q for q, buy in zip(quote, bought, strict=True) if buy),
        *(raw[1] - raw[0] + 1, *raw),
    )


def written(candle, grid):
    """Return a candle's numbers in units."""
    value = grid.tick * grid.lot
    prices = (candle.open, candle.high, candle.low, candle.close)
    return (
        *(price * grid.tick for price in prices),
        *(candle.volume * grid.lot, candle.quote * value),
        *(candle.buy_volume * grid.lot, candle.buy_quote * value),
        *(candle.count, candle.first_id, candle.last_id),
    )


@pytest.mark.parametrize(
    ("interval", "length", "count"),
    [("1s", 1_000_000, 40), ("1m", MINUTE, 90), ("15m", 15 * MINUTE, 9), ("4h", 4 * HOUR, 3)],
)
def test_candles_are_the_fold_of_trades(history, public, interval, length, count):
    candles = history.candles(interval, None, None, count)
    assert [candle.open_us for candle in candles] == [
        NOW // length * length - back * length for back in range(count - 1, -1, -1)
    ]
    near = public[public.ts_us >= candles[0].open_us - HOUR]
    for candle in candles:
        expected = folded(near, candle.open_us, candle.open_us + length, history.market)
        assert candle.end_us == candle.open_us + length
        if expected:
            assert written(candle, history.grid) == expected
        else:
            assert candle.count == candle.volume == 0
            assert candle.first_id == candle.last_id == -1
            before = near.price[near.ts_us < candle.open_us][-1]
            assert candle.open == candle.close == round(before * 100)


def test_candles_open_within_start_and_end_oldest_first(history):
    start, end = NOW - 3 * HOUR, NOW - 2 * HOUR
    candles = history.candles("5m", start, end, 4)
    first = -(-start // (5 * MINUTE)) * 5 * MINUTE
    assert [candle.open_us for candle in candles] == [first + n * 5 * MINUTE for n in range(4)]
    newest = history.candles("5m", None, end, 2)
    assert newest[-1].open_us == end // (5 * MINUTE) * 5 * MINUTE
    assert history.candles("5m", end, start, 10) == []


def test_a_day_of_another_zone_holds_other_trades(history, public):
    eight = 8 * HOUR
    candle = history.candles("1d", None, None, 2, eight)[0]
    assert candle.open_us == at_us("2026-03-02T16:00:00")
    assert candle.end_us == at_us("2026-03-03T16:00:00")
    whole = (public.ts_us >= candle.open_us) & (public.ts_us < candle.end_us)
    assert candle.count == sum(
        history.market.fills.last(public.id[whole])
        - history.market.fills.first(public.id[whole])
        + 1
    )


def test_the_rolling_window_is_exact_to_the_microsecond(history, public):
    begin = int(public.ts_us[len(public) // 2]) + 1
    window = history.window(begin, NOW + 1)
    part = public[public.ts_us >= begin]
    assert window.volume == history.grid.lots(part.qty).sum()
    assert window.open == history.grid.ticks(part.price[:1])[0]
    assert window.first_id == history.market.fills.first(part.id[:1])[0]
    assert history.window(NOW + 1, NOW + 2) is None


def test_an_hour_is_counted_anew_until_it_is_over():
    clock = HandClock(NOW)
    history = History(GeneratedMarket("BTCUSDT", 7, 2.0, clock))
    before = history.candles("1h", None, None, 1)[0]
    clock.now_us += 45 * MINUTE
    after = history.candles("1h", before.open_us, None, 1)[0]
    whole = History(GeneratedMarket("BTCUSDT", 7, 2.0, clock)).candles("1h", None, None, 2)[0]
    assert after == whole
    assert after.count > before.count


def test_pages_by_id_and_by_time(history, public):
    page = history.page(int(public.id[10]), None, None, 5)
    assert page.id.tolist() == public.id[10:15].tolist()
    start, end = int(public.ts_us[100]), int(public.ts_us[200])
    expected = public.id[(public.ts_us >= start) & (public.ts_us <= end)]
    assert history.page(None, start, end, 1000).id.tolist() == expected.tolist()
    assert history.page(None, start, end, 7).id.tolist() == expected[:7].tolist()
    assert history.page(None, None, end, 7).id.tolist() == expected[-7:].tolist()
    assert history.page(None, None, None, 3).id.tolist() == public.id[-3:].tolist()


def test_pages_end_where_the_market_is_and_begin_where_it_begins(history):
    market = history.market
    assert len(history.page(market.last_id + 1, None, None, 10)) == 0
    assert len(history.page(2**62, None, None, 10)) == 0
    assert len(history.page(None, NOW + 1, None, 10)) == 0
    assert len(history.page(None, None, 0, 10)) == 0
    assert history.page(0, None, None, 2).id[0] == market.first_id
    assert history.page(None, 0, None, 2).id[0] == market.first_id
    assert history.page(market.last_id, None, None, 1000).id.tolist() == [market.last_id]


def test_raw_pages_tile_with_aggregates(history, public):
    fills = history.market.fills
    newest = history.raw_page(None, 500)
    assert newest.id[-1] == fills.last(public.id[-1:])[0]
    assert np.diff(newest.id).tolist() == [1] * 499
    for start in range(int(newest.id[0]), int(newest.id[0]) + 13):
        page = history.raw_page(start, 7)
        assert page.id.tolist() == list(range(start, start + 7))
    assert len(history.raw_page(int(newest.id[-1]) + 1, 7)) == 0


def test_a_tape_with_holes_fills_its_pages():
    trades = tape(1000)
    holed = Trades.concat([trades[:100], trades[900:]])
    market = RecordedMarket("BTCUSDT", holed, speed=0)
    history = History(market)
    assert history.candles("1m", None, None, 10) == []
    assert len(history.last_trade()) == 0
    market.due(1000)
    assert history.page(None, None, None, 150).id.tolist() == holed.id[-150:].tolist()
    assert history.page(1050, None, None, 60).id.tolist() == holed.id[50:110].tolist()
    assert history.raw_page(None, 150).id.tolist() == holed.id[-150:].tolist()
    assert history.candles("1m", None, None, 10)[0].count == 200


def test_money_has_eight_decimals():
    assert money(10_000_001, Decimal("0.01")) == "100000.01000000"
    assert money(3, Decimal("1e-8")) == "0.00000003"
    assert money(0, Decimal(1)) == "0.00000000"


@pytest.mark.realdata
def test_the_hours_of_a_recorded_day_equal_the_venues_own(shared_data):
    market = RecordedMarket.open(
        shared_data / "tapes" / "BTCUSDT-aggTrades-2024-01-01.zip", speed=0
    )
    market.due(len(market))
    candles = History(market).candles("1h", None, None, 24)
    path = shared_data / "klines" / "binance_spot_BTCUSDT_1h_2017_2024.csv"
    with path.open() as file:
        lines = (line for line in file if not line.startswith("#"))
        venue = [row for row in csv.DictReader(lines) if row["date"].startswith("2024-01-01")]
    assert len(venue) == 24
    for candle, row in zip(candles, venue, strict=True):
        opening, high, low, close, volume, quote, bought, *_ = written(candle, market.grid)
        assert [float(x) for x in (opening, high, low, close)] == [
            float(row[name]) for name in ("open", "high", "low", "close")
        ]
        assert float(volume) == pytest.approx(float(row["volume"]), abs=1e-9)
        assert float(quote) == pytest.approx(float(row["quote_asset_volume"]), rel=1e-12)
        assert float(bought) == pytest.approx(float(row["taker_buy_base_asset_volume"]), abs=1e-9)


def test_the_candle_under_way_costs_its_own_trades_not_the_hour(monkeypatch):
    market = GeneratedMarket("BTCUSDT", 7, 2.0, HandClock(NOW))
    history, opened = History(market), NOW // MINUTE * MINUTE
    (first,) = history.candles("1m", opened, None, 1)
    counted, slice = [], market.slice
    monkeypatch.setattr(
        market, "slice", lambda low, high: counted.append(high - low + 1) or slice(low, high)
    )
    assert history.candles("1m", opened, None, 1) == [first]
    # Besides, a trade each for the oldest minute and for the price before the candle.
    assert max(counted) == market.last_id - market.id_at(opened) + 1
