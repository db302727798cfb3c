"""Connectors: ours over simulated sockets; hftbacktest's only where all of it is there."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from marketdata.bridge.child import ChildLine
from marketdata.bridge.connector import (
    Changed,
    FeedConnector,
    Missed,
    NotAvailableError,
    Told,
    Traded,
)
from marketdata.bridge.events import BUY, EVENT, LOCAL, SELL, TRADE
from marketdata.bridge.hft import HftConnector, HftLine, lacking
from marketdata.bridge.lines import line_of
from marketdata.conf import Conf
from marketdata.core.facts import Mark, Quote
from marketdata.simulator.server import Simulator
from marketdata.venues import VENUES
from tests.core.invented import GRID, MONDAY
from tests.feeds.listening import Listener, until

SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture(scope="module")
def room():
    with Simulator.generated(SYMBOLS, venues=["bybit"], seed=7, rate=60.0) as simulator:
        yield simulator


@pytest.fixture
def connect(room):
    made = []

    def begin(**more):
        made.append(FeedConnector("bybit", Conf(bybit_ws_url=room.ws_url, **more)))
        return made[-1]

    yield begin
    for connector in made:
        connector.disconnect()


def events(connector, is_enough, seen=None):
    """Ask for events until enough came; return all of them."""
    seen = [] if seen is None else seen
    until_s = time.monotonic() + 10
    while not is_enough(seen):
        assert time.monotonic() < until_s, f"only {len(seen)} events came"
        event = connector.next_event(0.5)
        if event is not None:
            seen.append(event)
    return seen


def heard(symbol, count=5):
    def is_enough(seen):
        mine = [x for x in seen if isinstance(x, Traded) and x.symbol == symbol]
        return sum(len(x.trades) for x in mine) >= count

    return is_enough


def test_events_come_typed_and_in_order(connect):
    connector = connect()
    assert connector.next_event(0.0) is None
    connector.connect()
    assert not connector.health().is_connected, "nothing was subscribed"
    connector.subscribe(["BTCUSDT"])
    connector.connect()
    seen = events(connector, heard("BTCUSDT"))
    seen = events(connector, lambda all: any(isinstance(x, Told) for x in all), seen)
    seen = events(connector, lambda all: any(
        isinstance(x, Changed) and x.status.state == "live" for x in all
    ), seen)  # fmt: skip
    kinds = [type(x) for x in seen]
    assert seen[kinds.index(Missed)] == Missed(("BTCUSDT",), "opened")
    assert kinds.index(Missed) < kinds.index(Traded)
    refs = [ref for x in seen if isinstance(x, Traded) for ref in x.trades.ref.tolist()]
    assert len(set(refs)) == len(refs) >= 5
    assert any(isinstance(x, Told) and isinstance(x.fact, Mark) for x in seen)
    health = connector.health()
    assert health.is_connected
    assert (health.symbols, health.dropped, health.reconnects) == (("BTCUSDT",), 0, 0)
    connector.disconnect()
    assert not connector.health().is_connected


def test_what_is_subscribed_later_is_heard_beside_the_first(connect):
    connector = connect()
    connector.subscribe(["BTCUSDT", "BTCUSDT"])
    connector.connect()
    seen = events(connector, heard("BTCUSDT"))
    connector.subscribe(["ETHUSDT"])
    connector.subscribe(["ETHUSDT"])
    seen.clear()
    events(connector, heard("ETHUSDT"), seen)
    events(connector, heard("BTCUSDT"), seen)
    assert connector.health().symbols == SYMBOLS


def test_events_that_nobody_asks_for_are_dropped_and_stand_as_a_gap(connect):
    connector = connect(max_queue=10)
    connector.subscribe(["BTCUSDT"])
    connector.connect()
    until(lambda: connector.dropped > 5)
    assert connector.health().waiting <= 10
    seen = events(connector, lambda all: any(
        isinstance(x, Missed) and x.reason == "overflow" for x in all
    ))  # fmt: skip
    gap = seen[-1]
    assert gap.symbols == ("BTCUSDT",)
    assert 5 < gap.dropped <= connector.dropped
    events(connector, heard("BTCUSDT", 1), [])


# A stand-in for the package, with the names that a build with live bots has.


class Instrument:
    def __init__(self):
        self.said = {}

    def __getattr__(self, name):
        def say(value):
            self.said[name] = value
            return self

        return say


class Bot:
    """Gives two trades at the first question, and an end at the fourth."""

    def __init__(self, instruments):
        self.instruments = instruments
        self.asked = 0
        self.is_closed = False

    def elapse(self, duration_ns):
        self.asked += 1
        time.sleep(duration_ns / 1e9)
        return 1 if self.asked > 3 else 0

    def last_trades(self, at):
        rows = np.zeros(2 if self.asked == 1 and at == 0 else 0, EVENT)
        if len(rows):
            rows["ev"] = [TRADE | BUY | LOCAL, TRADE | SELL | LOCAL]
            rows["exch_ts"] = [MONDAY * 1000, MONDAY * 1000 + 5]
            rows["px"], rows["qty"] = [100.0, 99.5], [1.0, 0.25]
        return rows

    def clear_last_trades(self, at):
        pass

    def depth(self, at):
        best = (99.5, 2.0, 100.0, 3.0) if self.asked > 1 else (np.nan,) * 4
        names = ("best_bid", "best_bid_qty", "best_ask", "best_ask_qty")
        return SimpleNamespace(**dict(zip(names, best, strict=True)))

    def close(self):
        self.is_closed = True


@pytest.fixture
def package():
    bots = []

    def joined(instruments):
        bots.append(Bot(instruments))
        return bots[-1]

    return SimpleNamespace(
        LIVE_FEATURE=True,
        LiveInstrument=Instrument,
        build_hashmap_livebot=lambda instruments: instruments,
        HashMapMarketDepthLiveBot_=joined,
        bots=bots,
    )


NAMED = Conf(connector_name="bb", connector_poll_interval_ms=1)


def absent(name):
    raise ImportError(f"No module named {name!r}")


def test_each_thing_that_lacks_is_named_with_what_to_do(package):
    wheel = SimpleNamespace(LIVE_FEATURE=False, __version__="2.4.4")
    assert "hftbacktest cannot be imported (No module named 'hftbacktest')" in lacking(
        NAMED, absent
    )
    assert "hftbacktest 2.4.4 has no live bots (LIVE_FEATURE is false)" in lacking(
        NAMED, lambda name: wheel
    )
    assert lacking(Conf(), lambda name: package).startswith("CONNECTOR_NAME is empty; start")
    assert lacking(NAMED, lambda name: package) == ""
    for load in (absent, lambda name: wheel):
        assert "choose DATA_SOURCE=bybit or bybit_connector" in lacking(NAMED, load)
        with pytest.raises(NotAvailableError, match=r"^hft_connector is not available: hftb"):
            HftConnector(NAMED, {}, load)


def test_the_bots_trades_and_best_prices_become_events(package):
    connector = HftConnector(NAMED, dict.fromkeys(SYMBOLS, GRID), lambda name: package)
    with pytest.raises(NotAvailableError, match="tick and lot of SOLUSDT expected"):
        connector.subscribe(["SOLUSDT"])
    connector.subscribe(SYMBOLS)
    connector.connect()
    said = [instrument.said for instrument in package.bots[0].instruments]
    assert said[1] == {
        "connector": "bb", "symbol": "ETHUSDT", "tick_size": 0.01, "lot_size": 0.001,
        "last_trades_capacity": 10_000,
    }  # fmt: skip
    seen = events(connector, lambda all: len(all) == 4)
    assert seen[0] == Missed(SYMBOLS, "opened")
    trades = seen[1].trades
    assert (seen[1].symbol, trades.ts_us.tolist()) == ("BTCUSDT", [MONDAY, MONDAY])
    assert (trades.price.tolist(), trades.qty.tolist()) == ([100.0, 99.5], [1.0, 0.25])
    assert trades.is_buy.tolist() == [True, False]
    assert len(set(trades.ref.tolist())) == 2
    assert seen[2:] == [Told(symbol, Quote(0, 0, 99.5, 2.0, 100.0, 3.0)) for symbol in SYMBOLS]
    assert connector.health().is_connected
    assert connector.next_event(1.0) is None
    health = connector.health()
    assert (health.is_connected, health.last_error) == (
        False,
        "the connector's bot ended with code 1",
    )
    assert package.bots[0].is_closed


def test_a_line_joins_again_where_the_bot_has_ended(package):
    venue, listener = VENUES["hft_connector"], Listener()

    def join():
        connector = HftConnector(NAMED, {"BTCUSDT": GRID}, lambda name: package)
        connector.subscribe(["BTCUSDT"])
        return connector

    line = HftLine(venue, venue.channel(), ["BTCUSDT"], listener, join)
    line.start()
    until(lambda: len(package.bots) == 2 and listener.count() == 4)
    line.stop()
    assert not line.is_alive()
    assert line.reconnects >= 1
    assert listener.states[:3] == ["connecting", "live", "backoff"]
    assert listener.states[-1] == "stopped"
    assert listener.opens[:2] == [("BTCUSDT",)] * 2
    assert listener.closes[0] == ("BTCUSDT",)
    assert all(bot.is_closed for bot in package.bots)
    assert line.statuses()[0].last_error == "the connector's bot ended with code 1"


@pytest.mark.parametrize("fault", [NotAvailableError("no room"), RuntimeError("no room")])
def test_a_line_that_cannot_join_says_why_and_tries_on(fault):
    venue, listener = VENUES["hft_connector"], Listener()

    def join():
        raise fault

    line = HftLine(venue, venue.channel(), ["BTCUSDT"], listener, join)
    line.start()
    until(lambda: line.reconnects == 1)
    status = line.statuses()[0]
    line.stop()
    assert (status.state, "no room" in status.last_error) == ("backoff", True)
    assert (listener.opens, listener.closes) == ([], [])


def test_each_source_gets_the_line_that_it_needs():
    stop, settings = threading.Event(), Conf()
    assert line_of("bybit", settings, stop) is None
    venue = VENUES["bybit_connector"]
    make = line_of("bybit_connector", settings, stop)
    assert isinstance(make(venue, venue.channel(), ["BTCUSDT"], Listener()), ChildLine)
    # Whatever is installed: no connector is named.
    with pytest.raises(NotAvailableError, match="hft_connector is not available"):
        line_of("hft_connector", settings, stop)
