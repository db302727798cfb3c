"""Books kept from the streams, and the ways in which the venue disturbs them."""

import json
import time
from itertools import pairwise

import pytest

from marketdata.simulator.bybit import ladder
from marketdata.simulator.listing import Levels
from tests.simulator.bybit.conftest import ask, follow, heard, result


class KeptBook:
    """A book kept as the venue's documentation says."""

    def __init__(self):
        self.bids, self.asks, self.last = {}, {}, None
        self.gaps = 0

    def apply(self, frame):
        data = frame["data"]
        if frame["type"] == "snapshot":
            self.bids, self.asks = {}, {}
        elif data["u"] != self.last + 1:
            self.gaps += 1
        self.last = data["u"]
        for side, rows in ((self.bids, data["b"]), (self.asks, data["a"])):
            for price, size in rows:
                if size == "0":
                    side.pop(price, None)
                else:
                    side[price] = size

    def best(self, count):
        bids = sorted(self.bids.items(), key=lambda row: -float(row[0]))[:count]
        asks = sorted(self.asks.items(), key=lambda row: float(row[0]))[:count]
        return [[*row] for row in bids], [[*row] for row in asks]


def kept(socket, topic, frames):
    """Return a book after so many frames of a fresh subscription."""
    before = follow(socket, topic)
    book = KeptBook()
    for frame in [*before, *heard(socket, topic, frames)]:
        book.apply(frame)
    return book


@pytest.mark.parametrize("category", ["linear", "spot"])
def test_ids_count_on_by_one_and_the_depth_is_never_exceeded(live, dial, category):
    book = kept(dial(live, f"/v5/public/{category}"), "orderbook.50.BTCUSDT", 6)
    assert book.gaps == 0
    assert (len(book.bids), len(book.asks)) == (50, 50)
    (bid, _), (ask_price, _) = book.best(1)[0][0], book.best(1)[1][0]
    assert float(bid) < float(ask_price)


@pytest.mark.parametrize("category", ["linear", "spot"])
def test_the_book_of_rest_is_that_of_the_deepest_stream(live, dial, category):
    topic, socket = "orderbook.1000.ETHUSDT", dial(live, f"/v5/public/{category}")
    book = kept(socket, topic, 1)
    page = result(live, "market/orderbook", category=category, symbol="ETHUSDT", limit=200)
    while book.last < page["u"]:
        book.apply(heard(socket, topic, 1)[0])
    assert book.last == page["u"]
    assert book.best(200) == (page["b"], page["a"])
    assert book.gaps == 0
    assert list(page) == ["s", "b", "a", "ts", "u", "seq", "cts"]


def test_keys_stand_in_another_order_in_spot(still, dial):
    (linear,) = follow(dial(still, "/v5/public/linear"), "orderbook.200.BTCUSDT")
    spot = dial(still, "/v5/public/spot")
    follow(spot, "orderbook.200.BTCUSDT")
    (other,) = heard(spot, "orderbook.200.BTCUSDT", 1)
    assert list(linear) == ["topic", "type", "ts", "data", "cts"]
    assert list(other) == ["topic", "ts", "type", "data", "cts"]
    assert linear["type"] == other["type"] == "snapshot"
    assert linear["cts"] <= linear["ts"]


def test_the_first_level_has_snapshots_alone(live, dial):
    socket = dial(live, "/v5/public/linear")
    (first,) = follow(socket, "orderbook.1.BTCUSDT")
    frames = [first, *heard(socket, "orderbook.1.BTCUSDT", 4)]
    assert {frame["type"] for frame in frames} == {"snapshot"}
    assert {(len(f["data"]["b"]), len(f["data"]["a"])) for f in frames} == {(1, 1)}
    for before, after in pairwise(frame["data"] for frame in frames):
        is_same = (before["b"], before["a"]) == (after["b"], after["a"])
        assert after["u"] - before["u"] == (0 if is_same else 1)


def test_the_first_level_is_repeated_after_three_seconds_of_silence(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr(ladder.time, "monotonic", lambda: now_s)
    top, deep = ladder.Ladder(1, 7), ladder.Ladder(50, 7)
    levels = Levels(1, [(10, 3), (9, 4)], [(11, 5)])
    expected = ladder.Step("snapshot", ([(10, 3)], [(11, 5)]), 8)
    assert top.advance(levels) == expected
    assert deep.advance(levels).kind == "delta"
    now_s = 102.9
    assert (top.advance(levels), deep.advance(levels)) == (None, None)
    now_s = 103.0
    assert (top.advance(levels), deep.advance(levels)) == (expected, None)
    assert top.advance(levels) is None
    # A change below the best is no news for the first level.
    assert top.advance(Levels(2, [(10, 3), (8, 1)], [(11, 5)])) is None
    assert top.advance(Levels(3, [(10, 2)], [(11, 5)])).update_id == 9


def test_what_leaves_the_depth_is_deleted_and_what_enters_is_told():
    one = ladder.Ladder(2, 7)
    bids = [(10, 3), (9, 4), (8, 5)]
    one.advance(Levels(1, bids, []))
    assert one.snapshot().levels == ([(10, 3), (9, 4)], [])
    assert one.advance(Levels(2, [(11, 1), *bids], [])).levels == ([(9, 0), (11, 1)], [])
    assert one.advance(Levels(3, [(10, 3), (8, 5)], [])).levels == ([(11, 0), (8, 5)], [])


def test_subscribing_again_sends_the_book_again(live, dial):
    socket, topic = dial(live, "/v5/public/linear"), "orderbook.50.BTCUSDT"
    book = kept(socket, topic, 2)
    assert ask(socket, op="unsubscribe", args=[topic])[0]["success"]
    snapshots = [one for one in follow(socket, topic) if one.get("type") == "snapshot"]
    assert len(snapshots) == 1
    assert snapshots[0]["data"]["u"] >= book.last


def test_two_clients_share_one_chain(live, dial):
    topic = "orderbook.50.BTCUSDT"
    first = dial(live, "/v5/public/linear")
    one = kept(first, topic, 5)
    other = kept(dial(live, "/v5/public/linear"), topic, 2)
    while one.last < other.last:
        one.apply(heard(first, topic, 1)[0])
    assert (one.last, one.best(50)) == (other.last, other.best(50))


def test_a_whole_book_in_mid_stream_a_restart_and_a_gap(live, dial):
    socket, topic = dial(live, "/v5/public/linear"), "orderbook.50.BTCUSDT"
    before = kept(socket, topic, 3)
    live.faults.set("book_again")
    (again,) = heard(socket, topic, 1, kind="snapshot")
    assert again["data"]["u"] > before.last
    assert len(again["data"]["b"]) == 50
    live.faults.set("book_restart")
    (restart,) = heard(socket, topic, 1, kind="snapshot")
    assert restart["data"]["u"] == 1
    assert [frame["data"]["u"] for frame in heard(socket, topic, 2)] == [2, 3]
    book = KeptBook()
    book.apply(restart)
    live.faults.set("depth_gap", 2)
    for frame in heard(socket, topic, 6):
        book.apply(frame)
    assert book.gaps >= 1
    done = live.faults.done
    assert (done["book_again"], done["book_restart"], done["depth_gap"]) == (1, 1, 2)


def test_the_deletion_of_a_level_that_nobody_has(live, dial):
    socket, topic = dial(live, "/v5/public/linear"), "orderbook.50.BTCUSDT"
    book = KeptBook()
    book.apply(follow(socket, topic)[0])
    live.faults.set("delete_absent")
    absent = 0
    until_s = time.monotonic() + 5
    while not absent and time.monotonic() < until_s:
        frame = json.loads(socket.recv())
        absent = sum(size == "0" and price not in book.bids for price, size in frame["data"]["b"])
        book.apply(frame)
    assert absent == 1
    assert len(book.bids) == 50


def test_a_stale_book_of_rest(live, dial):
    socket, topic = dial(live, "/v5/public/linear"), "orderbook.1000.BTCUSDT"
    book = kept(socket, topic, 1)
    live.faults.set("stale_snapshot")
    query = {"category": "linear", "symbol": "BTCUSDT"}
    stale = result(live, "market/orderbook", **query)
    assert stale["u"] < book.last
    assert len(stale["b"]) == 25
    assert result(live, "market/orderbook", **query)["u"] >= book.last
