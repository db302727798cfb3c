"""The venue as a guest in another program, and what it does with slow and silent clients."""

import json
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import websocket

from marketdata.simulator.connection import LOW_BACKLOG_BYTES, MOST_BACKLOG_BYTES
from marketdata.simulator.pump import BATCH
from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket
from tests.simulator.conftest import tape

STREAM = "/ws/btcusdt@aggTrade"
# The client checks UTF-8 in pure Python, 30 µs a frame.
QUICK = {"skip_utf8_validation": True}
# Takes little on its own, so that a tape of this many trades has to wait for it.
SMALL = {"sockopt": ((socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536),), **QUICK}
MANY = 35_000
FRAME = 200  # no trade frame of the test tape is longer


def eventually(condition):
    """Wait until a condition holds."""
    ended = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ended, "the condition never held"
        time.sleep(0.01)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_open_even_with_clients_and_answers_under_way():
    before, threads = open_files(), set(threading.enumerate())
    with Simulator.generated(["BTCUSDT"], rate=100.0) as venue:
        line = websocket.create_connection(venue.ws_url + STREAM, timeout=5)
        line.recv()
        venue.faults.set("http_drip", 1)
        with socket.create_connection(("127.0.0.1", venue.port)) as slow:
            slow.sendall(b"GET /api/v3/exchangeInfo HTTP/1.1\r\nHost: x\r\n\r\n")
            slow.recv(10)
            began = time.monotonic()
            venue.stop()
            assert time.monotonic() - began < 5
        line.shutdown()
    assert not venue.is_running
    assert set(threading.enumerate()) == threads
    assert open_files() == before
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{venue.rest_url}/api/v3/ping")


def test_a_taken_port_is_told():
    with Simulator.generated(["BTCUSDT"]) as venue:
        second = Simulator.generated(["BTCUSDT"], port=venue.port)
        with pytest.raises(OSError, match="address already in use"):
            second.start()
        assert not second.is_running


def test_a_venue_comes_back_on_its_port_and_news_is_only_what_is_new():
    venue = Simulator.generated(["BTCUSDT"], rate=100.0).start()
    port = venue.port
    try:
        line = websocket.create_connection(venue.ws_url + STREAM, timeout=5)
        last = json.loads(line.recv())["a"]
        venue.stop()
        line.shutdown()
        time.sleep(0.6)
        venue.start()
        assert venue.port == port
        line = websocket.create_connection(venue.ws_url + STREAM, timeout=5)
        news = json.loads(line.recv())["a"]
        line.shutdown()
        assert news > last + 5
    finally:
        venue.stop()
        venue.stop()


def test_status_tells_who_is_there_and_what_was_sent(venue, dial):
    dial(venue, "/ws/btcusdt@aggTrade/nonsense")
    status = requests.get(f"{venue.rest_url}/sim/status").json()
    # What the first venue says stands outside too; a moment later only ages differ.
    rooms, now = status.pop("rooms"), venue.status()
    assert {**rooms["binance_spot"], "faults": now["faults"]} == status
    assert list(rooms) == list(now.pop("rooms"))
    assert status == {**now, "clients": status["clients"]}
    assert status["label"] == "generated"
    (client,) = status["clients"]
    assert client["streams"] == ["btcusdt@aggTrade", "nonsense"]
    assert {"symbol", "now_us", "first_id", "last_id", "played"} == set(status["markets"][0])


def test_status_needs_a_started_venue():
    with pytest.raises(RuntimeError, match="started"):
        Simulator.generated(["BTCUSDT"]).status()


def test_a_tape_at_speed_zero_arrives_whole_and_in_order(served, dial):
    trades = tape(20_000)
    line = dial(served(trades), STREAM, **QUICK)
    got = [json.loads(line.recv()) for _ in range(len(trades))]
    assert [one["a"] for one in got] == trades.id.tolist()
    assert [float(one["q"]) for one in got] == trades.qty.tolist()
    line.settimeout(0.2)
    with pytest.raises(websocket.WebSocketTimeoutException):
        line.recv()


def test_a_slow_reader_loses_nothing_and_holds_the_tape_back(served, dial):
    trades = tape(MANY)
    venue = served(trades)
    line = dial(venue, STREAM, **SMALL)
    most, got = 0, []
    for row in range(len(trades)):
        got.append(json.loads(line.recv())["a"])
        if row % 5000 == 0:
            most = max(most, venue.status()["clients"][0]["backlog"])
    assert got == trades.id.tolist()
    assert most <= LOW_BACKLOG_BYTES + BATCH * FRAME


def test_a_tape_waits_for_its_first_reader_and_between_readers(served, dial):
    venue = served(tape(MANY))
    assert venue.status()["markets"][0]["played"] == 0
    first = dial(venue, STREAM, **SMALL)
    first.recv()
    first.shutdown()
    eventually(lambda: not venue.status()["clients"])
    played = venue.status()["markets"][0]["played"]
    assert 0 < played < MANY
    # Books are no trades: whoever follows only them leaves the tape where it is.
    dial(venue, "/ws/btcusdt@depth@100ms").recv()
    assert venue.status()["markets"][0]["played"] == played
    assert json.loads(dial(venue, STREAM).recv())["a"] == 1000 + played


def test_readers_share_one_tape(served, dial):
    trades = tape(MANY)
    venue = served(trades)
    slow = dial(venue, STREAM, **SMALL)
    slow.recv()
    fast = dial(venue, STREAM, **QUICK)
    first = json.loads(fast.recv())["a"]
    rest = threading.Thread(target=lambda: [slow.recv() for _ in range(len(trades) - 1)])
    rest.start()
    got = [first] + [json.loads(fast.recv())["a"] for _ in range(1000 + len(trades) - 1 - first)]
    rest.join()
    assert first > 1000
    assert got == list(range(first, 1000 + len(trades)))


def test_a_reader_who_stops_is_cut_and_the_others_go_on(served, dial):
    trades = tape(MANY)
    venue = served(trades, rules=Rules(pong_within_s=0.3))
    dial(venue, STREAM, **SMALL)
    eventually(lambda: venue.status()["markets"][0]["played"] > 5000)
    line = dial(venue, STREAM)
    first = json.loads(line.recv())["a"]
    assert [json.loads(line.recv())["a"] for _ in range(5000)] == list(
        range(first + 1, first + 5001)
    )
    eventually(lambda: "did not read" in venue.status()["ended"])


def test_a_flood_does_not_fill_memory_for_a_client_that_does_not_read(dial):
    trades = tape(150_000)
    with Simulator([RecordedMarket("BTCUSDT", trades, speed=1e6)]) as venue:
        dial(venue, STREAM, **SMALL)
        most = 0
        ended = time.monotonic() + 10
        while not (status := venue.status())["ended"] and time.monotonic() < ended:
            most = max([most, *(client["backlog"] for client in status["clients"])])
        assert status["ended"] == {"did not read": 1}
        assert most <= MOST_BACKLOG_BYTES + BATCH * FRAME


def test_a_tape_in_real_time_takes_its_time(dial):
    trades = tape(400, step_us=1000)
    with Simulator([RecordedMarket("BTCUSDT", trades, speed=1.0)]) as venue:
        line = dial(venue, STREAM)
        began = time.monotonic()
        got = [json.loads(line.recv()) for _ in range(400)]
        assert 0.3 < time.monotonic() - began < 3
    assert [one["a"] for one in got] == trades.id.tolist()
    assert all(one["E"] >= one["T"] for one in got)


@pytest.mark.realdata
def test_a_recorded_sample_comes_out_as_it_went_in(shared_data, dial):
    path = shared_data / "tapes" / "BTCUSDT-aggTrades-sample-10k.csv"
    with Simulator.recorded(path, speed=0) as venue:
        line = dial(venue, "/stream?streams=btcusdt@aggTrade&timeUnit=MICROSECOND")
        got = [json.loads(line.recv())["data"] for _ in range(10_001)]
        day = requests.get(
            f"{venue.rest_url}/data/spot/daily/aggTrades/BTCUSDT/"
            "BTCUSDT-aggTrades-2025-09-01.zip.CHECKSUM"
        )
        klines = requests.get(
            f"{venue.rest_url}/api/v3/klines?symbol=BTCUSDT&interval=1d&limit=5"
        ).json()
    with path.open() as file:
        rows = [line.strip().split(",") for line in file]
    assert [[str(one["a"]), one["p"], one["q"], str(one["T"]), str(one["m"])] for one in got] == [
        [row[0], row[1], row[2], row[5], row[6]] for row in rows
    ]
    qty = np.array([float(one["q"]) for one in got])
    bought = np.array([not one["m"] for one in got])
    assert qty.sum() == pytest.approx(329.88379)
    assert qty[bought].sum() == pytest.approx(73.136)
    assert day.status_code == 200
    (candle,) = klines
    assert (candle[2], candle[3]) == ("108332.35000000", "107983.00000000")
    assert (candle[5], candle[9]) == ("329.88379000", "73.13600000")
