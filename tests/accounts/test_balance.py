"""Balances kept for a while: one connection and one request, whoever asks."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import pytest

from marketdata.accounts.balance import Balances
from marketdata.core.errors import ConnectionLostError, VenueError
from marketdata.feeds import ingestor, supervisor
from marketdata.feeds.shared_connection import SharedConnection
from marketdata.feeds.socket_client import SocketClient
from marketdata.feeds.supervisor import Policy
from marketdata.venues.deriv import VENUE
from marketdata.venues.dialog import Balance
from tests.feeds.listening import Listener
from tests.feeds.talking import Room
from tests.rest.hand import HandClock, in_thread, until

USD = Balance(Decimal("10000.25"), "USD", "DOT90004580")


class Quiet(Listener):
    def opened(self, symbols):
        pass

    closed = facts = replies = opened


def telling(request, line):
    if "balance" not in request:
        return []
    told = {"balance": 10000.25, "currency": "USD", "loginid": "DOT90004580"}
    return [{"msg_type": "balance", "balance": told, "req_id": request["req_id"]}]


@pytest.mark.parametrize(("ttl_s", "requests"), [(60.0, 1), (20.0, 3), (7.0, 7)])
def test_a_hundred_calls_a_minute_of_five_make_one_connection_and_a_request_each_ttl(
    monkeypatch, ttl_s, requests
):
    monkeypatch.setattr(ingestor, "POLL_S", 0.02)
    monkeypatch.setattr(supervisor, "TICK_S", 0.02)
    clock, answers, stop = HandClock(), [], threading.Event()
    with Room(telling) as room:
        line = SharedConnection(
            VENUE, VENUE.channel(), lambda: room.url + VENUE.dialog.path(""), (), Quiet(),
            Policy(), lambda: time.time_ns() // 1000,
        )  # fmt: skip
        line.start()
        balances = Balances(SocketClient(VENUE, line, stop).balance, ttl_s, clock)
        # Twenty rounds three seconds apart, in each of which five ask at once.
        begin = threading.Barrier(5)
        end = threading.Barrier(5, action=lambda: setattr(clock, "now_s", clock.now_s + 3.0))

        def call():
            for _ in range(20):
                begin.wait(10)
                answers.append(balances.get().balance)
                end.wait(10)

        threads = [threading.Thread(target=call) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        line.stop()
        assert len(answers) == 100
        assert set(answers) == {USD}
        assert (room.opened, len(room.calls("balance"))) == (1, requests)
        assert room.counts() == {"balance": requests}


def test_who_asks_meanwhile_shares_the_answer():
    asked, may_answer, got = [], threading.Event(), []

    def slow():
        asked.append(1)
        assert may_answer.wait(5)
        return USD

    balances = Balances(slow, 60.0)
    threads = [in_thread(lambda: got.append(balances.get())) for _ in range(5)]
    until(lambda: asked)
    may_answer.set()
    for thread in threads:
        thread.join(5)
    assert len(asked) == 1
    assert len(got) == 5
    assert len(set(got)) == 1


def test_an_answer_is_as_old_as_it_says_and_no_older_than_its_time():
    clock = HandClock()
    balances = Balances(lambda: USD, 60.0, clock)
    first = balances.get()
    assert first.as_of_us == clock.wall_us()
    clock.now_s += 59.9
    assert balances.get() is first
    clock.now_s += 0.1
    assert balances.get().as_of_us == first.as_of_us + 60_000_000


def test_a_failure_is_told_to_all_who_wait_and_not_kept():
    failures, may_fail, told = [VenueError("AuthorizationRequired: log in")], threading.Event(), []

    def failing():
        assert may_fail.wait(5)
        if failures:
            raise failures.pop()
        return USD

    balances = Balances(failing, 60.0)

    def call():
        try:
            balances.get()
        except VenueError as error:
            told.append(str(error))

    threads = [in_thread(call)]
    until(lambda: balances._flight)
    threads += [in_thread(call) for _ in range(3)]
    may_fail.set()
    for thread in threads:
        thread.join(5)
    assert told
    assert set(told) == {"AuthorizationRequired: log in"}
    assert balances.get().balance == USD


def test_a_question_that_dies_leaves_nobody_waiting():
    asked, may_die, told = [], threading.Event(), []

    def broken():
        asked.append(1)
        assert may_die.wait(5)
        raise ZeroDivisionError

    balances = Balances(broken, 60.0)

    def call():
        try:
            balances.get()
        except (ZeroDivisionError, ConnectionLostError) as error:
            told.append(type(error))

    threads = [in_thread(call)]
    until(lambda: asked)
    threads.append(in_thread(call))
    may_die.set()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert told.count(ZeroDivisionError) == len(asked)
    assert len(told) == 2
