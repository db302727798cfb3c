"""One connection for everything: what it opens with, follows, and is replaced by."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from marketdata.core.errors import BadInputError, VenueError
from marketdata.feeds.shared_connection import FIRST_NUMBER, Login
from marketdata.feeds.supervisor import Policy
from marketdata.venues.deriv import LEGACY, authorize
from tests.feeds.listening import until
from tests.feeds.sharing import NOW, POLICY, answering, error, obliging, shared, tick
from tests.feeds.talking import Room
from tests.rest.hand import HandClock

pytestmark = pytest.mark.usefixtures("short_waits")


def test_ticks_and_answers_come_over_one_connection():
    with Room(obliging) as room, shared(room, ("R_100", "cryBTCUSD")) as (line, listener):
        answers = {json.loads(line.ask({"time": 1}))["time"] for _ in range(3)}
        until(lambda: listener.count("R_100") and listener.count("cryBTCUSD"))
        assert answers == {NOW}
        assert (room.opened, room.targets) == (1, ["/trading/v1/options/ws/public"])
        assert room.calls("ticks") == [
            {"ticks": "R_100", "subscribe": 1, "req_id": 1},
            {"ticks": "cryBTCUSD", "subscribe": 1, "req_id": 2},
        ]
        assert [r["req_id"] for r in room.calls("time")] == [FIRST_NUMBER + n for n in range(3)]
        assert line.is_live
        assert line.age_s < 5
        until(lambda: listener.states[-1] == "live")
    assert not line.is_live


def test_frames_of_the_stream_are_tapped_and_answers_about_an_account_are_not():
    tapped = []
    with Room(answering) as room, shared(room, tap=lambda *told: tapped.append(told)) as (line, _):
        line.ask({"balance": 1})
        until(lambda: tapped)
        room.push(tick("R_100", NOW + 2))
        until(lambda: len(tapped) == 2)
    assert [symbols for _, symbols in tapped] == [("R_100",)] * 2
    frames = [json.loads(frame) for frames, _ in tapped for frame in frames]
    assert frames == [tick("R_100"), tick("R_100", NOW + 2)]


@pytest.mark.slow
def test_ten_cuts_leave_one_connection_that_follows_everything():
    with Room(obliging) as room, shared(room, ("R_100", "R_50")) as (line, listener):
        for cuts in range(10):
            until(lambda n=cuts: room.opened == n + 1 and line.is_live, "connected")
            until(lambda n=cuts: len(room.calls("ticks")) == 2 * (n + 1), "subscribed")
            room.cut()
        until(lambda: room.opened == 11 and line.is_live)
        assert json.loads(line.ask({"time": 1}))["line"] == 11
        until(lambda: len(room.lines) == 1)
        assert line.reconnects == 10
        assert listener.lines == ["opened", "closed"] * 10 + ["opened"]
        assert {tuple(sorted(r.items())) for r in room.calls("ticks")} == {
            (("req_id", 1), ("subscribe", 1), ("ticks", "R_100")),
            (("req_id", 2), ("subscribe", 1), ("ticks", "R_50")),
        }


def test_one_cut_costs_one_connection_that_follows_everything_again():
    with Room(obliging) as room, shared(room, ("R_100", "R_50")) as (line, listener):
        until(lambda: line.is_live and room.counts()["ticks"] == 2)
        room.cut()
        until(lambda: room.counts()["ticks"] == 4 and line.is_live)
        assert json.loads(line.ask({"time": 1}))["line"] == room.opened == 2
        assert (line.reconnects, listener.lines) == (1, ["opened", "closed", "opened"])


def test_an_old_line_is_replaced_before_it_ends_and_questions_go_to_the_new_one():
    policy = replace(POLICY, roll_s=0.2)
    with Room(obliging) as room, shared(room, policy=policy) as (line, listener):
        until(lambda: room.opened == 2)
        line._supervisor.policy = replace(policy, roll_s=3600.0)
        until(lambda: len(room.lines) == 1)
        assert json.loads(line.ask({"time": 1}))["line"] == 2
        assert (line.reconnects, line.is_live) == (0, True)
        until(lambda: listener.lines == ["opened", "opened", "closed"])


def test_a_symbol_refused_leaves_the_others_alone():
    def choosy(request, line):
        if request.get("ticks") == "NOPE":
            return [error(request, "InvalidSymbol", "Symbol NOPE is invalid.")]
        return obliging(request, line)

    policy = Policy(stale_s=5.0, dead_s=0.5, backoff_cap_s=0.2)
    with Room(choosy) as room, shared(room, ("NOPE", "R_100"), policy=policy) as (line, listener):
        until(lambda: listener.errors and listener.count("R_100"))
        assert "check the symbol's spelling" in str(listener.errors[0])
        # Longer than anything may be awaited: it is not awaited.
        for epoch in range(NOW + 1, NOW + 9):
            room.push(tick("R_100", epoch, 2))
            time.sleep(0.1)
        assert (room.opened, listener.count("R_100")) == (1, 9)
        assert line.is_live


def test_a_market_that_sleeps_is_subscribed_to_later_over_the_same_line():
    clock = HandClock(is_held=True)

    def asleep(request, line):
        first = len([r for r in room.calls("ticks") if r["ticks"] == "frxEURUSD"]) == 1
        if request.get("ticks") == "frxEURUSD" and first:
            return [error(request, "MarketIsClosed", "This market is presently closed.")]
        return obliging(request, line)

    with Room(asleep) as room, shared(room, ("frxEURUSD", "R_100"), clock=clock) as (_, listener):
        until(lambda: listener.errors and listener.count("R_100"))
        clock.now_s += 299.0
        room.push(tick("R_100", NOW + 2, 2))
        until(lambda: listener.count("R_100") == 2)
        assert listener.count("frxEURUSD") == 0
        clock.now_s += 1.0
        room.push(tick("R_100", NOW + 4, 2))
        until(lambda: listener.count("frxEURUSD") == 1)
        assert room.opened == 1
        assert len(room.calls("ticks")) == 3


def test_a_subscription_that_stands_already_is_no_trouble():
    def twice(request, line):
        stands = [error(request, "AlreadySubscribed")] if "ticks" in request else []
        return obliging(request, line) + stands

    with Room(twice) as room, shared(room) as (line, listener):
        until(lambda: listener.count("R_100"))
        line.ask({"time": 1})
        assert (room.opened, listener.errors) == (1, [])


def test_a_set_up_that_is_refused_is_told_in_words_and_not_tried_again_at_once():
    def strict(request, line):
        return [error(request, "InputValidationFailed")] if "ticks" in request else []

    with Room(strict) as room, shared(room) as (line, listener):
        until(lambda: listener.states[-1:] == ["backoff"])
        with pytest.raises(VenueError, match="time is not asked: Deriv refuses a subscription"):
            line.ask({"time": 1}, 5.0)
        assert "InputValidationFailed" in line.statuses()[0].last_error
        assert room.opened == 1


def test_an_api_that_is_gone_reaches_the_operator_in_words():
    with Room(obliging) as room:
        room.refuse = 520
        with shared(room, venue=LEGACY) as (line, listener):
            with pytest.raises(VenueError, match=r"HTTP 520.*set DERIV_DIALECT=new") as raised:
                line.ask({"time": 1})
            assert raised.value.status == 520
            assert not raised.value.retryable
            until(lambda: listener.states[-1:] == ["backoff"])
            assert "DERIV_DIALECT=new" in listener.statuses[-1].last_error
        assert room.targets == ["/websockets/v3?app_id=1089"]


def test_a_spent_ticket_is_followed_by_a_fresh_one():
    tickets = iter(range(1, 9))
    with Room(obliging) as room:
        room.refuse = 401
        spent = lambda: f"{room.url}/trading/v1/options/ws/demo?otp=secret{next(tickets)}"  # noqa: E731
        with shared(room, locate=spent) as (line, listener):
            until(lambda: len(room.targets) == 2)
            room.refuse = 0
            assert json.loads(line.ask({"time": 1}))["time"] == NOW
            told = [status.last_error for status in listener.statuses]
            assert any("a fresh one is asked for" in words for words in told)
            assert not any("secret" in words for words in told)
        assert len(set(room.targets)) == len(room.targets)


def test_where_the_venue_cannot_be_found_the_reason_is_told():
    def nowhere():
        raise VenueError("the token has expired: make a new one", 401)

    with Room(obliging) as room, shared(room, locate=nowhere) as (line, _):
        with pytest.raises(VenueError, match="the token has expired"):
            line.ask({"time": 1})
        assert room.opened == 0


def test_a_login_comes_first_and_no_question_goes_before_it_is_taken():
    def careful(request, line):
        if "authorize" in request:
            time.sleep(0.2)
            told = {"loginid": "VRTC0000001", "currency": "USD"}
            return [{"msg_type": "authorize", "authorize": told, "req_id": request["req_id"]}]
        return answering(request, line)

    seen = []

    def check(body):
        seen.append(json.loads(body)["msg_type"])
        return LEGACY.dialog.authorized_of(body)

    login = Login(authorize("a1-AbC"), check)
    with Room(careful) as room, shared(room, venue=LEGACY, login=login) as (line, _):
        line.ask({"balance": 1})
        room.cut()
        until(lambda: room.opened == 2)
        line.ask({"balance": 1})
        order = ["authorize", "ticks", "balance"]
        assert [next(iter(request)) for _, request in room.requests] == order * 2
        assert [r["authorize"] for r in room.calls("authorize")] == ["a1-AbC"] * 2
        assert seen == ["authorize"] * 2
        assert line.account.id == "VRTC0000001"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda r: {"msg_type": "authorize", "req_id": r["req_id"]}, "VRTC2 expected"),
        (lambda r: error(r, "InvalidToken"), "refuses the login with InvalidToken"),
    ],
)
def test_a_login_refused_or_to_another_account_ends_the_line_for_good(answer, words):
    def wrong(body):
        raise VenueError("the account VRTC2 expected, the token is of VRTC1")

    def taking(request, line):
        return [answer(request)] if "authorize" in request else []

    login = Login(authorize("a1-AbC"), wrong)
    with Room(taking) as room, shared(room, venue=LEGACY, login=login) as (line, listener):
        with pytest.raises(VenueError, match=words):
            line.ask({"balance": 1})
        assert "a1-AbC" not in repr([listener.statuses, listener.errors])
        assert room.counts()["balance"] == 0


def test_a_line_without_symbols_asks_and_lives_by_its_answers():
    with Room(answering) as room, shared(room, ()) as (line, listener):
        assert b"DOT90004580" in line.ask({"balance": 1})
        until(lambda: line.is_live)
        assert room.counts() == {"balance": 1}
        until(lambda: listener.states[-1] == "live")


def test_what_the_simulator_calls_itself_is_known():
    with Room(obliging) as room:
        room.headers = b"X-Simulated: generated\r\n"
        with shared(room) as (line, _):
            line.ask({"time": 1})
            assert line.label == "generated"


def test_more_symbols_than_one_connection_carries_are_refused():
    with Room(obliging) as room, pytest.raises(BadInputError, match="at most 200 symbols"):
        shared(room, [f"R_{n}" for n in range(201)]).__enter__()
