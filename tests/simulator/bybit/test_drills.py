"""Every fault that can befall this venue, as a client from outside sees it."""

import json
import time
from itertools import pairwise

import pytest
import requests
import websocket

from tests.simulator.bybit.conftest import PATIENCE_S, ask, follow, get, heard, room_of, taped
from tests.simulator.conftest import tape

TRADE = "publicTrade.BTCUSDT"
CLOSED = (websocket.WebSocketConnectionClosedException, ConnectionResetError)
LINEAR = "/v5/public/linear"


def rows_of(socket, frames):
    """Return the rows in so many frames of trades, and how many frames could not be read."""
    rows, invalid = [], 0
    for _ in range(frames):
        try:
            found = json.loads(socket.recv())["data"]
            assert all(isinstance(row["T"], int) and float(row["v"]) > 0 for row in found)
            assert all(float(row["p"]) > 0 and "seq" in row for row in found)
            rows += found
        except (ValueError, KeyError, TypeError, AssertionError):
            invalid += 1
    return rows, invalid


def frames_sent(simulator, played):
    """Return how many frames the only client has been sent once so many trades are played."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        status = simulator.status()["rooms"]["bybit"]
        if status["markets"][0]["played"] == played:
            return status["clients"][0]["frames"]
    raise AssertionError("the tape has not been played")


def collect(socket, rows):
    """Add rows of trades to a list until the connection ends or is silent."""
    while True:
        rows += json.loads(socket.recv() or "{}").get("data", [])


@pytest.fixture
def played(dial):
    """Play a tape under faults; returns times of the trades received, and invalid frames."""
    started = []

    def play(**faults):
        trades = tape(400)
        simulator = taped(trades, faults=faults).start()
        started.append(simulator)
        socket = dial(simulator, LINEAR)
        follow(socket, TRADE)
        rows, invalid = rows_of(socket, frames_sent(simulator, len(trades)))
        first_ms = int(trades.ts_us[0]) // 1000
        return [row["T"] - first_ms for row in rows], invalid, simulator.faults.done

    yield play
    for simulator in started:
        simulator.stop()


def test_trades_are_skipped_lost_repeated_and_mixed_up(played):
    seen, _, done = played(skip=3, drop=0.05, duplicate=0.05)
    assert done["skip"] == 3
    assert min(seen) >= 3
    assert len(seen) == 397 - done["drop"] + done["duplicate"]
    assert len(set(seen)) == 397 - done["drop"]
    assert seen == sorted(seen)


def test_trades_change_places_and_invalid_frames_come_between(played):
    seen, invalid, done = played(reorder=0.05, garbage=0.05)
    assert set(seen) == set(range(400))
    assert sum(after < before for before, after in pairwise(seen)) > 5
    assert done["reorder"] > 5
    assert invalid == done["garbage"] > 5


def test_a_cut_hides_trades_from_the_next_connection(live, dial):
    instrument = room_of(live).instruments["linear"]["BTCUSDT"]
    market = instrument.market
    live.faults.update({"disconnect_every": 0.2, "skip_while_down": 40})
    first = dial(live, LINEAR)
    follow(first, TRADE)
    seen = []
    with pytest.raises(CLOSED):
        collect(first, seen)
    live.faults.set("disconnect_every", 0)
    second = dial(live, LINEAR)
    follow(second, TRADE)
    row = heard(second, TRADE, 1)[0]["data"][0]
    ids = instrument.numerals.ids(market.slice(market.last_id - 2000, market.last_id))
    assert ids.index(row["i"]) - ids.index(seen[-1]["i"]) > 40
    assert live.faults.done["skip_while_down"] == 40


def test_a_stall_answers_pings_and_sends_nothing(live, dial):
    socket = dial(live, LINEAR)
    follow(socket, TRADE)
    heard(socket, TRADE, 1)
    live.faults.set("stall", 0.3)
    reply, _ = ask(socket, op="ping", req_id="p")
    assert reply["req_id"] == "p"
    socket.settimeout(0.15)
    with pytest.raises(websocket.WebSocketTimeoutException):
        collect(socket, [])
    socket.settimeout(5)
    assert heard(socket, TRADE, 1)


def test_slow_trades_are_late(live, dial):
    socket = dial(live, LINEAR)
    live.faults.set("slow", 0.15)
    follow(socket, TRADE)
    frames = heard(socket, TRADE, 3)
    assert max(time.time() * 1000 - frame["data"][0]["T"] for frame in frames) >= 150


def test_an_outage_cuts_and_refuses(live, dial):
    socket = dial(live, LINEAR)
    follow(socket, TRADE)
    live.faults.set("outage", 0.3)
    with pytest.raises(CLOSED):
        collect(socket, [])
    with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
        dial(live, LINEAR)
    live.faults.set("outage", 0)
    follow(dial(live, LINEAR), TRADE)


@pytest.mark.parametrize("fault", ["rst", "close", "server_shutdown"])
def test_connections_end_on_demand(live, dial, fault):
    socket = dial(live, LINEAR)
    follow(socket, TRADE)
    live.faults.update({"server_shutdown_lead": 0.0, fault: 1})
    code = None
    try:
        while code != websocket.ABNF.OPCODE_CLOSE:
            code, data = socket.recv_data()
            assert b"serverShutdown" not in data  # the venue announces nothing
    except CLOSED:
        assert fault == "rst"
    else:
        assert fault != "rst"


def test_half_a_frame_and_then_nothing(live, dial):
    socket = dial(live, LINEAR)
    live.faults.set("half_frame")
    follow(socket, TRADE)
    socket.settimeout(0.15)
    with pytest.raises(websocket.WebSocketTimeoutException):
        socket.recv()


def test_a_subscription_that_is_acknowledged_and_never_served(live, dial):
    socket, topic = dial(live, LINEAR), "orderbook.50.BTCUSDT"
    live.faults.set("deaf")
    assert follow(socket, topic) == []
    socket.settimeout(0.2)
    with pytest.raises(websocket.WebSocketTimeoutException):
        socket.recv()
    socket.settimeout(5)
    # Again it is acknowledged only; a new subscription after an end of the old one is served.
    assert follow(socket, topic) == []
    assert ask(socket, op="unsubscribe", args=[topic])[0]["success"]
    assert len(follow(socket, topic)) == 1


def test_a_subscription_is_refused_on_demand(still, dial):
    socket = dial(still, LINEAR)
    still.faults.set("refuse")
    assert ask(socket, op="subscribe", args=[TRADE])[0]["success"] is False
    assert ask(socket, op="subscribe", args=[TRADE])[0]["success"] is True


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("http_403", 403, "403, access too frequent"),
        ("http_403html", 403, "<html>"),
        ("http_200html", 200, "<html>"),
        ("http_418", 418, "418"),
        ("http_429", 429, "429"),
        ("http_451", 451, "451"),
        ("http_500", 500, "500"),
        ("http_502", 502, "<html>"),
        ("http_503", 503, "503"),
    ],
)
def test_rest_answers_what_is_no_answer(still, fault, status, says):
    still.faults.update({fault: 1, "retry_after": 7})
    url = f"{still.rest_url}/v5/market/time"
    answer = requests.get(url)
    assert answer.status_code == status
    assert says in answer.text
    assert answer.headers.get("Retry-After") == ("7" if status in {418, 429} else None)
    assert requests.get(url).json()["retCode"] == 0


def test_the_venues_own_code_for_too_many_visits(still):
    url = f"{still.rest_url}/v5/market/time"
    now_ms = get(still, "market/time")["time"]
    for wait_s, expected in ((2, now_ms + 2000), (0, now_ms)):
        still.faults.update({"http_10006": 1, "retry_after": wait_s})
        answer = requests.get(url)
        assert (answer.status_code, answer.json()["retCode"]) == (200, 10006)
        assert answer.headers["X-Bapi-Limit-Status"] == "0"
        assert int(answer.headers["X-Bapi-Limit-Reset-Timestamp"]) == expected


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("http_truncate", requests.exceptions.ChunkedEncodingError),
        ("http_reset", requests.exceptions.ConnectionError),
    ],
)
def test_rest_breaks_off(still, fault, error):
    still.faults.set(fault)
    with pytest.raises(error):
        requests.get(f"{still.rest_url}/v5/market/time")


def test_rest_drips(still):
    still.faults.set("http_drip")
    with pytest.raises(requests.exceptions.ConnectionError):  # read timed out
        requests.get(f"{still.rest_url}/v5/market/time", timeout=0.1)
