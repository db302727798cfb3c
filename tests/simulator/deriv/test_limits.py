"""Limits of calls and of silence, and what the venue says it has done."""

import time

import pytest
import requests
import websocket

from marketdata.simulator.deriv.limits import Budgets, DerivRules, RestLimits
from marketdata.simulator.deriv.requests import LEGACY
from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from tests.simulator.deriv.conftest import PUBLIC, until
from tests.simulator.deriv.test_accounts import BEFORE, HEADERS, path


@pytest.fixture
def served():
    """Serve Deriv under rules of the test's own."""
    started = []

    def serve(**limits):
        rules = DerivRules(**limits)
        simulator = Simulator.generated(["BTCUSDT"], venues=["deriv"], rules=rules)
        started.append(simulator.start())
        return simulator

    yield serve
    for simulator in started:
        simulator.stop()


@pytest.mark.parametrize(
    ("call", "most"),
    [("ticks_history", 220), ("balance", 100), ("statement", 100), ("portfolio", 30)],
)
def test_calls_of_a_minute_as_documented(call, most):
    budgets = Budgets(DerivRules())
    assert [budgets.allow("me", call) for _ in range(most + 1)] == [True] * most + [False]
    assert budgets.allow("somebody else", call)


def test_calls_that_share_a_budget_and_those_that_do_not():
    budgets = Budgets(DerivRules(balance_per_minute=2))
    assert [budgets.allow("", call) for call in ("balance", "statement", "balance")] == [
        True,
        True,
        False,
    ]
    assert budgets.allow("", "time")


def test_the_legacy_dialect_shares_otherwise():
    budgets = Budgets(DerivRules(portfolio_per_minute=1, balance_per_minute=1))
    asked = [budgets.allow("", call, LEGACY) for call in ("statement", "portfolio", "balance")]
    assert asked == [True, False, True]
    assert budgets.allow("", "balance", LEGACY)  # one of the general ones


def test_an_hour_is_counted_as_well():
    budgets = Budgets(DerivRules(portfolio_per_hour=3))
    assert [budgets.allow("", "portfolio") for _ in range(4)] == [True] * 3 + [False]


def test_requests_of_rest_as_documented():
    limits = RestLimits(DerivRules())
    assert [limits.allow("me") for _ in range(81)] == [True] * 80 + [False]
    assert [limits.allow(f"user {n}") for n in range(220)] == [True] * 219 + [False]


def test_rules_of_another_venue_keep_what_they_say():
    rules = DerivRules.of(Rules(lifetime_s=5.0))
    assert (rules.lifetime_s, rules.idle_s) == (5.0, 120.0)


def test_beyond_the_limit_calls_are_refused_and_pings_are_not(served, talk):
    venue = served(weight_per_minute=3)
    one, other = talk(venue), talk(venue)
    assert [one.code(time=1) for _ in range(2)] == ["", ""]
    assert other.code(time=1) == ""  # one budget for all who have no account
    error = one.ask(ticks_history="R_100", end="latest")["error"]
    assert error["code"] == "RateLimit"
    assert error["message"] == "You have reached the rate limit for ticks_history."
    assert one.ask(ping=1)["ping"] == "pong"
    mine = talk(venue, path(venue))
    assert mine.code(time=1) == ""


def test_pings_of_one_connection(served, talk):
    venue = served(pings_per_s=3)
    one = talk(venue)
    assert [one.code(ping=1) for _ in range(4)] == ["", "", "", "RateLimit"]
    assert talk(venue).code(ping=1) == ""


def test_rest_asked_too_often(served):
    venue = served(rest_per_user=2)
    url = f"{venue.rest_url}{BEFORE}/accounts"
    assert [requests.get(url, headers=HEADERS).status_code for _ in range(3)] == [200, 200, 429]


def test_silence_ends_a_connection_and_traffic_keeps_it(served, talk):
    venue = served(idle_s=0.4)
    silent, pinging, following = (talk(venue) for _ in range(3))
    following.ask(ticks="1HZ100V", subscribe=1)
    began = time.monotonic()
    while time.monotonic() - began < 0.7:
        assert pinging.ask(ping=1)["ping"] == "pong"
        time.sleep(0.1)
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionResetError)):
        silent.next()
    assert until(lambda: venue.status()["ended"]) in ({"idle": 1}, {"idle": 2})
    assert pinging.ask(ping=1)["ping"] == "pong"


def test_status_tells_connections_calls_passwords_and_streams(served, talk):
    venue = served()
    one, other = talk(venue, path(venue)), talk(venue, PUBLIC)
    one.ask(balance=1, subscribe=1)
    other.ask(ticks="cryBTCUSD", subscribe=1)
    other.ask(ticks_history="R_100", end="latest", style="candles", subscribe=1)
    other.ask(nonsense=1)
    status = requests.get(f"{venue.rest_url}/sim/status").json()
    assert status["otps"] == {"issued": 1, "used": 1, "refused": 0}
    assert (status["connections"], status["open"], status["subscriptions"]) == (2, 2, 3)
    assert status["requests"] == {"balance": 1, "ticks": 1, "ticks_history": 1, "": 1}
    told = [(row["door"], row["account"], row["subscriptions"]) for row in status["clients"]]
    assert told == [
        ("account", "DOT90000001", ["balance"]),
        ("public", "", ["ticks:cryBTCUSD", "candles:R_100:60"]),
    ]
    assert "otp=" not in str(status)
    other.socket.close()
    until(lambda: venue.status()["open"] == 1)
    assert venue.status()["subscriptions"] == 1
    assert venue.status()["ended"] == {"client left": 1}


def test_the_venue_is_found_beside_all_others(talk):
    with Simulator.generated(["BTCUSDT"]) as everything:
        assert "deriv" in everything.status()["rooms"]
        assert talk(everything).ask(ticks="cryBTCUSD")["tick"]["symbol"] == "cryBTCUSD"
        assert talk(everything, path(everything)).ask(balance=1)["balance"]["currency"] == "USD"
