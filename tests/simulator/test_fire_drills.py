"""Every fault does what it says, as a client from outside sees it."""

import json
import socket as socket_module
import time

import pytest
import requests
import websocket

from marketdata.simulator.faults import DEFAULTS, KINDS
from marketdata.simulator.server import Simulator
from tests.simulator.conftest import tape

STREAM = "/ws/btcusdt@aggTrade"
# A client that takes little on its own, so that a tape waits for it.
SMALL = ((socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 65_536),)
ALL = list(range(1000, 1050))
CLOSED = (websocket.WebSocketConnectionClosedException, ConnectionResetError)
DRILLED = set()
# Faults that other venues alone can have are drilled beside them.
ELSEWHERE = {
    *("book_again", "book_restart", "delete_absent", "odd_pong", "http_403", "http_10006"),
    *("no_pong", "rate_limit", "wrong_response", "market_closed", "deriv_bare_error"),
    *("legacy_gone", "st_mixed", "liquidation"),
}


@pytest.fixture(autouse=True)
def quiet_again(request):
    """End every fault of the shared venues after each test."""
    yield
    for name in ("venue", "live"):
        if name in request.fixturenames:
            request.getfixturevalue(name).faults.clear()


@pytest.fixture(scope="module")
def live():
    """Serve a fast market on the wall clock."""
    with Simulator.generated(["BTCUSDT"], seed=7, rate=100.0) as venue:
        yield venue


def drill(simulator, **faults):
    """Set faults from outside, as another process would."""
    DRILLED.update(faults)
    answer = requests.post(f"{simulator.rest_url}/sim/faults", json=faults)
    assert answer.status_code == 200, answer.text


def done(simulator):
    """Return what the faults have done, from outside."""
    return requests.get(f"{simulator.rest_url}/sim/status").json()["faults"]["done"]


def ids(socket, count):
    """Return the ids of the next `count` valid trade frames; None for invalid ones."""
    found = []
    for _ in range(count):
        try:
            event = json.loads(socket.recv())
            found.append(
                event["a"] if isinstance(event["a"], int) and event["p"] == event["p"] else None
            )
        except (ValueError, KeyError, TypeError):
            found.append(None)
    return found


def until_closed(socket):
    """Return the ids that come until the connection ends, and the close code or None."""
    found = []
    try:
        while True:
            kind, data = socket.recv_data()
            if kind == websocket.ABNF.OPCODE_CLOSE:
                return found, int.from_bytes(data[:2], "big")
            found.append(json.loads(data).get("a"))
    except CLOSED:
        return found, None


def until_silent(socket, seconds):
    """Return the ids that come until none has come for so long."""
    found = []
    socket.settimeout(seconds)
    try:
        while True:
            found += ids(socket, 1)
    except websocket.WebSocketTimeoutException:
        socket.settimeout(10)
        return found


def eventually(condition):
    """Wait until a condition holds."""
    ended = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ended, "the condition never held"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("fault", "value", "expected"),
    [
        ("duplicate", 1, [id for id in ALL for _ in range(2)]),
        ("reorder", 1, [id + 1 if id % 2 == 0 else id - 1 for id in ALL]),
        ("skip", 7, ALL[7:]),
        ("garbage", 1, [made for id in ALL for made in (None, id)]),
    ],
)
def test_frames_doubled_swapped_skipped_spoiled(served, dial, fault, value, expected):
    venue = served(tape(50))
    drill(venue, **{fault: value})
    assert ids(dial(venue, STREAM), len(expected)) == expected
    assert done(venue)[fault] > 0


def test_dropped_frames_are_still_public_in_rest(served, dial):
    venue = served(tape(500))
    drill(venue, drop=0.2)
    socket = dial(venue, STREAM)
    eventually(lambda: venue.status()["markets"][0]["played"] == 500)
    missing = done(venue)["drop"]
    got = ids(socket, 500 - missing)
    assert 60 < missing < 140
    assert got == sorted(set(got))
    page = requests.get(f"{venue.rest_url}/api/v3/aggTrades?symbol=BTCUSDT&limit=1000").json()
    assert [row["a"] for row in page] == list(range(1000, 1500))


def test_faults_hit_raw_trades_and_aggregates_alike(live, dial):
    drill(live, skip=5)
    socket = dial(live, "/ws/btcusdt@aggTrade/btcusdt@trade")
    aggregates, raw = [], []
    while len(aggregates) < 20:
        event = json.loads(socket.recv())
        if event["e"] == "aggTrade":
            aggregates.append(event)
        else:
            raw.append(event["t"])
    assert raw[0] == aggregates[0]["f"]


def test_slow_frames_are_late(live, dial):
    drill(live, slow=0.3)
    socket = dial(live, STREAM)
    events = [json.loads(socket.recv()) for _ in range(30)]
    assert time.time() * 1000 - events[-1]["E"] >= 300
    assert [one["a"] for one in events] == list(range(events[0]["a"], events[0]["a"] + 30))


def test_a_stall_sends_nothing_answers_pings_and_loses_what_passed(live, dial):
    socket = dial(live, STREAM)
    before = ids(socket, 5)
    drill(live, stall=0.5)
    time.sleep(0.05)
    before += until_silent(socket, 0.2)
    socket.ping("there?")
    kind, _ = socket.recv_data(control_frame=True)
    assert kind == websocket.ABNF.OPCODE_PONG
    assert ids(socket, 1)[0] > before[-1] + 10


def test_a_stalled_tape_loses_nothing(served, dial):
    venue = served(tape(50))
    drill(venue, stall=0.3)
    began = time.monotonic()
    assert ids(dial(venue, STREAM), 50) == ALL
    assert time.monotonic() - began > 0.2


def test_half_a_frame_and_then_nothing(served, dial):
    venue = served(tape(50))
    drill(venue, half_frame=1)
    socket = dial(venue, STREAM)
    socket.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        socket.recv()
    socket.ping("there?")
    with pytest.raises(websocket.WebSocketTimeoutException):
        socket.recv()
    assert venue.status()["clients"][0]["bytes"] == 60


def test_connections_are_cut_at_an_age_without_a_close_frame(live, dial):
    drill(live, disconnect_every=0.3)
    got, code = until_closed(dial(live, STREAM))
    assert code is None
    assert got == list(range(got[0], got[0] + len(got)))
    assert done(live)["disconnect_every"] == 1


def test_trades_pass_unseen_while_a_client_is_away(served, dial):
    venue = served(tape(60_000))
    drill(venue, skip_while_down=70)
    first = dial(venue, STREAM, sockopt=SMALL)
    assert ids(first, 10) == ALL[:10]
    first.shutdown()
    eventually(lambda: not venue.status()["clients"])
    position = venue.status()["markets"][0]["last_id"]
    assert position < 50_000
    assert ids(dial(venue, STREAM), 2) == [position + 71, position + 72]
    assert done(venue)["skip_while_down"] == 70


def test_the_next_connection_misses_trades_in_real_time_too(live, dial):
    drill(live, skip_while_down=40)
    first = dial(live, STREAM)
    last = ids(first, 5)[-1]
    first.close()
    eventually(lambda: not live.status()["clients"])
    assert ids(dial(live, STREAM), 1)[0] > last + 40


def test_an_outage_cuts_refuses_and_ends(live, dial):
    socket = dial(live, STREAM)
    last = ids(socket, 3)[-1]
    drill(live, outage=0.5)
    assert until_closed(socket)[1] is None
    with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
        dial(live, STREAM)
    eventually(lambda: live.faults.value("outage") == 0)
    assert ids(dial(live, STREAM), 1)[0] > last


def test_a_reset_is_a_reset(live, dial):
    socket = dial(live, "/ws")
    drill(live, rst=1)
    with pytest.raises(ConnectionResetError):
        socket.recv()


def test_a_close_has_a_code(live, dial):
    socket = dial(live, "/ws")
    drill(live, close=1)
    assert until_closed(socket)[1] == 1001


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/ws", ("serverShutdown", None)), ("/stream", (None, "!serverShutdown"))],
)
def test_a_shutdown_is_told_before_the_cut(live, dial, path, expected):
    socket = dial(live, path)
    drill(live, server_shutdown_lead=0.3, server_shutdown=1)
    event = json.loads(socket.recv())
    told = time.monotonic()
    assert (event.get("e"), event.get("stream")) == expected
    assert until_closed(socket)[1] == 1001
    assert time.monotonic() - told > 0.2


def test_a_deaf_subscription_is_acknowledged_and_never_served(live, dial):
    socket = dial(live, "/ws")
    drill(live, deaf=1)
    socket.send('{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}')
    assert json.loads(socket.recv()) == {"result": None, "id": 1}
    socket.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        socket.recv()
    assert ids(dial(live, STREAM), 1)[0]


def test_a_refused_subscription_is_an_error(live, dial):
    socket = dial(live, "/ws")
    drill(live, refuse=1)
    request = '{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}'
    socket.send(request)
    assert json.loads(socket.recv())["code"] == 2
    socket.send(request)
    assert json.loads(socket.recv()) == {"result": None, "id": 1}


def test_a_lost_depth_update_breaks_the_chain(live, dial):
    socket = dial(live, "/ws/btcusdt@depth@100ms")
    last = json.loads(socket.recv())["u"]
    drill(live, depth_gap=1)
    broken = 0
    for _ in range(5):
        event = json.loads(socket.recv())
        broken += event["U"] != last + 1
        last = event["u"]
    assert broken == 1


def test_a_stale_snapshot_is_older_than_the_stream(live, dial):
    socket = dial(live, "/ws/btcusdt@depth@100ms")
    for _ in range(3):
        event = json.loads(socket.recv())
    drill(live, stale_snapshot=1)
    url = f"{live.rest_url}/api/v3/depth?symbol=BTCUSDT"
    assert requests.get(url).json()["lastUpdateId"] < event["U"]
    assert requests.get(url).json()["lastUpdateId"] >= event["u"]


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("http_429", 429, '"code":-1003'),
        ("http_418", 418, "IP banned until"),
        ("http_451", 451, "restricted location"),
        ("http_403html", 403, "<!DOCTYPE html>"),
        ("http_200html", 200, "<!DOCTYPE html>"),
        ("http_500", 500, '"code":-1000'),
        ("http_502", 502, "<html>"),
        ("http_503", 503, '"code":-1008'),
    ],
)
def test_rest_refuses_once(venue, fault, status, body):
    drill(venue, retry_after=7, **{fault: 1})
    url = f"{venue.rest_url}/api/v3/time"
    answer = requests.get(url)
    assert (answer.status_code, body in answer.text) == (status, True)
    assert ("Retry-After" in answer.headers) == (status in {418, 429})
    assert answer.headers.get("Retry-After", "7") == "7"
    assert "text/html" in answer.headers["Content-Type"] or answer.json()
    assert requests.get(url).json()["serverTime"]


def test_rest_breaks_off_in_the_body(venue):
    drill(venue, http_truncate=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        requests.get(f"{venue.rest_url}/api/v3/exchangeInfo")


def test_rest_drips(venue):
    drill(venue, http_drip=1)
    began = time.monotonic()
    assert requests.get(f"{venue.rest_url}/api/v3/ping").json() == {}
    assert time.monotonic() - began > 0.2


def test_rest_resets(venue):
    drill(venue, http_reset=1)
    with pytest.raises(requests.exceptions.ConnectionError, match="reset"):
        requests.get(f"{venue.rest_url}/api/v3/ping")
    assert requests.get(f"{venue.rest_url}/api/v3/ping").json() == {}


def test_faults_of_the_archive(venue):
    drill(venue, archive_missing=1, archive_corrupt=1, http_429=1)
    path = "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-03-03.zip.CHECKSUM"
    statuses = [requests.get(venue.rest_url + path).status_code for _ in range(3)]
    assert statuses == [429, 404, 200]


def test_faults_are_listed_changed_and_ended_from_outside(venue):
    url = f"{venue.rest_url}/sim/faults"
    known = requests.get(url).json()
    assert set(known["known"]) == set(KINDS)
    assert known["active"] == DEFAULTS
    drill(venue, drop=0.25)
    assert requests.get(url).json()["active"]["drop"] == 0.25
    assert requests.delete(url).json()["active"] == DEFAULTS


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ('{"nope":1}', "application/json", 400),
        ('{"drop":"x"}', "application/json", 400),
        ("[1]", "application/json", 400),
        ("{", "application/json", 400),
        ('{"drop":1}', "text/plain", 415),
    ],
)
def test_nonsense_is_refused(venue, body, kind, status):
    answer = requests.post(
        f"{venue.rest_url}/sim/faults", data=body, headers={"Content-Type": kind}
    )
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert venue.faults.snapshot()["active"] == DEFAULTS


def test_every_fault_has_been_drilled(request):
    ran = [item for item in request.session.items if item.fspath == request.node.fspath]
    if len(ran) < 40:
        pytest.skip("only meaningful when the whole file runs")
    assert set(KINDS) - ELSEWHERE == DRILLED
