"""Deriv beyond the contract: pages, refusals by the table, dialects, and what is sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.core.errors import BadInputError, FrameError
from marketdata.core.trades import LATEST_US
from marketdata.venues import venue_of
from marketdata.venues.base import Question
from marketdata.venues.deriv import BUDGETS, GRANULARITIES_S, LEGACY, VENUE, candles, history
from marketdata.venues.deriv_answers import (
    accounts_of,
    authorized_of,
    balance_of,
    candles_of,
    page_of,
    url_of,
)
from marketdata.venues.deriv_wire import LARGEST_FRAME, RULES, decode, refusal_of
from marketdata.venues.dialog import Account
from tests.venues.test_contract import mutated

S = 1_000_000
NOW = 1_790_873_176


def page(times, prices=None, **more):
    prices = prices if prices is not None else [1234.5 + n for n in range(len(times))]
    told = {"msg_type": "history", "history": {"prices": prices, "times": times}, "pip_size": 2}
    return json.dumps(told | more).encode()


def error(code, words="no", **more):
    return json.dumps({"error": {"code": code, "message": words}, **more}).encode()


def test_the_settings_choose_the_dialect():
    assert venue_of("deriv") is venue_of("deriv", "new") is VENUE
    assert venue_of("deriv", "legacy") is LEGACY
    assert VENUE.channel().path(["R_100"]) == "/trading/v1/options/ws/public"
    assert VENUE.dialog.path("33Qx6A") == "/trading/v1/options/ws/public"
    assert LEGACY.channel().path(["R_100"]) == "/websockets/v3?app_id=1089"
    assert LEGACY.dialog.path("1234") == "/websockets/v3?app_id=1234"
    assert LEGACY.dialog.path("a&b") == "/websockets/v3?app_id=a%26b"
    assert VENUE.dialog.authorize is None
    assert LEGACY.dialog.tickets is None
    assert not VENUE.is_sized
    assert VENUE.proof == "cadence"


@pytest.mark.parametrize(
    ("symbol", "cadence"),
    [("1HZ100V", S), ("1HZ10V", S), ("R_100", 2 * S), ("R_10", 2 * S), ("cryBTCUSD", None),
     ("frxEURUSD", None), ("BOOM1000", None), ("RDBULL", None), ("R_", None), ("", None)],
)  # fmt: skip
def test_indices_that_the_venue_makes_up_keep_a_cadence(symbol, cadence):
    assert VENUE.cadence_us(symbol) == cadence


def test_what_is_sent_is_what_the_strict_schemas_take():
    # `end` text and `start` a number; no key that is not needed; subscribe left out.
    assert history("R_100", NOW * S, (NOW + 10) * S, 9000) == Question(
        "/ticks_history",
        {"ticks_history": "R_100", "start": NOW, "end": str(NOW + 9), "count": 5000,
         "style": "ticks"},
    )  # fmt: skip
    assert history("R_100", NOW * S + 1, (NOW + 10) * S + 1, 7).params == {
        "ticks_history": "R_100", "start": NOW + 1, "end": str(NOW + 10), "count": 7,
        "style": "ticks",
    }  # fmt: skip
    assert VENUE.day("R_100", 1_790_812_800 * S).params == {
        "ticks_history": "R_100", "start": 1_790_812_800, "end": "1790899199", "count": 5000,
        "style": "candles", "granularity": 86_400,
    }  # fmt: skip
    assert VENUE.listing("R_100").params == {"active_symbols": "brief"}
    assert VENUE.clock().params == {"time": 1}
    assert VENUE.dialog.balance.params == {"balance": 1}
    assert LEGACY.dialog.authorize("a1-b").params == {"authorize": "a1-b"}
    assert json.loads(VENUE.channel().beat.frame) == {"ping": 1}
    assert (VENUE.channel().beat.every_s, VENUE.channel().beat.pong_within_s) == (30.0, 5.0)


def test_granularities_off_the_enum_are_refused_here():
    for known in GRANULARITIES_S:
        assert candles("R_100", 0, S, known).params["granularity"] == known
    with pytest.raises(BadInputError, match=r"among 60, 120, .* expected, seen 61"):
        candles("R_100", 0, S, 61)


def test_a_page_comes_to_ticks_with_their_second_as_id_and_ref():
    ticks = page_of(page([NOW - 2, NOW], [1234.56, 1234]), 0, (NOW + 1) * S)
    assert ticks.id.tolist() == [NOW - 2, NOW]
    assert ticks.ts_us.tolist() == [(NOW - 2) * S, NOW * S]
    assert ticks.price.tolist() == [1234.56, 1234.0]
    assert ticks.qty.tolist() == [1.0, 1.0]
    assert ticks.ref.tolist() == [b"1790873174", b"1790873176"]
    assert len(page_of(page([]), 0, LATEST_US)) == 0


def test_a_second_told_twice_counts_once_as_it_came_first():
    ticks = page_of(page([NOW, NOW, NOW + 1], [1.0, 2.0, 3.0]), 0, LATEST_US)
    assert (ticks.id.tolist(), ticks.price.tolist()) == ([NOW, NOW + 1], [1.0, 3.0])


def test_what_is_before_the_range_is_left_out():
    ticks = page_of(page([NOW - 4, NOW - 2, NOW]), (NOW - 2) * S, (NOW + 1) * S)
    assert ticks.id.tolist() == [NOW - 2, NOW]
    assert page_of(page([NOW]), NOW * S + 1, (NOW + 1) * S).id.tolist() == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (page([NOW]), "number"),
        (page([NOW - 4, NOW + 500_000]), "number"),
        (page([NOW - 4, NOW - 6]), "number"),
        (page([NOW - 4], [1.0, 2.0]), "size"),
        (page([NOW - 4], [0.0]), "number"),
        (page([NOW - 4], [-1.0]), "number"),
        (page([5], [1.0]), "number"),
        (page([NOW - 4.5], [1.0]), "type"),
        (page([NOW - 4], ["1.0"]), "type"),
        (b'{"history":{"times":[],"prices":[1e999]}}', "number"),
        (b'{"history":{"times":[]}}', "field"),
        (b'{"msg_type":"history"}', "field"),
        (error("InvalidSymbol"), "field"),
        (b"", "json"),
        (b"[]", "type"),
        (b"\xff", "json"),
    ],
)
def test_a_page_of_something_else_is_refused(body, reason):
    with pytest.raises(FrameError) as raised:
        page_of(body, 0, NOW * S)
    assert raised.value.reason == reason
    assert raised.value.raw == body[:2000]


def test_candles_off_their_grid_are_no_whole_ones():
    rows = [{"epoch": at, "open": 1.1, "high": 1.2, "low": 1.0, "close": 1.15}
            for at in (NOW - NOW % 60 - 13, NOW - NOW % 60, NOW - NOW % 60 + 60)]  # fmt: skip
    body = json.dumps({"msg_type": "candles", "candles": rows}).encode()
    assert [row.epoch for row in candles_of(body, 60)] == [NOW - NOW % 60, NOW - NOW % 60 + 60]


# What each code asks for: its kind, whether asking again can help, and after how long.
POLICY = {
    "InvalidToken": ("fatal", False, None),
    "InvalidAppID": ("fatal", False, None),
    "InputValidationFailed": ("fatal", False, None),
    "AuthorizationRequired": ("fatal", False, None),
    "MarketIsClosed": ("pause", True, 300.0),
    "NoOpenPeriod": ("pause", True, 300.0),
    "RateLimit": ("backoff", True, 60.0),
    "WrongResponse": ("backoff", True, None),
    "InternalServerError": ("backoff", True, None),
    "InvalidSymbol": ("drop", False, None),
    "AlreadySubscribed": ("harmless", False, None),
}


def test_the_table_of_codes_says_what_to_do():
    assert RULES.keys() == POLICY.keys()
    others = {
        "OfferingsInvalidSymbol": "drop",
        "OfferingsValidationError": "drop",
        "Whim": "unknown",
    }
    for code, (kind, retryable, after_s) in POLICY.items():
        rule = refusal_of(error(code)).rule
        assert (rule.kind, rule.is_retryable, rule.retry_after_s) == (kind, retryable, after_s)
    for code, kind in others.items():
        assert refusal_of(error(code)).rule.kind == kind


def test_a_refusal_is_found_whatever_else_the_frame_has():
    told = refusal_of(error("InvalidSymbol", "Symbol NOPE is invalid.", echo_req={}, req_id=9))
    assert (told.code, told.words) == ("InvalidSymbol", "Symbol NOPE is invalid.")
    assert str(told).startswith("InvalidSymbol: Symbol NOPE is invalid.: check the symbol")
    assert str(refusal_of(b'{"error":{}}')) == "no code: "
    assert refusal_of(page([NOW])) is None
    assert refusal_of(b"not json") is None
    long = refusal_of(error("X" * 9000, "y" * 90_000))
    assert len(str(long)) < 500


@pytest.mark.parametrize(
    ("call", "minute", "hour"),
    [("proposal", 360, 14_400), ("buy", 360, 14_400), ("balance", 100, 2000),
     ("statement", 100, 2000), ("portfolio", 30, 1500), ("profit_table", 30, 1500),
     ("ticks_history", 220, 14_400), ("active_symbols", 220, 14_400)],
)  # fmt: skip
def test_budgets_are_the_venues(call, minute, hour):
    budget = VENUE.dialog.budget(call)
    assert (budget.per_minute, budget.per_hour) == (minute, hour)
    assert budget in BUDGETS


def test_a_drain_sorts_ticks_by_symbol_in_order_and_skips_what_is_refused():
    def tick(symbol, at, quote):
        told = {"symbol": symbol, "epoch": at, "quote": quote, "pip_size": 2}
        return json.dumps({"msg_type": "tick", "tick": told}).encode()

    frames = [tick("R_100", NOW, 1.5), b"x", tick("R_50", NOW, 2.5), tick("R_100", NOW + 2, 1.4)]
    received = decode(frames, frozenset({"R_100", "R_50"}))
    assert {name: trades.price.tolist() for name, trades in received.trades.items()} == {
        "R_100": [1.5, 1.4], "R_50": [2.5],
    }  # fmt: skip
    assert received.topics == {"R_100", "R_50"}
    assert [one.reason for one in received.errors] == ["json"]
    huge = decode([b'"' + b"x" * LARGEST_FRAME + b'"'], frozenset())
    assert [one.reason for one in huge.errors] == ["size"]


def test_accounts_balances_and_logins_are_read():
    row = {"account_id": "DOT90004580", "balance": 10000, "currency": "USD", "group": "row",
           "status": "active", "account_type": "demo"}  # fmt: skip
    known = accounts_of(json.dumps({"data": [row], "meta": {}}).encode())
    assert known == [Account("DOT90004580", "demo", "USD", "active")]
    told = balance_of(b'{"balance":{"balance":0.10,"currency":"BTC","loginid":"CR1"}}')
    assert (str(told.amount), told.currency, told.account) == ("0.10", "BTC", "CR1")
    assert authorized_of(b'{"authorize":{"loginid":"VRTC1","is_virtual":1}}').kind == "demo"
    assert authorized_of(b'{"authorize":{"loginid":"CR1","is_virtual":0}}').kind == "real"
    assert authorized_of(b'{"authorize":{"loginid":"CR1"}}').kind == ""
    assert url_of(b'{"data":{"url":"wss://x/y?otp=z"}}') == "wss://x/y?otp=z"
    for body in (b'{"balance":{"balance":1e999,"currency":"USD"}}',
                 b'{"balance":{"balance":"NaN","currency":"USD"}}'):  # fmt: skip
        with pytest.raises(FrameError):
            balance_of(body)


ANSWERS = [
    (lambda body: page_of(body, 0, LATEST_US), page([NOW - 2, NOW])),
    (lambda body: candles_of(body, 60),
     b'{"candles":[{"epoch":1790873100,"open":1.1,"high":1.2,"low":1.0,"close":1.15}]}'),
    (balance_of, b'{"balance":{"balance":10000.0,"currency":"USD","loginid":"DOT1"},"req_id":3}'),
    (authorized_of, b'{"authorize":{"loginid":"VRTC1","currency":"USD","is_virtual":1}}'),
    (accounts_of, b'{"data":[{"account_id":"DOT1","account_type":"demo","currency":"USD"}]}'),
    (url_of, b'{"data":{"url":"wss://x/y?otp=z"},"meta":{}}'),
]  # fmt: skip


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_answers_of_the_dialog_give_a_value_or_a_frame_error(data):
    read, known = data.draw(st.sampled_from(ANSWERS))
    body = data.draw(mutated([known]))
    try:
        read(body)
    except FrameError as refused:
        detail = refused.detail
        assert 0 < len(detail) < 2000
    refusal_of(body)
