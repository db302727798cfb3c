"""What a venue accepts, what is read of it, and what is done where it refuses."""

from dataclasses import replace
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from marketdata.accounts.base import Balance, Position, Rights
from marketdata.core.errors import (
    BadInputError,
    BannedError,
    BlockedError,
    ConnectionLostError,
    FrameError,
    VenueError,
)
from marketdata.rest.clock import Clock
from tests.accounts.venue import refused

D = Decimal
SECOND_US = 1_000_000
BANNED = "Way too much request weight used; IP banned until 4102444800000."


def test_spot_tells_what_is_free_and_what_is_locked(opened, venue):
    account = opened("binance_ws").account()
    assert account.balances == (
        Balance("BTC", D("0.6"), D("0.5")),
        Balance("USDT", D("25000"), D("25000")),
    )
    assert (account.source, account.positions, account.mode) == ("binance_ws", (), "live")
    assert abs(account.as_of_us / 1000 - venue.now_ms()) < 10_000
    (path,) = venue.private_paths()
    assert parse_qs(urlsplit(path).query)["omitZeroBalances"] == ["true"]
    assert path.rpartition("&")[2].startswith("signature=")


def test_futures_tell_balances_and_positions(opened):
    account = opened("binance_futures", binance_mode="paper").account()
    assert account.balances == (Balance("USDT", D("100.5"), D("36.605")),)
    assert account.positions == (
        Position("BTCUSDT", D("-0.010"), D("64000.0"), D("64010.5"), D("-0.105")),
    )
    assert account.mode == "paper"


def test_bybit_tells_wallet_positions_and_rights(opened, venue):
    account = opened("bybit")
    found = account.account()
    assert found.balances == (Balance("USDT", D("103.25"), D("100")),)
    assert found.positions == (Position("BTCUSDT", D("-0.015"), D("64000"), None, D("-0.1575")),)
    assert account.rights() == Rights(
        "key", trade=True, withdraw=True, expires="2026-12-04T10:00:00Z", days_left=9,
        is_bound=False,
    )  # fmt: skip
    assert not [path for path in venue.paths if "/order" in path]


@pytest.mark.parametrize(
    ("more", "trade", "withdraw"),
    [
        ({"readOnly": 1}, False, False),
        ({"permissions": {"Wallet": ["AccountTransfer"]}}, False, False),
        ({"permissions": {"Spot": ["SpotTrade"]}}, True, False),
    ],
)
def test_a_key_that_reads_only_is_known(opened, venue, more, trade, withdraw):
    venue.rights.update(more, ips=["203.0.113.7"])
    rights = opened("bybit").rights()
    assert (rights.trade, rights.withdraw) == (trade, withdraw)
    # A key bound to an address does not expire.
    assert (rights.is_bound, rights.expires, rights.days_left) == (True, "", None)


def test_ed25519_is_taken_where_the_venue_takes_it(opened, venue):
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    venue.public_key = key.public_key()
    account = opened("binance_ws", binance_api_secret=pem)
    assert account.kind == "Ed25519"
    assert len(account.account().balances) == 2
    with pytest.raises(BadInputError, match="BYBIT_API_SECRET: HMAC expected, seen Ed25519"):
        opened("bybit", bybit_api_secret=pem)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"binance_api_key": ""}, "^BINANCE_API_KEY expected in the environment"),
        ({"binance_api_secret": ""}, "^BINANCE_API_SECRET expected in the environment"),
        (
            {"binance_api_key": "", "binance_api_secret": ""},
            "^BINANCE_API_KEY and BINANCE_API_SECRET expected",
        ),
        ({"binance_api_key": "a\nb"}, "^BINANCE_API_KEY: plain letters and digits expected$"),
        ({"binance_api_secret": "-----BEGIN PRIVATE"}, "^BINANCE_API_SECRET: a whole PEM"),
    ],
)
def test_keys_that_cannot_sign_are_refused_by_their_names(opened, venue, more, words):
    with pytest.raises(BadInputError, match=words):
        opened("binance_ws", **more)
    assert not venue.paths


class Late(Clock):
    """Runs by `ahead_us` before or behind the machine's."""

    ahead_us = 0

    def wall_us(self):
        return super().wall_us() + self.ahead_us


@pytest.mark.parametrize("source", ["binance_ws", "bybit"])
@pytest.mark.parametrize("seconds", [-3600, -7, 0, 7, 3600])
def test_a_clock_that_is_wrong_is_allowed_for_with_the_right_sign(opened, source, seconds):
    clock = Late()
    clock.ahead_us = seconds * SECOND_US
    account = opened(source, clock)
    assert account.account().balances
    # Ours is ahead: the venue's minus ours is below zero.
    assert abs(account.clock_offset_us() + seconds * SECOND_US) < SECOND_US


@pytest.mark.parametrize("source", ["binance_ws", "bybit"])
def test_a_clock_that_jumps_is_measured_again_and_the_question_asked_once_more(
    opened, venue, source
):
    clock = Late()
    account = opened(source, clock)
    account.account()
    clock.ahead_us = -30 * SECOND_US
    asked = len(venue.private_paths())
    assert account.rights()
    private = venue.private_paths()[asked:]
    assert len(private) == 2
    assert private[0] != private[1] or source == "bybit"
    assert abs(account.clock_offset_us() - 30 * SECOND_US) < SECOND_US


@pytest.mark.parametrize(
    ("source", "refusal"),
    [
        ("binance_ws", (400, {"code": -1021, "msg": "Timestamp outside of the recvWindow."})),
        ("bybit", (200, {"retCode": 10002, "retMsg": "time", "result": {}, "time": 1})),
    ],
)
def test_a_venue_that_never_likes_the_clock_is_asked_twice_and_no_more(
    opened, venue, source, refusal
):
    venue.script.extend([refusal] * 5)
    account = opened(source)
    with pytest.raises(VenueError) as caught:
        account.account()
    assert caught.value.code in (-1021, 10002)
    assert len(venue.private_paths()) == 2
    assert "follow a time server" in account.advice(caught.value.code)
    # First before the question, then before it is asked again: five times each.
    assert len(venue.paths) == 2 + 10


def test_the_window_is_never_enlarged(opened, venue):
    opened("binance_ws").account()
    opened("bybit").account()
    assert "recvWindow=5000&" in venue.private_paths()[0]
    told = [headers.get("X-BAPI-RECV-WINDOW") for headers in venue.headers]
    assert set(told) == {None, "5000"}


def test_each_try_is_signed_anew(opened, venue):
    venue.script.append((503, b"<html>busy</html>"))
    assert opened("binance_ws").account().balances
    first, second = (parse_qs(urlsplit(path).query) for path in venue.private_paths())
    assert int(second["timestamp"][0]) > int(first["timestamp"][0])
    assert first["signature"] != second["signature"]


@pytest.mark.parametrize(
    ("source", "answer", "kind", "code"),
    [
        ("binance_ws", refused(401, -2015, "Invalid API-key."), VenueError, -2015),
        ("binance_ws", refused(401, -2014, "API-key format invalid."), VenueError, -2014),
        ("binance_ws", refused(400, -1022, "Signature not valid."), VenueError, -1022),
        ("binance_ws", (403, b"<html>WAF</html>"), BlockedError, None),
        ("binance_ws", (200, b"<html>Sign in</html>"), BlockedError, None),
        ("binance_ws", refused(418, -1003, BANNED), BannedError, None),
        ("binance_ws", (302, b""), VenueError, None),
        ("binance_ws", (200, {"balances": 1}), FrameError, None),
        ("binance_ws", (200, {"balances": [{"asset": "A", "free": "NaN", "locked": "0"}]}),
         FrameError, None),
        ("binance_futures", (200, [{"asset": "A"}]), FrameError, None),
        ("bybit", (200, {"retCode": 10003, "retMsg": "API key is invalid."}), VenueError, 10003),
        ("bybit", (200, {"retCode": 10010, "retMsg": "Unmatched IP"}), VenueError, 10010),
        ("bybit", (200, {"retCode": 0, "result": {"list": 7}}), FrameError, None),
    ],
)  # fmt: skip
def test_refusals_end_the_question_at_once(opened, venue, source, answer, kind, code):
    venue.script.append(answer)
    account = opened(source)
    with pytest.raises(kind) as caught:
        account.account()
    assert getattr(caught.value, "code", None) == code
    assert len(venue.private_paths()) == 1
    assert code is None or account.advice(code)


def test_a_venue_that_quotes_the_key_does_not_spread_it(opened, venue):
    key = "canary-key-0815"
    venue.script.append(refused(401, -2015, f"Invalid API-key {key}"))
    with pytest.raises(VenueError) as caught:
        opened("binance_ws", binance_api_key=key).account()
    assert key not in str(caught.value)
    assert "Invalid API-key …" in str(caught.value)


def test_a_line_that_breaks_does_not_tell_the_signature(opened, venue):
    """The words of a connection that is not taken quote the whole URL."""
    account = opened("binance_ws")
    account.clock_offset_us()

    def gone(path, headers):
        raise ConnectionResetError(path)

    venue.answer = gone
    venue.close()
    with pytest.raises(ConnectionLostError) as caught:
        account.account()
    assert "&signature=…" in str(caught.value)


def test_the_bytes_signed_are_the_bytes_sent(opened, venue):
    """A symbol in full-width digits, a blank and a slash: the venue signs the raw query itself."""
    account = opened("binance_ws")
    odd = {"symbol": "１２", "note": "a b/c+d~e%f=&", "omitZeroBalances": "true"}
    account._private = replace(
        account._private, balances=replace(account._private.balances, params=odd)
    )
    assert account.account().balances
    assert "symbol=%EF%BC%91%EF%BC%92&note=a%20b%2Fc%2Bd~e%25f%3D%26&" in venue.private_paths()[0]


def test_only_the_venue_itself_is_asked_signed_questions(opened):
    account = opened("binance_ws")
    assert account._client._client.venue.fallbacks == {}


def test_a_simulated_venue_is_told(opened, venue):
    venue.label = "generated"
    assert opened("binance_ws").account().mode == "simulated"
