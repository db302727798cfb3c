"""What the room of USD-M sends is read by the product's own parsers without a word of complaint."""

import time
from decimal import Decimal

import pytest
import requests

from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.simulator.server import Simulator
from marketdata.venues.binance_futures import VENUE

SYMBOLS = ["BTCUSDT"]


@pytest.fixture(scope="module")
def live():
    with Simulator.generated(SYMBOLS, venues=["binance_usdm"], seed=7, rate=1000.0) as venue:
        yield venue


def heard(venue, dial, stream, wanted):
    """Decode what a stream sends until it holds what is wanted."""
    socket = dial(venue, stream.path(SYMBOLS))
    for text in stream.opening(SYMBOLS):
        socket.send(text)
    frames, ended = [], time.monotonic() + 10
    while time.monotonic() < ended:
        frames.append(socket.recv().encode())
        if len(frames) % 10 == 0 and wanted(received := stream.decode(frames, frozenset(SYMBOLS))):
            return received
    raise AssertionError("it never came")


def answered(venue, question):
    answer = requests.get(venue.rest_url + question.path, params=dict(question.params))
    assert answer.status_code == 200, answer.text
    return answer.content


def test_trades_marks_liquidations_and_candles(live, dial):
    channel = VENUE.channel()
    live.faults.set("liquidation", 1)

    def wanted(received):
        kinds = {type(fact).__name__ for _, fact in received.facts}
        return received.trades and {"Mark", "Liquidation", "Kline"} <= kinds

    received = heard(live, dial, channel, wanted)
    assert received.errors == []
    trades = received.trades["BTCUSDT"]
    assert (trades.id[1:] - trades.id[:-1] == 1).all()
    page = channel.by_id.page_of(answered(live, channel.by_id.page("BTCUSDT", trades.id[0], 5)))
    assert page.id.tolist() == trades.id[:5].tolist()
    assert page.price.tolist() == trades.price[:5].tolist()
    assert page.is_buy.tolist() == trades.is_buy[:5].tolist()
    assert channel.topics(SYMBOLS) <= received.topics


def test_the_namesake_in_coins_is_left_out(live, dial):
    live.faults.set("st_mixed", 1)
    received = heard(live, dial, VENUE.channel(), lambda received: received.trades)
    trades = received.trades["BTCUSDT"]
    assert (trades.price > 100).all()
    assert (trades.id > 1000).all()


@pytest.mark.parametrize("pace", [100, 500])
def test_books_follow_their_snapshot(live, dial, pace):
    stream = VENUE.depth.stream(pace)
    received = heard(live, dial, stream, lambda received: len(received.facts) >= 10)
    assert received.errors == []
    book = VENUE.depth.snapshot_of(answered(live, VENUE.depth.snapshot("BTCUSDT")))
    assert len(book.bids) == 200


def test_raw_trades_are_read_without_their_placeholders(live, dial):
    channel = VENUE.channel("trade")

    def wanted(received):
        trades = received.trades.get("BTCUSDT", Trades.empty())
        return (trades.id[1:] - trades.id[:-1] == 2).any()

    received = heard(live, dial, channel, wanted)
    trades = received.trades["BTCUSDT"]
    assert (trades.qty > 0).all()
    assert received.errors == []


def test_answers_of_rest(live):
    listing = VENUE.listing_of(answered(live, VENUE.listing("BTCUSDT")), "BTCUSDT")
    assert listing.grid == Grid(Decimal("0.1"), Decimal("0.001"))
    assert (listing.status, listing.weight_per_minute) == ("TRADING", 2400)
    now_us = VENUE.clock_of(answered(live, VENUE.clock()))
    assert abs(now_us / 1e6 - time.time()) < 2
    for kind, series in VENUE.series.items():
        start_us = now_us - 86_400_000_000
        rows = series.read(answered(live, series.ask("BTCUSDT", start_us, now_us)))
        assert {row.kind for row in rows} == {kind}
        assert len(rows) == {"funding": 3, "open_interest": 288}[kind]
