"""Streams as an independent WebSocket client sees them."""

import json
import time

import pytest
import requests
import websocket

from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from tests.simulator.conftest import at_us, tape

MIDNIGHT_MS = at_us("2024-01-01T00:00:00") // 1000


@pytest.fixture(scope="module")
def live():
    """Serve a fast market on the wall clock."""
    with Simulator.generated(["BTCUSDT", "ETHUSDT"], seed=7, rate=200.0) as venue:
        yield venue


def events(socket, count, stream=None):
    """Return the next `count` events, of one stream where named."""
    found = []
    while len(found) < count:
        event = json.loads(socket.recv())
        if stream is None or event.get("stream") == stream:
            found.append(event)
    return found


def ask(socket, **message):
    """Send a message and return the venue's answer to it."""
    socket.send(json.dumps(message))
    while True:
        answer = json.loads(socket.recv())
        if "id" in answer or "code" in answer:
            return answer


def test_the_aggregates_of_the_stream_are_those_of_rest(live, dial):
    got = events(dial(live, "/ws/btcusdt@aggTrade"), 300)
    first, last = got[0]["a"], got[-1]["a"]
    assert [event["a"] for event in got] == list(range(first, last + 1))
    page = requests.get(
        f"{live.rest_url}/api/v3/aggTrades",
        params={"symbol": "BTCUSDT", "fromId": first, "limit": len(got)},
    ).json()
    for event, row in zip(got, page, strict=True):
        assert event == {**row, "e": "aggTrade", "E": event["E"], "s": "BTCUSDT"}
        assert 0 <= event["E"] - event["T"] < 2000


def test_raw_trades_tile_with_aggregates_in_one_connection(live, dial):
    socket = dial(live, "/stream?streams=btcusdt@aggTrade/btcusdt@trade")
    got = events(socket, 300)
    aggregates = [one["data"] for one in got if one["stream"] == "btcusdt@aggTrade"]
    raw = [one["data"] for one in got if one["stream"] == "btcusdt@trade"]
    ids = [trade["t"] for trade in raw]
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert ids[0] == aggregates[0]["f"]
    by_id = {trade["t"]: trade for trade in raw}
    for aggregate in aggregates[:-40]:
        fills = [by_id[id] for id in range(aggregate["f"], aggregate["l"] + 1)]
        assert sum(float(fill["q"]) for fill in fills) == pytest.approx(float(aggregate["q"]))
        assert {(fill["p"], fill["T"], fill["m"]) for fill in fills} == {
            (aggregate["p"], aggregate["T"], aggregate["m"])
        }
    assert set(raw[0]) == {"e", "E", "s", "t", "p", "q", "T", "m", "M"}


def test_several_raw_streams_in_one_path_are_not_wrapped(live, dial):
    got = events(dial(live, "/ws/btcusdt@aggTrade/ethusdt@aggTrade"), 100)
    assert {event["s"] for event in got} == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize("path", ["/ws/btcusdt@aggTrade?", "/stream?streams=btcusdt@aggTrade&"])
def test_times_in_microseconds(live, dial, path):
    event = events(dial(live, f"{path}timeUnit=MICROSECOND"), 1)[0]
    event = event.get("data", event)
    assert event["T"] > 10**15
    assert event["E"] > 10**15


def test_a_bad_time_unit_is_refused(live, dial):
    with pytest.raises(websocket.WebSocketBadStatusException, match="400"):
        dial(live, "/ws/btcusdt@aggTrade?timeUnit=FORTNIGHT")


def test_unknown_names_are_listed_and_never_served(live, dial):
    names = ["btcusdt@aggtrade", "BTCUSDT@aggTrade", "nopeusdt@aggTrade", "nonsense"]
    socket = dial(live, "/ws/" + "/".join(names))
    assert ask(socket, method="LIST_SUBSCRIPTIONS", id=1) == {"result": names, "id": 1}
    socket.settimeout(0.4)
    with pytest.raises(websocket.WebSocketTimeoutException):
        socket.recv()


def test_subscribe_and_unsubscribe(live, dial):
    socket = dial(live, "/ws")
    names = ["btcusdt@aggTrade", "ethusdt@aggTrade"]
    assert ask(socket, method="SUBSCRIBE", params=names, id="mine") == {
        "result": None,
        "id": "mine",
    }
    assert {event["s"] for event in events(socket, 100)} == {"BTCUSDT", "ETHUSDT"}
    assert ask(socket, method="UNSUBSCRIBE", params=names[:1], id=2) == {"result": None, "id": 2}
    assert {event["s"] for event in events(socket, 50)} == {"ETHUSDT"}
    assert ask(socket, method="LIST_SUBSCRIPTIONS", id=3)["result"] == names[1:]


def test_the_wrapper_is_a_property_of_the_connection(live, dial):
    socket = dial(live, "/ws/btcusdt@aggTrade")
    assert ask(socket, method="GET_PROPERTY", params=["combined"], id=1)["result"] is False
    assert ask(socket, method="SET_PROPERTY", params=["combined", True], id=2)["result"] is None
    assert events(socket, 1)[0]["stream"] == "btcusdt@aggTrade"


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("{", 3, "Invalid JSON"),
        ("[]", 2, "Invalid request"),
        ('{"id":1}', 2, "missing field `method`"),
        ('{"method":"DANCE","id":1}', 2, "unknown variant"),
        ('{"method":"SUBSCRIBE","params":"btcusdt@aggTrade","id":1}', 2, "array"),
        ('{"method":"SUBSCRIBE","params":[],"id":1.5}', 2, "request ID"),
        ('{"method":"SUBSCRIBE","params":[],"id":"%s"}' % ("x" * 37), 2, "request ID"),
        ('{"method":"SET_PROPERTY","params":["colour",true],"id":1}', 0, "Unknown property"),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1, "expected Boolean"),
        ('{"method":"SET_PROPERTY","params":["combined",true,1],"id":1}', 2, "too many parameters"),
        ('{"method":"GET_PROPERTY","params":[5],"id":1}', 2, "must be a string"),
    ],
)
def test_bad_messages_have_the_venues_errors(live, dial, text, code, says):
    socket = dial(live, "/ws")
    socket.send(text)
    answer = json.loads(socket.recv())
    assert answer["code"] == code
    assert says in answer["msg"]
    assert ask(socket, method="LIST_SUBSCRIPTIONS", id=9) == {"result": [], "id": 9}


def test_more_streams_than_a_connection_may_have_are_refused(dial, clock):
    with Simulator.generated(["BTCUSDT"], clock_us=clock, rules=Rules(streams=3)) as venue:
        socket = dial(venue, "/ws/a@b/c@d")
        assert ask(socket, method="SUBSCRIBE", params=["e@f", "g@h"], id=1)["code"] == 2
        assert ask(socket, method="SUBSCRIBE", params=["e@f", "a@b"], id=2)["result"] is None


def test_too_many_messages_in_a_second_end_the_connection(live, dial):
    socket = dial(live, "/ws")
    for id in range(6):
        socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": id}))
    for id in range(5):
        assert json.loads(socket.recv())["id"] == id
    code, data = socket.recv_data()
    assert (code, data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1008).to_bytes(2, "big"))


class LocalBook:
    """A book kept as the venue's documentation says: snapshot, then every later diff."""

    def __init__(self, snapshot):
        self.last = snapshot["lastUpdateId"]
        self.bids, self.asks = dict(snapshot["bids"]), dict(snapshot["asks"])
        self.applied = 0

    def apply(self, event):
        if event["u"] <= self.last:
            return
        chained = event["U"] <= self.last + 1 if not self.applied else event["U"] == self.last + 1
        assert chained, (event["U"], self.last)
        self.last, self.applied = event["u"], self.applied + 1
        self.bids, self.asks = (
            {price: size for price, size in {**side, **dict(changed)}.items() if float(size)}
            for side, changed in ((self.bids, event["b"]), (self.asks, event["a"]))
        )


def test_a_book_kept_from_diffs_equals_the_book_of_rest(live, dial):
    def snapshot():
        return requests.get(f"{live.rest_url}/api/v3/depth?symbol=ETHUSDT&limit=5000").json()

    socket = dial(live, "/ws/ethusdt@depth@100ms")
    events(socket, 2)
    book, later = LocalBook(snapshot()), None
    while later is None or book.last != later["lastUpdateId"]:
        book.apply(json.loads(socket.recv()))
        if book.applied >= 8 and (later is None or book.last > later["lastUpdateId"]):
            later = snapshot()
    assert (book.bids, book.asks) == (dict(later["bids"]), dict(later["asks"]))


def test_the_slower_diff_merges_the_faster(live, dial):
    socket = dial(live, "/stream?streams=btcusdt@depth@100ms/btcusdt@depth")
    fast, seen = [], []
    while len(seen) < 2:
        event = json.loads(socket.recv())
        (fast if event["stream"].endswith("@100ms") else seen).append(event["data"])
    first, second = seen
    assert second["U"] == first["u"] + 1
    merged = [one for one in fast if second["U"] <= one["U"] and one["u"] <= second["u"]]
    assert (merged[0]["U"], merged[-1]["u"]) == (second["U"], second["u"])
    levels = {price: size for one in merged for price, size in one["b"]}
    assert dict(second["b"]) == levels


def test_partial_books_and_tickers_have_their_own_shapes(live, dial):
    socket = dial(live, "/stream?streams=btcusdt@depth5@100ms/btcusdt@bookTicker")
    partial = events(socket, 1, "btcusdt@depth5@100ms")[0]["data"]
    assert set(partial) == {"lastUpdateId", "bids", "asks"}
    assert len(partial["bids"]) == len(partial["asks"]) == 5
    ticker = events(socket, 1, "btcusdt@bookTicker")[0]["data"]
    assert set(ticker) == {"u", "s", "b", "B", "a", "A"}
    assert float(ticker["b"]) < float(ticker["a"])


def test_candles_close_and_equal_those_of_rest(live, dial):
    got = events(dial(live, "/ws/btcusdt@kline_1s"), 6)
    closed = [event["k"] for event in got if event["k"]["x"]]
    assert closed
    for candle in closed:
        row = requests.get(
            f"{live.rest_url}/api/v3/klines",
            params={"symbol": "BTCUSDT", "interval": "1s", "startTime": candle["t"], "limit": 1},
        ).json()[0]
        names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
        assert [candle[name] for name in names] == row
        assert candle["L"] - candle["f"] + 1 == candle["n"]


def test_the_server_pings_and_cuts_who_does_not_answer(dial, clock):
    rules = Rules(ping_every_s=0.1, pong_within_s=0.4, messages_per_s=100)
    with Simulator.generated(["BTCUSDT"], clock_us=clock, rules=rules) as venue:
        deaf, alive = dial(venue, "/ws"), dial(venue, "/ws")
        alive.settimeout(0.1)
        ended = time.monotonic() + 10
        while not venue.status()["ended"] and time.monotonic() < ended:
            try:
                alive.recv()  # answers pings by itself, as the library does
            except websocket.WebSocketTimeoutException:
                continue
        assert venue.status()["ended"] == {"no pong": 1}
        code, frame = deaf.recv_data_frame(control_frame=True)
        assert code == websocket.ABNF.OPCODE_PING
        assert frame.data.isdigit()


def test_an_unsolicited_pong_keeps_nobody_alive(dial, clock):
    rules = Rules(ping_every_s=0.1, pong_within_s=0.5, messages_per_s=100)
    with Simulator.generated(["BTCUSDT"], clock_us=clock, rules=rules) as venue:
        socket = dial(venue, "/ws")
        ended = time.monotonic() + 10
        while not venue.status()["ended"] and time.monotonic() < ended:
            socket.pong(b"")
            time.sleep(0.05)
        assert venue.status()["ended"] == {"no pong": 1}


def test_a_clients_ping_is_answered(live, dial):
    socket = dial(live, "/ws")
    socket.ping("hello")
    code, frame = socket.recv_data_frame(control_frame=True)
    assert (code, frame.data) == (websocket.ABNF.OPCODE_PONG, b"hello")


def test_a_connection_ends_at_the_end_of_its_life(dial, clock):
    with Simulator.generated(["BTCUSDT"], clock_us=clock, rules=Rules(lifetime_s=0.1)) as venue:
        code, data = dial(venue, "/ws").recv_data()
        assert (code, data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1001).to_bytes(2, "big"))


def test_too_many_connection_attempts_are_refused(dial, clock):
    with Simulator.generated(["BTCUSDT"], clock_us=clock, rules=Rules(connects=2)) as venue:
        dial(venue, "/ws")
        dial(venue, "/ws")
        with pytest.raises(websocket.WebSocketBadStatusException, match="429"):
            dial(venue, "/ws")


def test_a_recorded_tape_keeps_its_ids_and_times(served, dial):
    trades = tape(50)
    got = events(dial(served(trades), "/ws/btcusdt@trade"), 50)
    assert [event["t"] for event in got] == trades.id.tolist()
    assert [event["T"] for event in got] == [MIDNIGHT_MS + row for row in range(50)]
    assert [float(event["p"]) for event in got] == trades.price.tolist()
    assert [float(event["q"]) for event in got] == trades.qty.tolist()
    assert [not event["m"] for event in got] == trades.is_buy.tolist()
    assert {event["E"] for event in got} == {MIDNIGHT_MS + 49}
