"""Signed questions, signed here by hand: key, time, and every byte of the query count."""

import hashlib
import hmac

import pytest
import requests

from marketdata.simulator.binance_spot.signed import signature_of
from tests.simulator.conftest import at_us

NOW_MS = at_us("2026-03-04T15:20:30") // 1000
KEY = {"X-MBX-APIKEY": "SIMKEY"}


def signed(query, secret="SIMSECRET"):
    mark = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    return f"{query}&signature={mark}"


def asked(venue, query, headers=KEY, path="/api/v3/account"):
    return requests.get(f"{venue.rest_url}{path}?{query}", headers=headers)


def test_the_signature_is_that_of_the_documents(monkeypatch):
    # The venue's own example of a signed query.
    monkeypatch.setattr(
        "marketdata.simulator.binance_spot.signed.SECRET",
        "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
    )
    query = (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
        "&timestamp=1499827319559"
    )
    assert signature_of(query) == "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"


def test_the_account_answers_who_signs(venue):
    answer = asked(venue, signed(f"timestamp={NOW_MS}"))
    assert answer.status_code == 200
    assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) >= 20
    told = answer.json()
    assert (told["accountType"], told["updateTime"]) == ("SPOT", NOW_MS)
    held = {one["asset"]: (one["free"], one["locked"]) for one in told["balances"]}
    assert held == {
        "BTC": ("0.50000000", "0.10000000"),
        "USDT": ("25000.00000000", "1500.00000000"),
        "BNB": ("0.00000000", "0.00000000"),
    }
    some = asked(venue, signed(f"omitZeroBalances=true&timestamp={NOW_MS}")).json()
    assert [one["asset"] for one in some["balances"]] == ["BTC", "USDT"]


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        (signed(f"timestamp={NOW_MS}"), {}, 401, -2014),
        (signed(f"timestamp={NOW_MS}"), {"X-MBX-APIKEY": "OTHER"}, 401, -2015),
        (signed("recvWindow=5000"), KEY, 400, -1102),
        (f"timestamp={NOW_MS}", KEY, 400, -1102),
        (signed("timestamp=soon"), KEY, 400, -1100),
        (signed(f"timestamp={NOW_MS}", "WRONG"), KEY, 400, -1022),
        # Signed in another order than it was sent in.
        (
            signed(f"timestamp={NOW_MS}&recvWindow=5000").replace(
                f"timestamp={NOW_MS}&recvWindow=5000", f"recvWindow=5000&timestamp={NOW_MS}"
            ),
            KEY,
            400,
            -1022,
        ),
        # Something stands behind the signature that it does not cover.
        (signed(f"timestamp={NOW_MS}") + "&recvWindow=5000", KEY, 400, -1022),
        (signed(f"timestamp={NOW_MS - 5001}"), KEY, 400, -1021),
        (signed(f"timestamp={NOW_MS + 1000}"), KEY, 400, -1021),
        (signed(f"timestamp={NOW_MS + 1000}&recvWindow=60000"), KEY, 400, -1021),
        (signed(f"timestamp={NOW_MS}&recvWindow=60001"), KEY, 400, -1131),
        (signed(f"timestamp={NOW_MS}&symbol=BTCUSDT"), KEY, 400, -1104),
    ],
)
def test_every_way_to_sign_wrong_is_refused(venue, query, headers, status, code):
    answer = asked(venue, query, headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "query",
    [
        f"timestamp={NOW_MS - 5000}",
        f"timestamp={NOW_MS + 999}",
        f"timestamp={NOW_MS - 59_000}&recvWindow=60000",
        f"timestamp={NOW_MS}123",
    ],
)
def test_what_is_within_the_window_is_answered(venue, query):
    assert asked(venue, signed(query)).status_code == 200
