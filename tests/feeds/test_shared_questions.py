"""Questions over one connection: each gets its own answer, a refusal, or an end in words."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import pytest

from marketdata.core.errors import (
    ConnectionLostError,
    HostRestingError,
    StoppedError,
    VenueError,
)
from marketdata.feeds.shared_connection import FIRST_NUMBER
from marketdata.venues.deriv import VENUE
from marketdata.venues.dialog import Budget
from tests.feeds.listening import until
from tests.feeds.sharing import NOW, answering, error, obliging, shared
from tests.feeds.talking import Room
from tests.rest.hand import HandClock

pytestmark = pytest.mark.usefixtures("short_waits")


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
