"""Tickers, candles and liquidations."""

import json
import time

import numpy as np
import pytest

from marketdata.simulator.bybit.instruments import Instrument
from tests.simulator.bybit.conftest import follow, heard, result, room_of, taped
from tests.simulator.conftest import tape

LINEAR_TICKER = {
    *("symbol", "tickDirection", "price24hPcnt", "lastPrice", "prevPrice24h", "highPrice24h"),
    *("lowPrice24h", "prevPrice1h", "markPrice", "indexPrice", "openInterest", "fundingRate"),
    *("openInterestValue", "turnover24h", "volume24h", "nextFundingTime", "fundingIntervalHour"),
    *("fundingCap", "singleOpenInterest", "singleOpenInterestValue", "bid1Price", "bid1Size"),
    *("ask1Price", "ask1Size"),
}
SPOT_TICKER = {
    *("symbol", "lastPrice", "highPrice24h", "lowPrice24h", "prevPrice24h", "volume24h"),
    *("turnover24h", "price24hPcnt", "usdIndexPrice"),
}


def test_a_ticker_of_contracts_is_whole_once_and_then_tells_what_changed(live, dial):
    socket, topic = dial(live, "/v5/public/linear"), "tickers.BTCUSDT"
    (whole,) = follow(socket, topic)
    assert list(whole) == ["topic", "type", "data", "cs", "ts"]
    assert set(whole["data"]) == LINEAR_TICKER
    held = dict(whole["data"])
    deltas = heard(socket, topic, 3, kind="delta")
    assert all(frame["data"]["symbol"] == "BTCUSDT" for frame in deltas)
    assert any(len(frame["data"]) < len(LINEAR_TICKER) for frame in deltas)
    for frame in deltas:
        for name, value in frame["data"].items():
            assert name == "symbol" or held[name] != value
        held |= frame["data"]
    assert abs(float(held["markPrice"]) / float(held["indexPrice"]) - 1) < 0.003
    both, single = float(held["openInterest"]), float(held["singleOpenInterest"])
    assert both == pytest.approx(2 * single, abs=0.002)
    assert int(held["nextFundingTime"]) % (8 * 3_600_000) == 0
    assert 0 < int(held["nextFundingTime"]) - whole["ts"] <= 8 * 3_600_000


def test_a_ticker_of_spot_is_always_whole_and_knows_no_book(live, dial):
    socket, topic = dial(live, "/v5/public/spot"), "tickers.ETHUSDT"
    follow(socket, topic)
    frames = heard(socket, topic, 3)
    assert list(frames[0]) == ["topic", "ts", "type", "cs", "data"]
    assert {frame["type"] for frame in frames} == {"snapshot"}
    assert all(set(frame["data"]) == SPOT_TICKER for frame in frames)


def test_tickers_of_rest_count_the_last_day(still):
    (row,) = result(still, "market/tickers", category="linear", symbol="BTCUSDT")["list"]
    assert set(row) > LINEAR_TICKER
    minutes = result(
        still, "market/kline", category="linear", symbol="BTCUSDT", interval="1", limit=1000
    )["list"]
    minutes += result(
        still,
        "market/kline",
        symbol="BTCUSDT",
        interval="1",
        limit=440,
        end=int(minutes[-1][0]) - 1,
    )["list"]
    # The day begins in the middle of its first minute.
    inner = sum(float(minute[5]) for minute in minutes)
    assert inner <= float(row["volume24h"]) <= inner + 10
    assert float(row["highPrice24h"]) >= max(float(minute[2]) for minute in minutes)
    assert float(row["lowPrice24h"]) <= min(float(minute[3]) for minute in minutes)
    change = float(row["lastPrice"]) / float(row["prevPrice24h"]) - 1
    assert float(row["price24hPcnt"]) == pytest.approx(change, abs=1e-6)
    spot = result(still, "market/tickers", category="spot")["list"]
    assert [one["symbol"] for one in spot] == ["BTCUSDT", "ETHUSDT"]
    assert set(spot[0]) == SPOT_TICKER | {"bid1Price", "bid1Size", "ask1Price", "ask1Size"}


def test_a_candle_is_confirmed_when_it_is_over_and_equals_that_of_rest(clock, still, dial):
    socket, topic = dial(still, "/v5/public/linear"), "kline.1.BTCUSDT"
    follow(socket, topic)
    (frame,) = heard(socket, topic, 1)
    assert list(frame) == ["topic", "data", "ts", "type"]
    (under_way,) = frame["data"]
    assert under_way["confirm"] is False
    clock.now_us += 60_000_000
    try:
        (confirmed,) = heard(socket, topic, 1)[0]["data"]
        row = result(
            still,
            "market/kline",
            category="linear",
            symbol="BTCUSDT",
            interval="1",
            start=confirmed["start"],
            limit=1,
        )["list"][0]
    finally:
        clock.now_us -= 60_000_000
    assert (confirmed["confirm"], confirmed["start"]) == (True, under_way["start"])
    assert confirmed["end"] == confirmed["start"] + 59_999
    names = ("open", "high", "low", "close", "volume", "turnover")
    assert [str(confirmed["start"]), *(confirmed[name] for name in names)] == row


def test_liquidations_tell_the_side_of_the_position(dial):
    trades = tape(3000)
    with taped(trades) as simulator:
        socket, topic = dial(simulator, "/v5/public/linear"), "allLiquidation.BTCUSDT"
        follow(socket, topic)
        frames = heard(socket, topic, 1)
        assert list(frames[0]) == ["topic", "type", "ts", "data"]
        rows = [row for frame in frames for row in frame["data"]]
    assert len(rows) >= 3
    by_time = dict(zip((trades.ts_us // 1000).tolist(), range(len(trades)), strict=True))
    for row in rows:
        assert set(row) == {"T", "s", "S", "v", "p"}
        at = by_time[row["T"]]
        # A long that is liquidated is sold.
        assert (row["S"] == "Buy") == (not trades.is_buy[at])
        assert float(row["v"]) == trades.qty[at]
        beyond = float(row["p"]) / trades.price[at] - 1
        assert beyond == pytest.approx(0.005 if trades.is_buy[at] else -0.005, abs=1e-5)


def test_liquidations_are_rare_and_of_contracts_alone(live):
    room = room_of(live)
    counts = {}
    for category in ("linear", "spot"):
        one: Instrument = room.instruments[category]["BTCUSDT"]
        last = one.market.last_id
        counts[category] = len(one.notes(one.market.slice(last - 20_000, last)))
    assert 30 <= counts["linear"] <= 120  # a mean of 67
    assert counts["spot"] == 0


def test_a_forced_order_on_demand(live, dial):
    socket, topic = dial(live, "/v5/public/linear"), "allLiquidation.ETHUSDT"
    follow(socket, topic)
    started_s = time.monotonic()
    live.faults.set("liquidation")
    (frame,) = heard(socket, topic, 1)
    assert frame["data"][0]["s"] == "ETHUSDT"
    assert time.monotonic() - started_s < 5


def test_the_rate_of_funding_is_what_history_says_later(still):
    one = room_of(still).instruments["linear"]["BTCUSDT"]
    query = {"category": "linear", "symbol": "BTCUSDT", "limit": 3}
    rows = result(still, "market/funding/history", **query)["list"]
    times = [int(row["fundingRateTimestamp"]) for row in rows]
    assert np.diff(times).tolist() == [-8 * 3_600_000] * 2
    for at, row in zip(times, rows, strict=True):
        just_before = one.funding(at * 1000 - 60_000_000)
        assert float(row["fundingRate"]) == pytest.approx(just_before, abs=1e-6)
        assert abs(float(row["fundingRate"])) < 0.005
    assert json.dumps(rows) == json.dumps(result(still, "market/funding/history", **query)["list"])
