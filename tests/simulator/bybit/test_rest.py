"""REST: envelope, pages, refusals, and the limit of an address."""

import time
from urllib.parse import unquote

import pytest
import requests

from tests.simulator.bybit.conftest import get, result
from tests.simulator.conftest import at_us

NOW_MS = at_us("2026-03-04T15:20:30") // 1000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def test_the_envelope_and_the_time(still):
    envelope = get(still, "market/time")
    assert envelope == {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"timeSecond": str(NOW_MS // 1000), "timeNano": str(NOW_MS * 1_000_000)},
        "retExtInfo": {},
        "time": NOW_MS,
    }
    answer = requests.get(f"{still.rest_url}/v5/market/time")
    assert answer.headers["X-Simulated"] == "generated"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("recent-trade", "category=option&symbol=BTCUSDT"),
        ("recent-trade", "symbol=BTCUSDT"),
        ("recent-trade", "category=linear"),
        ("recent-trade", "category=linear&symbol=NOPE"),
        ("recent-trade", "category=linear&symbol=BTCUSDT&limit=0"),
        ("recent-trade", "category=linear&symbol=BTCUSDT&limit=x"),
        ("kline", "category=linear&symbol=BTCUSDT&interval=2"),
        ("kline", "category=linear&symbol=BTCUSDT"),
        ("kline", "symbol=BTCUSDT&interval=1&limit=1001"),
        ("orderbook", "category=linear&symbol=BTCUSDT&limit=1001"),
        ("tickers", ""),
        ("funding/history", "category=spot&symbol=BTCUSDT"),
        ("funding/history", "category=linear&symbol=BTCUSDT&startTime=1"),
        ("open-interest", "category=linear&symbol=BTCUSDT&intervalTime=2h"),
        ("open-interest", "category=linear&symbol=BTCUSDT&intervalTime=1h&cursor=x"),
        ("instruments-info", "category=linear&cursor=x"),
        ("instruments-info", "category=linear&status=Asleep"),
    ],
)
def test_bad_parameters_are_refused_under_http_200(still, path, query):
    envelope = requests.get(f"{still.rest_url}/v5/market/{path}?{query}").json()
    assert envelope["retCode"] == 10001
    assert envelope["retMsg"]
    assert envelope["result"] == {}


@pytest.mark.parametrize("path", ["market/nope", "nope", "market/recent-trade/x"])
def test_wrong_paths_are_404(still, path):
    assert requests.get(f"{still.rest_url}/v5/{path}").status_code == 404


def test_contracts_need_two_pages_and_ours_is_on_the_second(still):
    first = result(still, "market/instruments-info", category="linear")
    assert len(first["list"]) == 500
    assert "BTCUSDT" not in {row["symbol"] for row in first["list"]}
    for cursor in (first["nextPageCursor"], unquote(first["nextPageCursor"])):
        second = result(still, "market/instruments-info", category="linear", cursor=cursor)
        assert second["nextPageCursor"] == ""
        symbols = [row["symbol"] for row in first["list"] + second["list"]]
        assert symbols == sorted(set(symbols))
        assert {"BTCUSDT", "ETHUSDT"} < set(symbols)
    trading = result(still, "market/instruments-info", category="linear", status="Trading")
    assert [row["symbol"] for row in trading["list"]] == ["BTCUSDT", "ETHUSDT"]


def test_the_filters_of_contracts_and_of_spot_have_other_names(still):
    query = {"symbol": "BTCUSDT"}
    page = result(still, "market/instruments-info", category="linear", **query)
    (contract,) = page["list"]
    assert contract["priceFilter"]["tickSize"] == "0.10"
    assert contract["lotSizeFilter"]["qtyStep"] == "0.001"
    assert contract["lotSizeFilter"]["minNotionalValue"] == "5"
    assert (contract["status"], contract["fundingInterval"]) == ("Trading", 480)
    page = result(still, "market/instruments-info", category="spot", **query)
    assert "nextPageCursor" not in page
    (spot,) = page["list"]
    assert spot["priceFilter"] == {"tickSize": "0.01"}
    assert spot["lotSizeFilter"]["basePrecision"] == "0.000001"
    assert spot["lotSizeFilter"]["minOrderAmt"] == "5"
    assert "qtyStep" not in spot["lotSizeFilter"]
    assert (spot["baseCoin"], spot["quoteCoin"]) == ("BTC", "USDT")


def candles(simulator, **params):
    query = {"category": "linear", "symbol": "BTCUSDT", "interval": "1", **params}
    return [int(row[0]) for row in result(simulator, "market/kline", **query)["list"]]


def test_candles_come_newest_first_and_the_open_one_with_them(still):
    now = NOW_MS // MINUTE_MS * MINUTE_MS
    assert candles(still, limit=3) == [now, now - MINUTE_MS, now - 2 * MINUTE_MS]
    assert len(candles(still)) == 200
    ago = now - 100 * MINUTE_MS
    assert candles(still, start=ago, limit=2) == [ago + MINUTE_MS, ago]
    assert candles(still, start=ago + 17, limit=1) == [ago]
    assert candles(still, end=ago, limit=2) == [ago, ago - MINUTE_MS]
    assert candles(still, start=ago, end=ago + 5 * MINUTE_MS, limit=2) == [
        ago + 5 * MINUTE_MS,
        ago + 4 * MINUTE_MS,
    ]
    assert candles(still, start=ago, end=ago) == [ago]
    assert candles(still, start=now + MINUTE_MS) == []


@pytest.mark.parametrize(("interval", "hours"), [("60", 1), ("240", 4), ("D", 24)])
def test_longer_candles_are_made_of_shorter_ones(still, interval, hours):
    opened = NOW_MS // (hours * HOUR_MS) * hours * HOUR_MS - hours * HOUR_MS
    query = {"symbol": "BTCUSDT", "category": "spot", "start": opened}
    (long,) = result(still, "market/kline", interval=interval, limit=1, **query)["list"]
    short = result(still, "market/kline", interval="30", limit=2 * hours, **query)["list"][::-1]
    assert len(short) == 2 * hours
    assert long[1] == short[0][1]
    assert long[4] == short[-1][4]
    assert float(long[2]) == max(float(row[2]) for row in short)
    assert float(long[3]) == min(float(row[3]) for row in short)
    assert float(long[5]) == pytest.approx(sum(float(row[5]) for row in short))
    assert float(long[6]) == pytest.approx(sum(float(row[6]) for row in short))


def test_open_interest_is_paged_to_its_beginning(still):
    query = {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "1h"}
    start = NOW_MS - 5 * HOUR_MS
    first = result(still, "market/open-interest", limit=3, startTime=start, **query)
    cursor = unquote(first["nextPageCursor"])
    second = result(still, "market/open-interest", limit=3, startTime=start, cursor=cursor, **query)
    times = [int(row["timestamp"]) for row in first["list"] + second["list"]]
    newest = NOW_MS // HOUR_MS * HOUR_MS
    assert times == [newest - step * HOUR_MS for step in range(5)]
    assert second["nextPageCursor"] == ""
    for row in first["list"]:
        both, single = float(row["openInterest"]), float(row["singleOpenInterest"])
        assert both == pytest.approx(2 * single)
    assert len(result(still, "market/open-interest", **query)["list"]) == 50


def test_funding_between_two_times(still):
    end = NOW_MS // (8 * HOUR_MS) * 8 * HOUR_MS
    query = {"category": "linear", "symbol": "ETHUSDT"}
    rows = result(
        still, "market/funding/history", startTime=end - 16 * HOUR_MS, endTime=end, **query
    )["list"]
    assert [int(row["fundingRateTimestamp"]) for row in rows] == [
        end - step * 8 * HOUR_MS for step in range(3)
    ]
    rows = result(still, "market/funding/history", endTime=end - 1, limit=1, **query)["list"]
    assert int(rows[0]["fundingRateTimestamp"]) == end - 8 * HOUR_MS


def test_an_address_that_asks_too_often_is_banned_for_a_while(strict):
    simulator = strict(weight_per_minute=12 * 6, ban_s=0.2)  # 6 within 5 s
    url = f"{simulator.rest_url}/v5/market/time"
    with requests.Session() as session:
        assert {session.get(url).status_code for _ in range(6)} == {200}
        answer = session.get(url)
        assert (answer.status_code, answer.text) == (403, "403, access too frequent")
        assert simulator.status()["rooms"]["bybit"]["banned_s"] > 0
        until_s = time.monotonic() + 5
        while simulator.status()["rooms"]["bybit"]["banned_s"] and time.monotonic() < until_s:
            assert session.get(url).status_code == 403
        # The stretch of 5 s is not over, so the next one begins another ban.
        assert session.get(url).status_code == 403
