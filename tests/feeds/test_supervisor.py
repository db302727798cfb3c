"""Supervisor and ingestor against the simulated venue and its faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from marketdata.feeds.supervisor import BLOCKED_S, Supervisor
from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from tests.feeds.listening import QUICK, Listener, supervised, until

Start = Callable[..., tuple[Supervisor, Listener]]


@pytest.fixture
def venue() -> Iterator[Simulator]:
    with Simulator.generated(["BTCUSDT", "ETHUSDT"], rate=60.0) as simulator:
        yield simulator


@pytest.fixture
def start(venue: Simulator) -> Iterator[Start]:
    running: list[Supervisor] = []

    def begin(**options) -> tuple[Supervisor, Listener]:
        listener = Listener()
        supervisor = supervised(options.pop("url", venue.ws_url), listener, **options)
        supervisor.start()
        running.append(supervisor)
        return supervisor, listener

    yield begin
    for supervisor in running:
        supervisor.stop()
        assert not supervisor.is_alive()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("feed-")]
    assert left == [], "a feed thread outlived its supervisor"


def connections(venue: Simulator) -> int:
    return len(venue.status()["clients"])


def test_live_is_told_by_data_and_stopped_by_stop(start):
    supervisor, listener = start()
    until(lambda: listener.count() > 5)
    status = supervisor.statuses()[0]
    assert (status.source, status.channel, status.symbol) == ("binance_ws", "aggTrade", "BTCUSDT")
    assert status.connected_at_us is not None
    assert status.last_message_us >= status.connected_at_us
    supervisor.stop()
    assert listener.states == ["connecting", "live", "stopped"]
    assert supervisor.statuses()[0].state == "stopped"
    assert len(listener.held()) == 1, "a healthy feed has no hole"
    assert listener.errors == []


def test_one_socket_carries_several_symbols(start, venue):
    _, listener = start(symbols=("BTCUSDT", "ETHUSDT"))
    until(lambda: listener.count("BTCUSDT") > 5 and listener.count("ETHUSDT") > 5)
    assert connections(venue) == 1


def test_the_trade_stream_is_another_channel(start):
    supervisor, listener = start(channel="trade")
    until(lambda: listener.count() > 5)
    assert supervisor.statuses()[0].channel == "trade"
    assert len(listener.held()) == 1


@pytest.mark.parametrize("fault", ["rst", "close"])
def test_a_cut_connection_is_made_anew(start, venue, fault):
    supervisor, listener = start()
    until(lambda: listener.count() > 5)
    before = listener.held().last
    venue.faults.set(fault, 1)
    until(lambda: supervisor.reconnects == 1)
    until(lambda: listener.held().last > before + 20)
    assert "backoff" in listener.states
    assert supervisor.statuses()[0].last_error != ""
    until(lambda: supervisor.statuses()[0].state == "live")
    assert connections(venue) == 1


def test_a_silent_line_is_stale_then_given_up(start, venue):
    supervisor, listener = start()
    until(lambda: listener.count() > 5)
    venue.faults.set("stall", 1.6)
    until(lambda: supervisor.statuses()[0].state == "stale")
    until(lambda: supervisor.reconnects >= 1)
    assert "no data for" in supervisor.statuses()[0].last_error
    until(lambda: supervisor.statuses()[0].state == "live")


def test_half_a_frame_cannot_hang_the_feed(start, venue):
    supervisor, listener = start()
    until(lambda: listener.count() > 5)
    before = listener.held().last
    venue.faults.set("half_frame", 1)
    until(lambda: supervisor.reconnects >= 1)
    until(lambda: listener.held().last > before + 20)


def test_garbage_is_refused_counted_and_does_not_stop_the_stream(start, venue):
    venue.faults.set("garbage", 0.5)
    supervisor, listener = start()
    until(lambda: len(listener.errors) > 5 and listener.count() > 20)
    assert supervisor.reconnects == 0
    assert supervisor.statuses()[0].rejected >= 5
    assert len(listener.held()) == 1, "every trade beside the garbage was taken"


def test_an_acknowledged_stream_that_stays_silent_is_not_live(start, venue):
    venue.faults.set("deaf", 1)
    supervisor, listener = start()
    until(lambda: supervisor.reconnects == 1)
    assert "no data for" in supervisor.statuses()[0].last_error
    assert "live" not in listener.states
    until(lambda: listener.count() > 5)


def test_one_deaf_stream_among_several_is_noticed(start, venue):
    supervisor, listener = start(symbols=("BTCUSDT", "NOSUCHUSDT"))
    until(lambda: listener.count() > 5)
    until(lambda: supervisor.reconnects == 1)
    assert "NOSUCHUSDT" in supervisor.statuses()[0].last_error


def test_an_old_connection_is_replaced_without_a_hole(start, venue):
    policy = replace(QUICK, roll_s=0.5)
    supervisor, listener = start(policy=policy)
    until(lambda: supervisor.slots[0].rolls >= 3)
    until(lambda: listener.count() > 60)
    assert len(listener.held()) == 1, "the overlap of two connections misses nothing"
    assert supervisor.reconnects == 0
    assert "backoff" not in listener.states


def test_pings_of_the_venue_are_answered_in_time():
    rules = Rules(ping_every_s=0.3, pong_within_s=0.8)
    listener = Listener()
    with Simulator.generated(["BTCUSDT"], rate=40.0, rules=rules) as venue:
        supervisor = supervised(venue.ws_url, listener)
        supervisor.start()
        until(lambda: listener.count() > 60)
        supervisor.stop()
    assert supervisor.reconnects == 0


def test_an_announced_shutdown_is_left_before_it_comes(start, venue):
    venue.faults.set("server_shutdown_lead", 3.0)
    supervisor, listener = start()
    until(lambda: listener.count() > 5)
    venue.faults.set("server_shutdown", 1)
    until(lambda: supervisor.slots[0].rolls == 1)
    assert supervisor.reconnects == 0
    assert len(listener.held()) == 1


def test_no_venue_means_backoff_and_not_a_storm(start, venue):
    venue.faults.set("outage", 1.0)
    supervisor, listener = start()
    until(lambda: listener.count() > 5)
    # Delays from 0.05 to 0.2 s over a second: a dozen attempts at the most, never hundreds.
    assert 1 <= supervisor.reconnects <= 15
    # A connection refused at once may be told of only when it is over.
    assert "backoff" in listener.states[:2]


def test_ten_reconnects_leave_one_connection(start, venue):
    supervisor, _listener = start()
    for round_ in range(1, 11):
        until(lambda: supervisor.statuses()[0].state == "live")
        venue.faults.set("rst", 1)
        until(lambda round_=round_: supervisor.reconnects >= round_)
    until(lambda: supervisor.statuses()[0].state == "live")
    until(lambda: connections(venue) == 1)
    alive = [thread for thread in threading.enumerate() if thread.name.startswith("feed-")]
    assert len(alive) == 1


def test_a_venue_that_says_no_for_good_is_left_alone(start, venue):
    supervisor, _listener = start(url=f"{venue.ws_url}/nowhere")
    until(lambda: supervisor.reconnects)
    assert "404" in supervisor.statuses()[0].last_error
    wait_s = supervisor.slots[0].next_s - time.monotonic()
    assert BLOCKED_S - 10 < wait_s <= BLOCKED_S


def test_nobody_listening_is_retried(start):
    supervisor, _ = start(url="ws://127.0.0.1:9")
    until(lambda: supervisor.reconnects >= 2)
    assert supervisor.statuses()[0].last_error != ""


def test_an_unexpected_error_is_a_restart_not_a_death(start, venue, monkeypatch):
    supervisor, listener = start()
    until(lambda: listener.count() > 5)
    before = listener.held().last
    original, seen = listener.trades, []

    def poisoned(symbol, batch):
        if not seen:
            seen.append(batch)
            raise ZeroDivisionError("a bug of ours")
        original(symbol, batch)

    monkeypatch.setattr(listener, "trades", poisoned)
    until(lambda: supervisor.reconnects == 1)
    assert "ZeroDivisionError" in supervisor.statuses()[0].last_error
    until(lambda: listener.held().last > before + 10)
