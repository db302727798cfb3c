"""Bybit's streams: topics and their requests, what comes, books and their paces, real frames."""

import json
from decimal import Decimal

import pytest

from marketdata.core.booksync import BookSync
from marketdata.core.facts import BookUpdate, Kline, Mark
from marketdata.venues.bybit import BYBIT_LINEAR, BYBIT_SPOT, book_levels, resubscribe
from tests.venues.bybit import LINEAR, SPOT, encoded
from tests.venues.frames import flat

BTC = frozenset(["BTCUSDT"])


def row(number, **fields):
    return {
        "T": 1760000000007, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "64000.10",
        "L": "PlusTick", "i": f"20f43950-d8dd-5b31-9112-{number:012}", "BT": False, "RPI": False,
        "seq": 1783284617,
    } | fields  # fmt: skip


def trades(*rows, symbol="BTCUSDT"):
    topic = f"publicTrade.{symbol}"
    return encoded({"topic": topic, "type": "snapshot", "ts": 1760000000010, "data": rows})


# What is said first.


def test_one_symbol_is_subscribed_with_all_that_is_wanted_of_it():
    assert LINEAR.path(["BTCUSDT"]) == "/v5/public/linear"
    assert SPOT.path(["BTCUSDT"]) == "/v5/public/spot"
    assert LINEAR.opening(["BTCUSDT"]) == [
        b'{"req_id":"1","op":"subscribe","args":["publicTrade.BTCUSDT","tickers.BTCUSDT",'
        b'"allLiquidation.BTCUSDT","kline.1.BTCUSDT"]}'
    ]
    assert SPOT.opening(["BTCUSDT"]) == [
        b'{"req_id":"1","op":"subscribe","args":["publicTrade.BTCUSDT","kline.1.BTCUSDT"]}'
    ]


@pytest.mark.parametrize("stream", [LINEAR, SPOT, BYBIT_LINEAR.depth.stream(100)])
@pytest.mark.parametrize("count", [1, 3, 10, 11, 100])
def test_at_most_ten_topics_are_in_a_request_and_none_is_lost(stream, count):
    symbols = [f"COIN{n}USDT" for n in range(count)]
    requests = [json.loads(frame) for frame in stream.opening(symbols)]
    assert max(len(request["args"]) for request in requests) <= 10
    assert len({request["req_id"] for request in requests}) == len(requests)
    topics = [topic for request in requests for topic in request["args"]]
    assert len(topics) == len(set(topics))
    for symbol in symbols:
        assert sum(topic.endswith(f".{symbol}") for topic in topics) == len(topics) / count
    assert stream.topics(symbols) <= set(topics)


def test_a_connection_takes_no_more_topics_than_the_venue_allows():
    symbols = ["1000000BABYDOGEUSDT" + "X"] * BYBIT_LINEAR.streams_per_connection
    text = sum(len(frame) for frame in LINEAR.opening(symbols))
    assert text < 21_000


def test_trades_and_tickers_must_speak_and_the_rare_topics_need_not():
    assert LINEAR.topics(["BTCUSDT"]) == {"publicTrade.BTCUSDT", "tickers.BTCUSDT"}
    assert SPOT.topics(["BTCUSDT"]) == {"publicTrade.BTCUSDT"}


@pytest.mark.parametrize("venue", [BYBIT_LINEAR, BYBIT_SPOT])
def test_a_ping_in_the_venues_own_words_is_sent_every_twenty_seconds(venue):
    for stream in (venue.channel(), venue.depth.stream(100)):
        assert json.loads(stream.beat.frame) == {"req_id": "beat", "op": "ping"}
        assert stream.beat.every_s == 20


@pytest.mark.parametrize(
    ("wanted_ms", "levels"),
    [(10, "50"), (20, "50"), (60, "50"), (61, "200"), (100, "200"), (150, "200"), (151, "1000"),
     (200, "1000"), (1000, "1000")],
)  # fmt: skip
def test_a_book_comes_at_the_pace_nearest_to_the_one_wanted(wanted_ms, levels):
    assert book_levels(wanted_ms) == levels
    stream = BYBIT_SPOT.depth.stream(wanted_ms)
    topic = f"orderbook.{levels}.BTCUSDT"
    assert stream.path(["BTCUSDT"]) == "/v5/public/spot"
    assert json.loads(stream.opening(["BTCUSDT"])[0])["args"] == [topic]
    assert stream.topics(["BTCUSDT"]) == {topic}


def test_a_book_is_made_anew_by_leaving_and_subscribing():
    assert BYBIT_LINEAR.depth.resubscribe is resubscribe
    assert [json.loads(frame) for frame in resubscribe(100, "BTCUSDT")] == [
        {"req_id": "1", "op": "unsubscribe", "args": ["orderbook.200.BTCUSDT"]},
        {"req_id": "2", "op": "subscribe", "args": ["orderbook.200.BTCUSDT"]},
    ]


# What comes.


def test_data_may_come_before_the_subscription_is_confirmed():
    ack = encoded(
        {"success": True, "ret_msg": "", "conn_id": "x", "req_id": "1", "op": "subscribe"}
    )
    received = LINEAR.decode([trades(row(1)), ack, trades(row(2))], BTC)
    assert len(received.trades["BTCUSDT"]) == 2
    assert [control.kind for control in received.controls] == ["ack"]
    assert not received.errors


def test_a_burst_of_one_sequence_over_several_frames_keeps_its_order():
    frames = [trades(*(row(n) for n in range(at, at + 1024))) for at in (0, 1024, 2048)]
    batch = LINEAR.decode(frames, BTC).trades["BTCUSDT"]
    assert [int(ref[-12:]) for ref in batch.ref.tolist()] == list(range(3072))
    assert set(batch.id.tolist()) == {1783284617}


def test_symbols_that_share_a_drain_keep_their_order_each():
    frames = [
        trades(row(9, s="ETHUSDT"), symbol="ETHUSDT"),
        trades(row(2), row(1)),
        trades(row(8, s="ETHUSDT", S="Sell"), symbol="ETHUSDT"),
        trades(row(3)),
    ]
    received = LINEAR.decode(frames, frozenset(["BTCUSDT", "ETHUSDT"]))
    ends = {
        symbol: [int(ref[-12:]) for ref in batch.ref.tolist()]
        for symbol, batch in received.trades.items()
    }
    assert ends == {"ETHUSDT": [9, 8], "BTCUSDT": [2, 1, 3]}
    assert received.trades["ETHUSDT"].is_buy.tolist() == [True, False]


def test_a_bad_frame_costs_its_neighbours_nothing():
    frames = [trades(row(1)), b"garbage", trades(row(2)), trades(row(3, p="0")), trades(row(4))]
    received = LINEAR.decode(frames, BTC)
    assert [int(ref[-12:]) for ref in received.trades["BTCUSDT"].ref.tolist()] == [1, 2, 4]
    assert [(error.reason, error.raw) for error in received.errors] == [
        ("json", b"garbage"),
        ("number", frames[3]),
    ]


def test_a_new_field_is_noted_once_a_drain_and_all_its_trades_count():
    frames = [trades(row(n, nq="1")) for n in range(5)]
    received = LINEAR.decode(frames, BTC)
    assert len(received.trades["BTCUSDT"]) == 5
    assert [error.reason for error in received.errors] == ["extra"]
    assert "nq" in received.errors[0].detail


def test_nothing_comes_to_nothing():
    received = LINEAR.decode([], BTC)
    assert (received.trades, received.facts, received.controls, received.errors) == ({}, [], [], [])


def test_a_frame_beyond_a_megabyte_is_not_looked_into():
    (error,) = LINEAR.decode([trades(row(1)) + b" " * (1 << 20)], BTC).errors
    assert error.reason == "size"
    assert len(error.raw) == 2000


def test_long_words_of_a_stranger_are_cut():
    frame = encoded({"success": False, "ret_msg": "long" * 1000, "op": "subscribe"})
    (control,) = LINEAR.decode([frame], BTC).controls
    assert control.kind == "refused"
    assert control.detail == "long" * 50


def candle(volume, age_ms):
    start = 1760000040000
    data = {
        "start": start, "end": start + 59999, "interval": "1", "open": "1", "close": "1",
        "high": "1", "low": "1", "volume": volume, "turnover": volume, "confirm": age_ms == 60_000,
        "timestamp": start + age_ms,
    }  # fmt: skip
    return encoded({"topic": "kline.1.BTCUSDT", "data": [data], "ts": start, "type": "snapshot"})


@pytest.mark.parametrize(
    ("volume", "age_ms", "is_quiet"),
    # Each minute begins without a trade: that says nothing yet.
    [("0", 3, False), ("0", 29_999, False), ("0", 30_000, True), ("0", 60_000, True),
     ("0.001", 60_000, False)],
)  # fmt: skip
def test_a_quiet_minute_explains_the_silence_of_the_trades(volume, age_ms, is_quiet):
    received = LINEAR.decode([candle(volume, age_ms)], BTC)
    assert ("publicTrade.BTCUSDT" in received.topics) == is_quiet
    assert "kline.1.BTCUSDT" in received.topics


# Books.


def book(kind, update_id, bids=(), asks=()):
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update_id, "seq": 1}
    return encoded(
        {"topic": "orderbook.200.BTCUSDT", "type": kind, "ts": 1760000000008, "data": data}
        | {"cts": 1760000000005}
    )


def kept(frames):
    """Keep a book by frames; return it with whether each of them changed it."""
    sync = BookSync(BYBIT_LINEAR.depth.sequencer, BYBIT_LINEAR.depth.levels, is_asked=False)
    facts = BYBIT_LINEAR.depth.stream(100).decode(frames, BTC).facts
    return sync, [sync.put(fact, 0) for _, fact in facts]


WHOLE = book("snapshot", 10, [["100", "1"], ["99", "2"]], [["101", "3"]])


def test_a_book_begins_anew_with_each_snapshot():
    sync, _ = kept([WHOLE, book("delta", 11, [["100", "5"]]), book("snapshot", 5, [["90", "1"]])])
    assert (sync.is_synced, sync.book.bid, sync.book.ask) == (True, (90.0, 1.0), None)


def test_a_restarted_service_is_followed_from_its_first_update():
    sync, _ = kept([WHOLE, book("delta", 1, [["90", "1"]], [["91", "1"]])])
    assert (sync.is_synced, sync.book.bid, sync.book.update_id) == (True, (90.0, 1.0), 1)
    assert sync.counts.gaps == 0


def test_a_level_that_is_not_there_may_go():
    sync, _ = kept([WHOLE, book("delta", 11, [["98", "0"], ["100", "0"]])])
    assert (sync.is_synced, sync.book.bid) == (True, (99.0, 2.0))


def test_updates_that_come_again_change_nothing_and_a_jump_is_a_loss():
    again = book("delta", 10, [["100", "7"]])
    sync, changed = kept([WHOLE, again, book("delta", 11, [["100", "4"]])])
    assert (changed, sync.book.bid) == ([True, False, True], (100.0, 4.0))
    sync, _ = kept([WHOLE, book("delta", 12, [["100", "4"]])])
    assert (sync.is_synced, sync.counts.gaps) == (False, 1)


def test_a_book_has_no_question_of_its_own():
    # Ids of REST are those of another depth: it can't be joined to the stream.
    assert BYBIT_LINEAR.depth.snapshot is None
    assert BYBIT_LINEAR.depth.snapshot_of is None


# What was recorded.


@pytest.fixture(scope="module")
def recorded(shared_data):
    """Return the frames of each socket of a real capture."""
    arrow = pytest.importorskip("pyarrow")
    path = shared_data / "captures" / "BYBIT.jsonl.zst"
    with arrow.input_stream(str(path), compression="zstd") as file:
        lines = [json.loads(line) for line in file.read().splitlines()]
    places = {
        line["conn"]: line["addr"].rpartition("/")[2] for line in lines if line["t"] == "connect"
    }
    return {
        category: [
            line["data"].encode()
            for line in lines
            if line["t"] == "recv" and line["conn"] == connection
        ]
        for connection, category in places.items()
    }


SYMBOLS = {"linear": ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"], "spot": ["BTCUSDT", "ETHUSDT"]}
CATEGORIES = [("linear", BYBIT_LINEAR), ("spot", BYBIT_SPOT)]


@pytest.mark.realdata
@pytest.mark.parametrize(("category", "venue"), CATEGORIES)
def test_a_real_capture_is_read_whole(recorded, category, venue):
    frames, symbols = recorded[category], frozenset(SYMBOLS[category])
    received = venue.channel().decode(frames, symbols)
    assert received.errors == []
    assert {control.kind for control in received.controls} == {"ack"}
    assert venue.channel().topics(SYMBOLS[category]) <= received.topics
    bodies = [json.loads(frame) for frame in frames]
    rows = [
        one for body in bodies if "publicTrade" in body.get("topic", "") for one in body["data"]
    ]
    assert len(rows) == {"linear": 327, "spot": 20}[category]
    for symbol, batch in received.trades.items():
        own = [one for one in rows if one["s"] == symbol]
        assert flat(batch) == [
            (
                one["seq"],
                one["T"] * 1000,
                float(Decimal(one["p"])),
                float(Decimal(one["v"])),
                one["S"] == "Buy",
                one["i"].encode(),
            )
            for one in own
        ]
        assert (batch.ts_us[1:] >= batch.ts_us[:-1]).all()
        assert len(set(batch.ref.tolist())) == len(batch)


@pytest.mark.realdata
@pytest.mark.parametrize(("category", "venue"), CATEGORIES)
def test_real_books_are_unbroken(recorded, category, venue):
    received = venue.depth.stream(100).decode(recorded[category], frozenset(SYMBOLS[category]))
    books = {
        symbol: BookSync(venue.depth.sequencer, venue.depth.levels, is_asked=False)
        for symbol in SYMBOLS[category]
    }
    updates = [one for one in received.facts if isinstance(one[1], BookUpdate)]
    for symbol, update in updates:
        assert books[symbol].put(update, update.ts_us)
        # The stream tells its 200 levels at all times, those that leave them too.
        assert len(books[symbol].book) == 400
        assert not books[symbol].book.is_crossed
    for sync in books.values():
        assert (sync.is_synced, sync.counts.gaps, sync.counts.stale) == (True, 0, 0)
        assert sync.counts.updates > 200


@pytest.mark.realdata
def test_real_candles_and_marks_say_what_their_frames_do(recorded):
    received = LINEAR.decode(recorded["linear"], frozenset(SYMBOLS["linear"]))
    candles = [fact for _, fact in received.facts if isinstance(fact, Kline)]
    closed = [candle for candle in candles if candle.is_closed]
    assert len(closed) == 4
    # A minute begins with a candle of nothing, which does not say that trades are silent.
    assert any(candle.volume == 0 for candle in candles)
    marks = [fact for symbol, fact in received.facts if isinstance(fact, Mark)]
    first = next(fact for symbol, fact in received.facts if symbol == "BTCUSDT")
    assert first == Mark(1786310817583000, 65117.44, 65137.76, 0.0001, 1786320000000000, 29945.866)
    assert any(mark.mark is None for mark in marks)


@pytest.mark.realdata
def test_a_real_sample_of_a_spot_book_is_unbroken(shared_data):
    path = shared_data / "captures" / "bybit_spot_orderbook_sample.jsonl"
    received = BYBIT_SPOT.depth.stream(20).decode(path.read_bytes().splitlines(), BTC)
    assert received.errors == []
    assert [control.kind for control in received.controls] == ["ack"]
    sync = BookSync(BYBIT_SPOT.depth.sequencer, BYBIT_SPOT.depth.levels, is_asked=False)
    assert all(sync.put(update, update.ts_us) for _, update in received.facts)
    # Level by level from the last frames: 78715 was told 1.278364, 78715.1 0.0297.
    assert (sync.book.bid, sync.book.ask) == ((78715.0, 1.278364), (78715.1, 0.0297))
