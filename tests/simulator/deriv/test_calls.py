"""Calls that are answered at once, and how strictly they are read."""

import json

import pytest

from tests.simulator.deriv.conftest import LEGACY, NOW, PUBLIC

BAD = "InputValidationFailed"
HISTORY = {"ticks_history": "R_100", "end": "latest"}


def test_ping_and_time(venue, talk):
    one = talk(venue)
    assert one.ask(ping=1, req_id=3) == {
        "echo_req": {"req_id": 3, "ping": 1},
        "msg_type": "ping",
        "req_id": 3,
        "ping": "pong",
    }
    told = one.ask(time=1, passthrough={"who": [1]})
    assert told["time"] == NOW
    assert told["echo_req"]["passthrough"] == {"who": [1]}


def test_an_answer_without_req_id_has_none(venue, talk):
    one = talk(venue)
    one.socket.send('{"time":1}')
    assert one.next() == {"echo_req": {"time": 1}, "msg_type": "time", "time": NOW}


def test_symbols_of_the_new_dialect(venue, talk):
    rows = talk(venue).ask(active_symbols="brief", contract_type=["CALL"])["active_symbols"]
    assert rows[0] == {
        "underlying_symbol": "cryBTCUSD",
        "underlying_symbol_name": "BTC/USD",
        "underlying_symbol_type": "cryptocurrency",
        "market": "cryptocurrency",
        "submarket": "non_stable_coin",
        "subgroup": "none",
        "pip_size": 0.01,
        "exchange_is_open": 1,
        "is_trading_suspended": 0,
        "trade_count": 0,
    }
    symbols = [row["underlying_symbol"] for row in rows]
    assert symbols == ["cryBTCUSD", "cryETHUSD", "R_100", "R_50", "1HZ100V"]
    assert rows[3]["pip_size"] == 0.0001


def test_symbols_of_the_legacy_dialect(venue, talk):
    row = talk(venue, LEGACY).ask(active_symbols="brief", product_type="basic")["active_symbols"][2]
    assert {name: row[name] for name in ("symbol", "display_name", "pip", "market")} == {
        "symbol": "R_100",
        "display_name": "Volatility 100 Index",
        "pip": 0.01,
        "market": "synthetic_index",
    }
    assert not {"underlying_symbol", "pip_size"} & set(row)


def test_contracts_are_listed(venue, talk):
    told = talk(venue).ask(contracts_for="R_50")["contracts_for"]
    assert [row["contract_type"] for row in told["available"]] == ["CALL", "PUT"]
    assert told["hit_count"] == 2


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"active_symbols": "brief", "product_type": "basic"}, BAD),
        ({"active_symbols": "all"}, BAD),
        ({"ticks": "R_100", "subscribe": 0}, BAD),
        ({"ticks": "R_100", "subscribe": True}, BAD),
        ({"ticks": "R_100", "symbol": "x"}, BAD),
        ({"ticks": ["R_100", 5]}, BAD),
        ({"ticks": "R-100"}, BAD),
        ({"ticks": "NOPE"}, "InvalidSymbol"),
        ({"ticks_history": "R_100"}, BAD),
        ({**HISTORY, "end": 1_772_637_631}, BAD),
        ({**HISTORY, "end": "soon"}, BAD),
        ({**HISTORY, "end": "latest\n"}, BAD),
        ({**HISTORY, "start": "1772637631"}, BAD),
        ({**HISTORY, "style": "bars"}, BAD),
        ({**HISTORY, "style": "candles", "granularity": 61}, BAD),
        ({**HISTORY, "adjust_start_time": 0}, BAD),
        ({**HISTORY, "count": "10"}, BAD),
        ({**HISTORY, "ticks_history": "NOPE"}, "InvalidSymbol"),
        ({**HISTORY, "start": 1_772_637_630, "end": "1772637600"}, "InvalidStartEnd"),
        ({"forget": "short"}, BAD),
        ({"forget_all": "website_status"}, BAD),
        ({"forget_all": ["ticks", "nope"]}, BAD),
        ({"ping": 2}, BAD),
        ({"time": 1, "passthrough": 5}, BAD),
        ({"contracts_for": "NOPE"}, "InvalidSymbol"),
        ({"authorize": "SIMTOKEN"}, BAD),
        ({"balance": 1}, "AuthorizationRequired"),
        ({"balance": 1, "account": "all"}, BAD),
        ({"portfolio": 1}, "AuthorizationRequired"),
        ({"statement": 1}, "AuthorizationRequired"),
        ({"buy": "1", "price": 10}, "AuthorizationRequired"),
        ({"hello": 1}, "UnrecognisedRequest"),
    ],
)
def test_what_the_public_socket_refuses(venue, talk, request_, code):
    answer = talk(venue).ask(**request_)
    assert answer["error"]["code"] == code
    assert answer["error"]["message"]
    assert answer["msg_type"] == ("error" if "hello" in request_ else next(iter(request_)))
    secret = {"authorize": "<redacted>"} if "authorize" in request_ else {}
    assert answer["echo_req"] == {"req_id": 77, **request_, **secret}


def test_the_message_names_what_is_wrong(venue, talk):
    one = talk(venue)
    error = one.ask(**{**HISTORY, "end": 5})["error"]
    assert error["message"] == "Input validation failed: end"
    assert error["details"] == {"end": "Expected string - got integer."}
    assert one.ask(ticks="R_100", foo=1)["error"]["message"] == "Properties not allowed: foo."
    assert one.ask(ticks="NOPE")["error"]["message"] == "Symbol NOPE is invalid."


@pytest.mark.parametrize("text", ["{", "[]", "5", '"ping"', "ping"])
def test_what_is_no_request_is_told_without_an_echo(venue, talk, text):
    one = talk(venue)
    one.socket.send(text)
    told = one.next()
    assert (told["msg_type"], told["error"]["code"]) == ("error", "BadRequest")
    assert "echo_req" not in told
    assert one.ask(ping=1)["ping"] == "pong"


@pytest.mark.parametrize("path", [PUBLIC, LEGACY])
def test_faults_that_refuse(venue, talk, path):
    one = talk(venue, path)
    venue.faults.update({"rate_limit": 2, "wrong_response": 1, "deriv_bare_error": 1})
    answer = one.ask(time=1)
    assert answer["error"]["code"] == "RateLimit"
    assert answer["error"]["message"] == "You have reached the rate limit for time."
    assert "echo_req" not in answer
    assert one.ask(ping=1)["ping"] == "pong"
    answer = one.ask(time=1)
    assert (answer["error"]["code"], answer["echo_req"]["time"]) == ("RateLimit", 1)
    assert one.code(time=1) == "WrongResponse"
    assert one.code(time=1) == ""


def test_a_closed_market(venue, talk):
    one = talk(venue)
    venue.faults.set("market_closed", 30)
    assert one.code(ticks="R_100", subscribe=1) == "MarketIsClosed"
    assert one.code(**HISTORY, subscribe=1) == "MarketIsClosed"
    assert one.ask(**HISTORY)["history"]["times"]
    assert one.ask(active_symbols="brief")["active_symbols"][0]["exchange_is_open"] == 0
    venue.faults.set("market_closed", 0)
    assert one.code(ticks="R_100") == ""


def test_silent_pongs(venue, talk):
    one = talk(venue)
    venue.faults.set("no_pong", 30)
    one.socket.send(json.dumps({"ping": 1, "req_id": 1}))
    assert one.ask(time=1, req_id=2)["time"] == NOW  # and nothing came before it
    venue.faults.set("no_pong", 0)
    assert one.ask(ping=1)["ping"] == "pong"


def test_a_second_subscription_is_refused(venue, talk):
    one = talk(venue)
    first = one.ask(ticks="R_100", subscribe=1)
    assert first["tick"]["id"] == first["subscription"]["id"]
    error = one.ask(ticks="R_100", subscribe=1)["error"]
    assert error["code"] == "AlreadySubscribed"
    assert error["message"] == "You are already subscribed to R_100."
    assert one.code(**HISTORY, subscribe=1) == "AlreadySubscribed"
    assert one.code(**HISTORY, style="candles", granularity=60, subscribe=1) == ""
    assert one.code(**HISTORY, style="candles", granularity=120, subscribe=1) == ""
    assert one.code(**HISTORY, style="candles", granularity=60, subscribe=1) == "AlreadySubscribed"
    assert one.code(ticks="R_100") == ""
    assert talk(venue).code(ticks="R_100", subscribe=1) == ""


def test_subscriptions_are_forgotten_by_id_and_by_kind(venue, talk):
    one, other = talk(venue), talk(venue)
    id = one.ask(ticks="R_100", subscribe=1)["subscription"]["id"]
    assert other.ask(forget=id)["forget"] == 0  # ids are of one connection
    assert one.ask(forget=id)["forget"] == 1
    assert one.ask(forget=id)["forget"] == 0
    ticks = one.ask(ticks="R_100", subscribe=1)["subscription"]["id"]
    candles = one.ask(**HISTORY, style="candles", subscribe=1)["subscription"]["id"]
    assert one.ask(forget_all="balance")["forget_all"] == []
    assert one.ask(forget_all="ticks")["forget_all"] == [ticks]
    assert one.ask(forget_all=["ticks", "candles"])["forget_all"] == [candles]


def test_many_symbols_at_once_are_answered_one_by_one(venue, talk):
    one = talk(venue)
    one.ask(ticks="R_50", subscribe=1)
    one.socket.send(json.dumps({"ticks": ["R_100", "R_50", "NOPE", "1HZ100V"], "subscribe": 1}))
    told = [one.next() for _ in range(4)]
    assert [frame.get("tick", {}).get("symbol") for frame in told] == [
        "R_100",
        None,
        None,
        "1HZ100V",
    ]
    assert [frame["error"]["code"] for frame in told[1:3]] == ["AlreadySubscribed", "InvalidSymbol"]
    assert told[0]["subscription"]["id"] != told[3]["subscription"]["id"]
