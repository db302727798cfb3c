"""Deriv's connection, client and account through the simulated venue and its faults."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from marketdata.accounts.deriv import access, opened
from marketdata.conf import Conf
from marketdata.core.errors import VenueError
from marketdata.core.ticks import expected
from marketdata.feeds import ingestor, shared_connection, supervisor
from marketdata.feeds.shared_connection import SharedConnection
from marketdata.feeds.socket_client import SocketClient
from marketdata.feeds.supervisor import Policy
from marketdata.simulator.deriv.limits import DerivRules
from marketdata.simulator.server import Simulator
from marketdata.venues import venue_of
from marketdata.venues.base import Beat
from tests.accounts.test_balance import Quiet
from tests.feeds.listening import until
from tests.rest.hand import HandClock

S = 1_000_000
DAY_S = 86_400
SYMBOLS = ("1HZ100V", "R_100", "cryBTCUSD")
ENTRIES = {
    "new": {"deriv_app_id": "33Qx6A", "deriv_api_token": "pat_SIMTOKEN:DOT90000001"},
    "legacy": {"deriv_app_id": "1089", "deriv_api_token": "SIMTOKEN"},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(shared_connection, "BACKOFF_S", 0.05)
    monkeypatch.setattr(ingestor, "POLL_S", 0.02)
    monkeypatch.setattr(supervisor, "TICK_S", 0.02)


@pytest.fixture
def simulator():
    with Simulator.generated(["BTCUSDT"], venues=["deriv"]) as simulator:
        yield simulator


def settings(simulator, dialect):
    return Conf(
        deriv_dialect=dialect,
        deriv_rest_url=simulator.rest_url,
        deriv_ws_url=simulator.ws_url,
        **ENTRIES[dialect],
    )


@contextmanager
def followed(simulator, dialect, symbols=SYMBOLS, **stream):
    stop, conf, listener = threading.Event(), settings(simulator, dialect), Quiet()
    venue, entry = venue_of("deriv", dialect), access(conf, stop)
    line = SharedConnection(
        venue, replace(venue.channel(), **stream), entry.locate, symbols, listener,
        Policy(stale_s=5.0, dead_s=20.0, backoff_cap_s=0.2),
        lambda: time.time_ns() // 1000, login=entry.login,
    )  # fmt: skip
    line.start()
    try:
        yield line, listener, SocketClient(venue, line, stop, clock=HandClock())
    finally:
        stop.set()
        line.stop()


@pytest.mark.parametrize("dialect", sorted(ENTRIES))
def test_all_is_had_over_one_connection_in_both_dialects(simulator, dialect):
    with followed(simulator, dialect) as (line, listener, client):
        account = opened(settings(simulator, dialect), threading.Event())
        held = account.account()
        listing = client.listing("cryBTCUSD")
        today = int(time.time()) // DAY_S * DAY_S
        ticks = client.between("R_100", (today - DAY_S) * S, today * S)
        levels = client.day("R_100", (today - DAY_S) * S)
        until(lambda: all(listener.count(symbol) for symbol in SYMBOLS))
        assert [str(one.total) for one in held.balances] in (["10000.0"], ["250.75"])
        assert (held.mode, client.label) == ("simulated", "generated")
        assert str(listing.grid.tick) == "0.01"
        assert len(ticks) == expected((today - DAY_S) * S, today * S, 2 * S) == 43_200
        assert (np.diff(ticks.id) == 2).all()
        extremes = (levels.high, levels.low, levels.close)
        assert extremes == (ticks.price.max(), ticks.price.min(), ticks.price[-1])
        assert listener.errors == []
        assert line.is_live
        assert simulator.status()["open"] == 1


@pytest.mark.slow
def test_what_cuts_left_out_is_had_from_history_and_the_same(simulator):
    with followed(simulator, "new", ("1HZ100V",)) as (line, listener, client):
        for cuts in range(3):
            until(lambda n=cuts: line.reconnects == n and line.is_live)
            simulator.faults.set("rst", 1)
            until(lambda n=cuts: line.reconnects > n)
        until(lambda: line.is_live)
        until(lambda: len(set(listener.ids["1HZ100V"])) >= 3)
        live = set(listener.ids["1HZ100V"])
        ticks = client.between("1HZ100V", min(live) * S, (max(live) + 1) * S)
        assert ticks.id.tolist() == list(range(min(live), max(live) + 1))
        status = simulator.status()
        assert (status["open"], status["otps"]) == (1, {"issued": 4, "used": 4, "refused": 0})


def test_refusals_that_pass_are_passed_and_one_for_rate_is_respected(simulator):
    with followed(simulator, "new", ("R_100",)) as (line, _, client):
        # Else the subscription takes one of them.
        until(lambda: line.is_live)
        simulator.faults.set("wrong_response", 2)
        assert len(client.newest("R_100")) == 5000
        assert client.retries == 2
        simulator.faults.set("rate_limit", 1)
        with pytest.raises(VenueError, match="RateLimit"):
            client._line.ask({"time": 1})


@pytest.mark.slow
def test_a_venue_whose_pongs_stay_away_is_left_and_its_idle_cut_is_never_met(simulator):
    beat = Beat(frame=b'{"ping":1}', every_s=0.2, pong_within_s=0.2)
    with followed(simulator, "new", (), beat=beat) as (line, _, client):
        client.clock_offset_us()
        simulator.faults.set("no_pong", 1.0)
        until(lambda: line.reconnects)
        assert "no answer to the venue's ping in 0.2 s" in line.statuses()[0].last_error
        simulator.faults.clear()
        until(lambda: line.is_live)


@pytest.mark.slow
def test_a_line_without_streams_is_kept_up_by_the_beat_alone():
    beat, quick = Beat(frame=b'{"ping":1}', every_s=0.2, pong_within_s=5.0), DerivRules(idle_s=0.5)
    strict = Simulator.generated(["BTCUSDT"], venues=["deriv"], rules=quick)
    with strict, followed(strict, "new", (), beat=beat) as (line, _, client):
        client.clock_offset_us()
        began_s = time.monotonic()
        until(lambda: time.monotonic() - began_s > 1.2)
        assert line.reconnects == 0
        assert line.is_live


def test_a_legacy_venue_that_is_gone_says_what_to_set(simulator):
    simulator.faults.set("legacy_gone", 30)
    told = pytest.raises(VenueError, match=r"HTTP 520.*DERIV_DIALECT=new")
    with followed(simulator, "legacy") as (line, _, _), told:
        line.ask({"time": 1})


def test_a_spent_password_leads_to_a_fresh_one():
    late = Simulator.generated(["BTCUSDT"], venues=["deriv"], rules=DerivRules(otp_s=0.0))
    with late, followed(late, "new", ("R_100",)) as (line, _, _):
        until(lambda: late.status()["otps"]["refused"] >= 2)
        until(lambda: "a fresh one is asked for" in line.statuses()[0].last_error)
