"""Typed answers over a connection, against a venue of four days that pages as the real one does."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from marketdata.core.errors import ConnectionLostError, FrameError, StoppedError, VenueError
from marketdata.core.timeframe import DAY_US
from marketdata.feeds.socket_client import TRIES, SocketClient
from marketdata.venues.deriv import PAGE, VENUE
from tests.rest.hand import START_US, HandClock

S = 1_000_000
# 2025-10-09 00:00 UTC.
DAY = 1_759_968_000
R100 = range(DAY - 86_400, DAY + 2 * 86_400, 2)


def quote_at(epoch: int) -> float:
    return 600.0 + (epoch * 7919 % 1000) / 100


class Venue:
    """Answers requests of history out of known ticks, and remembers them."""

    def __init__(self, epochs=R100):
        self.epochs = np.array(epochs)
        self.requests: list[dict] = []
        self.failures: list[Exception] = []
        self.label = "generated"
        self.now = DAY + 43_200

    def ask(self, request, timeout_s=30.0):
        self.requests.append(dict(request))
        if self.failures:
            raise self.failures.pop(0)
        return json.dumps(getattr(self, next(iter(request)))(request)).encode()

    def ticks_history(self, request):
        end = self.now if request["end"] == "latest" else int(request["end"])
        known = self.epochs
        found = known[(known >= request.get("start", 0)) & (known <= min(end, self.now))]
        found = found[-request["count"] :].tolist()
        if request["style"] == "candles":
            return {"msg_type": "candles", "candles": self.candle(found)}
        prices = [quote_at(epoch) for epoch in found]
        return {"msg_type": "history", "history": {"prices": prices, "times": found}}

    def candle(self, found):
        if not found:
            return []
        prices = [quote_at(epoch) for epoch in found]
        return [
            {"epoch": found[0], "open": prices[0], "close": prices[-1]}
            | {"high": max(prices), "low": min(prices)}
        ]

    def time(self, request):
        return {"msg_type": "time", "time": START_US // S + 40}

    def active_symbols(self, request):
        row = {"underlying_symbol": "R_100", "pip_size": 0.01, "exchange_is_open": 1}
        return {"msg_type": "active_symbols", "active_symbols": [row]}

    def balance(self, request):
        return {"msg_type": "balance", "balance": {"balance": 10000.25, "currency": "USD"}}


@pytest.fixture
def venue():
    return Venue()


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def client(venue, clock):
    return SocketClient(VENUE, venue, threading.Event(), random01=lambda: 0.5, clock=clock)


def test_a_range_of_many_pages_comes_whole_ascending_and_asked_for_backwards(client, venue):
    ticks = client.between("R_100", (DAY - 20_000) * S, (DAY + 10_001) * S)
    epochs = list(range(DAY - 20_000, DAY + 10_001, 2))
    assert ticks.id.tolist() == epochs
    assert ticks.ts_us.tolist() == [epoch * S for epoch in epochs]
    assert ticks.price.tolist() == [quote_at(epoch) for epoch in epochs]
    assert ticks.ref.tolist() == [str(epoch).encode() for epoch in epochs]
    assert set(ticks.qty.tolist()) == {1.0}
    # 15,001 ticks: three pages are full, the fourth brings the one left.
    pages = [(r["start"], r["end"], r["count"], r["style"]) for r in venue.requests]
    assert [page[0] for page in pages] == [DAY - 20_000] * 4
    assert [int(page[1]) for page in pages] == [
        DAY + 10_000, DAY + 1, DAY - 9_999, DAY - 19_999,
    ]  # fmt: skip
    assert {page[2:] for page in pages} == {(PAGE, "ticks")}
    assert all(type(r["start"]) is int and type(r["end"]) is str for r in venue.requests)
    assert all("subscribe" not in r for r in venue.requests)


def test_sides_follow_the_tick_rule_over_the_seams_of_pages(client):
    ticks = client.between("R_100", DAY * S, (DAY + 30_000) * S)
    side, before, sides = True, ticks.price[0], []
    for price in ticks.price.tolist():
        side = side if price == before else price > before
        before = price
        sides.append(side)
    assert ticks.is_buy.tolist() == sides


def test_a_short_page_is_not_taken_for_the_end():
    venue = Venue()
    whole = venue.ticks_history

    def short(request):
        told = whole(request)
        history = told["history"]
        told["history"] = {name: column[-7:] for name, column in history.items()}
        return told

    venue.ticks_history = short
    client = SocketClient(VENUE, venue, threading.Event(), clock=HandClock())
    ticks = client.between("R_100", DAY * S, (DAY + 60) * S)
    assert ticks.id.tolist() == list(range(DAY, DAY + 60, 2))


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (DAY * S, (DAY + 10) * S, DAY, DAY + 8),
        (DAY * S + 1, (DAY + 8) * S + 1, DAY + 2, DAY + 8),
        (DAY * S - 1, (DAY + 8) * S, DAY, DAY + 6),
    ],
)
def test_ends_of_a_range_are_kept_to_the_microsecond(client, start, end, first, last):
    ids = client.between("R_100", start, end).id.tolist()
    assert (ids[0], ids[-1]) == (first, last)


def test_nothing_comes_of_an_empty_range_and_of_one_without_ticks(client, venue):
    assert len(client.between("R_100", DAY * S, DAY * S)) == 0
    assert venue.requests == []
    assert len(client.between("R_100", (DAY + 50_000) * S, (DAY + 50_100) * S)) == 0
    assert len(venue.requests) == 1


def test_a_venue_that_jumps_to_its_newest_ticks_is_refused(client, venue):
    whole = venue.ticks_history
    venue.ticks_history = lambda request: whole({**request, "start": 0, "end": "latest"})
    with pytest.raises(FrameError, match="other ticks than those asked for"):
        client.between("R_100", (DAY - 80_000) * S, (DAY - 79_000) * S)
    assert len(venue.requests) == 1


def test_a_page_larger_than_asked_for_is_refused(client, venue):
    whole = venue.ticks_history
    venue.ticks_history = lambda request: whole({**request, "count": PAGE + 1})
    with pytest.raises(FrameError, match="at most 5000 ticks expected, seen 5001"):
        client.between("R_100", (DAY - 50_000) * S, DAY * S)


def test_the_newest_ticks_are_a_page(client, venue):
    ticks = client.newest("R_100")
    assert len(ticks) == PAGE
    assert int(ticks.id[-1]) == venue.now
    assert venue.requests == [
        {"ticks_history": "R_100", "end": "latest", "count": PAGE, "style": "ticks"}
    ]


def test_a_days_levels_come_from_its_candle(client, venue):
    prices = [quote_at(epoch) for epoch in range(DAY - 86_400, DAY, 2)][-PAGE:]
    venue.candle = lambda found: [
        {"epoch": DAY - 86_400, "open": 600.0, "close": prices[-1]}
        | {"high": max(prices), "low": 600.0}
    ]
    levels = client.day("R_100", DAY * S - DAY_US)
    assert (levels.high, levels.low, levels.close) == (max(prices), 600.0, prices[-1])
    request = venue.requests[0]
    assert (request["start"], request["end"]) == (DAY - 86_400, str(DAY - 1))
    assert (request["style"], request["granularity"]) == ("candles", 86_400)
    venue.candle = lambda found: []
    assert client.day("R_100", DAY * S - DAY_US) is None


def test_a_symbol_is_listed_with_its_pip(client):
    listing = client.listing("R_100")
    assert (str(listing.grid.tick), str(listing.grid.lot)) == ("0.01", "1")
    assert listing.status == "open"
    with pytest.raises(FrameError, match="NOPE expected in active_symbols"):
        client.listing("NOPE")


def test_the_clock_is_told_to_half_a_second_and_a_large_difference_is_noted(client, caplog):
    with caplog.at_level("WARNING"):
        assert abs(client.clock_offset_us() - 40 * S) <= 600_000
    assert "clock differs venue=deriv offset_ms=40" in caplog.text


def test_the_balance_is_exact(client):
    balance = client.balance()
    assert (str(balance.amount), balance.currency) == ("10000.25", "USD")


@pytest.mark.parametrize(
    ("failures", "pauses"),
    [
        ([ConnectionLostError("cut")] * 3, [1.0, 2.0, 4.0]),
        ([VenueError("tired", retryable=True, retry_after_s=60.0)], [60.0]),
        ([], []),
    ],
)
def test_what_passes_by_itself_is_asked_again(client, venue, clock, failures, pauses):
    venue.failures = list(failures)
    began_s = clock.now_s
    assert len(client.between("R_100", DAY * S, (DAY + 10) * S)) == 5
    assert clock.now_s - began_s == pytest.approx(sum(pauses))
    assert client.retries == len(failures)


def test_a_page_lost_in_the_middle_leaves_no_hole(client, venue):
    whole, calls = venue.ticks_history, []

    def sometimes(request):
        calls.append(request)
        if len(calls) % 2:
            raise ConnectionLostError("cut")
        return whole(request)

    venue.ticks_history = sometimes
    ticks = client.between("R_100", (DAY - 20_000) * S, DAY * S)
    assert ticks.id.tolist() == list(range(DAY - 20_000, DAY, 2))


@pytest.mark.parametrize(
    ("failure", "times"),
    [
        (lambda: ConnectionLostError("cut"), TRIES),
        (lambda: VenueError("InvalidSymbol: no"), 1),
        (lambda: VenueError("RateLimit: slow", retryable=True), TRIES),
    ],
)
def test_what_does_not_pass_is_told(client, venue, failure, times):
    venue.failures = [failure() for _ in range(9)]
    with pytest.raises(type(failure())):
        client.between("R_100", DAY * S, (DAY + 10) * S)
    assert len(venue.requests) == times


def test_stopping_and_closing_end_the_waits(client, venue):
    venue.failures = [ConnectionLostError("cut")] * 9
    client.close()
    with pytest.raises(StoppedError):
        client.newest("R_100")
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        SocketClient(VENUE, venue, stop, clock=HandClock()).newest("R_100")


def test_the_label_is_the_connections(client, venue):
    assert client.label == "generated"
    assert client.is_simulated
    venue.label = ""
    assert not client.is_simulated
