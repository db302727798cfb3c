"""REST of Binance USD-M as the fact sheet of the venue has it, under a clock moved by hand."""

import csv
import hashlib
import io
import zipfile
from itertools import pairwise

import pytest
import requests

from marketdata.simulator.server import Simulator
from tests.simulator.conftest import DAY_US, at_us
from tests.simulator.test_signed import KEY, signed

NOW_MS = at_us("2026-03-04T15:20:30") // 1000
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def usdm(clock):
    with Simulator.generated(
        ["BTCUSDT", "ETHUSDT", "SOLUSDT"],
        venues=["binance_usdm"],
        seed=7,
        rate=0.5,
        clock_us=clock,
    ) as venue:
        yield venue


@pytest.fixture
def ask(usdm):
    def asked(path, status=200, **params):
        answer = requests.get(f"{usdm.rest_url}{path}", params=params)
        assert answer.status_code == status, answer.text
        return answer.json()

    return asked


def test_ping_and_time(ask):
    assert ask("/fapi/v1/ping") == {}
    assert ask("/fapi/v1/time") == {"serverTime": NOW_MS}


def test_contracts_and_limits(ask):
    told = ask("/fapi/v1/exchangeInfo")
    limits = [
        (one["rateLimitType"], one["intervalNum"], one["limit"]) for one in told["rateLimits"]
    ]
    assert limits == [("REQUEST_WEIGHT", 1, 2400), ("ORDERS", 1, 1200), ("ORDERS", 10, 300)]
    assert told["simulated"] == "generated"
    btc = told["symbols"][0]
    assert (btc["symbol"], btc["contractType"], btc["status"]) == (
        *("BTCUSDT", "PERPETUAL", "TRADING"),
    )
    filters = {one["filterType"]: one for one in btc["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.10"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"
    # Named otherwise than in spot.
    assert filters["MIN_NOTIONAL"]["notional"] == "50"
    assert ask("/fapi/v1/exchangeInfo", 400, symbol="BTCUSDT")["code"] == -1101


def test_aggregates_have_a_grid_ids_and_a_net_quantity(ask):
    rows = ask("/fapi/v1/aggTrades", symbol="BTCUSDT", limit=1000)
    assert set(rows[0]) == {"a", "p", "q", "nq", "f", "l", "T", "m"}
    assert [row["a"] for row in rows] == list(range(rows[0]["a"], rows[0]["a"] + 1000))
    for row in rows:
        assert len(row["p"].partition(".")[2]) == 2
        assert row["p"].endswith("0")
        assert len(row["q"].partition(".")[2]) == 3
        assert row["nq"] == row["q"]
        assert row["T"] <= NOW_MS
    # Between aggregates raw ids are missing now and then: they were no trades of the book.
    missing = sum(later["f"] - row["l"] - 1 for row, later in pairwise(rows))
    assert 0 < missing <= 15
    assert ask("/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=rows[7]["a"], limit=3) == rows[7:10]


def test_only_48_hours_of_aggregates_are_kept(ask):
    oldest = ask("/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=1, limit=1)[0]
    assert 0 <= oldest["T"] - (NOW_MS - 48 * HOUR_MS) < 60_000
    first = ask("/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=NOW_MS - 90 * HOUR_MS, limit=1)
    assert first == [oldest]
    before = NOW_MS - 48 * HOUR_MS - 1
    params = {"startTime": before - HOUR_MS + 1, "endTime": before}
    assert ask("/fapi/v1/aggTrades", symbol="BTCUSDT", **params) == []
    assert ask("/fapi/v1/aggTrades", symbol="BTCUSDT", endTime=before) == []


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("aggTrades", {"symbol": "NOPE"}, -1121),
        ("aggTrades", {}, -1102),
        ("aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
        (
            "aggTrades",
            {"symbol": "BTCUSDT", "startTime": NOW_MS - HOUR_MS, "endTime": NOW_MS},
            -1127,
        ),
        ("aggTrades", {"symbol": "BTCUSDT", "limit": 1001}, -1130),
        ("klines", {"symbol": "BTCUSDT", "interval": "1s"}, -1120),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 1501}, -1130),
        ("depth", {"symbol": "BTCUSDT", "limit": 7}, -4021),
        ("openInterest", {}, -1102),
    ],
)
def test_what_the_venue_refuses(ask, path, params, code):
    assert ask(f"/fapi/v1/{path}", 400, **params)["code"] == code


def test_an_hour_less_a_millisecond_is_answered(ask):
    start = NOW_MS - HOUR_MS
    params = {"symbol": "BTCUSDT", "startTime": start, "endTime": NOW_MS - 1, "limit": 1000}
    rows = ask("/fapi/v1/aggTrades", **params)
    assert len(rows) == 1000
    assert rows[0]["T"] >= start


def test_the_book_has_ids_and_times(ask):
    best = {}
    # Orders come and go between the two answers, now and then.
    while (
        best.get("lastUpdateId")
        != (book := ask("/fapi/v1/depth", symbol="BTCUSDT", limit=5))["lastUpdateId"]
    ):
        best = ask("/fapi/v1/ticker/bookTicker", symbol="BTCUSDT")
    assert (book["E"], book["T"]) == (NOW_MS, NOW_MS - 3)
    assert len(book["bids"]) == len(book["asks"]) == 5
    assert float(book["bids"][0][0]) == pytest.approx(float(book["asks"][0][0]) - 0.1)
    assert [best["bidPrice"], best["bidQty"]] == book["bids"][0]
    assert [best["askPrice"], best["askQty"]] == book["asks"][0]


def test_raw_trades_are_those_of_aggregates(ask):
    raw = ask("/fapi/v1/trades", symbol="BTCUSDT", limit=60)
    by_id = {trade["id"]: trade for trade in raw}
    whole = [
        row
        for row in ask("/fapi/v1/aggTrades", symbol="BTCUSDT", limit=60)
        if row["f"] >= raw[0]["id"]
    ]
    assert len(whole) >= 30
    for row in whole:
        fills = [by_id[id] for id in range(row["f"], row["l"] + 1) if id in by_id]
        assert sum(float(one["qty"]) for one in fills) == pytest.approx(float(row["q"]))
    assert set(raw[0]) == {
        *("id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isRPITrade"),
    }


def test_candles_fold_the_aggregates(ask):
    start = NOW_MS // 60_000 * 60_000 - 60_000
    (candle,) = ask(
        "/fapi/v1/klines",
        symbol="BTCUSDT", interval="1m", startTime=start, endTime=start + 59_999,
    )  # fmt: skip
    rows = ask(
        "/fapi/v1/aggTrades",
        symbol="BTCUSDT", startTime=start, endTime=start + 59_999, limit=1000,
    )  # fmt: skip
    assert 0 < len(rows) < 1000
    prices = [float(row["p"]) for row in rows]
    assert [float(value) for value in candle[1:5]] == [
        prices[0], max(prices), min(prices), prices[-1],
    ]  # fmt: skip
    assert float(candle[5]) == pytest.approx(sum(float(row["q"]) for row in rows))
    bought = sum(float(row["q"]) for row in rows if not row["m"])
    assert float(candle[9]) == pytest.approx(bought)


def test_mark_index_and_funding_hang_together(ask):
    told = ask("/fapi/v1/premiumIndex", symbol="BTCUSDT")
    mark, index = float(told["markPrice"]), float(told["indexPrice"])
    assert 0 < abs(mark / index - 1) < 1e-3
    assert told["nextFundingTime"] == at_us("2026-03-04T16:00:00") // 1000
    last = float(ask("/fapi/v1/aggTrades", symbol="BTCUSDT", limit=1)[0]["p"])
    assert mark == pytest.approx(last, rel=5e-4)
    # Premium and the interest of 0.01 %, which gives way by half a thousandth at most.
    premium = mark / index - 1
    expected = premium + min(5e-4, max(-5e-4, 1e-4 - premium))
    assert float(told["lastFundingRate"]) == pytest.approx(expected, abs=1e-8)
    assert len(ask("/fapi/v1/premiumIndex")) == 3


def test_fundings_are_eight_hours_apart_unless_adjusted(ask):
    rows = ask("/fapi/v1/fundingRate", symbol="BTCUSDT")
    assert len(rows) == 200
    last = at_us("2026-03-04T08:00:00") // 1000
    assert all(0 <= (row["fundingTime"] - last) % (8 * HOUR_MS) < 10 for row in rows)
    assert 0 <= rows[-1]["fundingTime"] - last < 10
    start = rows[100]["fundingTime"]
    page = ask("/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=start, limit=5)
    assert page == rows[100:105]
    end = rows[104]["fundingTime"]
    assert (
        ask("/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=start, endTime=end) == rows[100:105]
    )
    (adjusted,) = ask("/fapi/v1/fundingInfo")
    assert (adjusted["symbol"], adjusted["fundingIntervalHours"]) == ("SOLUSDT", 4)
    four = ask("/fapi/v1/fundingRate", symbol="SOLUSDT", limit=2)
    assert round((four[1]["fundingTime"] - four[0]["fundingTime"]) / HOUR_MS) == 4


def test_open_interest_of_now_and_of_a_month(ask):
    now = ask("/fapi/v1/openInterest", symbol="BTCUSDT")
    assert now["time"] == NOW_MS
    assert float(now["openInterest"]) > 1000
    rows = ask("/futures/data/openInterestHist", symbol="BTCUSDT", period="5m")
    assert len(rows) == 30
    times = [row["timestamp"] for row in rows]
    assert times == list(range(times[0], times[0] + 30 * 300_000, 300_000))
    assert times[-1] == at_us("2026-03-04T15:20:00") // 1000
    assert float(rows[-1]["sumOpenInterest"]) == pytest.approx(float(now["openInterest"]), rel=1e-3)
    page = ask(
        "/futures/data/openInterestHist",
        symbol="BTCUSDT", period="5m", startTime=times[3], endTime=times[9], limit=4,
    )  # fmt: skip
    assert page == rows[3:7]
    early = {"symbol": "BTCUSDT", "period": "5m", "startTime": NOW_MS - 31 * 86_400_000}
    assert ask("/futures/data/openInterestHist", 400, **early)["code"] == -1130
    params = {"symbol": "BTCUSDT", "period": "7m"}
    assert ask("/futures/data/openInterestHist", 400, **params)["code"] == -1130


def test_the_day_has_no_bid_and_ask(ask):
    day = ask("/fapi/v1/ticker/24hr", symbol="BTCUSDT")
    assert not {"bidPrice", "askPrice", "prevClosePrice"} & set(day)
    assert float(day["lowPrice"]) <= float(day["lastPrice"]) <= float(day["highPrice"])
    price = ask("/fapi/v2/ticker/price", symbol="BTCUSDT")
    assert price == {"symbol": "BTCUSDT", "price": day["lastPrice"], "time": NOW_MS}


@pytest.mark.parametrize(
    ("path", "params", "weight"),
    [
        ("fapi/v1/ping", {}, 1),
        ("fapi/v1/aggTrades", {"symbol": "BTCUSDT"}, 20),
        ("fapi/v1/trades", {"symbol": "BTCUSDT"}, 5),
        ("fapi/v1/depth", {"symbol": "BTCUSDT"}, 10),
        ("fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 50}, 2),
        ("fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 100}, 5),
        ("fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 1000}, 20),
        ("fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m"}, 5),
        ("fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 99}, 1),
        ("fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 100}, 2),
        ("fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 1001}, 10),
        ("fapi/v1/premiumIndex", {"symbol": "BTCUSDT"}, 1),
        ("fapi/v1/premiumIndex", {}, 10),
        ("fapi/v1/ticker/24hr", {"symbol": "BTCUSDT"}, 1),
        ("fapi/v1/ticker/bookTicker", {"symbol": "BTCUSDT"}, 2),
        ("fapi/v1/ticker/bookTicker", {}, 5),
        ("fapi/v1/openInterest", {"symbol": "BTCUSDT"}, 1),
        ("fapi/v2/ticker/price", {}, 2),
        ("futures/data/openInterestHist", {"symbol": "BTCUSDT", "period": "1h"}, 0),
    ],
)
def test_weights(usdm, ask, path, params, weight):
    def used():
        told = requests.get(f"{usdm.rest_url}/fapi/v1/ping").headers["X-MBX-USED-WEIGHT-1M"]
        return int(told)

    before = used()
    ask(f"/{path}", **params)
    assert used() - before - 1 == weight


def test_too_much_is_refused_and_side_pools_have_limits_of_their_own(clock):
    # 5:00 of the clock's window of five minutes has begun at 15:20.
    with (
        Simulator.generated(
            ["BTCUSDT"], venues=["binance_usdm"], rate=1.0, clock_us=clock, weight_limit=50
        ) as venue,
        requests.Session() as session,
    ):

        def asked(path, **params):
            return session.get(f"{venue.rest_url}{path}", params=params)

        params = {"symbol": "BTCUSDT", "limit": 1}
        statuses = [asked("/fapi/v1/aggTrades", **params).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        refused = asked("/fapi/v1/ping")
        assert (refused.status_code, refused.json()["code"]) == (429, -1003)
        assert refused.headers["Retry-After"] == "30"
        answers = [asked("/fapi/v1/fundingInfo") for _ in range(501)]
        assert {answer.status_code for answer in answers[:500]} == {200}
        assert answers[500].status_code == 429
        assert answers[500].headers["Retry-After"] == "270"
        assert "X-MBX-USED-WEIGHT-1M" not in answers[0].headers


def test_the_archive_is_in_milliseconds_with_a_header(usdm):
    stem = "BTCUSDT-aggTrades-2026-03-03"
    path = f"/data/futures/um/daily/aggTrades/BTCUSDT/{stem}.zip"
    packed = requests.get(usdm.rest_url + path).content
    told = requests.get(f"{usdm.rest_url}{path}.CHECKSUM").text
    assert told == f"{hashlib.sha256(packed).hexdigest()}  {stem}.zip\n"
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == [f"{stem}.csv"]
        rows = list(csv.reader(io.StringIO(archive.read(f"{stem}.csv").decode())))
    assert rows[0] == [
        *("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id"),
        *("transact_time", "is_buyer_maker"),
    ]
    opened = at_us("2026-03-03T00:00:00")
    assert opened <= int(rows[1][5]) * 1000 <= int(rows[-1][5]) * 1000 < opened + DAY_US
    assert len(rows) - 1 == 43_200
    page = requests.get(
        f"{usdm.rest_url}/fapi/v1/aggTrades",
        params={"symbol": "BTCUSDT", "fromId": rows[20_000][0], "limit": 1000},
    ).json()
    for row, one in zip(rows[20_000:21_000], page, strict=True):
        assert row == [
            *(str(one["a"]), one["p"], one["q"], str(one["f"]), str(one["l"]), str(one["T"])),
            str(one["m"]).lower(),
        ]
    absent = requests.get(usdm.rest_url + path.replace("03-03", "03-04"))
    assert (absent.status_code, "NoSuchKey" in absent.text) == (404, True)


def test_an_archive_can_be_late_and_damaged(usdm):
    path = "/data/futures/um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-03-03.zip"
    usdm.faults.update({"archive_missing": 1, "archive_corrupt": 1})
    assert requests.get(usdm.rest_url + path).status_code == 404
    told = requests.get(f"{usdm.rest_url}{path}.CHECKSUM").text.split()[0]
    digests = [
        hashlib.sha256(requests.get(usdm.rest_url + path).content).hexdigest() for _ in range(2)
    ]
    assert digests[0] != told
    assert digests[1] == told


def test_the_account_answers_who_signs(usdm):
    def asked(path, query=f"timestamp={NOW_MS}", headers=KEY):
        return requests.get(f"{usdm.rest_url}/fapi/v3/{path}?{signed(query)}", headers=headers)

    (balance,) = asked("balance").json()
    assert (balance["asset"], balance["balance"]) == ("USDT", "10000.00000000")
    (position,) = asked("positionRisk").json()
    assert (position["symbol"], position["positionAmt"]) == ("BTCUSDT", "0.010")
    profit = 0.01 * (float(position["markPrice"]) - float(position["entryPrice"]))
    assert float(position["unRealizedProfit"]) == pytest.approx(profit, abs=1e-6)
    account = asked("account").json()
    assert account["totalWalletBalance"] == "10000.00000000"
    assert account["positions"][0]["positionAmt"] == "0.010"
    # No position is no row.
    assert asked("positionRisk", f"symbol=ETHUSDT&timestamp={NOW_MS}").json() == []
    assert asked("balance", headers={"X-MBX-APIKEY": "x"}).status_code == 401
    late = asked("balance", f"timestamp={NOW_MS - 5001}")
    assert (late.status_code, late.json()["code"]) == (400, -1021)


@pytest.mark.parametrize(
    ("fault", "status"), [("http_429", 429), ("http_418", 418), ("http_451", 451),
                          ("http_403html", 403), ("http_502", 502), ("http_503", 503)],
)  # fmt: skip
def test_faults_of_http(usdm, fault, status):
    usdm.faults.update({fault: 1, "retry_after": 3})
    answers = [requests.get(f"{usdm.rest_url}/fapi/v1/time") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [status, 200]
    if status in {418, 429}:
        assert answers[0].headers["Retry-After"] == "3"
