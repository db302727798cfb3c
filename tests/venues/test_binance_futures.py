"""What is USD-M's own: routes, topics, questions and weights, rows that are no trades, captures."""

import gzip
import json
from collections import Counter
from decimal import Decimal
from urllib.parse import urlencode

import pytest

from marketdata.core.facts import BookUpdate, Kline, Liquidation, Mark, Quote
from marketdata.core.sequencer import Step
from marketdata.venues.base import Question
from marketdata.venues.binance_futures import AGG_TRADE, TRADE, VENUE
from tests.venues.frames import flat, frame_of, rows

DAY_US = 1_759_968_000_000_000
BTC = frozenset(["BTCUSDT"])
AGG = (
    '{"stream":"x@aggTrade","data":{"e":"aggTrade","E":1760000000100,"s":"%s","a":%d,"p":"64000.1",'
    '"q":"0.030","nq":"0.030","f":1,"l":2,"T":1760000000098,"m":false,"st":%d}}'
)
MARK = (
    b'{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1760000001000,'
    b'"s":"BTCUSDT","p":"64001.5","ap":"64001","i":"64030.12","P":"64028","r":"0.0001",'
    b'"T":1760025600000,"st":1}}'
)


def agg(symbol="BTCUSDT", id=88, st=1):
    return (AGG % (symbol, id, st)).encode()


def test_trades_and_what_comes_beside_them_are_on_the_market_route():
    assert AGG_TRADE.path(["BTCUSDT"]) == (
        "/market/stream?streams="
        "btcusdt@aggTrade/btcusdt@markPrice@1s/btcusdt@forceOrder/btcusdt@kline_1m"
    )
    assert AGG_TRADE.path(["BTCUSDT", "ETHUSDT"]).endswith(
        "btcusdt@kline_1m/ethusdt@aggTrade/ethusdt@markPrice@1s/ethusdt@forceOrder/ethusdt@kline_1m"
    )
    assert TRADE.path(["A/B?C"]) == "/public/stream?streams=a%2Fb%3Fc@trade"
    longest = AGG_TRADE.path(["1000000BABYDOGEUSDT"] * VENUE.streams_per_connection)
    assert len(longest) < 8000


@pytest.mark.parametrize(
    ("wanted_ms", "pace"),
    [(0, "@100ms"), (100, "@100ms"), (174, "@100ms"), (200, ""), (374, ""), (400, "@500ms"),
     (1000, "@500ms")],
)  # fmt: skip
def test_books_are_on_the_public_route_at_the_nearest_pace(wanted_ms, pace):
    stream = VENUE.depth.stream(wanted_ms)
    expected = f"/public/stream?streams=btcusdt@depth{pace}/btcusdt@bookTicker"
    assert stream.path(["BTCUSDT"]) == expected


def test_trades_and_marks_must_speak_and_what_may_rest_need_not():
    awaited = {"BTCUSDT@aggTrade", "BTCUSDT@markPrice", "A@aggTrade", "A@markPrice"}
    assert AGG_TRADE.topics(["BTCUSDT", "A"]) == awaited
    assert TRADE.topics(["BTCUSDT"]) == {"BTCUSDT@trade"}


@pytest.mark.parametrize(
    ("question", "path", "query", "weight"),
    [
        (
            AGG_TRADE.by_id.page("BTCUSDT", 88, 1000),
            "/fapi/v1/aggTrades",
            "symbol=BTCUSDT&fromId=88&limit=1000",
            20,
        ),
        # No end: an hour without a trade after the start must not pass for none ever.
        (
            AGG_TRADE.by_id.first("BTCUSDT", DAY_US),
            "/fapi/v1/aggTrades",
            "symbol=BTCUSDT&startTime=1759968000000&limit=1",
            20,
        ),
        (
            AGG_TRADE.by_id.first("BTCUSDT", DAY_US + 500),
            "/fapi/v1/aggTrades",
            "symbol=BTCUSDT&startTime=1759968000001&limit=1",
            20,
        ),
        (VENUE.listing("BTCUSDT"), "/fapi/v1/exchangeInfo", "", 1),
        (
            VENUE.day("BTCUSDT", DAY_US),
            "/fapi/v1/klines",
            "symbol=BTCUSDT&interval=1d&startTime=1759968000000&endTime=1760054399999&limit=1",
            1,
        ),
        (VENUE.depth.snapshot("BTCUSDT"), "/fapi/v1/depth", "symbol=BTCUSDT&limit=1000", 20),
        (
            VENUE.series["funding"].ask("BTCUSDT", DAY_US, DAY_US + 1_000_000),
            "/fapi/v1/fundingRate",
            "symbol=BTCUSDT&startTime=1759968000000&endTime=1759968000999&limit=1000",
            24,
        ),
        (
            VENUE.series["open_interest"].ask("BTCUSDT", DAY_US, DAY_US + 1_000_001),
            "/futures/data/openInterestHist",
            "period=5m&symbol=BTCUSDT&startTime=1759968000000&endTime=1759968001000&limit=500",
            12,
        ),
    ],
)
def test_questions_are_those_of_the_venue_at_its_weights(question, path, query, weight):
    assert (question.path, urlencode(question.params), question.weight) == (path, query, weight)


def test_open_interest_is_asked_for_a_page_at_a_time():
    asked = VENUE.series["open_interest"].ask("BTCUSDT", DAY_US, DAY_US + 7 * 86_400_000_000)
    # 500 readings, five minutes apart, from the start on.
    span_ms = asked.params["endTime"] - asked.params["startTime"]
    assert (asked.params["startTime"] * 1000, span_ms) == (DAY_US, 500 * 300_000 - 1)


def test_pools_without_a_header_are_kept_to_by_their_weights():
    # 500 and 1,000 requests in 5 minutes, out of 2,400 a minute.
    for kind, granted in (("funding", 500), ("open_interest", 1000)):
        asked = VENUE.series[kind].ask("BTCUSDT", DAY_US, DAY_US + 1)
        assert 5 * VENUE.weight_per_minute // asked.weight <= granted


def test_limits_are_those_of_the_venue():
    assert VENUE.clock() == Question("/fapi/v1/time", {}, 1)
    assert (VENUE.key, VENUE.proof, VENUE.page_limit) == ("binance_usdm", "id_exact", 1000)
    assert (VENUE.weight_per_minute, VENUE.weight_header) == (2400, "X-MBX-USED-WEIGHT-1M")
    assert (VENUE.server_ping_s, VENUE.life_s) == (180, 24 * 3600)
    assert list(VENUE.channels) == ["aggTrade", "trade"]
    # Four streams a symbol; older gateways refuse more than 200 on one socket.
    assert VENUE.streams_per_connection * 4 <= 200
    assert AGG_TRADE.by_id.reach_s == 47 * 3600
    assert TRADE.past is None
    assert -1021 in VENUE.retryable_codes
    assert not VENUE.fallbacks


@pytest.mark.parametrize(("channel", "kind"), [(AGG_TRADE, "aggTrades"), (TRADE, "trades")])
def test_finished_days_are_the_public_archives_files(channel, kind):
    path = f"/data/futures/um/daily/{kind}/BTCUSDT/BTCUSDT-{kind}-2024-01-01.zip"
    assert channel.archive.path("BTCUSDT", "2024-01-01") == path
    assert channel.archive.checksum("BTCUSDT", "2024-01-01") == f"{path}.CHECKSUM"
    assert channel.time_step_us == 1000


def test_kinds_share_a_drain_and_facts_keep_their_order():
    frames = [frame_of(row) for row in rows("binance_futures", "aggTrade") if not row["errors"]]
    received = AGG_TRADE.decode(frames, frozenset(["BTCUSDT", "ETHUSDT"]))
    kinds = [type(fact) for _, fact in received.facts]
    assert Counter(kinds) == {Mark: 5, Liquidation: 3, Kline: 2}
    assert kinds == [Mark] * 5 + [Liquidation] * 3 + [Kline] * 2
    assert sum(map(len, received.trades.values())) == 8
    # One of the frames is raw among wrapped ones: read one by one, none is lost.
    assert not received.errors


def test_a_bad_frame_costs_its_neighbours_nothing():
    frames = [agg(id=1), b"garbage", MARK, agg("DOGEUSDT"), agg(id=2, st=2), MARK, agg(id=3)]
    received = AGG_TRADE.decode(frames, BTC)
    assert received.trades["BTCUSDT"].id.tolist() == [1, 3]
    assert len(received.facts) == 2
    assert [(error.reason, error.raw) for error in received.errors] == [
        ("json", b"garbage"),
        ("symbol", agg("DOGEUSDT")),
        ("symbol", agg(id=2, st=2)),
    ]


def test_a_contract_margined_in_coin_is_not_heard():
    received = AGG_TRADE.decode([agg(st=2)], BTC)
    assert (received.trades, received.topics) == ({}, set())
    assert "st 2" in received.errors[0].detail


def test_a_new_field_is_noted_once_a_drain_whatever_it_comes_with():
    frames = [MARK.replace(b'"st":1', b'"st":1,"zz":1')] * 3 + [
        agg(id=n).replace(b'"st":1', b'"st":1,"zz":1') for n in range(3)
    ]
    received = AGG_TRADE.decode(frames, BTC)
    assert received.trades["BTCUSDT"].id.tolist() == [0, 1, 2]
    assert len(received.facts) == 3
    assert [error.reason for error in received.errors] == ["extra"]
    assert "zz" in received.errors[0].detail


def test_nothing_comes_to_nothing():
    received = AGG_TRADE.decode([], BTC)
    assert (received.trades, received.facts, received.topics, received.errors) == (
        {},
        [],
        set(),
        [],
    )


CAPTURED = ("20230404", "20230405", "20240718")


def captured(shared_data, day):
    """Return the bodies of a capture by kind of stream; an empty kind is a REST answer."""
    found = {"trade": [], "markPrice": [], "bookTicker": [], "depth": [], "": []}
    with gzip.open(shared_data / f"captures/binance_usdm_btcusdt_{day}.gz") as lines:
        for line in lines:
            frame = line.split(b" ", 1)[1].strip()
            found[json.loads(frame).get("stream", "@").split("@")[1]].append(frame)
    return found


def plain(frames, number):
    """Read trades by json and Decimal, the long way round."""
    events = [json.loads(frame)["data"] for frame in frames]
    return [
        (
            row[number],
            row["T"] * 1000,
            float(Decimal(row["p"])),
            float(Decimal(row["q"])),
            not row["m"],
        )
        for row in events
        if row.get("X", "MARKET") == "MARKET"
    ]


@pytest.mark.realdata
@pytest.mark.parametrize("day", CAPTURED)
def test_a_real_capture_is_read_whole(shared_data, day):
    found = captured(shared_data, day)
    received = TRADE.decode(found["trade"] + found["markPrice"], BTC)
    assert flat(received.trades["BTCUSDT"]) == plain(found["trade"], "t")
    assert len(received.facts) == len(found["markPrice"])
    assert not received.errors
    for (_, fact), frame in zip(received.facts, found["markPrice"], strict=True):
        said = json.loads(frame)["data"]
        assert (fact.ts_us, fact.next_funding_us) == (said["E"] * 1000, said["T"] * 1000)
        told = (fact.mark, fact.index, fact.funding_rate)
        assert told == tuple(float(said[letter]) for letter in "pir")


@pytest.mark.realdata
def test_the_insurance_fund_is_dropped_and_midnight_breaks_nothing(shared_data):
    days = [captured(shared_data, day)["trade"] for day in CAPTURED[:2]]
    received = TRADE.decode(days[0] + days[1], BTC)
    trades = received.trades["BTCUSDT"]
    rows = [json.loads(frame)["data"]["t"] for frame in days[0] + days[1]]
    assert (len(rows), rows[0], rows[-1]) == (12_935, 3535186032, 3535198966)
    assert rows == list(range(rows[0], rows[-1] + 1))
    assert set(rows) - set(trades.id.tolist()) == {3535191080}
    assert trades.qty.sum() == pytest.approx(1189.085, rel=1e-12)
    vwap = (trades.price * trades.qty).sum() / trades.qty.sum()
    assert vwap == pytest.approx(28146.00542156, rel=1e-12)
    midnight = 1_680_652_800_000_000
    first, second = (TRADE.decode(day, BTC).trades["BTCUSDT"] for day in days)
    assert second.id[0] - first.id[-1] == 1
    assert first.ts_us.max() < midnight <= second.ts_us.min()


@pytest.mark.realdata
@pytest.mark.parametrize("day", CAPTURED)
def test_a_real_book_follows_its_snapshot_without_a_gap(shared_data, day):
    found = captured(shared_data, day)
    received = VENUE.depth.stream(100).decode(found["depth"] + found["bookTicker"], BTC)
    assert not received.errors
    kinds = Counter(type(fact) for _, fact in received.facts)
    assert kinds == {BookUpdate: len(found["depth"]), Quote: len(found["bookTicker"])}
    updates = [fact for _, fact in received.facts if isinstance(fact, BookUpdate)]
    steps = Counter()
    last_id, is_snapshot = updates[0].prev_id, False
    if found[""]:
        last_id, is_snapshot = VENUE.depth.snapshot_of(found[""][0]).last_id, True
    for update in updates:
        step = VENUE.depth.sequencer(update, last_id, is_snapshot)
        steps[step] += 1
        if step is Step.APPLY:
            last_id, is_snapshot = update.last_id, False
    assert steps[Step.GAP] == 0
    assert steps[Step.APPLY] > 0.9 * len(updates)


@pytest.mark.realdata
def test_a_real_combined_stream_is_read_whole(shared_data):
    arrow = pytest.importorskip("pyarrow")
    path = shared_data / "captures" / "BINANCE_FUTURES.jsonl.zst"
    with arrow.input_stream(str(path), compression="zstd") as file:
        lines = [json.loads(line) for line in file.read().splitlines()]
    frames = {"aggTrade": [], "kline_1m": [], "depth": [], "bookTicker": []}
    for line in lines:
        if line["t"] == "recv":
            kind = json.loads(line["data"])["stream"].split("@")[1]
            frames[kind].append(line["data"].encode())
    symbols = frozenset(["SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"])
    market = AGG_TRADE.decode(frames["aggTrade"] + frames["kline_1m"], symbols)
    assert not market.errors
    assert len(market.facts) == len(frames["kline_1m"]) == 67
    assert sum(map(len, market.trades.values())) == len(frames["aggTrade"]) == 91
    for symbol, trades in market.trades.items():
        own = [frame for frame in frames["aggTrade"] if f'"{symbol}"'.encode() in frame]
        assert flat(trades) == plain(own, "a")
    books = VENUE.depth.stream(100).decode(frames["depth"] + frames["bookTicker"], symbols)
    assert not books.errors
    assert len(books.facts) == 764 + 613
    for line in lines:
        if line["t"] == "http" and "depth" in line["url"]:
            assert len(VENUE.depth.snapshot_of(line["data"].encode()).bids) > 0
    (info,) = (line for line in lines if line.get("url", "").endswith("exchangeInfo"))
    for symbol in symbols:
        assert VENUE.listing_of(info["data"].encode(), symbol).weight_per_minute == 2400
