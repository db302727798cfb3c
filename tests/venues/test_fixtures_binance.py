"""Every recorded message of Binance: read by the parser it is for, or named with why by none."""

import json
import random
import re
from fnmatch import fnmatch

import pytest

from marketdata.core.errors import FrameError
from marketdata.venues.base import ById, Received
from marketdata.venues.binance_futures import AGG_TRADE, TRADE, VENUE
from marketdata.venues.binance_spot import AGG_TRADE as SPOT_AGG
from marketdata.venues.binance_spot import TRADE as SPOT_TRADE
from marketdata.venues.binance_spot import VENUE as SPOT
from tests.venues.frames import told_fact

pytestmark = pytest.mark.realdata
FOLDERS = ("nautilus_binance_py", "nautilus_binance_rs", "cryptofeed_http")
PY, RS, CF = (
    "nautilus_binance_py/",
    "nautilus_binance_rs/",
    "cryptofeed_http/BINANCE",
)
HTTP, WS = PY + "http_responses/http_", PY + "ws_messages/ws_"
UM, RS_SPOT = RS + "futures/market_data_json/", RS + "spot/http_json/"
# Samples of the documents whose times are 123456789 stand for any time.
PLACEHOLDER = re.compile(rb"(?<!\d)1234567\d\d(?!\d)")


def page(channel):
    return lambda body: len(channel.by_id.page_of(body))


def series(kind):
    return lambda body: len(VENUE.series[kind].read(body))


def book(venue):
    return lambda body: len(venue.depth.snapshot_of(body).bids)


def listings(venue):
    def read(body):
        symbols = json.loads(body)["symbols"]
        return sum(venue.listing_of(body, item["symbol"]).symbol != "" for item in symbols[:3])

    return read


def stepless(body):
    """Return why a sample without tick and lot is no listing."""
    with pytest.raises(FrameError) as raised:
        SPOT.listing_of(body, json.loads(body)["symbols"][0]["symbol"])
    return raised.value.reason


def day(venue):
    return lambda body: venue.day_of(body, json.loads(body)[0][0] * 1000).close


def heard(stream):
    """Return what one frame comes to, by its own symbol; refusals fail."""

    def read(frame):
        data = json.loads(frame)
        data = data.get("data", data)
        symbol = data.get("s") or data["o"]["s"]
        received = stream.decode([frame], frozenset([symbol]))
        assert [error for error in received.errors if error.reason != "extra"] == []
        if received.facts:
            ((_, fact),) = received.facts
            return told_fact(fact)[0]
        return len(received.trades[symbol])

    return read


SPOT_BOOK, BOOK = SPOT.depth.stream(100), VENUE.depth.stream(100)
# File → what reads it, and what comes of it: rows, levels, symbols looked up, or a kind of fact.
READ = {
    HTTP + "futures_market_agg_trades.json": (page(AGG_TRADE), 1),
    # Not asked for, but answered in spot's words.
    HTTP + "futures_market_trades.json": (page(SPOT_TRADE), 1),
    HTTP + "futures_market_historical_trades.json": (page(SPOT_TRADE), 1),
    HTTP + "futures_market_klines.json": (day(VENUE), 0.015771),
    HTTP + "futures_market_depth.json": (book(VENUE), 1),
    HTTP + "futures_market_exchange_info.json": (listings(VENUE), 3),
    HTTP + "futures_market_funding_rate.json": (series("funding"), 2),
    HTTP + "futures_market_open_interest_historical.json": (series("open_interest"), 2),
    HTTP + "spot_market_agg_trades.json": (page(SPOT_AGG), None),
    HTTP + "spot_market_trades.json": (page(SPOT_TRADE), None),
    HTTP + "spot_market_historical_trades.json": (page(SPOT_TRADE), None),
    HTTP + "spot_market_klines.json": (day(SPOT), 60719.27),
    HTTP + "spot_market_depth.json": (book(SPOT), None),
    HTTP + "spot_market_exchange_info.json": (listings(SPOT), None),
    HTTP + "spot_market_time.json": (SPOT.clock_of, 1_633_835_466_289_000),
    RS_SPOT + "trades_response.json": (page(SPOT_TRADE), 1),
    RS_SPOT + "klines_response.json": (day(SPOT), 0.015771),
    RS_SPOT + "depth_response.json": (book(SPOT), 1),
    RS_SPOT + "exchange_info_response.json": (stepless, "number"),
    RS_SPOT + "server_time_response.json": (SPOT.clock_of, 1_499_827_319_559_000),
    WS + "futures_book_ticker.json": (heard(BOOK), "Quote"),
    WS + "futures_depth_diff_update.json": (heard(BOOK), "BookUpdate"),
    WS + "futures_depth_update.json": (heard(BOOK), "BookUpdate"),
    WS + "spot_agg_trade.json": (heard(SPOT_AGG), 1),
    WS + "spot_trade.json": (heard(SPOT_TRADE), 1),
    WS + "spot_ticker_book.json": (heard(SPOT_BOOK), "Quote"),
    UM + "agg_trade_stream.json": (heard(AGG_TRADE), 1),
    UM + "trade_stream.json": (heard(TRADE), 1),
    UM + "mark_price_stream.json": (heard(AGG_TRADE), "Mark"),
    UM + "liquidation_stream.json": (heard(AGG_TRADE), "Liquidation"),
    UM + "kline_stream_open.json": (heard(AGG_TRADE), "Kline"),
    UM + "kline_stream_closed.json": (heard(AGG_TRADE), "Kline"),
    UM + "book_ticker_stream.json": (heard(BOOK), "Quote"),
    UM + "depth_update_stream.json": (heard(BOOK), "BookUpdate"),
    CF + "__api.binance.com_api_v3_exchangeInfo.json": (listings(SPOT), 3),
    CF + "_FUTURES__fapi.binance.com_fapi_v1_exchangeInfo.json": (listings(VENUE), 3),
} | {
    f"{CF}{host}_depth_symbol-{symbol}_limit-1000.json": (book(venue), None)
    for venue, host, symbols in (
        (SPOT, "__api.binance.com_api_v3", ("BLZETH", "LRCBTC", "NKNUSDT", "RUNEEUR")),
        (
            VENUE,
            "_FUTURES__fapi.binance.com_fapi_v1",
            ("AKROUSDT", "CTKUSDT", "KEEPUSDT", "SUSHIUSDT"),
        ),
    )
    for symbol in symbols
}  # fmt: skip
ACCOUNT = "of an account: signed questions and the private stream, no public parser's"
UNASKED = "of no question or stream of this program"
NOT_READ = {
    HTTP + "futures_account_*": ACCOUNT,
    HTTP + "futures_wallet_*": ACCOUNT,
    HTTP + "spot_wallet_*": ACCOUNT,
    HTTP + "wallet_*": ACCOUNT,
    WS + "futures_algo_update_*": ACCOUNT,
    WS + "futures_order_update_*": ACCOUNT,
    WS + "futures_trade_lite.json": ACCOUNT,
    WS + "spot_execution_report_*": ACCOUNT,
    RS + "futures/http_json/*": ACCOUNT,
    RS + "futures/user_data_json/*": ACCOUNT,
    RS + "spot/user_data_json/*": ACCOUNT,
    RS_SPOT + "account_*": ACCOUNT,
    RS_SPOT + "*order*": ACCOUNT,
    HTTP + "futures_market_asset_index.json": UNASKED,
    HTTP + "futures_market_blvt_nav_kline.json": UNASKED,
    HTTP + "futures_market_book_ticker.json": "best prices come by stream",
    HTTP + "futures_market_continuous_klines.json": "days are asked for by contract",
    HTTP + "futures_market_global_long_short_account_ratio.json": UNASKED,
    HTTP + "futures_market_index_info.json": UNASKED,
    HTTP + "futures_market_index_price_klines.json": "the index comes by stream",
    HTTP + "futures_market_mark_price_klines.json": "the mark comes by stream",
    HTTP + "futures_market_open_interest.json": "open interest is asked for as a series",
    HTTP + "futures_market_premium_index.json": "mark, index and funding come by stream",
    HTTP + "futures_market_taker_long_short_ratio.json": UNASKED,
    HTTP + "futures_market_ticker_*": UNASKED,
    HTTP + "futures_market_top_long_short_*": UNASKED,
    HTTP + "spot_market_avg_price.json": UNASKED,
    HTTP + "spot_market_book_ticker.json": "best prices come by stream",
    HTTP + "spot_market_ping.json": "nobody pings: the clock is asked for",
    HTTP + "spot_market_ticker_price.json": UNASKED,
    WS + "futures_ticker_24hr.json": UNASKED,
    WS + "spot_ticker_24hr.json": UNASKED,
    UM + "ticker_stream.json": UNASKED,
    RS_SPOT + "avg_price_response.json": UNASKED,
    RS_SPOT + "book_ticker_response.json": "best prices come by stream",
    RS_SPOT + "ping_response.json": "nobody pings: the clock is asked for",
    RS_SPOT + "ticker_*": UNASKED,
}


@pytest.fixture(scope="module")
def files(shared_data):
    """Return every file of the folders that is Binance's, by name."""
    fixtures = shared_data / "fixtures"
    found = {
        path.relative_to(fixtures).as_posix(): path.read_bytes()
        for folder in FOLDERS
        for path in sorted((fixtures / folder).rglob("*.json"))
    }
    return {name: body for name, body in found.items() if "BYBIT" not in name}


def reasons(name):
    return [reason for pattern, reason in NOT_READ.items() if fnmatch(name, pattern)]


def test_each_file_has_its_parser_or_a_reason(files):
    assert len(files) > 150
    unknown = [name for name in files if name not in READ and not reasons(name)]
    assert unknown == []
    assert [name for name in files if name in READ and reasons(name)] == []
    assert set(READ) <= set(files)
    assert [one for one in NOT_READ if not any(fnmatch(name, one) for name in files)] == []


@pytest.mark.parametrize("name", READ)
def test_what_a_public_parser_should_read_is_read(files, name):
    read, expected = READ[name]
    body = files[name]
    if PLACEHOLDER.search(body):
        with pytest.raises((AssertionError, FrameError), match="number"):
            read(body)
        body = PLACEHOLDER.sub(b"1700000000123", body)
    if expected is None:
        rows = json.loads(body)
        rows = (
            rows["bids"] if "bids" in rows else rows["symbols"][:3] if "symbols" in rows else rows
        )
        expected = len(rows)
        assert expected > 0
    assert read(body) == expected


DECODERS = [
    (stream.decode, "-".join((venue.key, stream.name)))
    for venue in (SPOT, VENUE)
    for stream in (*venue.channels.values(), venue.depth.stream(100))
]
PAST = [
    channel.past
    for venue in (SPOT, VENUE)
    for channel in venue.channels.values()
    if isinstance(channel.past, ById)
]
PARSERS = [
    *(past.page_of for past in PAST),
    *(past.first_of for past in PAST),
    *(one.read for one in VENUE.series.values()),
    *(venue.depth.snapshot_of for venue in (SPOT, VENUE)),
    lambda body: VENUE.listing_of(body, "BTCUSDT"),
    lambda body: VENUE.day_of(body, 1_759_968_000_000_000),
    VENUE.clock_of,
    VENUE.error_of,
]
SYMBOLS = frozenset(["BTCUSDT", "ETHUSDT", "BNBUSDT"])


def survives(body):
    """Put bytes to every parser of both markets: a value or FrameError comes out."""
    for decode, name in DECODERS:
        received = decode([body], SYMBOLS)
        assert isinstance(received, Received), name
        for trades in received.trades.values():
            trades.checked()
    for parse in PARSERS:
        error = refusal(parse, body)
        assert error is None or (error.reason and error.raw == body[:2000])


def refusal(parse, body):
    """Return the FrameError of a parser, None where it gives a value; others come out."""
    try:
        parse(body)
    except FrameError as error:
        return error


def test_what_is_nobodys_is_refused_and_never_a_trade(files):
    for name, body in files.items():
        if name in READ:
            continue
        for decode, who in DECODERS:
            received = decode([body], SYMBOLS)
            assert (received.trades, received.facts, received.topics) == ({}, [], set()), (
                name,
                who,
            )
            assert len(received.errors) + len(received.controls) == 1, (name, who)
        survives(body)


def mutated(body, chance):
    """Return the bytes with some flipped, cut, doubled or put in."""
    data = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        at, upto = chance.randrange(len(data) + 1), chance.randint(1, 12)
        match chance.randrange(5):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + upto]
            case 2:
                del data[at:]
            case 3:
                data[at:at] = data[at : at + upto]
            case _:
                data[at:at] = bytes(
                    chance.choices(b'0123456789eE-+.,:"[]{}\\nulNaI\xff\x00', k=upto)
                )
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bytes_come_to_nothing_but_frame_errors(files, seed):
    chance = random.Random(seed)
    for body in files.values():
        # A megabyte is as well broken in its first pages.
        start = body[: chance.randint(1, 20_000)] if len(body) > 20_000 else body
        for _ in range(20):
            survives(mutated(start, chance))
