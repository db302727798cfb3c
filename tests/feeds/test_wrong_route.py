"""Streams asked for on the wrong route are acknowledged and silent: that must not count as live."""

from __future__ import annotations

import time
from dataclasses import replace

from marketdata.feeds.supervisor import Supervisor
from marketdata.simulator.server import Simulator
from marketdata.venues import VENUES
from tests.feeds.listening import QUICK, Listener, until


def test_a_silent_route_is_never_live_and_is_named(no_leaks):
    venue, listener = VENUES["binance_futures"], Listener()
    channel = venue.channel()
    # Where everything was until April 2026.
    moved = replace(channel, path=lambda symbols: channel.path(symbols).removeprefix("/market"))
    with Simulator.generated(["BTCUSDT"], venues=("binance_usdm",), rate=40.0) as simulator:
        line = Supervisor(
            venue,
            moved,
            simulator.ws_url,
            ("BTCUSDT",),
            listener,
            QUICK,
            lambda: time.time_ns() // 1000,
        )
        line.start()
        until(lambda: line.reconnects >= 1, "given up")
        line.stop()
    assert "live" not in listener.states
    lost = [status.last_error for status in listener.statuses if status.last_error]
    assert "no first data of BTCUSDT@aggTrade, BTCUSDT@markPrice" in lost[0] or "no data" in lost[0]
