"""Streams of Binance USD-M as an independent WebSocket client sees them: routes, events, traps."""

import json
import time
from itertools import pairwise

import pytest
import requests
import websocket

from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from tests.simulator.test_streams import ask, events


@pytest.fixture(scope="module")
def live():
    """Serve fast futures on the wall clock."""
    with Simulator.generated(
        ["BTCUSDT", "ETHUSDT"], venues=["binance_usdm"], seed=7, rate=1000.0
    ) as venue:
        yield venue


def until(socket, wanted, most=2000):
    """Return the first event that is as wanted."""
    for _ in range(most):
        event = json.loads(socket.recv())
        if wanted(event):
            return event
    raise AssertionError("no event as wanted")


def test_the_aggregates_of_the_stream_are_those_of_rest(live, dial):
    got = events(dial(live, "/market/ws/btcusdt@aggTrade"), 120)
    page = requests.get(
        f"{live.rest_url}/fapi/v1/aggTrades",
        params={"symbol": "BTCUSDT", "fromId": got[0]["a"], "limit": len(got)},
    ).json()
    for event, row in zip(got, page, strict=True):
        assert event == {**row, "e": "aggTrade", "E": event["E"], "s": "BTCUSDT", "st": 1}
        assert 0 <= event["E"] - event["T"] < 2000


ASTRAY = [
    ("/public/ws", "btcusdt@aggTrade"),
    ("/public/ws", "btcusdt@markPrice@1s"),
    ("/public/ws", "btcusdt@kline_1m"),
    ("/market/ws", "btcusdt@depth@100ms"),
    ("/market/ws", "btcusdt@bookTicker"),
    ("/private/ws", "btcusdt@aggTrade"),
    ("/ws", "btcusdt@aggTrade"),
    ("/stream", "btcusdt@forceOrder"),
    ("/market/ws", "nope@aggTrade"),
]


def test_the_wrong_route_acknowledges_and_stays_silent(live, dial):
    sockets = []
    for path, name in ASTRAY:
        socket = dial(live, path)
        assert ask(socket, method="SUBSCRIBE", params=[name], id=1) == {"result": None, "id": 1}
        assert ask(socket, method="LIST_SUBSCRIPTIONS", id=2)["result"] == [name]
        sockets.append(socket)
    # Long enough for every stream that is served, marks included.
    events(dial(live, "/market/ws/btcusdt@markPrice@1s"), 1)
    for socket in sockets:
        socket.settimeout(0.01)
        with pytest.raises(websocket.WebSocketTimeoutException):
            socket.recv()


def test_the_address_without_a_route_still_serves_what_is_public(live, dial):
    got = events(dial(live, "/stream?streams=btcusdt@bookTicker/btcusdt@aggTrade"), 6)
    assert {event["stream"] for event in got} == {"btcusdt@bookTicker"}


def test_where_spot_is_open_too_the_addresses_without_a_route_are_its(dial):
    with Simulator.generated(
        ["BTCUSDT"], venues=["binance_spot", "binance_usdm"], rate=200
    ) as both:
        assert "M" in events(dial(both, "/ws/btcusdt@aggTrade"), 1)[0]
        assert "st" in events(dial(both, "/market/ws/btcusdt@aggTrade"), 1)[0]
        told = both.status()["rooms"]
        assert [len(room["clients"]) for room in told.values()] == [1, 1]


@pytest.mark.parametrize(("pace", "ms"), [("@100ms", 100), ("", 250), ("@500ms", 500)])
def test_only_pu_chains_the_changes_of_a_book(live, dial, pace, ms):
    name = f"btcusdt@depth{pace}"
    socket = dial(live, f"/public/ws/{name}")
    got = events(socket, 3)
    assert set(got[0]) == {"e", "E", "T", "s", "U", "u", "pu", "b", "a", "ps", "st"}
    for before, event in pairwise(got):
        assert event["pu"] == before["u"]
        # The ids between are other symbols'.
        assert before["u"] + 1 < event["U"] <= event["u"]
        assert ms / 2 < event["E"] - before["E"] < 2.5 * ms


def test_a_snapshot_and_the_changes_after_it_make_the_book(live, dial):
    socket = dial(live, "/public/ws/ethusdt@depth@100ms")
    held = events(socket, 2)
    shot = requests.get(
        f"{live.rest_url}/fapi/v1/depth", params={"symbol": "ETHUSDT", "limit": 1000}
    ).json()
    sides = {side: dict(shot[name]) for side, name in (("b", "bids"), ("a", "asks"))}
    last = shot["lastUpdateId"]
    # The rule of the venue's own page: drop u < id, the first one has U <= id <= u, then pu.
    while (event := held.pop(0) if held else json.loads(socket.recv()))["u"] < last:
        pass
    assert event["U"] <= last <= event["u"]
    for step in range(5):
        assert step == 0 or event["pu"] == last
        for side, levels in sides.items():
            for price, qty in event[side]:
                levels.pop(price, None) if float(qty) == 0 else levels.update({price: qty})
        last = event["u"]
        event = json.loads(socket.recv())
    top = dial(live, "/public/ws/ethusdt@depth5@100ms")
    best = until(top, lambda partial: partial["u"] >= last)
    while event["u"] <= best["u"]:
        for side, levels in sides.items():
            for price, qty in event[side]:
                levels.pop(price, None) if float(qty) == 0 else levels.update({price: qty})
        event = json.loads(socket.recv())
    bids = sorted(sides["b"].items(), key=lambda level: -float(level[0]))[:5]
    asks = sorted(sides["a"].items(), key=lambda level: float(level[0]))[:5]
    assert [[list(level) for level in side] for side in (bids, asks)] == [best["b"], best["a"]]


def test_the_best_prices_have_a_time_and_the_ids_of_the_book(live, dial):
    got = events(dial(live, "/public/ws/btcusdt@bookTicker"), 8)
    assert set(got[0]) == {"e", "u", "E", "T", "s", "ps", "b", "B", "a", "A", "st"}
    assert all(later["u"] > event["u"] for event, later in pairwise(got))
    assert all(float(event["a"]) > float(event["b"]) for event in got)


def test_marks_forced_orders_and_candles(live, dial):
    names = [f"btcusdt@{kind}" for kind in ("markPrice@1s", "forceOrder", "kline_1m")]
    socket = dial(live, f"/market/stream?streams={'/'.join(names)}")
    live.faults.set("liquidation", 2)
    found, forced = {}, []
    while len(forced) < 2 or len(found) < 3:
        event = json.loads(socket.recv())
        found[event["stream"].partition("@")[2]] = event["data"]
        forced += [event["data"]] if event["stream"].endswith("forceOrder") else []
    # However many there are, one a second is told.
    seconds = [(event["E"] + 20) // 1000 for event in forced]
    assert len(set(seconds)) == len(seconds)
    assert not live.faults.value("liquidation")
    mark = found["markPrice@1s"]
    assert set(mark) == {"e", "E", "s", "p", "ap", "P", "i", "r", "T", "st"}
    assert 0 < abs(float(mark["p"]) / float(mark["i"]) - 1) < 1e-3
    assert mark["T"] % (8 * 3_600_000) == 0
    order = found["forceOrder"]["o"]
    assert set(order) == {"s", "S", "o", "f", "q", "p", "ap", "X", "l", "z", "T"}
    assert (order["X"], order["q"]) == ("FILLED", order["z"])
    # Who is sold out of a long gets less than the mark.
    below = float(order["p"]) < float(mark["p"])
    assert below == (order["S"] == "SELL")
    candle = found["kline_1m"]["k"]
    page = requests.get(
        f"{live.rest_url}/fapi/v1/aggTrades",
        params={"symbol": "BTCUSDT", "startTime": candle["t"], "limit": 1},
    ).json()
    assert candle["f"] == page[0]["f"]


def test_raw_trades_have_placeholders_that_use_up_ids(live, dial):
    got = events(dial(live, "/public/ws/btcusdt@trade"), 420)
    ids = [event["t"] for event in got]
    assert ids == list(range(ids[0], ids[0] + 420))
    strangers = [event for event in got if event["X"] != "MARKET"]
    assert 2 <= len(strangers) <= 3
    for event in strangers:
        assert event["X"] in {"NA", "INSURANCE_FUND"}
        assert (event["X"] == "NA") == (float(event["q"]) == 0) == (event["p"] == "0")


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        ("market", "aggTrade"),
        ("public", "bookTicker"),
        ("public", "depth@100ms"),
    ],
)
def test_the_namesake_in_coins_can_be_mixed_in(live, dial, route, kind):
    socket = dial(live, f"/{route}/ws/btcusdt@{kind}")
    events(socket, 1)
    live.faults.set("st_mixed", 1)
    other = until(socket, lambda event: event["st"] == 2)
    assert other["s"] == "BTCUSDT"
    following = events(socket, 1)[0]
    assert following["st"] == 1
    assert {**other, "st": 1} != following
    assert not live.faults.value("st_mixed")


def test_the_venue_pings_seldom_and_takes_ten_messages_a_second(live, dial):
    room = live.rooms["binance_usdm"]
    assert (room.rules.ping_every_s, room.rules.pong_within_s) == (180, 600)
    assert (room.rules.streams, room.rules.weight_per_minute) == (1024, 2400)
    socket = dial(live, "/market/ws")
    for id in range(10):
        assert ask(socket, method="LIST_SUBSCRIPTIONS", id=id)["result"] == []
    socket.send("{}")
    opcode, data = socket.recv_data()
    assert (opcode, data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1008).to_bytes(2))


def test_a_ping_is_answered_or_the_line_is_cut(dial):
    rules = Rules(ping_every_s=0.1, pong_within_s=0.2)
    with Simulator.generated(["BTCUSDT"], venues=["binance_usdm"], rules=rules) as venue:
        dial(venue, "/market/ws")
        ended = time.monotonic() + 5
        while not venue.status()["ended"]:
            assert time.monotonic() < ended
            time.sleep(0.01)
        assert venue.status()["ended"] == {"no pong": 1}
