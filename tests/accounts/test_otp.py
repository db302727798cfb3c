"""One-time URLs: a fresh one each time, where it must lead, and never shown."""

from __future__ import annotations

import threading

import pytest

from marketdata.accounts.otp import OneTimeUrl, checked_url, chosen
from marketdata.accounts.token import Token
from marketdata.core.errors import (
    BadInputError,
    BotCryptoError,
    ConnectionLostError,
    FrameError,
    VenueError,
)
from marketdata.venues.deriv import LEGACY, VENUE
from marketdata.venues.dialog import Account
from tests.accounts.tickets import APP, BEFORE, REAL, TOKEN, Desk

WS = "wss://api.derivws.com"
URL = f"{WS}{BEFORE}/ws/demo?otp=hUsH"


@pytest.fixture
def desk():
    with Desk() as desk:
        yield desk


def url_of(desk, account="", token=TOKEN, **more):
    stop = more.get("stop") or threading.Event()
    return OneTimeUrl(VENUE, desk.url, desk.ws_url, Token(token, account), APP, stop)


def test_each_call_brings_a_fresh_url_and_the_account_is_asked_for_once(desk, caplog):
    with caplog.at_level("DEBUG"):
        locate = url_of(desk)
        urls = [locate() for _ in range(3)]
        locate.close()
    assert urls == [f"{desk.ws_url}{BEFORE}/ws/demo?otp=otp-hUsH-{n}" for n in (1, 2, 3)]
    assert (
        desk.asked
        == [("GET", f"{BEFORE}/accounts")] + [("POST", f"{BEFORE}/accounts/DOT90004580/otp")] * 3
    )
    for headers in desk.headers:
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert headers["Deriv-App-ID"] == APP
    assert locate.known == Account("DOT90004580", "demo", "USD", "active")
    for secret in (*desk.passwords, TOKEN):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("wanted", "id"),
    [("ROT90004581", "ROT90004581"), ("real", "ROT90004581"), ("demo", "DOT90004580")],
)
def test_the_account_is_chosen_by_id_or_kind(desk, wanted, id):
    desk.accounts.append(REAL)
    locate = url_of(desk, wanted)
    assert f"/ws/{'real' if id == 'ROT90004581' else 'demo'}?" in locate()
    assert desk.asked[-1] == ("POST", f"{BEFORE}/accounts/{id}/otp")
    locate.close()


def test_a_kind_is_no_prefix_and_two_accounts_are_no_choice():
    odd = Account("DOT1", "real", "USD", "active")
    known = [odd, Account("ROT2", "demo", "USD", "active")]
    assert chosen(known, "real") is odd
    for wanted in ("", "DOT", "dot1", "wallet"):
        with pytest.raises(VenueError, match=r"seen DOT1 \(real\), ROT2 \(demo\): set its id"):
            chosen(known, wanted)
    with pytest.raises(VenueError, match="seen none"):
        chosen([], "")
    with pytest.raises(VenueError, match="an active account expected, DOT1 is disabled"):
        chosen([Account("DOT1", "demo", "USD", "disabled")], "")


@pytest.mark.parametrize(
    ("answer", "words", "retryable"),
    [
        ((401, {"errors": [{"status": 401, "code": "Unauthorized", "message": "expired"}]}),
         "status 401, Unauthorized: expired: the token is unknown or has expired", False),
        ((403, b"<html>no</html>"), "status 403, in no words of its own: the token may not", False),
        ((404, {"errors": [{"status": 404, "code": "AccountNotFound", "message": "no"}]}),
         "AccountNotFound: no: no such account", False),
        ((422, {"errors": []}), "status 422", False),
        ((429, {"errors": [{"status": 429, "code": "TooMany", "message": "slow"}]}),
         "TooMany: slow", True),
        ((503, b""), "status 503", True),
        ((302, b""), "status 302", False),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_words(desk, answer, words, retryable):
    desk.script = [answer]
    locate = url_of(desk)
    with pytest.raises(VenueError, match="Deriv refuses the accounts") as raised:
        locate()
    assert words in str(raised.value)
    assert (raised.value.status, raised.value.retryable) == (answer[0], retryable)
    locate.close()


def test_an_account_that_is_gone_is_looked_for_again(desk):
    locate = url_of(desk)
    locate()
    desk.accounts = [{**REAL}]
    with pytest.raises(VenueError, match="refuses a one-time URL with status 404"):
        locate()
    assert f"{BEFORE}/ws/real?" in locate()
    locate.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"data":[]}', b'{"data":{"url":5}}', b'{"data":{"url":"otp=hUsH"', b"\xff"],
)
def test_an_answer_without_a_url_is_refused_without_showing_it(desk, body):
    locate = url_of(desk)
    locate.account()
    desk.script = [(200, body)]
    with pytest.raises(FrameError) as raised:
        locate()
    assert "hUsH" not in f"{raised.value!r} {raised.value.raw!r} {raised.value.__cause__!r}"
    locate.close()


@pytest.mark.parametrize(
    "url",
    [
        "wss://evil.example/trading/v1/options/ws/demo?otp=hUsH",
        "ws://api.derivws.com/trading/v1/options/ws/demo?otp=hUsH",
        "https://api.derivws.com/trading/v1/options/ws/demo?otp=hUsH",
        "wss://api.derivws.com.evil.example/trading/v1/options/ws/demo?otp=hUsH",
        "wss://api.derivws.com@evil.example/trading/v1/options/ws/demo?otp=hUsH",
        "wss://user@api.derivws.com/trading/v1/options/ws/demo?otp=hUsH",
        "wss://api.derivws.com:8443/trading/v1/options/ws/demo?otp=hUsH",
        "wss://api.derivws.com/trading/v1/options/ws/real?otp=hUsH",
        "wss://api.derivws.com/trading/v1/options/ws/demo/../real?otp=hUsH",
        "wss://api.derivws.com/trading/v1/options/ws/demo",
        "wss://api.derivws.com/trading/v1/options/ws/demo?otp=hUsH#x",
        "wss://api.derivws.com/trading/v1/options/ws/demo?otp=hÜsH",
        "wss://[hUsH/trading/v1/options/ws/demo?otp=hUsH",
        "wss://api.derivws.com:hUsH/trading/v1/options/ws/demo?otp=hUsH",
        "hUsH",
        "",
    ],
)
def test_a_url_that_leads_elsewhere_is_refused_without_showing_it(url):
    with pytest.raises(VenueError, match="a one-time URL") as raised:
        checked_url(url, WS, f"{BEFORE}/ws/demo")
    assert "hUsH" not in str(raised.value)
    assert not raised.value.retryable


def test_a_url_that_leads_where_it_must_is_taken():
    assert checked_url(URL, WS, f"{BEFORE}/ws/demo") == URL
    assert checked_url(URL, "wss://api.derivws.com:443", f"{BEFORE}/ws/demo") == URL
    with pytest.raises(VenueError):
        checked_url(URL, WS, "")


def test_a_host_that_is_not_there_and_a_stop_are_told_without_secrets(desk):
    gone = OneTimeUrl(VENUE, "http://127.0.0.1:9", WS, Token(TOKEN, ""), APP, threading.Event())
    with pytest.raises(ConnectionLostError) as raised:
        gone()
    assert TOKEN not in str(raised.value)
    gone.close()
    stop = threading.Event()
    stop.set()
    stopped = url_of(desk, stop=stop)
    with pytest.raises(BotCryptoError) as other:
        stopped()
    assert TOKEN not in str(other.value)
    stopped.close()


@pytest.mark.parametrize("app", ["", "a b", "äpp", "x\r\nEvil: 1"])
def test_an_app_id_that_is_none_is_refused(desk, app):
    with pytest.raises(BadInputError, match="an app id of letters and digits expected"):
        OneTimeUrl(VENUE, desk.url, WS, Token(TOKEN, ""), app, threading.Event())


def test_the_legacy_dialect_gives_no_urls(desk):
    with pytest.raises(TypeError, match="gives no one-time URLs"):
        OneTimeUrl(LEGACY, desk.url, WS, Token(TOKEN, ""), APP, threading.Event())
