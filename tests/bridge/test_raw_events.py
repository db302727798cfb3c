"""Frames of each venue become events: hand-made sessions, then recorded ones by plain JSON."""

import gzip
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from marketdata.bridge.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EXCH,
    KIND,
    LOCAL,
    SELL,
    TRADE,
    check,
)
from marketdata.bridge.raw_events import channel_of, convert
from marketdata.core.errors import BadInputError
from marketdata.venues import VENUES
from tests.bridge.sessions import MS, NS, bybit_book, bybit_session, bybit_trade, capture, frame

BASE_NS = 1_000_000
NAMES = {TRADE: "trade", DEPTH: "depth", DEPTH_CLEAR: "clear", DEPTH_SNAPSHOT: "snapshot"}


def lines(*frames, step_ns=10_000_000, since_ns=NS + 5_000_000):
    return [(since_ns + at * step_ns, frame) for at, frame in enumerate(frames)]


def converted(tmp_path, source, told, **options):
    path = capture(tmp_path / "capture.gz", told)
    made = convert(VENUES[source], "BTCUSDT", [path], BASE_NS, **options)
    check(made.events)
    return made


def told(events, ns=NS):
    """Return rows as words: kind, side, price, quantity; all of them seen by both."""
    assert all((events["ev"] & np.uint64(EXCH | LOCAL)) == EXCH | LOCAL)
    return [
        (NAMES[int(ev) & KIND], "B" if int(ev) & BUY else "S", px, qty)
        for ev, px, qty in zip(
            events["ev"].tolist(), events["px"].tolist(), events["qty"].tolist(), strict=True
        )
    ]


def test_a_session_at_bybit_row_by_row(tmp_path):
    made = converted(tmp_path, "bybit", lines(
        bybit_book("snapshot", 10, MS, [(100, 1), (99.5, 2)], [(100.5, 3)]),
        bybit_trade(1, MS + 10, 100.5, 0.5, "Buy"),
        bybit_book("delta", 11, MS + 20, [(100, 0), (99, 4)], [(100.5, 2.5)]),
        b'{"success":true,"op":"subscribe"}',
        bybit_book("snapshot", 12, MS + 30, [(98, 1)], [(101, 1)]),
    ))  # fmt: skip
    assert told(made.events) == [
        ("clear", "B", 99.5, 0), ("clear", "S", 100.5, 0),
        ("snapshot", "B", 100, 1), ("snapshot", "B", 99.5, 2), ("snapshot", "S", 100.5, 3),
        ("trade", "B", 100.5, 0.5),
        ("depth", "B", 100, 0), ("depth", "B", 99, 4), ("depth", "S", 100.5, 2.5),
        # Down to the farthest level that either book has.
        ("clear", "B", 98, 0), ("clear", "S", 101, 0),
        ("snapshot", "B", 98, 1), ("snapshot", "S", 101, 1),
    ]  # fmt: skip
    exch_ms = ((made.events["exch_ts"] - NS) // 1_000_000).tolist()
    local_ms = ((made.events["local_ts"] - NS) // 1_000_000).tolist()
    assert exch_ms == [0] * 5 + [10] + [20] * 3 + [30] * 4
    assert local_ms == [5] * 5 + [15] + [25] * 3 + [45] * 4
    counts = made.about["counts"]
    assert made.about["book"] == "whole"
    assert (counts["frames"], counts["trades"], counts["updates"]) == (5, 1, 1)
    assert (counts["snapshots"], counts["gaps"], counts["refused"]) == (2, 0, {})


def test_a_lost_change_clears_the_book_until_it_comes_whole(tmp_path):
    made = converted(tmp_path, "bybit", lines(
        bybit_book("snapshot", 10, MS, [(100, 1)], [(101, 1)]),
        bybit_book("delta", 11, MS + 10, [(90, 1)], []),
        bybit_book("delta", 13, MS + 20, [(100, 7)], []),
        bybit_book("delta", 14, MS + 30, [(100, 8)], []),
        bybit_book("snapshot", 20, MS + 40, [(99, 1)], [(102, 1)]),
    ))  # fmt: skip
    assert told(made.events)[5:] == [
        ("clear", "B", 90, 0), ("clear", "S", 101, 0),
        ("clear", "B", 99, 0), ("clear", "S", 102, 0),
        ("snapshot", "B", 99, 1), ("snapshot", "S", 102, 1),
    ]  # fmt: skip
    assert made.about["counts"]["gaps"] == 1


def spot(first, last, ms, bids, asks):
    rows = [[[str(price), str(qty)] for price, qty in side] for side in (bids, asks)]
    data = {"e": "depthUpdate", "E": ms, "s": "BTCUSDT", "U": first, "u": last}
    return frame(stream="btcusdt@depth@100ms", data={**data, "b": rows[0], "a": rows[1]})


def spot_trade(id, ms, price, qty, *, is_sold):
    data = {"e": "trade", "E": ms + 1, "s": "BTCUSDT", "t": id, "p": str(price), "q": str(qty)}
    return frame(stream="btcusdt@trade", data={**data, "T": ms, "m": is_sold, "M": True})


def spot_book(last, bids, asks):
    rows = [[[str(price), str(qty)] for price, qty in side] for side in (bids, asks)]
    return frame(lastUpdateId=last, bids=rows[0], asks=rows[1])


BEST = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":9,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}}'
)


def test_a_session_at_binance_begins_where_the_whole_book_joins(tmp_path):
    made = converted(tmp_path, "binance_ws", lines(
        spot(101, 103, MS, [(9, 1)], []),
        spot_trade(7, MS + 10, 10, 0.5, is_sold=True),
        spot(104, 106, MS + 20, [(8, 5)], []),
        BEST,
        # Holds up to 104: of the changes so far the second adds to it.
        spot_book(104, [(9, 2)], [(11, 3)]),
        spot(107, 108, MS + 40, [], [(11, 0), (12, 1)]),
    ))  # fmt: skip
    assert told(made.events) == [
        ("trade", "S", 10, 0.5),
        ("clear", "B", 8, 0), ("clear", "S", 11, 0),
        ("snapshot", "B", 9, 2), ("snapshot", "B", 8, 5), ("snapshot", "S", 11, 3),
        ("depth", "S", 11, 0), ("depth", "S", 12, 1),
    ]  # fmt: skip
    # The answer tells no time of its own: it is as old as the newest change in it.
    assert ((made.events["exch_ts"] - NS) // 1_000_000).tolist() == [10] + [20] * 5 + [40] * 2
    assert ((made.events["local_ts"] - NS) // 1_000_000).tolist() == [15] + [45] * 5 + [55] * 2
    assert made.about["channel"] == "trade"


def test_changes_alone_are_taken_and_called_so(tmp_path):
    made = converted(tmp_path, "binance_ws", lines(
        spot(101, 103, MS, [(9, 1)], []), spot(104, 106, MS + 10, [(9, 0)], [(11, 1)])
    ))  # fmt: skip
    assert told(made.events) == [
        ("depth", "B", 9, 1), ("depth", "B", 9, 0), ("depth", "S", 11, 1),
    ]  # fmt: skip
    assert (made.about["book"], made.about["counts"]["unanchored"]) == ("changes", 2)


def test_trades_that_came_over_two_connections_count_once(tmp_path):
    twice = [bybit_trade(n, MS + n, 100, 1, "Sell") for n in (1, 2, 2, 1, 3)]
    made = converted(tmp_path, "bybit", lines(*twice))
    assert ((made.events["exch_ts"] - NS) // 1_000_000).tolist() == [1, 2, 3]
    counts = made.about["counts"]
    assert (counts["trades"], counts["repeated"], made.about["book"]) == (3, 2, "none")


def test_a_clock_that_was_behind_is_moved_and_told(tmp_path):
    trades = [bybit_trade(n, MS + 10 * n, 100, 1, "Buy") for n in (1, 2)]
    made = converted(tmp_path, "bybit", lines(*trades, since_ns=NS + 3_000_000))
    assert (made.events["local_ts"] - made.events["exch_ts"]).tolist() == [BASE_NS] * 2
    assert made.about["clock"] == {
        "base_latency_ns": BASE_NS,
        "rows_before_their_time": 2,
        "local_ts_moved_by_ns": 8_000_000,
    }


def test_a_time_from_another_day_moves_nothing(tmp_path):
    odd = bybit_trade(2, MS + 2 * 86_400_000, 100, 1, "Buy")
    book = bybit_book("snapshot", 5, MS + 3 * 86_400_000, [(1, 1)], [(2, 1)])
    made = converted(tmp_path, "bybit", lines(bybit_trade(1, MS, 100, 1, "Buy"), odd, book))
    assert len(made.events) == 1
    assert made.about["counts"]["misdated"] == 2


def test_what_no_parser_takes_is_counted_by_reason_and_drops_are_told(tmp_path):
    made = converted(tmp_path, "bybit", lines(
        bybit_trade(1, MS, 100, 1, "Buy"),
        b"{broken",
        bybit_trade(2, MS, 100, 1, "Buy", symbol="ETHUSDT"),
        b'{"recorder":"dropped","frames":40}',
        b'{"recorder":"dropped","frames":2}',
    ))  # fmt: skip
    counts = made.about["counts"]
    assert counts["refused"] == {"json": 1, "symbol": 1}
    assert (counts["dropped"], counts["frames"]) == (42, 3)


def test_a_window_begins_with_the_book_as_it_stood(tmp_path):
    told_lines = lines(
        bybit_book("snapshot", 10, MS, [(100, 1)], [(101, 1)]),
        bybit_trade(1, MS + 5, 100, 1, "Buy"),
        bybit_book("delta", 11, MS + 10, [(100, 2)], []),
        bybit_book("delta", 12, MS + 20, [(100, 3)], []),
        bybit_trade(2, MS + 30, 100, 1, "Buy"),
        bybit_trade(3, MS + 40, 100, 1, "Buy"),
    )
    window = (told_lines[3][0], told_lines[5][0])
    made = converted(tmp_path, "bybit", told_lines, window_ns=window)
    assert told(made.events) == [
        ("clear", "B", 100, 0), ("clear", "S", 101, 0),
        ("snapshot", "B", 100, 2), ("snapshot", "S", 101, 1),
        ("depth", "B", 100, 3), ("trade", "B", 100, 1),
    ]  # fmt: skip
    local_ns = made.events["local_ts"].tolist()
    assert local_ns == [window[0]] * 5 + [told_lines[4][0]]


def test_several_files_are_joined_by_the_time_of_receipt(tmp_path):
    told_lines = lines(
        bybit_book("snapshot", 10, MS, [(100, 1)], [(101, 1)]),
        bybit_trade(1, MS + 10, 100, 1, "Buy"),
        bybit_book("delta", 11, MS + 20, [(100, 2)], []),
        bybit_trade(2, MS + 30, 100, 1, "Buy"),
    )
    paths = [
        capture(tmp_path / "trades.gz", told_lines[1::2]),
        capture(tmp_path / "book.gz", told_lines[::2]),
    ]
    made = convert(VENUES["bybit"], "BTCUSDT", paths, BASE_NS)
    assert [kind for kind, *_ in told(made.events)] == ["clear"] * 2 + ["snapshot"] * 2 + [
        "trade", "depth", "trade",
    ]  # fmt: skip


def test_a_capture_of_nothing_is_refused(tmp_path):
    path = capture(tmp_path / "empty.gz", lines(b'{"op":"pong"}'))
    with pytest.raises(
        BadInputError, match=r"frames of BTCUSDT at .* expected in empty.gz, seen none"
    ):
        convert(VENUES["bybit"], "BTCUSDT", [path], BASE_NS)


def test_aggregates_win_over_single_trades(tmp_path):
    agg = frame(stream="btcusdt@aggTrade", data={
        "e": "aggTrade", "E": MS, "s": "BTCUSDT", "a": 5, "p": "10", "q": "1", "f": 7, "l": 8,
        "T": MS, "m": False, "M": True,
    })  # fmt: skip
    single = spot_trade(7, MS, 10, 0.5, is_sold=False)
    venue = VENUES["binance_ws"]
    both = capture(tmp_path / "both.gz", lines(single, agg))
    assert channel_of(venue, "BTCUSDT", [both]).name == "aggTrade"
    alone = capture(tmp_path / "single.gz", lines(single))
    assert channel_of(venue, "BTCUSDT", [alone]).name == "trade"
    assert channel_of(venue, "ETHUSDT", [alone]).name == "aggTrade"


def test_a_long_session_ends_with_the_book_that_made_it(tmp_path):
    made = convert(VENUES["bybit"], "BTCUSDT", [bybit_session(tmp_path, seed=5)], BASE_NS)
    check(made.events)
    seen = books(made.events, EXCH)
    assert seen == books(made.events, LOCAL)
    assert max(seen["B"]) < min(seen["S"])
    assert made.about["counts"]["snapshots"] == 3
    # Trades took up to 30 ms: some were overtaken, and are seen apart.
    assert 100 < made.about["split_rows"] < 2000


def books(events, flag):
    """Return the levels that are left when every row that one side sees is followed."""
    held = {"B": {}, "S": {}}
    for row in events[(events["ev"] & np.uint64(flag)) != 0]:
        kind, side = int(row["ev"]) & KIND, "B" if int(row["ev"]) & BUY else "S"
        if kind == DEPTH_CLEAR:
            sign = 1 if side == "B" else -1
            held[side] = {px: qty for px, qty in held[side].items() if px * sign < row["px"] * sign}
        elif kind in (DEPTH, DEPTH_SNAPSHOT):
            held[side][float(row["px"])] = float(row["qty"])
    return {side: {px: qty for px, qty in levels.items() if qty} for side, levels in held.items()}


@pytest.mark.realdata
def test_a_recorded_session_holds_what_plain_json_tells(shared_data):
    path = shared_data / "captures" / "binance_usdm_btcusdt_20240718.gz"
    made = convert(VENUES["binance_futures"], "BTCUSDT", [path], BASE_NS)
    check(made.events)
    kinds, volume, book = Counter(), Counter(), None
    with gzip.open(path) as captured:
        for line in captured:
            told_now = json.loads(line.partition(b" ")[2])
            book = book or ("lastUpdateId" in told_now and told_now) or None
            data = told_now.get("data", {})
            kinds[data.get("e")] += 1
            if data.get("e") == "trade":
                volume[data["m"]] += float(data["q"])
    events = made.events[(made.events["ev"] & np.uint64(LOCAL)) != 0]
    kind = events["ev"] & np.uint64(KIND)
    trades = events[kind == TRADE]
    assert len(trades) == kinds["trade"] == 974
    is_buy = (trades["ev"] & np.uint64(BUY)) != 0
    assert trades["qty"][is_buy].sum() == pytest.approx(volume[False], rel=1e-12)
    assert trades["qty"][~is_buy].sum() == pytest.approx(volume[True], rel=1e-12)
    assert made.about["counts"]["updates"] == kinds["depthUpdate"]
    assert (made.about["book"], made.about["counts"]["gaps"]) == ("whole", 0)
    # The first whole book is the answer and what was known to follow it.
    whole = events[kind == DEPTH_SNAPSHOT]
    levels = set(zip(whole["px"].tolist(), whole["qty"].tolist(), strict=True))
    answered = {(float(px), float(qty)) for px, qty in book["bids"] + book["asks"]}
    assert len(levels & answered) > 0.9 * len(answered)
    assert ((whole["ev"] & np.uint64(BUY | SELL)) != 0).all()


@pytest.mark.realdata
def test_recorded_books_and_trades_of_bybit_come_out_as_they_went_in(shared_data, tmp_path):
    recorded = str(shared_data / "captures" / "BYBIT.jsonl.zst")
    text = pa.input_stream(recorded, compression="zstd").read()
    heard = [row for row in map(json.loads, text.splitlines()) if row["t"] == "recv"]
    linear = [row for row in heard if row["conn"] == "BYBIT.ws.2" and "BTCUSDT" in row["data"]]
    path = capture(
        tmp_path / "btcusdt.gz",
        [(int(float(row["ts"]) * 1e9), row["data"].encode()) for row in linear],
    )
    made = convert(VENUES["bybit"], "BTCUSDT", [path], BASE_NS)
    check(made.events)
    messages = [json.loads(row["data"]) for row in linear]
    trades = [x for m in messages if m.get("topic") == "publicTrade.BTCUSDT" for x in m["data"]]
    held = {"b": {}, "a": {}}
    for message in messages:
        if message.get("topic", "").startswith("orderbook.200."):
            for side, levels in held.items():
                if message["type"] == "snapshot":
                    levels.clear()
                levels.update((float(px), float(qty)) for px, qty in message["data"][side])
    left = {side: {px: qty for px, qty in levels.items() if qty} for side, levels in held.items()}
    assert len(left["b"]) == len(left["a"]) == 200
    assert books(made.events, LOCAL) == books(made.events, EXCH) == {"B": left["b"], "S": left["a"]}
    counts = made.about["counts"]
    assert (counts["trades"], counts["gaps"], counts["refused"]) == (len(trades), 0, {})
    assert counts["trades"] == 56
    kind = made.events["ev"] & np.uint64(KIND)
    sold = made.events[
        (kind == TRADE) & ((made.events["ev"] & np.uint64(LOCAL | SELL)) == LOCAL | SELL)
    ]
    assert sold["qty"].sum() == pytest.approx(
        sum(float(row["v"]) for row in trades if row["S"] == "Sell"), rel=1e-12
    )
