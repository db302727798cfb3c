"""What is Bybit's own: topics and their requests, questions, books' paces, and its real frames."""

import json
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.core.booksync import BookSync
from marketdata.core.errors import FrameError
from marketdata.core.facts import BookUpdate, Kline, Mark
from marketdata.venues import VARIANTS, VENUES, venue_of
from marketdata.venues.base import Newest, Question
from marketdata.venues.bybit import BYBIT_LINEAR, BYBIT_SPOT, book_levels, resubscribe
from marketdata.venues.bybit_answers import book_of, mark_of
from marketdata.venues.bybit_wire import is_refusal, positions_of, wallet_of
from tests.venues.frames import flat
from tests.venues.test_fixtures_binance import refusal

LINEAR, SPOT = BYBIT_LINEAR.channel(), BYBIT_SPOT.channel()
BTC = frozenset(["BTCUSDT"])
DAY_US = 1_759_968_000_000_000


def row(number, **fields):
    return {
        "T": 1760000000007, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "64000.10",
        "L": "PlusTick", "i": f"20f43950-d8dd-5b31-9112-{number:012}", "BT": False, "RPI": False,
        "seq": 1783284617,
    } | fields  # fmt: skip


def trades(*rows, symbol="BTCUSDT"):
    topic = f"publicTrade.{symbol}"
    return encoded({"topic": topic, "type": "snapshot", "ts": 1760000000010, "data": rows})


def encoded(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def envelope(result, code=0):
    return encoded({"retCode": code, "retMsg": "OK", "result": result, "time": 1760000100000})


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


# What is asked.


@pytest.mark.parametrize(
    ("venue", "category", "newest"), [(BYBIT_LINEAR, "linear", 1000), (BYBIT_SPOT, "spot", 60)]
)
def test_questions_are_those_of_the_venue(venue, category, newest):
    past = venue.channel().past
    assert isinstance(past, Newest)
    asked = [
        (past.ask("BTCUSDT"), "recent-trade", f"&limit={newest}"),
        (venue.listing("BTCUSDT"), "instruments-info", ""),
        (
            venue.day("BTCUSDT", DAY_US),
            "kline",
            "&interval=D&start=1759968000000&end=1760054399999&limit=1",
        ),
    ]
    for question, path, query in asked:
        assert question.path == f"/v5/market/{path}"
        assert urlencode(question.params) == f"category={category}&symbol=BTCUSDT{query}"
        assert question.weight == 1
    assert venue.clock() == Question("/v5/market/time")


def test_series_are_asked_for_from_the_first_time_to_before_the_last():
    funding, interest = (BYBIT_LINEAR.series[kind] for kind in ("funding", "open_interest"))
    question = funding.ask("BTCUSDT", DAY_US + 1, DAY_US + 86_400_000_000)
    assert question.path == "/v5/market/funding/history"
    assert urlencode(question.params) == (
        "category=linear&symbol=BTCUSDT&limit=200&startTime=1759968000001&endTime=1760054399999"
    )
    question = interest.ask("BTCUSDT", DAY_US, DAY_US + 1_000_001)
    assert question.path == "/v5/market/open-interest"
    # A reading a microsecond before the end would be one of the millisecond that began before it.
    assert urlencode(question.params) == (
        "category=linear&symbol=BTCUSDT&intervalTime=5min&limit=200"
        "&startTime=1759968000000&endTime=1759968001000"
    )
    assert BYBIT_SPOT.series == {}


def test_the_settings_choose_the_category():
    assert venue_of("bybit", "linear") is venue_of("bybit") is VENUES["bybit"] is BYBIT_LINEAR
    assert venue_of("bybit", "spot") is VARIANTS["bybit", "spot"] is BYBIT_SPOT
    assert (BYBIT_LINEAR.key, BYBIT_SPOT.key) == ("bybit_linear", "bybit_spot")


@pytest.mark.parametrize("venue", [BYBIT_LINEAR, BYBIT_SPOT])
def test_limits_are_those_of_the_venue(venue):
    # 600 in five seconds; after a 403 nothing for ten minutes.
    assert (venue.weight_per_minute, venue.rate_block_s) == (600 * 12, 600)
    assert (venue.proof, venue.is_numbered, venue.weight_header) == ("overlap", False, "")
    assert (BYBIT_LINEAR.page_limit, BYBIT_SPOT.page_limit) == (1000, 60)
    assert venue.retryable_codes == {10000, 10002, 10016}
    assert venue.rate_codes == {10006, 10018, 429}


@pytest.mark.parametrize(
    ("channel", "path"),
    [
        (LINEAR, "/trading/BTCUSDT/BTCUSDT2024-01-01.csv.gz"),
        (SPOT, "/spot/BTCUSDT/BTCUSDT_2024-01-01.csv.gz"),
    ],
)
def test_finished_days_are_the_public_archives_files(channel, path):
    assert channel.archive.path("BTCUSDT", "2024-01-01") == path
    assert channel.archive.checksum is None
    # Files on linear are finer than the streams' milliseconds.
    assert channel.time_step_us == 1000


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


# Other answers.


def test_tickers_are_read_with_the_time_of_their_envelope():
    ticker = {"symbol": "BTCUSDT", "markPrice": "120635.5", "indexPrice": "", "openInterest": "8"}
    body = envelope({"category": "linear", "list": [{"symbol": "ETHUSDT"}, ticker]})
    assert mark_of(body, "BTCUSDT") == Mark(1760000100000000, mark=120635.5, open_interest=4.0)
    with pytest.raises(FrameError, match="DOGEUSDT expected"):
        mark_of(body, "DOGEUSDT")


def test_a_book_by_rest_is_whole():
    body = envelope({"s": "BTCUSDT", "b": [["1", "2"]], "a": [], "u": 7, "cts": 1716863718905})
    assert book_of(body) == BookUpdate(7, 7, -1, 1716863718905000, [(1.0, 2.0)], [], True)


def test_a_large_answer_is_told_by_its_head():
    rows = [{"symbol": f"COIN{n}", "retCode": 5} for n in range(20_000)]
    assert not is_refusal(envelope({"list": rows}))
    # The head alone decides: what follows need not even be whole.
    assert not is_refusal(envelope({"list": rows})[:500])
    assert is_refusal(envelope({"list": rows}, code=10016)[:500])


def coin(**fields):
    return {"coin": "USDT", "walletBalance": "", "locked": "", "spotBorrow": ""} | fields


def wallet(*coins):
    return envelope({"list": [{"accountType": "UNIFIED", "coin": list(coins)}]})


@pytest.mark.parametrize(
    ("fields", "total", "available"),
    [
        ({"walletBalance": "10", "locked": "3"}, "10", "7"),
        ({"walletBalance": "1200", "locked": "50", "spotBorrow": "200"}, "1000", "950"),
        ({"walletBalance": "0", "spotBorrow": "0.06142"}, "-0.06142", "0"),
        # More is locked than there is, for a moment.
        ({"walletBalance": "5", "locked": "6"}, "5", "0"),
        ({}, "0", "0"),
        ({"walletBalance": "0.1000000000000000001"}, "0.1000000000000000001",
         "0.1000000000000000001"),
    ],
)  # fmt: skip
def test_what_is_free_is_counted_exactly(fields, total, available):
    rows = wallet_of(wallet(coin(**fields)))
    assert rows == [("USDT", Decimal(total), Decimal(available))]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999999999", "1_0", " 1", "--1", "0x1"])
def test_a_balance_that_is_no_plain_number_is_refused(text):
    with pytest.raises(FrameError, match="a plain number expected"):
        wallet_of(wallet(coin(walletBalance=text)))
    with pytest.raises(FrameError, match="a plain number expected"):
        positions_of(envelope({"list": [{"symbol": "X", "side": "Buy", "size": text}]}))


def test_positions_are_signed_and_those_closed_left_out():
    rows = [
        {"symbol": "A", "side": "Buy", "size": "0.5", "avgPrice": "10", "unrealisedPnl": "-1.5"},
        {"symbol": "B", "side": "Sell", "size": "2", "avgPrice": "3", "unrealisedPnl": ""},
        {"symbol": "C", "side": "", "size": "0", "avgPrice": "0"},
    ]
    found = positions_of(envelope({"list": rows}))
    assert found == [
        ("A", Decimal("0.5"), Decimal(10), Decimal("-1.5")),
        ("B", Decimal(-2), Decimal(3), Decimal(0)),
    ]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["Buy", "Sell", "BTCUSDT", "0", "1", "-1", "1760000000007", ""]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["result", "list", "coin", "symbol", "side", "size", "walletBalance", "markPrice",
             "nextFundingTime", "fundingRate", "openInterest", "b", "a", "u", "s", "retCode"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["result", "retCode", "time", "retMsg"]), JSON))
@settings(max_examples=150, deadline=None)
def test_answers_of_any_form_are_read_or_refused(value):
    body = encoded(value)
    for parse in (wallet_of, positions_of, book_of, lambda raw: mark_of(raw, "BTCUSDT")):
        error = refusal(parse, body)
        assert error is None or error.raw == body[:2000]


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
