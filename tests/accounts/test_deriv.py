"""Deriv's account out of the settings: both dialects, one connection, and no secret anywhere."""

from __future__ import annotations

import threading
import time

import pytest

from marketdata.accounts.deriv import access, opened
from marketdata.conf import Conf
from marketdata.core.errors import BadInputError, VenueError
from marketdata.feeds import ingestor, shared_connection, supervisor
from marketdata.feeds.shared_connection import SharedConnection, running
from marketdata.feeds.supervisor import Policy
from marketdata.venues import venue_of
from tests.accounts.test_balance import Quiet
from tests.accounts.tickets import APP, BEFORE, REAL, TOKEN, Desk
from tests.feeds.listening import until
from tests.feeds.talking import Room

LEGACY_TOKEN = "a1-hUsH5eCr3tW0rd"
NOW = 1_790_873_176


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(shared_connection, "BACKOFF_S", 0.02)
    monkeypatch.setattr(ingestor, "POLL_S", 0.02)
    monkeypatch.setattr(supervisor, "TICK_S", 0.02)


@pytest.fixture
def stop():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def room():
    with Room(answering) as room:
        yield room


@pytest.fixture
def desk(room):
    with Desk(room.url) as desk:
        yield desk


@pytest.fixture
def conf(desk, room):
    def make(**more):
        return Conf(**{
            "deriv_rest_url": desk.url, "deriv_ws_url": room.url, "deriv_api_token": TOKEN,
            "deriv_app_id": APP, **more,
        })  # fmt: skip

    return make


def answering(request, line):
    number = request.get("req_id")
    said = {
        "balance": {"balance": {"balance": 10000.25, "currency": "USD", "loginid": "DOT90004580"}},
        "time": {"time": NOW},
        "authorize": {"authorize": {"loginid": "VRTC0000001", "currency": "USD", "is_virtual": 1}},
        "ticks": {"tick": {"symbol": "R_100", "epoch": NOW, "quote": 619.5, "pip_size": 2}},
        "ping": {"ping": "pong"},
    }
    name = next(iter(request))
    kind = "tick" if name == "ticks" else name
    return [{"msg_type": kind, **said[name]} | ({"req_id": number} if number else {})]


def feed(settings, stop, symbols=("R_100",)):
    """Start the connection of the feed, as a source does."""
    venue = venue_of("deriv", settings.deriv_dialect)
    entry = access(settings, stop)
    line = SharedConnection(
        venue, venue.channel(), entry.locate, symbols, Quiet(), Policy(),
        lambda: time.time_ns() // 1000, login=entry.login,
    )  # fmt: skip
    line.start()
    return line


def test_an_account_is_asked_over_its_feeds_connection_and_no_other(conf, room, desk, stop):
    line = feed(conf(), stop)
    account = opened(conf(), stop)
    told = [account.account() for _ in range(10)]
    account.clock_offset_us()
    until(lambda: line.is_live)
    assert {(a.source, a.mode, a.positions) for a in told} == {("deriv", "paper", ())}
    (balance,) = told[0].balances
    assert (balance.asset, str(balance.total)) == ("USD", "10000.25")
    assert room.counts() == {"ticks": 1, "balance": 1, "time": 5}
    assert room.targets == [f"{BEFORE}/ws/demo?otp={desk.passwords[0]}"]
    assert account.rights() is None
    account.close()
    assert running("deriv") is line
    line.stop()
    assert running("deriv") is None
    assert room.opened == 1


def test_without_a_feed_it_has_a_connection_of_its_own_until_there_is_one(conf, room, stop):
    account = opened(conf(deriv_balance_ttl_s=3600), stop)
    assert account.account().mode == "paper"
    assert (room.opened, room.counts()["ticks"]) == (1, 0)
    own = running("deriv")
    line = feed(conf(), stop)
    account.clock_offset_us()
    assert own.statuses()[0].state == "stopped"
    assert running("deriv") is line
    assert room.opened == 2
    account.close()
    line.stop()
    until(lambda: not room.lines)


def test_every_connection_has_a_password_of_its_own_and_nothing_shows_it(
    conf, room, desk, stop, caplog
):
    with caplog.at_level("DEBUG"):
        line = feed(conf(), stop)
        for cuts in range(3):
            until(lambda n=cuts: room.opened == n + 1 and line.is_live)
            room.cut()
        until(lambda: room.opened == 4)
        room.refuse = 401
        room.cut()
        until(lambda: "HTTP 401" in line.statuses()[0].last_error)
        told = repr(line.statuses())
        line.stop()
    assert len(desk.passwords) == len(room.targets) == len(set(room.targets))
    assert room.targets == [f"{BEFORE}/ws/demo?otp={one}" for one in desk.passwords]
    for secret in (*desk.passwords, TOKEN, "otp="):
        assert secret not in caplog.text
        assert secret not in told


def test_a_token_that_has_expired_is_told_by_whoever_asks(conf, desk, room, stop):
    desk.script = [(401, {"errors": [{"status": 401, "code": "Unauthorized", "message": "no"}]})]
    account = opened(conf(), stop)
    with pytest.raises(VenueError, match="Unauthorized: no: the token is unknown or has expired"):
        account.account()
    assert room.targets == []
    account.close()


def test_a_real_account_is_live_and_is_named_where_there_are_two(conf, desk, stop):
    desk.accounts.append(REAL)
    account = opened(conf(deriv_account_id="ROT90004581"), stop)
    assert account.account().mode == "live"
    account.close()
    unnamed = opened(conf(), stop)
    with pytest.raises(VenueError, match=r"DOT90004580 \(demo\), ROT90004581 \(real\)"):
        unnamed.account()
    unnamed.close()


def test_what_a_simulator_holds_is_nobodys_money(conf, room, stop):
    room.headers = b"X-Simulated: generated\r\n"
    account = opened(conf(), stop)
    assert account.account().mode == "simulated"
    account.close()


def test_the_legacy_dialect_logs_in_on_each_connection(conf, room, desk, stop):
    settings = conf(
        deriv_dialect="legacy", deriv_app_id="1234", deriv_api_token=f"{LEGACY_TOKEN}:VRTC0000001"
    )
    account = opened(settings, stop)
    assert account.account().mode == "paper"
    assert running("deriv").account.id == "VRTC0000001"
    room.cut()
    until(lambda: room.opened == 2)
    account.clock_offset_us()
    assert room.targets == ["/websockets/v3?app_id=1234"] * 2
    assert [r["authorize"] for r in room.calls("authorize")] == [LEGACY_TOKEN] * 2
    assert desk.asked == []
    account.close()


def test_a_legacy_token_of_another_account_is_refused(conf, stop):
    account = opened(
        conf(deriv_dialect="legacy", deriv_api_token=LEGACY_TOKEN, deriv_account_id="CR7"), stop
    )
    with pytest.raises(VenueError, match="the account CR7 expected, the token is of VRTC0000001"):
        account.account()
    account.close()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"deriv_api_token": ""}, "DERIV_API_TOKEN: a token of the form"),
        ({"deriv_app_id": ""}, "DERIV_APP_ID or DERIV_REST_URL: an app id"),
        ({"deriv_api_token": "a.b", "deriv_dialect": "legacy"}, r"DERIV_API_TOKEN: .*'\.' in it"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name_before_anything_is_asked(
    conf, desk, room, stop, more, words
):
    with pytest.raises(BadInputError, match=words):
        opened(conf(**more), stop)
    assert (desk.asked, room.targets) == ([], [])


def test_without_a_token_the_feed_is_nobodys(conf, stop):
    assert access(conf(deriv_api_token=""), stop) is None
