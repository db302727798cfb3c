"""Signed questions: what is accepted, and every way to be refused."""

import hashlib
import hmac

import pytest
import requests

from tests.simulator.bybit.conftest import opened, room_of
from tests.simulator.conftest import HandClock, at_us

NOW_MS = at_us("2026-03-04T15:20:30") // 1000
WALLET = "account/wallet-balance"
# Self-made vector of the facts about the venue: key, secret, query, time and signature.
VECTOR_KEY, VECTOR_SECRET = "TESTKEY0000000000", "TESTSECRET00000000000000000000000000"
VECTOR_SIGN = "d7a58c70d7c0e89115522b203178810282d5d630b27f00b28bd0674c275dcc29"
VECTOR_MS = 1_700_000_000_000


def signed(simulator, path, query="", *, at_ms=NOW_MS, key="SIMKEY", secret="SIMSECRET", **extra):
    """Ask as a client that signs, whose headers may be changed."""
    window = extra.pop("window", "5000")
    text = f"{at_ms}{key}{window}{query}"
    headers = {
        "X-BAPI-API-KEY": key,
        "X-BAPI-TIMESTAMP": str(at_ms),
        "X-BAPI-RECV-WINDOW": window,
        "X-BAPI-SIGN": hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest(),
        **extra,
    }
    kept = {name: value for name, value in headers.items() if value is not None}
    return requests.get(f"{simulator.rest_url}/v5/{path}?{query}", headers=kept)


def test_the_wallet(still):
    answer = signed(still, WALLET, "accountType=UNIFIED")
    assert answer.headers["X-Bapi-Limit"] == "50"
    assert answer.headers["X-Bapi-Limit-Status"] == "49"
    assert answer.headers["X-Bapi-Limit-Reset-Timestamp"] == str(NOW_MS)
    assert answer.json()["retCode"] == 0
    (row,) = answer.json()["result"]["list"]
    assert row["accountType"] == "UNIFIED"
    assert [coin["coin"] for coin in row["coin"]] == ["USDT", "BTC"]
    usdt, btc = row["coin"]
    assert (usdt["walletBalance"], usdt["totalOrderIM"], usdt["locked"]) == ("10000.5", "", "0")
    worth = float(usdt["usdValue"]) + float(btc["usdValue"])
    assert float(row["totalEquity"]) == pytest.approx(worth)
    only = signed(still, WALLET, "accountType=UNIFIED&coin=BTC").json()
    assert [coin["coin"] for coin in only["result"]["list"][0]["coin"]] == ["BTC"]
    assert signed(still, WALLET, "accountType=SPOT").json()["retCode"] == 10001


def test_positions_and_the_key(still):
    answer = signed(still, "position/list", "category=linear&settleCoin=USDT").json()
    (row,) = answer["result"]["list"]
    assert (row["symbol"], row["side"], row["size"]) == ("BTCUSDT", "Buy", "0.050")
    gained = 0.05 * (float(row["markPrice"]) - float(row["avgPrice"]))
    assert float(row["unrealisedPnl"]) == pytest.approx(gained)
    assert signed(still, "position/list", "category=linear").json()["retCode"] == 10001
    other = signed(still, "position/list", "category=linear&settleCoin=USDC").json()
    assert other["result"]["list"] == []
    key = signed(still, "user/query-api").json()["result"]
    assert (key["readOnly"], key["apiKey"]) == (1, "SIMKEY")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"secret": "WRONG"}, 200, 10004),
        ({"X-BAPI-SIGN": "0" * 64}, 200, 10004),
        ({"X-BAPI-RECV-WINDOW": "5001"}, 200, 10004),
        ({"key": "OTHERKEY"}, 200, 10003),
        ({"X-BAPI-API-KEY": None}, 401, 10003),
        ({"X-BAPI-SIGN": None}, 401, 10003),
        ({"X-BAPI-TIMESTAMP": "soon"}, 401, 10003),
        ({"at_ms": NOW_MS + 999}, 200, 0),
        ({"at_ms": NOW_MS + 1000}, 200, 10002),
        ({"at_ms": NOW_MS + 1001, "window": "60000"}, 200, 10002),
        ({"at_ms": NOW_MS - 5000}, 200, 0),
        ({"at_ms": NOW_MS - 5001}, 200, 10002),
        ({"at_ms": NOW_MS - 5001, "window": "10000"}, 200, 0),
    ],
)
def test_who_is_refused(still, changed, status, code):
    answer = signed(still, WALLET, "accountType=UNIFIED", **changed)
    assert (answer.status_code, answer.json()["retCode"]) == (status, code)


def test_the_query_is_signed_as_it_was_sent(still):
    query = "coin=USDT%2CBTC&accountType=UNIFIED"
    assert signed(still, WALLET, query).json()["retCode"] == 0


def test_the_vector_of_the_facts_is_accepted():
    clock = HandClock(VECTOR_MS * 1000)
    with opened(["BTCUSDT"], rate=0.5, clock_us=clock) as simulator:
        room_of(simulator).keys[VECTOR_KEY] = VECTOR_SECRET
        headers = {
            "X-BAPI-API-KEY": VECTOR_KEY,
            "X-BAPI-TIMESTAMP": str(VECTOR_MS),
            "X-BAPI-RECV-WINDOW": "5000",
            "X-BAPI-SIGN": VECTOR_SIGN,
        }
        url = f"{simulator.rest_url}/v5/position/list?category=linear&symbol=BTCUSDT"
        assert requests.get(url, headers=headers).json()["retCode"] == 0
        assert requests.get(f"{url}&x=1", headers=headers).json()["retCode"] == 10004
