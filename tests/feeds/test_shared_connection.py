"""One connection for everything, against a loopback venue that counts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from marketdata.core.errors import (
    BadInputError,
    ConnectionLostError,
    HostRestingError,
    StoppedError,
    VenueError,
)
from marketdata.feeds import ingestor, shared_connection, supervisor
from marketdata.feeds.shared_connection import FIRST_NUMBER, Login, SharedConnection
from marketdata.feeds.supervisor import Policy
from marketdata.venues.deriv import LEGACY, VENUE, authorize
from marketdata.venues.dialog import Budget
from tests.feeds.listening import Listener, until
from tests.feeds.talking import Room
from tests.rest.hand import HandClock

NOW = 1_790_873_176
POLICY = Policy(stale_s=5.0, dead_s=20.0, backoff_cap_s=0.2)


class Remembers(Listener):
    """And hears of lines."""

    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def opened(self, symbols):
        self.lines.append("opened")

    def closed(self, symbols):
        self.lines.append("closed")

    def facts(self, facts):
        raise AssertionError(facts)

    def replies(self, replies):
        raise AssertionError("answers are not for the listener")


def tick(symbol, epoch=NOW, number=1):
    return {
        "msg_type": "tick",
        "req_id": number,
        "tick": {"symbol": symbol, "epoch": epoch, "quote": 619.5, "pip_size": 2},
    }


def error(request, code, words="no"):
    name = next(iter(request))
    said = {"msg_type": name, "error": {"code": code, "message": words}}
    return said | {"req_id": request["req_id"]}


def obliging(request, line):
    """Answer as the venue does when all is well."""
    name, number = next(iter(request)), request.get("req_id")
    if name == "ping":
        return [{"msg_type": "ping", "ping": "pong"} | ({"req_id": number} if number else {})]
    if name == "ticks":
        return [tick(request["ticks"], number=number)]
    if name == "time":
        return [{"msg_type": "time", "time": NOW, "req_id": number, "line": line}]
    return []


@pytest.fixture(autouse=True)
def quick(monkeypatch, no_leaks):
    monkeypatch.setattr(shared_connection, "BACKOFF_S", 0.02)
    monkeypatch.setattr(ingestor, "POLL_S", 0.02)
    monkeypatch.setattr(supervisor, "TICK_S", 0.02)


@contextmanager
def shared(room, symbols=("R_100",), venue=VENUE, **options) -> Iterator[tuple]:
    listener = Remembers()
    line = SharedConnection(
        venue,
        options.pop("stream", venue.channel()),
        options.pop("locate", lambda: room.url + venue.dialog.path("")),
        symbols,
        listener,
        options.pop("policy", POLICY),
        lambda: time.time_ns() // 1000,
        **options,
    )
    line.start()
    try:
        yield line, listener
    finally:
        line.stop()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("feed-")]
    assert left == [], "a feed thread outlived its connection"


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


def test_twenty_threads_get_each_its_own_answer():
    held = []

    def shuffled(request, line):
        if next(iter(request)) != "statement":
            return obliging(request, line)
        held.append(request)
        if len(held) < 20:
            return []
        return [
            {"msg_type": "statement", "req_id": r["req_id"], "echo": r["offset"]}
            for r in reversed(held)
        ]

    got = {}

    def ask(offset):
        got[offset] = json.loads(line.ask({"statement": 1, "offset": offset}, 10.0))["echo"]

    with Room(shuffled) as room, shared(room) as (line, _):
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert got == {n: n for n in range(20)}
        assert room.opened == 1


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


def test_what_was_asked_over_a_lost_line_fails_at_once_and_may_be_asked_again():
    def deaf(request, line):
        if "time" in request and line == 1:
            room.cut()
            return []
        return obliging(request, line)

    with Room(deaf) as room, shared(room) as (line, _):
        began_s = time.monotonic()
        with pytest.raises(ConnectionLostError, match="lost before time was answered") as raised:
            line.ask({"time": 1}, 30.0)
        assert time.monotonic() - began_s < 5
        assert raised.value.retryable
        assert json.loads(line.ask({"time": 1}))["line"] == 2


def test_a_question_nobody_answers_expires_and_a_late_answer_hurts_nobody():
    def silent(request, line):
        return [] if "time" in request else obliging(request, line)

    with Room(silent) as room, shared(room) as (line, listener):
        with pytest.raises(ConnectionLostError, match=r"no answer of Deriv to time in 0\.2 s"):
            line.ask({"time": 1}, 0.2)
        room.push({"msg_type": "time", "time": NOW, "req_id": FIRST_NUMBER})
        until(lambda: listener.count("R_100"))
        room.answer = obliging
        assert json.loads(line.ask({"time": 1}))["req_id"] == FIRST_NUMBER + 1
        assert listener.errors == []


@pytest.mark.parametrize(
    ("code", "retryable", "after_s", "words"),
    [
        ("InvalidSymbol", False, None, "check the symbol's spelling"),
        ("InvalidToken", False, None, "make a new token"),
        ("InputValidationFailed", False, None, "a form that is refused"),
        ("MarketIsClosed", True, 300.0, "asked again"),
        ("WrongResponse", True, None, "asked again later"),
        ("RateLimit", True, 60.0, "too many requests"),
        ("OfferingsInvalidSymbol", False, None, "this address is barred"),
        ("Whim", False, None, "Whim: no"),
    ],
)
def test_a_refusal_is_told_by_the_table(code, retryable, after_s, words):
    def refusing(request, line):
        return [error(request, code)] if "time" in request else obliging(request, line)

    with Room(refusing) as room, shared(room) as (line, _):
        with pytest.raises(VenueError, match=code) as raised:
            line.ask({"time": 1})
        assert (raised.value.retryable, raised.value.retry_after_s) == (retryable, after_s)
        assert words in str(raised.value)
        assert "Deriv refuses time" in str(raised.value)


def test_after_a_rate_limit_nothing_of_that_budget_is_sent_and_others_go_on():
    def tired(request, line):
        return [error(request, "RateLimit")] if "time" in request else answering(request, line)

    with Room(tired) as room, shared(room) as (line, _):
        with pytest.raises(VenueError):
            line.ask({"time": 1})
        with pytest.raises(HostRestingError, match="time was not asked") as raised:
            line.ask({"time": 1}, 1.0)
        assert raised.value.retryable
        assert 50 < raised.value.retry_after_s <= 60
        assert len(room.calls("time")) == 1
        assert b"USD" in line.ask({"balance": 1})


def answering(request, line):
    if "balance" not in request:
        return obliging(request, line)
    told = {"balance": 10000.0, "currency": "USD", "loginid": "DOT90004580"}
    return [{"msg_type": "balance", "balance": told, "req_id": request["req_id"]}]


def test_budgets_are_kept_by_class_of_call_and_the_opening_counts():
    clock = HandClock(is_held=True)
    few = (Budget(frozenset({"balance"}), 10, 12), Budget(frozenset(), 20, 100))
    venue = replace(VENUE, dialog=replace(VENUE.dialog, budgets=few))
    with Room(answering) as room, shared(room, venue=venue, clock=clock) as (line, _):
        # Nine tenths of 10 and of 20, of which the opening took one.
        for _ in range(9):
            line.ask({"balance": 1}, 5.0)
        for _ in range(17):
            line.ask({"time": 1}, 5.0)
        for call in ("balance", "time"):
            with pytest.raises(HostRestingError) as raised:
                line.ask({call: 1}, 5.0)
            assert raised.value.retry_after_s == 60.0
        clock.now_s += 60.0
        line.ask({"balance": 1}, 5.0)
        line.ask({"time": 1}, 5.0)
        assert room.counts() == {"ticks": 1, "balance": 10, "time": 18}
        # Nine tenths of 12 an hour.
        with pytest.raises(HostRestingError, match="12 an hour") as raised:
            line.ask({"balance": 1}, 5.0)
        assert raised.value.retry_after_s == 3540.0


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


def test_stopping_ends_a_wait_for_an_answer_and_for_a_connection():
    with Room(lambda r, n: []) as room:
        for refuse in (0, 503):
            room.refuse = refuse
            with shared(room) as (line, _):
                failed = []

                def ask(line=line, failed=failed):
                    try:
                        line.ask({"time": 1}, 30.0)
                    except StoppedError as error:
                        failed.append(str(error))

                thread = threading.Thread(target=ask)
                thread.start()
                until(lambda n=refuse: room.calls("time") if not n else len(room.targets) > 1)
                line.stop()
                thread.join(5)
                assert failed == ["stopped while Deriv was asked"]


def test_an_unreachable_venue_is_told_as_that():
    gone = "ws://127.0.0.1:9/trading/v1/options/ws/public"
    told = pytest.raises(ConnectionLostError, match="Deriv is not connected, so time was not")
    with Room(obliging) as room, shared(room, locate=lambda: gone) as (line, _), told:
        line.ask({"time": 1}, 0.5)


def test_more_symbols_than_one_connection_carries_are_refused():
    with Room(obliging) as room, pytest.raises(BadInputError, match="at most 200 symbols"):
        shared(room, [f"R_{n}" for n in range(201)]).__enter__()
