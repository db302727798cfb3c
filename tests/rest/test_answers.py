import time
from decimal import Decimal

import pytest

from marketdata.core.errors import FrameError, VenueError
from marketdata.core.trades import Trades
from marketdata.rest.client import before_hole
from marketdata.rest.clock import Clock
from marketdata.venues.base import DayLevels, Question
from tests.rest.hand import START_US
from tests.rest.server import reply

INFO = """{"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,
"limit":1000}],"symbols":[{"symbol":"BTCUSDT","status":"TRADING","filters":[
{"filterType":"PRICE_FILTER","tickSize":"0.01000000"},
{"filterType":"LOT_SIZE","stepSize":"0.00001000"}]}]}"""
DAY_US = 1_759_968_000_000_000


def rows(*ids):
    """Compose a page of aggTrades."""
    row = '{{"a":{0},"p":"1.5","q":"2","f":{0},"l":{0},"T":1760000400000,"m":false,"M":true}}'
    return reply(200, f"[{','.join(row.format(id) for id in ids)}]")


def test_a_listing_brings_grid_state_and_limits(server, made):
    server.then(reply(200, INFO))
    client = made()
    listing = client.listing("BTCUSDT")
    assert (listing.grid.tick, listing.grid.lot) == (Decimal("0.01"), Decimal("0.00001"))
    assert listing.status == "TRADING"
    limiter = client.status().limiter
    assert (limiter.venue_limit, limiter.full_limit, limiter.used) == (1000, 800, 20)
    assert server.requests[0].line == "GET /api/v3/exchangeInfo?symbol=BTCUSDT HTTP/1.1"


def test_a_symbol_the_venue_does_not_know(server, made):
    server.then(reply(400, '{"code":-1121,"msg":"Invalid symbol."}'))
    with pytest.raises(VenueError, match="code -1121: Invalid symbol"):
        made().listing("NOPE")


def test_a_day_s_levels(server, made):
    candle = '[1759968000000,"2","5","1","4","9",1760054399999,"30",7,"5","20","0"]'
    server.then(reply(200, f"[{candle}]"), reply(200, "[]"))
    client = made()
    assert client.day("BTCUSDT", DAY_US) == DayLevels(5.0, 1.0, 4.0)
    assert client.day("BTCUSDT", DAY_US) is None


def test_the_first_id_of_a_time(server, made):
    server.then(rows(4711), reply(200, "[]"))
    client = made()
    assert client.first_id("aggTrade", "BTCUSDT", START_US) == 4711
    assert client.first_id("aggTrade", "BTCUSDT", START_US) is None
    assert "startTime=1760000400000&limit=1 " in server.requests[0].line


def test_a_page(server, made):
    server.then(rows(10, 11, 12))
    page = made().page("aggTrade", "BTCUSDT", 10)
    assert page.id.tolist() == [10, 11, 12]
    assert page.ts_us.tolist() == [1_760_000_400_000_000] * 3
    assert page.is_buy.tolist() == [True] * 3
    assert "fromId=10&limit=1000 " in server.requests[0].line


def test_an_empty_page_is_the_end(server, made):
    server.then(reply(200, "[]"))
    assert len(made().page("aggTrade", "BTCUSDT", 10)) == 0


def test_a_page_that_starts_late_is_told_as_it_is(server, made):
    server.then(rows(15, 16))
    assert made().page("aggTrade", "BTCUSDT", 10).id.tolist() == [15, 16]


def test_a_page_is_cut_before_its_first_hole(server, made):
    server.then(rows(10, 11, 14, 15), rows(14, 15))
    client = made()
    assert client.page("aggTrade", "BTCUSDT", 10).id.tolist() == [10, 11]
    # The next page asks for the missing ids by name, and the answer says that there are none.
    assert client.page("aggTrade", "BTCUSDT", 12).id.tolist() == [14, 15]


def test_nothing_is_cut_from_a_page_without_a_hole():
    ids = [3, 4, 5]
    page = Trades.of(ids, ids, ids, ids, [True] * 3)
    assert before_hole(page) is page


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ((10, 12, 11), "ascending ids expected, seen 12 before 11"),
        ((10, 11, 11), "ascending ids expected, seen 11 before 11"),
        ((9, 10, 11), "ids from 10 on expected, seen 9"),
        ((10, 11, 12, 13), "at most 3 trades expected, seen 4"),
    ],
)
def test_a_page_that_is_not_what_was_asked_for_is_refused(server, made, ids, words):
    server.then(rows(*ids))
    with pytest.raises(FrameError, match=words):
        made().page("aggTrade", "BTCUSDT", 10, limit=3)
    assert len(server.requests) == 1


def clock_reply(ahead_us, delay_s=0.0):
    """Answer with a clock that is ahead of ours, read when the request is half-way back."""

    def step(sock):
        time.sleep(delay_s / 2)
        server_ms = (time.time_ns() // 1000 + ahead_us) // 1000
        time.sleep(delay_s / 2)
        sock.sendall(reply(200, f'{{"serverTime":{server_ms}}}'))

    return step


@pytest.mark.parametrize("ahead_us", [5_000_000, -3_000_000])
def test_the_clock_offset_is_the_median_of_samples_with_half_the_way_taken_off(
    server, made, ahead_us, caplog
):
    late = clock_reply(ahead_us - 200_000)
    server.then(late, *[clock_reply(ahead_us, 0.08)] * 3, clock_reply(ahead_us + 900_000))
    offset_us = made(clock=Clock()).clock_offset_us()
    # Without half of the 80 ms there and back it would be off by 40.
    assert offset_us == pytest.approx(ahead_us, abs=25_000)
    assert len(server.requests) == 5
    assert f"clock differs venue=binance_spot offset_ms={offset_us // 1000}" in caplog.text


def test_a_simulator_says_so_in_every_answer(server, made):
    server.then(reply(200, X_Simulated="recorded"), reply(200))
    client = made()
    assert not client.is_simulated
    client.ask(Question("/api/v3/ping"))
    assert (client.is_simulated, client.label) == (True, "recorded")
    assert client.status().label == "recorded"
    client.ask(Question("/api/v3/ping"))
    assert (client.is_simulated, client.label) == (False, "")
