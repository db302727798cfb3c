"""What a client may say, and when a connection ends."""

import json
import re
import time

import pytest
import websocket

from tests.simulator.bybit.conftest import PATIENCE_S, ask, follow, heard, room_of


@pytest.fixture(params=["linear", "spot"])
def category(request):
    return request.param


def test_acknowledgements_differ_by_category(still, dial):
    linear, spot = dial(still, "/v5/public/linear"), dial(still, "/v5/public/spot")
    topics = ["publicTrade.BTCUSDT"]
    reply, _ = ask(linear, op="subscribe", req_id="mine", args=topics)
    assert list(reply) == ["success", "ret_msg", "conn_id", "req_id", "op"]
    assert (reply["success"], reply["ret_msg"], reply["req_id"]) == (True, "", "mine")
    assert ask(linear, op="subscribe", args=topics)[0]["req_id"] == ""
    reply, _ = ask(spot, op="subscribe", req_id="mine", args=topics)
    assert (reply["success"], reply["ret_msg"], reply["req_id"]) == (True, "subscribe", "mine")
    assert "req_id" not in ask(spot, op="subscribe", args=topics)[0]
    reply, _ = ask(spot, op="unsubscribe", args=topics)
    assert (reply["ret_msg"], reply["op"]) == ("unsubscribe", "unsubscribe")


def test_data_comes_before_the_acknowledgement_of_linear_and_after_that_of_spot(still, dial):
    topics = ["orderbook.50.BTCUSDT", "tickers.BTCUSDT"]
    before = follow(dial(still, "/v5/public/linear"), *topics)
    assert [frame["topic"] for frame in before] == topics
    spot = dial(still, "/v5/public/spot")
    assert follow(spot, *topics) == []
    assert [json.loads(spot.recv())["topic"] for _ in topics] == topics


def test_a_spot_request_takes_ten_topics(live, dial):
    topics = [f"kline.{interval}.BTCUSDT" for interval in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)]
    topics.append("publicTrade.BTCUSDT")
    spot, linear = dial(live, "/v5/public/spot"), dial(live, "/v5/public/linear")
    reply, _ = ask(spot, op="subscribe", req_id="x", args=topics)
    assert (reply["success"], reply["ret_msg"], reply["req_id"]) == (False, "args size >10", "x")
    assert clients(live)[0]["streams"] == []
    assert ask(spot, op="subscribe", args=topics[:10])[0]["success"]
    assert ask(linear, op="subscribe", args=topics)[0]["success"]
    assert sorted(map(len, (one["streams"] for one in clients(live)))) == [10, 11]


def clients(simulator):
    """Return the clients that the status tells of, once those of other tests are gone."""
    return [one for one in room_of(simulator).status()["clients"] if one["backlog"] == 0][-2:]


@pytest.mark.parametrize(
    "topic",
    [
        *("orderbook.500.BTCUSDT", "publicTrade.NOPE", "kline.2.BTCUSDT", "liquidation.BTCUSDT"),
        *("publicTrade.btcusdt", "publicTrade", ""),
    ],
)
def test_one_unknown_topic_voids_the_batch(still, dial, category, topic):
    socket = dial(still, f"/v5/public/{category}")
    reply, before = ask(socket, op="subscribe", args=["orderbook.50.BTCUSDT", topic])
    assert reply["success"] is False
    assert reply["ret_msg"] == f"error:handler not found,topic:{topic}"
    assert before == []
    socket.settimeout(0.1)
    with pytest.raises(websocket.WebSocketTimeoutException):
        socket.recv()


def test_spot_has_no_liquidations(still, dial):
    reply, _ = ask(dial(still, "/v5/public/spot"), op="subscribe", args=["allLiquidation.BTCUSDT"])
    assert "handler not found" in reply["ret_msg"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "invalid json"),
        ("[]", "invalid request"),
        ("{}", "unknown op"),
        ('{"op":"dance"}', "unknown op,op:dance"),
        ('{"op":"subscribe"}', "args must be"),
        ('{"op":"subscribe","args":[]}', "args must be"),
        ('{"op":"subscribe","args":[1]}', "args must be"),
        ('{"op":"ping","req_id":7}', "req_id must be"),
    ],
)
def test_nonsense_is_refused_and_the_connection_lives(still, dial, text, says):
    socket = dial(still, "/v5/public/linear")
    socket.send(text)
    reply = json.loads(socket.recv())
    assert reply["success"] is False
    assert says in reply["ret_msg"]
    assert ask(socket, op="ping")[0]["ret_msg"] == "pong"


def test_topics_of_a_connection_have_a_length_in_all(strict, dial):
    socket = dial(strict(text=40), "/v5/public/linear")
    topics = ["publicTrade.BTCUSDT", "kline.1.BTCUSDT"]
    assert ask(socket, op="subscribe", args=topics)[0]["success"]
    reply, _ = ask(socket, op="subscribe", args=["kline.3.BTCUSDT"])
    assert reply["ret_msg"] == "error:args length >40"
    assert ask(socket, op="subscribe", args=topics)[0]["success"]


def test_both_shapes_of_a_pong(still, dial, category):
    socket = dial(still, f"/v5/public/{category}")
    reply, _ = ask(socket, op="ping", req_id="p1")
    conn_id = reply.pop("conn_id")
    assert reply == {"success": True, "ret_msg": "pong", "req_id": "p1", "op": "ping"}
    still.faults.set("odd_pong")
    reply, _ = ask(socket, op="ping", req_id="p2")
    assert (reply["op"], reply["req_id"], reply["conn_id"]) == ("pong", "p2", conn_id)
    assert re.fullmatch(r"\d{13}", reply["args"][0])
    assert still.faults.done["odd_pong"] >= 1


def test_after_unsubscribing_nothing_comes(live, dial):
    socket = dial(live, "/v5/public/linear")
    follow(socket, "publicTrade.BTCUSDT", "publicTrade.ETHUSDT")
    heard(socket, "publicTrade.BTCUSDT", 1)
    assert ask(socket, op="unsubscribe", args=["publicTrade.BTCUSDT"])[0]["success"]
    topics = {json.loads(socket.recv())["topic"] for _ in range(20)}
    assert topics == {"publicTrade.ETHUSDT"}


def test_a_connection_without_ping_and_data_is_cut(strict, dial):
    simulator = strict(idle_s=0.25)
    silent, pinging, fed = (dial(simulator, "/v5/public/linear") for _ in range(3))
    follow(fed, "orderbook.50.BTCUSDT")
    until_s = time.monotonic() + PATIENCE_S
    while not room_of(simulator).status()["ended"] and time.monotonic() < until_s:
        silent.ping()  # of the protocol: it keeps nobody alive
        assert ask(pinging, op="ping")[0]["ret_msg"] == "pong"
        heard(fed, "orderbook.50.BTCUSDT", 1)
    status = room_of(simulator).status()
    assert status["ended"] == {"idle": 1}
    assert sorted(one["number"] for one in status["clients"]) == [2, 3]
    assert silent.recv_data() == (websocket.ABNF.OPCODE_CLOSE, (1001).to_bytes(2) + b"idle")


def test_connection_attempts_are_limited(strict, dial):
    simulator = strict(connects=2)
    dial(simulator, "/v5/public/linear")
    dial(simulator, "/v5/public/spot")
    with pytest.raises(websocket.WebSocketBadStatusException, match="429"):
        dial(simulator, "/v5/public/linear")


def test_other_categories_have_no_stream(still, dial):
    with pytest.raises(websocket.WebSocketBadStatusException, match="404"):
        dial(still, "/v5/public/option")


def test_the_status_tells_connections_and_topics(strict, dial):
    simulator = strict()
    sockets = [dial(simulator, f"/v5/public/{category}") for category in ("linear", "spot")]
    for socket in sockets:
        follow(socket, "publicTrade.BTCUSDT")
        ask(socket, op="ping")
    status = room_of(simulator).status()
    assert [(one["category"], one["streams"], one["pings"]) for one in status["clients"]] == [
        ("linear", ["publicTrade.BTCUSDT"], 1),
        ("spot", ["publicTrade.BTCUSDT"], 1),
    ]
    assert status["connections"] == 2
    assert [(one["category"], one["symbol"]) for one in status["markets"]] == [
        ("linear", "BTCUSDT"),
        ("spot", "BTCUSDT"),
    ]
