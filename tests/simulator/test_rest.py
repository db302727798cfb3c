"""REST as an independent client sees it."""

from itertools import pairwise

import pytest
import requests

from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from tests.simulator.conftest import at_us, tape

NOW_MS = at_us("2026-03-04T15:20:30") // 1000


@pytest.fixture(scope="module")
def get(venue):
    with requests.Session() as session:

        def ask(path, status=200, headers=None, **params):
            answer = session.get(f"{venue.rest_url}/api/v3/{path}", params=params, headers=headers)
            assert answer.status_code == status, answer.text
            return answer.json()

        yield ask


@pytest.fixture(scope="module")
def truth(venue):
    return venue.markets["BTCUSDT"]


def test_ping_and_time(get):
    assert get("ping") == {}
    assert get("time") == {"serverTime": NOW_MS}
    micro = get("time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
    assert micro == {"serverTime": NOW_MS * 1000}


def test_every_answer_says_that_it_is_simulated(venue):
    for path in (
        "/api/v3/ping",
        "/api/v3/aggTrades",
        "/api/v3/nope",
        "/data/nope",
        "/sim/status",
        "/nope",
    ):
        answer = requests.get(venue.rest_url + path)
        assert answer.headers["X-Simulated"] == "generated", path


def test_exchange_info_gives_the_grid_and_the_limits(get):
    info = get("exchangeInfo")
    assert [one["symbol"] for one in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert info["simulated"] == "generated"
    weight = next(x for x in info["rateLimits"] if x["rateLimitType"] == "REQUEST_WEIGHT")
    assert (weight["interval"], weight["intervalNum"], weight["limit"]) == ("MINUTE", 1, 6000)
    (one,) = get("exchangeInfo", symbol="ETHUSDT")["symbols"]
    assert (one["baseAsset"], one["quoteAsset"], one["status"]) == ("ETH", "USDT", "TRADING")
    filters = {row["filterType"]: row for row in one["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00010000"
    two = get("exchangeInfo", symbols='["ETHUSDT","BTCUSDT"]')["symbols"]
    assert [row["symbol"] for row in two] == ["ETHUSDT", "BTCUSDT"]
    assert get("exchangeInfo", symbolStatus="HALT")["symbols"] == []


def test_aggregates_have_the_venues_fields(get, truth):
    (row,) = get("aggTrades", symbol="BTCUSDT", limit=1)
    trade = truth.slice(truth.last_id, truth.last_id)
    assert row == {
        "a": truth.last_id,
        "p": f"{trade.price[0]:.2f}000000",
        "q": f"{trade.qty[0]:.5f}000",
        "f": int(truth.fills.first(trade.id)[0]),
        "l": int(truth.fills.last(trade.id)[0]),
        "T": int(trade.ts_us[0]) // 1000,
        "m": not trade.is_buy[0],
        "M": True,
    }


def test_paging_by_id_gives_every_trade_once(get, truth):
    start = truth.last_id - 2500
    rows, next_id = [], start
    while page := get("aggTrades", symbol="BTCUSDT", fromId=next_id, limit=1000):
        rows += page
        next_id = page[-1]["a"] + 1
    assert [row["a"] for row in rows] == list(range(start, truth.last_id + 1))
    assert all(later["f"] == row["l"] + 1 for row, later in pairwise(rows))
    expected = truth.slice(start, truth.last_id)
    assert [float(row["p"]) for row in rows] == expected.price.tolist()
    assert [float(row["q"]) for row in rows] == expected.qty.tolist()
    assert [not row["m"] for row in rows] == expected.is_buy.tolist()


def test_both_edges_of_time_are_inclusive_and_the_oldest_come_first(get):
    newest = get("aggTrades", symbol="BTCUSDT", limit=1000)
    times = [row["T"] for row in newest]
    start, end = times[100], times[700]
    inside = [row for row in newest if start <= row["T"] <= end]
    assert get("aggTrades", symbol="BTCUSDT", startTime=start, endTime=end, limit=1000) == inside
    assert get("aggTrades", symbol="BTCUSDT", startTime=start, endTime=end, limit=5) == inside[:5]
    assert get("aggTrades", symbol="BTCUSDT", startTime=start, endTime=end) == inside[:500]
    micro = get(
        "aggTrades", symbol="BTCUSDT", startTime=start * 1000, endTime=end * 1000, limit=1000
    )
    assert micro == inside
    assert get("aggTrades", symbol="BTCUSDT", startTime=end, endTime=start) == []
    assert get("aggTrades", symbol="BTCUSDT", startTime=NOW_MS + 1) == []


def test_times_in_microseconds_on_request(get):
    headers = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    for path, key in (("aggTrades", "T"), ("trades", "time")):
        plain = get(path, symbol="BTCUSDT", limit=3)
        micro = get(path, symbol="BTCUSDT", limit=3, headers=headers)
        assert [row[key] // 1000 for row in micro] == [row[key] for row in plain]
    kline = get("klines", symbol="BTCUSDT", interval="1m", limit=1, headers=headers)[0]
    assert kline[6] - kline[0] == 59_999_999


def test_raw_trades_are_the_fills_of_aggregates(get):
    aggregates = get("aggTrades", symbol="BTCUSDT", limit=20)
    first, last = aggregates[0]["f"], aggregates[-1]["l"]
    raw = get("historicalTrades", symbol="BTCUSDT", fromId=first, limit=1000)
    assert [row["id"] for row in raw] == list(range(first, last + 1))
    for aggregate in aggregates:
        fills = [row for row in raw if aggregate["f"] <= row["id"] <= aggregate["l"]]
        assert {row["price"] for row in fills} == {aggregate["p"]}
        assert {(row["time"], row["isBuyerMaker"]) for row in fills} == {
            (aggregate["T"], aggregate["m"])
        }
        assert sum(float(row["qty"]) for row in fills) == pytest.approx(
            float(aggregate["q"]), abs=1e-9
        )
    assert get("trades", symbol="BTCUSDT", limit=5) == raw[-5:]
    assert float(raw[0]["quoteQty"]) == pytest.approx(float(raw[0]["price"]) * float(raw[0]["qty"]))


def test_a_kline_is_the_fold_of_its_trades(get):
    *_, closed, _ = get("klines", symbol="BTCUSDT", interval="1m", limit=3)
    assert len(closed) == 12
    opened, ended = closed[0], closed[6]
    assert ended == opened + 59_999
    trades = get("aggTrades", symbol="BTCUSDT", startTime=opened, endTime=ended, limit=1000)
    prices = [float(row["p"]) for row in trades]
    assert [float(x) for x in closed[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
    amount = [float(row["q"]) for row in trades]
    bought = [float(row["q"]) for row in trades if not row["m"]]
    assert float(closed[5]) == pytest.approx(sum(amount), abs=1e-9)
    assert float(closed[7]) == pytest.approx(
        sum(p * q for p, q in zip(prices, amount, strict=True))
    )
    assert closed[8] == trades[-1]["l"] - trades[0]["f"] + 1
    assert float(closed[9]) == pytest.approx(sum(bought), abs=1e-9)
    assert closed[11] == "0"


def test_klines_page_by_time_and_the_last_is_under_way(get):
    newest = get("klines", symbol="BTCUSDT", interval="5m")
    assert len(newest) == 500
    assert newest[-1][0] <= NOW_MS <= newest[-1][6]
    start, end = newest[10][0], newest[20][0]
    assert (
        get("klines", symbol="BTCUSDT", interval="5m", startTime=start, endTime=end)
        == newest[10:21]
    )
    assert get("klines", symbol="BTCUSDT", interval="5m", startTime=start, limit=3) == newest[10:13]
    assert get("klines", symbol="BTCUSDT", interval="5m", endTime=end, limit=3) == newest[18:21]
    assert get("uiKlines", symbol="BTCUSDT", interval="5m", endTime=end, limit=3) == newest[18:21]
    day = get("klines", symbol="BTCUSDT", interval="1d", limit=1, timeZone="+08:00")[0]
    assert day[0] == at_us("2026-03-03T16:00:00") // 1000


def test_the_book_is_two_sided_and_clamped(get):
    book = get("depth", symbol="BTCUSDT", limit=9999)
    bids, asks = ([float(price) for price, _ in book[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    best = get("ticker/bookTicker", symbol="BTCUSDT")
    assert (float(best["bidPrice"]), float(best["askPrice"])) == (bids[0], asks[0])
    assert len(get("depth", symbol="BTCUSDT", limit=5)["bids"]) == 5


def test_tickers(get, truth):
    newest = get("aggTrades", symbol="BTCUSDT", limit=1)[0]
    assert get("ticker/price", symbol="BTCUSDT") == {"symbol": "BTCUSDT", "price": newest["p"]}
    assert [row["symbol"] for row in get("ticker/price")] == ["BTCUSDT", "ETHUSDT"]
    assert get("ticker/price", symbols='["ETHUSDT"]')[0]["symbol"] == "ETHUSDT"
    average = get("avgPrice", symbol="BTCUSDT")
    assert (average["mins"], average["closeTime"]) == (5, newest["T"])
    rows = get("aggTrades", symbol="BTCUSDT", startTime=NOW_MS - 300_000, limit=1000)
    value = sum(float(row["p"]) * float(row["q"]) for row in rows)
    assert float(average["price"]) == pytest.approx(
        value / sum(float(row["q"]) for row in rows), abs=1e-6
    )


def test_the_rolling_day(get, truth):
    day = get("ticker/24hr", symbol="BTCUSDT")
    begin_us = (NOW_MS - 86_400_000) * 1000
    trades = truth.slice(truth.id_at(begin_us), truth.last_id)
    assert (day["openTime"], day["closeTime"]) == (NOW_MS - 86_400_000, NOW_MS)
    assert float(day["highPrice"]) == trades.price.max()
    assert float(day["openPrice"]) == trades.price[0]
    assert float(day["volume"]) == pytest.approx(trades.qty.sum())
    assert float(day["weightedAvgPrice"]) == pytest.approx(
        (trades.price * trades.qty).sum() / trades.qty.sum()
    )
    assert float(day["prevClosePrice"]) == truth.slice(trades.id[0] - 1, trades.id[0] - 1).price[0]
    assert day["count"] == day["lastId"] - day["firstId"] + 1
    mini = get("ticker/24hr", symbol="BTCUSDT", type="MINI")
    assert mini == {name: day[name] for name in mini}
    assert len(mini) == 12


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("aggTrades", {}, -1102),
        ("aggTrades", {"symbol": ""}, -1105),
        ("aggTrades", {"symbol": "NOPE"}, -1121),
        ("aggTrades", {"symbol": "btcusdt"}, -1100),
        ("aggTrades", {"symbol": "BTCUSDT", "limit": "x"}, -1100),
        ("aggTrades", {"symbol": "BTCUSDT", "limit": "-5"}, -1100),
        ("aggTrades", {"symbol": "BTCUSDT", "limit": 0}, -1130),
        ("aggTrades", {"symbol": "BTCUSDT", "limit": 1001}, -1130),
        ("aggTrades", {"symbol": "BTCUSDT", "startTime": "1e5"}, -1100),
        ("aggTrades", {"symbol": "BTCUSDT", "fromId": 5, "startTime": 1}, -1128),
        ("aggTrades", {"symbol": "BTCUSDT", "foo": 1}, -1104),
        ("aggTrades", {"symbol": ["BTCUSDT", "BTCUSDT"]}, -1101),
        ("time", {"foo": 1}, -1101),
        ("klines", {"symbol": "BTCUSDT"}, -1102),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "timeZone": "+25:00"}, -1130),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "timeZone": "east"}, -1130),
        ("klines", {"interval": "1m"}, -1102),
        ("ticker/price", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
        ("ticker/price", {"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151),
        ("ticker/price", {"symbols": "BTCUSDT"}, -1100),
        ("ticker/price", {"symbols": '["NOPE"]'}, -1121),
        ("ticker/price", {"symbolStatus": "ASLEEP"}, -1122),
        ("ticker/price", {"symbol": "BTCUSDT", "symbolStatus": "HALT"}, -1220),
        ("ticker/24hr", {"symbol": "BTCUSDT", "type": "HALF"}, -1130),
    ],
)
def test_bad_parameters_have_the_venues_codes(get, path, params, code):
    answer = get(path, status=400, **params)
    assert answer["code"] == code
    assert set(answer) == {"code", "msg"}


def test_a_bad_time_unit_has_its_code(get):
    assert get("time", status=400, headers={"X-MBX-TIME-UNIT": "FORTNIGHT"})["code"] == -1194


@pytest.mark.parametrize("value", [2**63, 10**19])
def test_numbers_beyond_all_bounds_are_only_late(get, value):
    assert get("aggTrades", symbol="BTCUSDT", fromId=value) == []
    assert get("historicalTrades", symbol="BTCUSDT", fromId=value) == []
    assert get("aggTrades", symbol="BTCUSDT", startTime=value) == []
    assert len(get("klines", symbol="BTCUSDT", interval="1M", endTime=value)) <= 2


def test_weights_are_the_venues(venue, clock):
    clock.now_us += 60_000_000
    try:
        used = 0
        for path, weight in (
            ("ping", 1),
            ("exchangeInfo", 20),
            ("depth?symbol=BTCUSDT", 5),
            ("depth?symbol=BTCUSDT&limit=101", 25),
            ("depth?symbol=BTCUSDT&limit=1000", 50),
            ("depth?symbol=BTCUSDT&limit=5000", 250),
            ("trades?symbol=BTCUSDT", 25),
            ("aggTrades?symbol=BTCUSDT", 4),
            ("klines?symbol=BTCUSDT&interval=1m", 2),
            ("avgPrice?symbol=BTCUSDT", 2),
            ("ticker/price?symbol=BTCUSDT", 2),
            ("ticker/price", 4),
            ("ticker/24hr?symbol=BTCUSDT", 2),
            ("ticker/24hr", 80),
            ("aggTrades?symbol=NOPE", 4),
        ):
            answer = requests.get(f"{venue.rest_url}/api/v3/{path}")
            used += weight
            assert answer.headers["X-MBX-USED-WEIGHT-1M"] == str(used), path
    finally:
        clock.now_us -= 60_000_000


def test_beyond_the_weight_of_a_minute_comes_429_until_it_turns(clock):
    rules = Rules(weight_per_minute=9)
    with Simulator.generated(["BTCUSDT"], rate=1.0, clock_us=clock, rules=rules) as venue:
        url = f"{venue.rest_url}/api/v3/aggTrades?symbol=BTCUSDT&limit=1"
        answers = [requests.get(url) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].headers["Retry-After"] == "30"
        assert answers[2].json()["code"] == -1003
        clock.now_us += 30_000_000
        try:
            assert requests.get(url).status_code == 200
        finally:
            clock.now_us -= 30_000_000


def test_a_recorded_market_shows_what_has_been_played(served):
    venue = served(tape(100))
    api = f"{venue.rest_url}/api/v3"
    assert requests.get(f"{api}/aggTrades?symbol=BTCUSDT").json() == []
    assert requests.get(f"{api}/klines?symbol=BTCUSDT&interval=1m").json() == []
    assert requests.get(f"{api}/ticker/price?symbol=BTCUSDT").json()["price"] == "0.00000000"
    assert requests.get(f"{api}/ticker/24hr?symbol=BTCUSDT").json()["count"] == 0
    answer = requests.get(f"{api}/exchangeInfo")
    assert answer.headers["X-Simulated"] == answer.json()["simulated"] == "recorded"
    assert answer.json()["serverTime"] == at_us("2024-01-01T00:00:00") // 1000
