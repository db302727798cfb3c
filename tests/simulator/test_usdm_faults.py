"""Every fault of streams works on USD-M too, as a client from outside sees it."""

import json
import time

import pytest
import requests
import websocket

from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket
from tests.simulator.conftest import tape
from tests.simulator.test_fire_drills import ALL, eventually, ids, until_closed, until_silent
from tests.simulator.test_streams import ask, events

STREAM = "/market/ws/btcusdt@aggTrade"
BOOK = "/public/ws/btcusdt@depth@100ms"


@pytest.fixture
def played():
    """Play a tape as futures, stopped at the end."""
    started = []

    def play(count, **faults):
        market = RecordedMarket("BTCUSDT", tape(count), 0.0, "binance_futures")
        venue = Simulator({"binance_usdm": [market]}, faults=faults).start()
        started.append(venue)
        return venue

    yield play
    for venue in started:
        venue.stop()


@pytest.fixture(scope="module")
def shared():
    with Simulator.generated(["BTCUSDT"], venues=["binance_usdm"], seed=7, rate=200.0) as venue:
        yield venue


@pytest.fixture
def live(shared):
    yield shared
    shared.faults.clear()


@pytest.mark.parametrize(
    ("fault", "value", "expected"),
    [
        ("duplicate", 1, [id for id in ALL for _ in range(2)]),
        ("reorder", 1, [id + 1 if id % 2 == 0 else id - 1 for id in ALL]),
        ("skip", 7, ALL[7:]),
        ("garbage", 1, [made for id in ALL for made in (None, id)]),
        ("drop", 0, ALL),
    ],
)
def test_frames_doubled_swapped_skipped_spoiled(played, dial, fault, value, expected):
    venue = played(50, **{fault: value})
    assert ids(dial(venue, STREAM), len(expected)) == expected


def test_dropped_frames_are_still_public_in_rest(played, dial):
    venue = played(400, drop=0.2)
    socket = dial(venue, STREAM)
    eventually(lambda: venue.status()["markets"][0]["played"] == 400)
    missing = venue.faults.snapshot()["done"]["drop"]
    assert len(ids(socket, 400 - missing)) == 400 - missing
    page = requests.get(f"{venue.rest_url}/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1000").json()
    assert [row["a"] for row in page] == list(range(1000, 1400))


def test_half_a_frame_and_nothing_more(played, dial):
    venue = played(50, half_frame=1)
    dial(venue, STREAM)
    eventually(lambda: venue.status()["markets"][0]["played"] == 50)
    assert venue.status()["clients"][0]["bytes"] == 60


@pytest.mark.parametrize(
    ("fault", "value", "code", "reason"),
    [
        ("rst", 1, None, "rst"),
        ("close", 1, 1001, "close"),
        ("outage", 0.1, None, "outage"),
        ("disconnect_every", 0.05, None, "disconnect_every"),
    ],
)
def test_every_way_to_end_a_connection(live, dial, fault, value, code, reason):
    before = live.status()["ended"].get(reason, 0)
    socket = dial(live, STREAM)
    live.faults.set(fault, value)
    assert until_closed(socket)[1] == code
    eventually(lambda: live.status()["ended"].get(reason, 0) == before + 1)


def test_an_outage_refuses_new_connections(live, dial):
    live.faults.set("outage", 30)
    with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
        dial(live, STREAM)


def test_a_shutdown_is_announced_by_nothing(live, dial):
    socket = dial(live, STREAM)
    live.faults.update({"server_shutdown": 1, "server_shutdown_lead": 0.1})
    got, code = until_closed(socket)
    assert code == 1001
    assert None not in got


def test_a_stall_is_silence_on_every_stream(live, dial):
    sockets = [dial(live, STREAM), dial(live, BOOK)]
    for socket in sockets:
        socket.recv()
    live.faults.set("stall", 0.5)
    for socket in sockets:
        until_silent(socket, 0.15)
    for socket in sockets:
        assert json.loads(socket.recv())["s"] == "BTCUSDT"


def test_deaf_and_refusing(live, dial):
    socket = dial(live, "/market/ws")
    live.faults.update({"refuse": 1, "deaf": 1})
    names = ["btcusdt@aggTrade"]
    assert ask(socket, method="SUBSCRIBE", params=names, id=1)["code"] == 2
    assert ask(socket, method="SUBSCRIBE", params=names, id=2)["result"] is None
    assert until_silent(socket, 0.2) == []


def test_a_gap_in_the_book_breaks_the_chain_once(live, dial):
    socket = dial(live, BOOK)
    before = events(socket, 1)[0]
    live.faults.set("depth_gap", 1)
    breaks = 0
    for _ in range(4):
        event = events(socket, 1)[0]
        breaks += event["pu"] != before["u"]
        before = event
    assert breaks == 1


def test_a_stale_snapshot_is_older_than_the_stream(live, dial):
    socket = dial(live, BOOK)
    first = events(socket, 2)[0]
    live.faults.set("stale_snapshot", 1)
    shots = [
        requests.get(f"{live.rest_url}/fapi/v1/depth?symbol=BTCUSDT").json()["lastUpdateId"]
        for _ in range(2)
    ]
    assert shots[0] < first["U"] < shots[1]


def test_who_comes_back_misses_what_the_fault_says(live, dial):
    live.faults.set("skip_while_down", 20)
    first = dial(live, STREAM)
    last = ids(first, 5)[-1]
    first.close()
    eventually(lambda: not live.status()["clients"])
    assert ids(dial(live, STREAM), 1)[0] > last + 20


def test_slow_frames_are_late(live, dial):
    socket = dial(live, STREAM)
    socket.recv()
    live.faults.set("slow", 0.3)
    ended = time.monotonic() + 5
    while (event := json.loads(socket.recv())) and time.time() * 1000 - event["T"] < 250:
        assert time.monotonic() < ended
