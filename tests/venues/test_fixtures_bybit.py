"""Every recorded message of Bybit: read by the parser it is for, or named with why by none."""

import json
import random
from decimal import Decimal
from fnmatch import fnmatch

import pytest

from marketdata.core.errors import FrameError
from marketdata.venues.base import Received
from marketdata.venues.bybit import BYBIT_LINEAR, BYBIT_SPOT
from marketdata.venues.bybit_answers import book_of, mark_of
from marketdata.venues.bybit_wire import Position, positions_of, wallet_of
from tests.venues.frames import told_fact
from tests.venues.test_fixtures_binance import mutated, refusal

pytestmark = pytest.mark.realdata
RS, CF = "nautilus_bybit_rs/", "cryptofeed_http/BYBIT__api.bybit.com_v5_market_"
HTTP, WS = RS + "http_get_", RS + "ws_"
SYMBOLS = frozenset(["BTCUSDT", "ETHUSDT", "BTC-6JAN23-17500-C"])
decode = BYBIT_LINEAR.channel().decode
newest = BYBIT_LINEAR.channel().past.read


def listings(body):
    """Look every symbol of a page up, and compare with the long way round."""
    rows = json.loads(body)["result"]["list"]
    for row in rows[:: max(1, len(rows) // 40)]:
        lot = row["lotSizeFilter"]
        steps = (row["priceFilter"]["tickSize"], lot.get("qtyStep") or lot["basePrecision"])
        if min(map(Decimal, steps)) < Decimal("1e-12"):
            continue
        found = BYBIT_LINEAR.listing_of(body, row["symbol"])
        assert (found.grid.tick, found.grid.lot) == tuple(map(Decimal, steps))
        assert (found.symbol, found.status) == (row["symbol"], row["status"])
    return len(rows)


def series(kind):
    return lambda body: [one.value for one in BYBIT_LINEAR.series[kind].read(body)]


def unfinished(body):
    """Return why a candle that is still open gives no levels of a day."""
    start = int(json.loads(body)["result"]["list"][0][0])
    with pytest.raises(FrameError, match="a day over by") as raised:
        BYBIT_LINEAR.day_of(body, start * 1000)
    return raised.value.reason


def heard(frame):
    """Return what one frame comes to; refusals fail."""
    received = decode([frame], SYMBOLS)
    assert received.errors == []
    if received.controls:
        return [(control.kind, control.detail) for control in received.controls]
    assert received.topics == {json.loads(frame)["topic"]}
    return told_fact(received.facts[0][1])


def exact(*rows):
    return [(coin, Decimal(total), Decimal(available)) for coin, total, available in rows]


def held(*rows):
    return [Position(symbol, *map(Decimal, numbers)) for symbol, *numbers in rows]


TICKER = {
    "ts_us": 1673272861686000, "mark": 17217.33, "index": 17227.36, "funding_rate": -0.000212,
    "next_funding_us": 1673280000000000, "open_interest": 34372.3805,
}  # fmt: skip
LEVELS = [[27450.0, 0.5], [27449.5, 1.0]], [[27451.0, 0.75], [27451.5, 0.9]]
# File → what reads it, and what comes of it.
READ = {
    HTTP + "instruments_inverse.json": (listings, 1),
    HTTP + "instruments_inverse_symbol_type.json": (listings, 1),
    HTTP + "instruments_linear.json": (listings, 2),
    HTTP + "instruments_linear_symbol_type.json": (listings, 1),
    HTTP + "instruments_option.json": (listings, 1),
    HTTP + "instruments_option_symbol_id.json": (listings, 1),
    HTTP + "instruments_spot.json": (listings, 2),
    HTTP + "instruments_spot_xstocks.json": (listings, 1),
    CF + "instruments-info__category-linear_status-Trading_limit-1000.json": (listings, 800),
    CF + "instruments-info__category-spot_status-Trading_limit-1000.json": (listings, 557),
    HTTP + "funding_history.json": (series("funding"), [0.00015, 0.0001]),
    HTTP + "klines_linear.json": (unfinished, "number"),
    HTTP + "orderbook.json": (
        lambda body: told_fact(book_of(body))[1],
        {
            "first_id": 1234567, "last_id": 1234567, "prev_id": -1, "ts_us": 1709891679000000,
            "bids": [[27450.5, 1.5], [27450.0, 2.0], [27449.5, 0.75]],
            "asks": [[27451.0, 1.2], [27451.5, 3.0], [27452.0, 0.5]], "is_snapshot": True,
        },
    ),
    HTTP + "trades_recent.json": (
        lambda body: [column.tolist() for column in (newest(body).ts_us, newest(body).ref)],
        [[1709891679000000], [b"a905d5c3-1ed0-4f37-83e4-9c73a2fe2f01"]],
    ),
    HTTP + "wallet_balance.json": (
        wallet_of,
        exact(("BTC", "0", "0"), ("USDT", "1000.50", "1000.50"), ("ETH", "-0.06142", "0")),
    ),
    HTTP + "wallet_balance_spot_short.json": (
        wallet_of,
        exact(("ETH", "-0.06142", "0"), ("USDT", "2500", "2500")),
    ),
    HTTP + "wallet_balance_with_spot_borrow.json": (wallet_of, exact(("USDT", "1000", "1000"))),
    HTTP + "positions.json": (
        positions_of,
        held(("BTCUSDT", "0.5", "50000", "250"), ("ETHUSDT", "-5", "3000", "250")),
    ),
    HTTP + "positions_with_open_time.json": (positions_of, held(("LTCUSDT", "1", "70", "0"))),
    WS + "kline.json": (
        heard,
        ["Kline", {
            "timeframe": "5m", "open_us": 1672324800000000, "open": 16649.5, "high": 16677.0,
            "low": 16608.0, "close": 16677.0, "volume": 2.081, "quote_volume": 34666.4005,
            "is_closed": False,
        }],
    ),
    WS + "orderbook_snapshot.json": (
        heard,
        ["BookUpdate", {
            "first_id": 123456789, "last_id": 123456789, "prev_id": -1, "ts_us": 0,
            "bids": LEVELS[0], "asks": LEVELS[1], "is_snapshot": True,
        }],
    ),
    WS + "orderbook_delta.json": (
        heard,
        ["BookUpdate", {
            "first_id": 123456790, "last_id": 123456790, "prev_id": -1, "ts_us": 0,
            "bids": [[27450.0, 0.4]], "asks": [[27451.0, 0.0]], "is_snapshot": False,
        }],
    ),
    WS + "ticker_linear.json": (heard, ["Mark", TICKER]),
    WS + "ticker_option.json": (
        heard,
        ["Mark", {
            "ts_us": 1672917511074000, "mark": 7.86976724, "index": 16823.73,
            "open_interest": 24.925,
        }],
    ),
    WS + "subscription_ack.json": (heard, [("ack", "sub-orderbook-1")]),
    WS + "subscription_failure.json": (
        heard,
        [("refused", "Invalid topic: invalid.topic.BTCUSDT")],
    ),
}  # fmt: skip
ACCOUNT = "of an account: signed questions and the private stream, no public parser's"
NOT_READ = {
    HTTP + "account_info.json": ACCOUNT,
    HTTP + "executions.json": ACCOUNT,
    HTTP + "fee_rate.json": ACCOUNT,
    HTTP + "order_*": ACCOUNT,
    HTTP + "orders_*": ACCOUNT,
    HTTP + "user_*": ACCOUNT,
    RS + "http_post_*": ACCOUNT,
    WS + "account_*": ACCOUNT,
    WS + "auth_*": ACCOUNT,
    WS + "order_response.json": ACCOUNT,
    WS + "public_trade.json": "its topic `trade.linear.…` is none of the venue's",
}


@pytest.fixture(scope="module")
def files(shared_data):
    """Return every file of Bybit by name."""
    fixtures = shared_data / "fixtures"
    paths = sorted([*fixtures.glob(RS + "**/*.json"), *fixtures.glob("cryptofeed_http/BYBIT*")])
    return {path.relative_to(fixtures).as_posix(): path.read_bytes() for path in paths}


def reasons(name):
    return [reason for pattern, reason in NOT_READ.items() if fnmatch(name, pattern)]


def test_each_file_has_its_parser_or_a_reason(files):
    assert len(files) > 60
    assert [name for name in files if name not in READ and not reasons(name)] == []
    assert [name for name in files if name in READ and reasons(name)] == []
    assert set(READ) <= set(files)
    assert [one for one in NOT_READ if not any(fnmatch(name, one) for name in files)] == []


@pytest.mark.parametrize("name", READ)
def test_what_a_parser_should_read_is_read(files, name):
    read, expected = READ[name]
    assert read(files[name]) == expected


def test_a_trade_under_its_own_topic_is_read(files):
    frame = files[WS + "public_trade.json"]
    (error,) = decode([frame], SYMBOLS).errors
    assert error.reason == "event"
    received = decode([frame.replace(b"trade.linear.", b"publicTrade.")], SYMBOLS)
    trades = received.trades["BTCUSDT"]
    assert (trades.price.tolist(), trades.qty.tolist()) == ([27451.0], [0.01])
    assert trades.ref.tolist() == [b"9dc75fca-4bdd-4773-9f78-6f5d7ab2a110"]
    assert not received.errors


def test_no_symbol_of_the_spot_page_is_finer_than_a_grid_but_one(files):
    body = files[CF + "instruments-info__category-spot_status-Trading_limit-1000.json"]
    rows = json.loads(body)["result"]["list"]
    fine = [
        row["symbol"] for row in rows if Decimal(row["priceFilter"]["tickSize"]) < Decimal("1e-12")
    ]
    assert 0 < len(fine) < 5
    for symbol in fine:
        with pytest.raises(FrameError, match="a step of at least 1E-12 expected"):
            BYBIT_SPOT.listing_of(body, symbol)


PARSERS = [
    newest,
    *(one.read for one in BYBIT_LINEAR.series.values()),
    lambda body: BYBIT_LINEAR.listing_of(body, "BTCUSDT"),
    lambda body: BYBIT_LINEAR.day_of(body, 1_759_968_000_000_000),
    lambda body: mark_of(body, "BTCUSDT"),
    book_of,
    wallet_of,
    positions_of,
    BYBIT_LINEAR.clock_of,
    BYBIT_LINEAR.error_of,
    BYBIT_LINEAR.is_refusal,
]


def survives(body):
    """Put bytes to every parser: a value or FrameError comes out."""
    received = decode([body], SYMBOLS)
    assert isinstance(received, Received)
    for trades in received.trades.values():
        trades.checked()
    for parse in PARSERS:
        error = refusal(parse, body)
        assert error is None or (error.reason and error.raw == body[:2000])


def test_what_is_nobodys_is_refused_and_never_data(files):
    for name, body in files.items():
        if name in READ and not name.startswith((HTTP, CF)):
            continue
        received = decode([body], SYMBOLS)
        assert (received.trades, received.facts, received.topics) == ({}, [], set()), name
        assert len(received.errors) + len(received.controls) == 1, name
        survives(body)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bytes_come_to_nothing_but_frame_errors(files, seed):
    chance = random.Random(seed)
    for body in files.values():
        # Half a megabyte is as well broken in its first pages.
        start = body[: chance.randint(1, 20_000)] if len(body) > 20_000 else body
        for _ in range(20):
            survives(mutated(start, chance))
