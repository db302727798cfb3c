"""What Bybit is asked over HTTP, within which limits, and how its answers are read."""

from decimal import Decimal
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.core.errors import FrameError
from marketdata.core.facts import BookUpdate, Mark
from marketdata.venues import VARIANTS, VENUES, venue_of
from marketdata.venues.base import Newest, Question
from marketdata.venues.bybit import BYBIT_LINEAR, BYBIT_SPOT
from marketdata.venues.bybit_answers import book_of, mark_of
from marketdata.venues.bybit_wire import is_refusal, positions_of, wallet_of
from tests.venues.bybit import LINEAR, SPOT, encoded
from tests.venues.test_fixtures_binance import refusal

DAY_US = 1_759_968_000_000_000


def envelope(result, code=0):
    return encoded({"retCode": code, "retMsg": "OK", "result": result, "time": 1760000100000})


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


# What is answered.


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
