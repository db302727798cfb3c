"""What is Binance's own: paths, questions and their weights, both units, and its real frames."""

import gzip
import json
from decimal import Decimal
from urllib.parse import urlencode

import pytest

from marketdata.core.errors import FrameError
from marketdata.venues.base import Question
from marketdata.venues.binance_spot import AGG_TRADE, TRADE, VENUE
from tests.venues.frames import flat

DAY_US = 1_759_968_000_000_000
AGG = (
    '{"e":"aggTrade","E":%d,"s":"%s","a":%d,"p":"64000.10","q":"0.030","f":1,"l":2,"T":%d,'
    '"m":%s,"M":true}'
)


def agg(symbol="BTCUSDT", id=77, time=1_760_000_000_098, maker="true"):
    """Return one frame as the venue sends it."""
    return (AGG % (time, symbol, id, time, maker)).encode()


def test_one_symbol_is_a_raw_stream_and_more_are_a_combined_one():
    assert AGG_TRADE.path(["BTCUSDT"]) == "/ws/btcusdt@aggTrade"
    assert TRADE.path(["BTCUSDT"]) == "/ws/btcusdt@trade"
    assert (
        AGG_TRADE.path(["BTCUSDT", "ETHUSDT"])
        == "/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade"
    )


def test_a_symbol_that_is_not_ascii_is_percent_encoded_in_lower_case():
    assert TRADE.path(["币安人生USDT"]) == "/ws/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@trade"
    assert TRADE.path(["A/B?C"]) == "/ws/a%2Fb%3Fc@trade"


@pytest.mark.parametrize(
    ("question", "path", "query", "weight"),
    [
        (AGG_TRADE.by_id.page("BTCUSDT", 78, 1000), "/api/v3/aggTrades", "fromId=78&limit=1000", 4),
        (
            TRADE.by_id.page("BTCUSDT", 502, 1000),
            "/api/v3/historicalTrades",
            "fromId=502&limit=1000",
            25,
        ),
        (
            AGG_TRADE.by_id.first("BTCUSDT", DAY_US),
            "/api/v3/aggTrades",
            "startTime=1759968000000&limit=1",
            4,
        ),
        # Half a millisecond after the day's start: a trade at its start is not asked for.
        (
            TRADE.by_id.first("BTCUSDT", DAY_US + 500),
            "/api/v3/aggTrades",
            "startTime=1759968000001&limit=1",
            4,
        ),
        (VENUE.listing("BTCUSDT"), "/api/v3/exchangeInfo", "", 20),
        (
            VENUE.day("BTCUSDT", DAY_US),
            "/api/v3/klines",
            "interval=1d&startTime=1759968000000&endTime=1760054399999&limit=1",
            2,
        ),
    ],
)
def test_questions_are_those_of_the_venue_at_its_weights(question, path, query, weight):
    expected = f"symbol=BTCUSDT&{query}".rstrip("&")
    assert (question.path, urlencode(question.params), question.weight) == (path, expected, weight)


def test_the_clock_costs_one():
    assert VENUE.clock() == Question("/api/v3/time", {}, 1)


def test_limits_are_those_of_the_venue():
    assert (VENUE.page_limit, VENUE.weight_per_minute, VENUE.weight_header) == (
        1000,
        6000,
        "X-MBX-USED-WEIGHT-1M",
    )
    assert VENUE.proof == "id_exact"
    assert VENUE.server_ping_s == 20
    assert VENUE.life_s == 24 * 3600
    assert VENUE.streams_per_connection <= 1024
    assert list(VENUE.channels) == ["aggTrade", "trade"]


@pytest.mark.parametrize(("channel", "kind"), [(AGG_TRADE, "aggTrades"), (TRADE, "trades")])
def test_finished_days_are_the_public_archives_files(channel, kind):
    path = f"/data/spot/daily/{kind}/BTCUSDT/BTCUSDT-{kind}-2024-01-01.zip"
    assert channel.archive.path("BTCUSDT", "2024-01-01") == path
    assert channel.archive.checksum("BTCUSDT", "2024-01-01") == f"{path}.CHECKSUM"
    # Files speak microseconds where streams and pages speak milliseconds.
    assert channel.time_step_us == 1000


def test_symbols_that_share_a_drain_keep_their_order_each():
    frames = [
        agg("ETHUSDT", 9, maker="false"),
        agg("BTCUSDT", 2),
        b'{"stream":"ethusdt@aggTrade","data":%s}' % agg("ETHUSDT", 8),
        agg("BTCUSDT", 1, maker="false"),
        agg("BTCUSDT", 3),
    ]
    received = AGG_TRADE.decode(frames, frozenset(["BTCUSDT", "ETHUSDT"]))
    assert received.trades["BTCUSDT"].id.tolist() == [2, 1, 3]
    assert received.trades["BTCUSDT"].is_buy.tolist() == [False, True, False]
    assert received.trades["ETHUSDT"].id.tolist() == [9, 8]
    assert received.trades["ETHUSDT"].is_buy.tolist() == [True, False]
    assert not received.errors


def test_both_units_of_time_may_share_a_drain():
    frames = [agg(id=1), agg(id=2, time=1_760_000_000_098_001)]
    received = AGG_TRADE.decode(frames, frozenset(["BTCUSDT"]))
    assert received.trades["BTCUSDT"].ts_us.tolist() == [
        1_760_000_000_098_000,
        1_760_000_000_098_001,
    ]


def test_nothing_comes_to_nothing():
    received = AGG_TRADE.decode([], frozenset(["BTCUSDT"]))
    assert (received.trades, received.controls, received.errors) == ({}, [], [])


def test_a_bad_frame_costs_its_neighbours_nothing():
    frames = [
        agg(id=1),
        b"garbage",
        agg(id=2),
        b'{"result":null,"id":1}',
        agg("DOGEUSDT"),
        agg(id=3),
    ]
    received = AGG_TRADE.decode(frames, frozenset(["BTCUSDT"]))
    assert received.trades["BTCUSDT"].id.tolist() == [1, 2, 3]
    assert [(error.reason, error.raw) for error in received.errors] == [
        ("json", b"garbage"),
        ("symbol", agg("DOGEUSDT")),
    ]
    assert [control.kind for control in received.controls] == ["ack"]


def test_a_new_field_is_noted_once_a_drain_and_all_its_trades_count():
    frames = [frame[:-1] + b',"nq":"0.030"}' for frame in (agg(id=n) for n in range(5))]
    received = AGG_TRADE.decode(frames, frozenset(["BTCUSDT"]))
    assert received.trades["BTCUSDT"].id.tolist() == [0, 1, 2, 3, 4]
    assert [error.reason for error in received.errors] == ["extra"]
    assert "nq" in received.errors[0].detail


def test_a_frame_beyond_a_megabyte_is_not_looked_into():
    frame = b'{"e":"aggTrade","x":"' + b"x" * (1 << 20) + b'"}'
    (error,) = AGG_TRADE.decode([frame], frozenset(["BTCUSDT"])).errors
    assert error.reason == "size"
    assert len(error.raw) == 2000


def test_long_words_of_a_stranger_are_cut():
    frame = b'{"code":2,"msg":"%s","id":1}' % (b"long" * 1000)
    (control,) = AGG_TRADE.decode([frame], frozenset(["BTCUSDT"])).controls
    assert control.detail.startswith("2: longlong")
    assert len(control.detail) < 300


def plain(rows, id, price, qty, time, maker):
    """Read rows by json and Decimal, the long way round."""
    return [
        (
            row[id],
            row[time] * 1000,
            float(Decimal(row[price])),
            float(Decimal(row[qty])),
            row[maker] is False,
        )
        for row in rows
    ]


@pytest.fixture
def python_fixtures(shared_data):
    return shared_data / "fixtures" / "nautilus_binance_py"


@pytest.fixture
def rust_fixtures(shared_data):
    return shared_data / "fixtures" / "nautilus_binance_rs" / "spot" / "http_json"


@pytest.mark.realdata
def test_real_pages_are_read(python_fixtures, rust_fixtures):
    responses = python_fixtures / "http_responses"
    body = (responses / "http_spot_market_agg_trades.json").read_bytes()
    expected = plain(json.loads(body), "a", "p", "q", "T", "m")
    assert flat(AGG_TRADE.by_id.page_of(body)) == expected
    assert AGG_TRADE.by_id.first_of(body) == expected[0][0]
    assert TRADE.by_id.first_of(body) == json.loads(body)[0]["f"]
    for path in (
        responses / "http_spot_market_trades.json",
        responses / "http_spot_market_historical_trades.json",
        rust_fixtures / "trades_response.json",
    ):
        body = path.read_bytes()
        expected = plain(json.loads(body), "id", "price", "qty", "time", "isBuyerMaker")
        assert len(expected) > 0
        assert flat(TRADE.by_id.page_of(body)) == expected


@pytest.mark.realdata
def test_real_frames_are_read(python_fixtures):
    messages = python_fixtures / "ws_messages"
    frame = (messages / "ws_spot_trade.json").read_bytes()
    received = TRADE.decode([frame], frozenset(["ETHUSDT"]))
    assert flat(received.trades["ETHUSDT"]) == plain(
        [json.loads(frame)["data"]], "t", "p", "q", "T", "m"
    )
    assert not received.errors
    # This one carries a field that the documents do not name: it counts, and is told.
    frame = (messages / "ws_spot_agg_trade.json").read_bytes()
    received = AGG_TRADE.decode([frame], frozenset(["ETHUSDT"]))
    assert flat(received.trades["ETHUSDT"]) == plain(
        [json.loads(frame)["data"]], "a", "p", "q", "T", "m"
    )
    assert [error.reason for error in received.errors] == ["extra"]
    for path in sorted(messages.glob("ws_spot_*.json")):
        received = TRADE.decode([path.read_bytes()], frozenset(["ETHUSDT"]))
        is_trade = path.name == "ws_spot_trade.json"
        assert (bool(received.trades), len(received.errors)) == (is_trade, int(not is_trade))


@pytest.mark.realdata
def test_real_clocks_and_days_are_read(python_fixtures, rust_fixtures):
    responses = python_fixtures / "http_responses"
    body = (responses / "http_spot_market_time.json").read_bytes()
    assert VENUE.clock_of(body) == 1_633_835_466_289_000
    body = (rust_fixtures / "server_time_response.json").read_bytes()
    assert VENUE.clock_of(body) == 1_499_827_319_559_000
    for path in (
        responses / "http_spot_market_klines.json",
        rust_fixtures / "klines_response.json",
    ):
        first = json.loads(path.read_bytes())[0]
        levels = VENUE.day_of(path.read_bytes(), first[0] * 1000)
        assert (levels.high, levels.low, levels.close) == tuple(map(float, first[2:5]))


def steps(symbol):
    """Return tick and lot of an exchangeInfo entry, the long way round; None where it has none."""
    filters = {item["filterType"]: item for item in symbol["filters"]}
    tick = Decimal(filters.get("PRICE_FILTER", {}).get("tickSize", 0))
    lot = Decimal(filters.get("LOT_SIZE", {}).get("stepSize", 0))
    return (tick, lot) if tick and lot else None


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("cryptofeed_http/BINANCE__api.binance.com_api_v3_exchangeInfo.json", 1200),
        ("nautilus_binance_py/http_responses/http_spot_market_exchange_info.json", 1200),
        ("nautilus_binance_rs/spot/http_json/exchange_info_response.json", None),
    ],
)
def test_real_exchange_infos_are_read(shared_data, name, weight):
    body = (shared_data / "fixtures" / name).read_bytes()
    symbols = json.loads(body)["symbols"]
    # The whole venue is 1,600 symbols; every fortieth tells enough.
    for symbol in symbols[::40]:
        if steps(symbol) is None:
            with pytest.raises(FrameError):
                VENUE.listing_of(body, symbol["symbol"])
            continue
        listing = VENUE.listing_of(body, symbol["symbol"])
        assert (listing.grid.tick, listing.grid.lot) == steps(symbol)
        assert (listing.symbol, listing.status) == (symbol["symbol"], symbol["status"])
        assert listing.weight_per_minute == weight


def frames_of(lines):
    for line in lines:
        yield line.split(b" ", 1)[1].strip()


@pytest.mark.realdata
@pytest.mark.parametrize("day", ["20240808", "20240809"])
def test_a_real_capture_is_read_whole(shared_data, day):
    path = shared_data / "captures" / f"binance_spot_btcusdt_{day}.gz"
    with gzip.open(path) as lines:
        frames = list(frames_of(lines))
    bodies = [json.loads(frame) for frame in frames]
    rows = [body["data"] for body in bodies if body.get("stream") == "btcusdt@trade"]
    received = TRADE.decode(frames, frozenset(["BTCUSDT"]))
    trades = flat(received.trades["BTCUSDT"])
    assert trades == plain(rows, "t", "p", "q", "T", "m")
    ids = received.trades["BTCUSDT"].id
    assert (ids[1:] - ids[:-1] == 1).all()
    assert len(received.errors) == len(frames) - len(trades)
    assert {error.reason for error in received.errors} <= {"event", "field", "type"}


@pytest.mark.realdata
def test_a_real_combined_stream_of_aggregates_is_read(shared_data):
    arrow = pytest.importorskip("pyarrow")
    path = shared_data / "captures" / "BINANCE.jsonl.zst"
    with arrow.input_stream(str(path), compression="zstd") as file:
        lines = [json.loads(line) for line in file.read().splitlines()]
    frames = [line["data"].encode() for line in lines if line["t"] == "recv"]
    rows = [
        body["data"] for body in map(json.loads, frames) if body["stream"].endswith("@aggTrade")
    ]
    symbols = frozenset(["NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"])
    received = AGG_TRADE.decode(frames, symbols)
    assert len(rows) > 0
    for symbol in symbols & {row["s"] for row in rows}:
        own = [row for row in rows if row["s"] == symbol]
        assert flat(received.trades[symbol]) == plain(own, "a", "p", "q", "T", "m")
    (info,) = (line for line in lines if line.get("url", "").endswith("exchangeInfo"))
    for symbol in symbols:
        VENUE.listing_of(info["data"].encode(), symbol)
