"""Trades: stream, REST and archive tell the same of each, down to its id."""

import csv
import gzip
import io
import json
import uuid
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import requests

from marketdata.simulator.bybit.numerals import directions
from marketdata.simulator.bybit.streams import grouped
from marketdata.simulator.faults import GARBAGE
from tests.simulator.bybit.conftest import follow, get, heard, result, room_of, taped
from tests.simulator.conftest import DAY_US, at_us, tape

TRADE = "publicTrade.BTCUSDT"
DAY = "2026-03-03"
PATHS = {
    "linear": f"/trading/BTCUSDT/BTCUSDT{DAY}.csv.gz",
    "spot": f"/spot/BTCUSDT/BTCUSDT_{DAY}.csv.gz",
}


def streamed(simulator, dial, category, count):
    """Return the rows of the next frames of trades."""
    socket = dial(simulator, f"/v5/public/{category}")
    follow(socket, TRADE)
    return heard(socket, TRADE, count)


def test_a_trade_of_contracts_has_the_venues_fields(live, dial):
    frames = streamed(live, dial, "linear", 12)
    rows = [row for frame in frames for row in frame["data"]]
    assert list(frames[0]) == ["topic", "type", "ts", "data"]
    assert {frame["type"] for frame in frames} == {"snapshot"}
    for row in rows:
        assert list(row) == ["T", "s", "S", "v", "p", "L", "i", "BT", "RPI", "seq"]
        assert (row["s"], row["BT"], uuid.UUID(row["i"]).version) == ("BTCUSDT", False, 5)
        assert row["S"] in {"Buy", "Sell"}
        assert row["p"].partition(".")[2][1:] == "0"  # steps of 0.10, written with two decimals
        assert len(row["v"].partition(".")[2]) == 3
    for before, after in pairwise(rows):
        moved = float(after["p"]) - float(before["p"])
        assert after["L"].startswith("Zero") == (moved == 0)
        if moved:
            assert after["L"] == ("PlusTick" if moved > 0 else "MinusTick")
        else:
            assert after["L"].endswith(before["L"].removeprefix("Zero"))


def test_a_trade_of_spot_has_other_keys_and_numbers_that_symbols_share(live, dial):
    socket = dial(live, "/v5/public/spot")
    follow(socket, TRADE, "publicTrade.ETHUSDT")
    rows = heard(socket, TRADE, 10) + heard(socket, "publicTrade.ETHUSDT", 10)
    assert list(rows[0]) == ["topic", "ts", "type", "data"]
    by_symbol = {"BTCUSDT": [], "ETHUSDT": []}
    for row in [row for frame in rows for row in frame["data"]]:
        assert list(row) == ["i", "T", "p", "v", "S", "seq", "s", "BT", "RPI"]
        assert not row["p"].endswith("0") or "." not in row["p"]
        by_symbol[row["s"]].append(int(row["i"]))
    for ids in by_symbol.values():
        assert ids == sorted(set(ids))
        assert all(after - before > 1 for before, after in pairwise(ids))
    assert not set(by_symbol["BTCUSDT"]) & set(by_symbol["ETHUSDT"])


def test_trades_of_one_moment_share_a_sequence_and_a_message(live, dial):
    frames = streamed(live, dial, "linear", 15)
    assert any(len(frame["data"]) > 1 for frame in frames)
    for frame in frames:
        assert len({row["seq"] for row in frame["data"]}) == 1
        assert len({row["T"] for row in frame["data"]}) == 1
    seqs = [frame["data"][0]["seq"] for frame in frames]
    assert seqs == sorted(seqs)


def test_a_message_holds_1024_trades_at_most_and_a_sequence_may_span_several():
    groups = grouped(range(2500), [5] * 2500)
    assert [len(group) for group in groups] == [1024, 1024, 452]
    assert grouped([0, 1, 1, GARBAGE, 3, 2, 5], [1, 1, 1, 1, 1, 2]) == [
        *([0, 1], [1], [GARBAGE], [3], [2], [5])
    ]


def test_one_sequence_spans_two_messages(dial):
    trades = tape(1500, step_us=0)
    with taped(trades) as simulator:
        first, second = streamed(simulator, dial, "linear", 2)
        assert (len(first["data"]), len(second["data"])) == (1000, 500)
        assert first["data"][0]["seq"] == second["data"][-1]["seq"]


def test_the_direction_of_a_tick_is_known_however_long_the_price_stood_still():
    trades = tape(500)
    price = np.full(500, 40_000.0)
    price[0] = 40_001.0
    with taped(replace(trades, price=price)) as simulator:
        instrument = simulator.rooms["bybit"].instruments["linear"]["BTCUSDT"]
        for first in (1, 2, 33, 34, 300):
            batch = instrument.market.slice(1000 + first, 1000 + first)
            (told,) = directions(batch.price, instrument.before(batch))
            assert told == ("MinusTick" if first == 1 else "ZeroMinusTick")


@pytest.mark.parametrize(("category", "most"), [("linear", 1000), ("spot", 60)])
def test_the_newest_trades_of_rest_are_those_of_the_stream(live, dial, category, most):
    rows = [row for frame in streamed(live, dial, category, 10) for row in frame["data"]]
    page = result(live, "market/recent-trade", category=category, symbol="BTCUSDT", limit=most)
    assert page["category"] == category
    assert len(page["list"]) == most
    times = [int(row["time"]) for row in page["list"]]
    assert times == sorted(times, reverse=True)
    by_id = {row["i"]: row for row in rows}
    seen = [row for row in reversed(page["list"]) if row["execId"] in by_id]
    assert seen
    for row in seen:
        twin = by_id[row["execId"]]
        assert row == {
            "execId": twin["i"],
            "symbol": "BTCUSDT",
            "price": twin["p"],
            "size": twin["v"],
            "side": twin["S"],
            "time": str(twin["T"]),
            "isBlockTrade": False,
            "isRPITrade": twin["RPI"],
            "seq": str(twin["seq"]),
        }
    order = [row["i"] for row in rows]
    assert [row["execId"] for row in seen] == order[order.index(seen[0]["execId"]) :][: len(seen)]


def test_a_page_beyond_the_limit_is_refused(still):
    for category, most in (("linear", 1000), ("spot", 60)):
        query = {"category": category, "symbol": "BTCUSDT", "limit": most + 1}
        assert get(still, "market/recent-trade", **query)["retCode"] == 10001


def test_a_tape_plays_as_contracts_and_keeps_its_values(dial):
    trades = tape(50)
    with taped(trades) as simulator:
        rows = [row for frame in streamed(simulator, dial, "linear", 50) for row in frame["data"]]
    assert [row["T"] for row in rows] == (trades.ts_us // 1000).tolist()
    assert [float(row["p"]) for row in rows] == trades.price.tolist()
    assert [float(row["v"]) for row in rows] == trades.qty.tolist()
    assert [row["S"] == "Buy" for row in rows] == trades.is_buy.tolist()
    assert len({row["i"] for row in rows}) == 50


def packed(simulator, category):
    answer = requests.get(simulator.rest_url + PATHS[category])
    assert answer.status_code == 200
    return answer.content


def rows_of(data):
    return list(csv.DictReader(io.StringIO(gzip.decompress(data).decode())))


def test_the_file_of_contracts_agrees_with_rest_in_finer_times(still, clock):
    rows = rows_of(packed(still, "linear"))
    assert list(rows[0]) == [
        *("timestamp", "symbol", "side", "size", "price", "tickDirection", "trdMatchID"),
        *("grossValue", "homeNotional", "foreignNotional", "RPI"),
    ]
    opened_s = at_us(f"{DAY}T00:00:00") // 1_000_000
    times = [row["timestamp"] for row in rows]
    assert all(len(time.partition(".")[2]) == 4 for time in times)
    assert opened_s <= float(times[0]) <= float(times[-1]) < opened_s + DAY_US // 1_000_000
    assert times == sorted(times)
    assert len({time[-1] for time in times}) > 1
    now_us, clock.now_us = clock.now_us, at_us("2026-03-04T00:00:00")
    try:
        page = result(still, "market/recent-trade", category="linear", symbol="BTCUSDT", limit=500)
    finally:
        clock.now_us = now_us
    for row, twin in zip(rows[::-1], page["list"], strict=False):
        assert (row["trdMatchID"], row["price"], row["size"], row["side"], row["RPI"]) == (
            *(twin["execId"], twin["price"], twin["size"], twin["side"]),
            str(int(twin["isRPITrade"])),
        )
        assert int(row["timestamp"].replace(".", "")[:-1]) == int(twin["time"])
        worth = float(row["price"]) * float(row["size"])
        assert float(row["grossValue"]) == pytest.approx(worth * 1e8, rel=1e-6)
        assert "e+" in row["grossValue"]


def test_the_file_of_spot_counts_within_itself(still):
    rows = rows_of(packed(still, "spot"))
    assert list(rows[0]) == ["id", "timestamp", "price", "volume", "side", "rpi"]
    assert [row["id"] for row in rows] == [str(number + 1) for number in range(len(rows))]
    assert {row["side"] for row in rows} == {"buy", "sell"}
    market = room_of(still).instruments["spot"]["BTCUSDT"].market
    first, last = market.archived(at_us(f"{DAY}T00:00:00"))
    trades = market.slice(first, last)
    assert [int(row["timestamp"]) for row in rows] == (trades.ts_us // 1000).tolist()
    assert [float(row["price"]) for row in rows] == trades.price.tolist()
    assert [float(row["volume"]) for row in rows] == trades.qty.tolist()
    assert [row["side"] == "buy" for row in rows] == trades.is_buy.tolist()


@pytest.mark.parametrize(
    "path",
    [
        "/trading/BTCUSDT/BTCUSDT2026-03-04.csv.gz",
        "/trading/BTCUSDT/BTCUSDT2026-02-30.csv.gz",
        "/trading/BTCUSDT/BTCUSDT_2026-03-03.csv.gz",
        "/trading/NOPE/NOPE2026-03-03.csv.gz",
        "/spot/BTCUSDT/BTCUSDT2026-03-03.csv.gz",
        "/spot/BTCUSDT/BTCUSDT_2019-12-31.csv.gz",
        "/spot/BTCUSDT/",
    ],
)
def test_what_the_archive_does_not_hold_is_absent(still, path):
    assert requests.get(still.rest_url + path).status_code == 404


def test_a_late_and_a_cut_file(still):
    still.faults.update({"archive_missing": 1, "archive_corrupt": 1})
    assert requests.get(still.rest_url + PATHS["linear"]).status_code == 404
    with pytest.raises((EOFError, zlib.error)):
        gzip.decompress(packed(still, "linear"))
    assert gzip.decompress(packed(still, "linear"))


def test_linear_and_spot_are_markets_of_their_own_near_each_other(live):
    last = {}
    for category in ("linear", "spot"):
        page = result(live, "market/recent-trade", category=category, symbol="BTCUSDT", limit=60)
        last[category] = page["list"]
    prices = [float(rows[0]["price"]) for rows in last.values()]
    assert prices[0] == pytest.approx(prices[1], rel=0.003)
    assert json.dumps([row["time"] for row in last["linear"]]) != json.dumps(
        [row["time"] for row in last["spot"]]
    )
