"""Bybit's parsers against its simulated rooms: streams by their opening frames, each question."""

import threading
import time

import pytest

from marketdata.conf import Conf
from marketdata.core.booksync import BookSync
from marketdata.core.errors import FrameError
from marketdata.core.facts import BookUpdate
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.feeds.socket import Socket
from marketdata.rest.client import VenueClient
from marketdata.rest.clock import Clock
from marketdata.rest.limiter import Priority
from marketdata.rest.pool import Pool, new_limiter
from marketdata.simulator.server import Simulator
from marketdata.venues.base import Received
from marketdata.venues.bybit import BYBIT_LINEAR, BYBIT_SPOT, resubscribe
from tests.rest.hand import MemoryBans

SYMBOLS = ("BTCUSDT", "ETHUSDT")
VENUES = [BYBIT_LINEAR, BYBIT_SPOT]
PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def room():
    """Serve busy markets, for what streams."""
    with Simulator.generated(SYMBOLS, venues=["bybit"], seed=7, rate=100.0) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def past():
    """Serve quiet markets, whose past is counted soon."""
    with Simulator.generated(SYMBOLS, venues=["bybit"], seed=7, rate=0.5) as simulator:
        yield simulator


@pytest.fixture
def asked():
    """Make a client of a simulated venue."""
    clients = []

    def make(room, venue):
        conf = Conf(backfill_public_delay_ms=0)
        pool = Pool(conf, new_limiter(venue, conf, Clock()), Clock(), MemoryBans())
        clients.append(VenueClient(venue, room.rest_url, conf, threading.Event(), pool=pool))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def heard(socket, stream, is_enough):
    """Read until enough came; refused frames fail."""
    total = Received()
    until_s = time.monotonic() + PATIENCE_S
    while not is_enough(total):
        assert time.monotonic() < until_s, f"only {sorted(total.topics)} came"
        received = stream.decode(socket.receive(0.1), frozenset(SYMBOLS))
        assert received.errors == []
        total.facts += received.facts
        total.controls += received.controls
        total.topics |= received.topics
        for symbol, batch in received.trades.items():
            held = total.trades.get(symbol)
            total.trades[symbol] = batch if held is None else held.concat([held, batch])
    return total


def opened(room, stream):
    socket = Socket.connect(room.ws_url + stream.path(SYMBOLS))
    for frame in stream.opening(SYMBOLS):
        socket.send_text(frame.decode())
    return socket


def value(client, question, read):
    return read(client.ask(question, Priority.LIVE).body)


@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.key)
def test_all_that_is_awaited_speaks_and_pings_are_answered(room, venue):
    stream = venue.channel()
    with opened(room, stream) as socket:
        socket.send_text(stream.beat.frame.decode())
        total = heard(
            socket,
            stream,
            lambda told: stream.topics(SYMBOLS) <= told.topics and len(told.controls) > 1,
        )
    assert sorted(control.kind for control in total.controls) == ["ack", "pong"]


@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.key)
def test_the_newest_page_overlaps_with_what_streams(room, asked, venue):
    stream, client = venue.channel(), asked(room, venue)
    with opened(room, stream) as socket:
        total = heard(socket, stream, lambda told: len(told.trades.get("BTCUSDT", ())) >= 5)
        page = value(client, stream.past.ask("BTCUSDT"), stream.past.read)
    live = total.trades["BTCUSDT"]
    assert 0 < len(page) <= venue.page_limit
    assert (page.ts_us[1:] >= page.ts_us[:-1]).all()
    at = page.ref.tolist().index(live.ref[-1])
    count = min(at + 1, len(live))
    mine, theirs = live[-count:], page[at + 1 - count : at + 1]
    assert mine.ref.tolist() == theirs.ref.tolist()
    for column in ("id", "ts_us", "price", "qty", "is_buy"):
        assert getattr(mine, column).tolist() == getattr(theirs, column).tolist()


@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.key)
def test_a_book_is_kept_and_made_anew_over_the_same_line(room, venue):
    stream = venue.depth.stream(100)
    sync = BookSync(venue.depth.sequencer, venue.depth.levels, is_asked=False)

    def updates(count):
        return lambda told: sum(symbol == "BTCUSDT" for symbol, _ in told.facts) >= count

    with opened(room, stream) as socket:
        total = heard(socket, stream, updates(5))
        for frame in resubscribe(100, "BTCUSDT"):
            socket.send_text(frame.decode())
        snapshots = heard(socket, stream, lambda told: any(map(is_whole, told.facts)))
    for symbol, update in total.facts + snapshots.facts:
        if symbol == "BTCUSDT":
            sync.put(update, update.ts_us)
    assert sync.is_synced
    assert sync.counts.gaps == 0
    assert sync.book.bid < sync.book.ask


def is_whole(told):
    symbol, fact = told
    return symbol == "BTCUSDT" and isinstance(fact, BookUpdate) and fact.is_snapshot


@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.key)
def test_each_question_is_answered_in_words_we_read(past, asked, venue):
    client = asked(past, venue)
    assert client.listing("BTCUSDT").status == "Trading"
    assert client.is_simulated
    assert abs(client.clock_offset_us()) < 500_000
    day_us = open_us(time.time_ns() // 1000, DAY_US) - DAY_US
    levels = client.day("BTCUSDT", day_us)
    assert levels.low <= levels.close <= levels.high
    for kind, series in venue.series.items():
        rows = value(client, series.ask("BTCUSDT", day_us, day_us + DAY_US), series.read)
        assert {row.kind for row in rows} == {kind}
        times = [row.ts_us for row in rows]
        assert times == sorted(set(times))
        assert day_us <= times[0] <= times[-1] < day_us + DAY_US
        if kind == "funding":
            assert [time_us - day_us for time_us in times] == [0, DAY_US // 3, 2 * DAY_US // 3]


def test_a_day_that_is_not_over_has_no_levels_yet(past, asked):
    client = asked(past, BYBIT_LINEAR)
    with pytest.raises(FrameError, match="a day over by"):
        client.day("BTCUSDT", open_us(time.time_ns() // 1000, DAY_US))
