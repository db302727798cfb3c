"""The thread that joins connections: pages that come late, never or wrong, and the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from marketdata.core.coverage import Run, runs_of
from marketdata.core.errors import ConnectionLostError
from marketdata.core.events import Batch
from marketdata.core.numbering import number_at
from marketdata.core.splice import Joint, Splice
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.feeds import splicer as module
from marketdata.feeds.splicer import Splicer
from tests.feeds.listening import until

BTC, ETH = "BTCUSDT", "ETHUSDT"
# 2026-08-09T00:00:00Z, and a millisecond from trade to trade.
START_US = 1_786_233_600_000_000
PAGE = 40


def tape(start_us: int = START_US, count: int = 400, step_us: int = 1000) -> Trades:
    at = np.arange(count)
    refs = np.array([b"%08d" % n for n in range(count)])
    return Trades.of(at, start_us + step_us * at, at + 1.0, at + 1.0, at % 2 == 0, ref=refs)


class Venue:
    """Has traded up to a place of a tape; its newest page is what ends there."""

    def __init__(self, trades: Trades) -> None:
        self.trades = trades
        self.at = 0
        self.error: ConnectionLostError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[str] = []

    def newest(self, symbol: str) -> Trades:
        self.asked.append(symbol)
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return self.trades[max(0, self.at - PAGE) : self.at]


class Desk:
    """What was handed on, and what was said."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, Batch]] = []
        self.unused: list[list[Run]] = []
        self.left: list[list[bytes]] = []
        self.begun: list[str] = []

    def deliver(self, symbol: str, batch: Batch, unused: list[Run]) -> None:
        self.batches.append((symbol, batch))
        self.unused.append(list(unused))

    def left_out(self, symbol: str, trades: Trades) -> None:
        self.left.append(trades.ref.tolist())

    def places(self, symbol: str = BTC) -> list[int]:
        """Return which rows of the tape were handed on, in order."""
        return [
            int(price) - 1
            for name, batch in self.batches
            for price in batch.trades.price.tolist()
            if name == symbol
        ]

    def ids(self) -> list[int]:
        return [id for _, batch in self.batches for id in batch.trades.id.tolist()]

    def stretches(self) -> list[int]:
        return [last - first + 1 for first, last in runs_of(np.array(self.ids()))]

    def origins(self) -> list[tuple[str, int]]:
        return [(batch.origin, len(batch.trades)) for _, batch in self.batches]


@pytest.fixture
def venue() -> Venue:
    return Venue(tape())


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.005)
    monkeypatch.setattr(module, "SOONEST_S", 0.02)
    monkeypatch.setattr(module, "LATEST_S", 0.02)
    monkeypatch.setattr(module, "DOUBT_S", 0.02)


Start = Callable[..., Splicer]


@pytest.fixture
def start(venue: Venue, desk: Desk) -> Iterator[Start]:
    """Start a splicer that knows what is held; no thread may be left."""
    before, made = set(threading.enumerate()), []

    def begin(*symbols: str, held: Splice | None = None, is_ready: bool = True) -> Splicer:
        names = symbols or (BTC,)
        found = Splicer(names, venue.newest, desk.deliver, desk.left_out, desk.begun.append)
        made.append(found)
        for name in names if is_ready else ():
            found.ready(name, held or Splice())
        found.start()
        return found

    yield begin
    venue.gate.set()
    for splicer in made:
        splicer.stop()
    assert set(threading.enumerate()) == before


def came(splicer: Splicer, venue: Venue, first: int, last: int, symbol: str = BTC) -> None:
    """Let rows first..last-1 come over the connection, after they were traded."""
    venue.at = max(venue.at, last)
    splicer.live(symbol, Batch(venue.trades[first:last], recv_us=1 + last))


def connected(start: Start, venue: Venue, desk: Desk, **more: Splice) -> Splicer:
    """Return a splicer that has joined rows 20..49, the page's before them."""
    splicer = start(**more)
    splicer.opened([BTC])
    came(splicer, venue, 20, 50)
    until(lambda: splicer.is_joined(BTC), "joined")
    return splicer


def test_page_and_live_trades_are_one_stretch_told_apart_by_origin(start, venue, desk):
    splicer = connected(start, venue, desk)
    came(splicer, venue, 50, 60)
    assert desk.places() == list(range(10, 60))
    assert desk.stretches() == [50]
    assert desk.ids()[0] == number_at(START_US + 10_000)
    assert desk.origins() == [("rest", 10), ("live", 30), ("live", 10)]
    assert [batch.recv_us for _, batch in desk.batches] == [0, 51, 61]
    assert desk.begun == [BTC]


def test_a_reconnect_is_joined_by_the_page_in_order(start, venue, desk):
    splicer = connected(start, venue, desk)
    splicer.opened([BTC])
    assert not splicer.is_joined(BTC)
    came(splicer, venue, 75, 80)
    until(lambda: splicer.is_joined(BTC), "joined")
    came(splicer, venue, 80, 82)
    assert desk.places() == list(range(10, 82))
    assert desk.stretches() == [72]
    assert splicer.joints[Joint.PROVEN] == 1


def test_a_roll_whose_old_end_ends_first_is_joined_by_the_page(start, venue, desk):
    """The successor is open, but brings its first trade only after the old connection ended."""
    splicer = connected(start, venue, desk)
    splicer.opened([BTC])
    came(splicer, venue, 50, 52)  # over the old one
    until(lambda: splicer.is_joined(BTC), "joined")
    splicer.closed([BTC])
    came(splicer, venue, 75, 80)
    until(lambda: splicer.is_joined(BTC), "joined")
    assert desk.places() == list(range(10, 80))
    assert desk.stretches() == [70]


def test_trades_from_before_a_symbol_was_opened_wait_no_longer_than_others(
    start, venue, desk, monkeypatch
):
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    venue.error = ConnectionLostError("no answer")
    splicer = start(is_ready=False)
    splicer.opened([BTC])
    came(splicer, venue, 20, 25)
    splicer.ready(BTC, Splice())
    until(lambda: splicer.is_joined(BTC), "given up without another trade")
    assert desk.places() == list(range(20, 25))


def test_of_too_many_trades_from_before_a_symbol_was_opened_the_newest_are_kept(
    start, venue, desk, monkeypatch
):
    monkeypatch.setattr(module, "MOST_WAITING", 30)
    splicer = start(is_ready=False)
    splicer.opened([BTC])
    for first in range(0, 100, 10):
        came(splicer, venue, first, first + 10)
    held = splicer._desks[BTC].early
    assert [len(trades) for trades in held] == [10, 10, 10]
    splicer.ready(BTC, Splice())
    until(lambda: desk.begun == [BTC], "begun")
    # The newest thirty, and those that the page has before them.
    assert desk.places() == list(range(60, 100))


def test_trades_that_wait_are_handed_on_when_the_venue_answers_again(start, venue, desk):
    splicer = connected(start, venue, desk)
    venue.error = ConnectionLostError("no answer")
    splicer.opened([BTC])
    came(splicer, venue, 60, 65)
    asked = len(venue.asked)
    until(lambda: len(venue.asked) > asked + 1, "asked again")
    came(splicer, venue, 65, 70)
    assert desk.places()[-1] == 49
    venue.error = None
    until(lambda: splicer.is_joined(BTC), "joined")
    assert desk.places() == list(range(10, 70))
    assert desk.stretches() == [60]


def test_patience_ends_with_a_stretch_of_its_own(start, venue, desk, monkeypatch):
    splicer = connected(start, venue, desk)
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    venue.error = ConnectionLostError("no answer")
    splicer.opened([BTC])
    came(splicer, venue, 60, 65)
    until(lambda: splicer.is_joined(BTC), "given up")
    came(splicer, venue, 65, 70)
    assert desk.places() == [*range(10, 50), *range(60, 70)]
    assert desk.stretches() == [40, 10]
    until(lambda: desk.begun == [BTC, BTC], "told that a stretch begins")


def test_patience_ends_while_the_venue_is_still_asked(start, venue, desk, monkeypatch):
    splicer = connected(start, venue, desk)
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    venue.gate.clear()
    splicer.opened([BTC])
    asked = len(venue.asked)
    came(splicer, venue, 60, 65)
    until(lambda: len(venue.asked) > asked, "asked")
    at = 65
    while not splicer.is_joined(BTC) and at < 350:
        came(splicer, venue, at, at + 1)
        at += 1
        threading.Event().wait(0.005)
    assert splicer.is_joined(BTC)
    assert desk.places() == [*range(10, 50), *range(60, at)]
    assert desk.stretches() == [40, at - 60]
    venue.gate.set()
    came(splicer, venue, at, at + 5)
    assert desk.stretches() == [40, at + 5 - 60]


def test_no_more_waits_than_has_room(start, venue, desk, monkeypatch):
    splicer = connected(start, venue, desk)
    monkeypatch.setattr(module, "MOST_WAITING", 20)
    venue.error = ConnectionLostError("no answer")
    splicer.opened([BTC])
    came(splicer, venue, 60, 75)
    assert not splicer.is_joined(BTC)
    came(splicer, venue, 75, 85)
    assert splicer.is_joined(BTC)
    assert desk.stretches() == [40, 25]


def test_both_lines_of_a_roll_bring_each_trade_once(start, venue, desk):
    splicer = connected(start, venue, desk)
    splicer.opened([BTC])
    came(splicer, venue, 52, 56)
    came(splicer, venue, 50, 55)
    until(lambda: splicer.is_joined(BTC), "joined")
    came(splicer, venue, 56, 60)
    came(splicer, venue, 55, 58)
    assert desk.places() == list(range(10, 60))
    assert desk.stretches() == [50]


def test_trades_before_the_store_is_read_wait_by_connection(start, venue, desk):
    splicer = start(is_ready=False)
    splicer.opened([BTC])
    came(splicer, venue, 0, 5)
    splicer.opened([BTC])
    came(splicer, venue, 60, 65)
    assert desk.batches == []
    splicer.ready(BTC, Splice())
    until(lambda: splicer.is_joined(BTC), "joined")
    # The page, 25..64, does not reach what the first connection brought.
    assert desk.places() == [*range(5), *range(25, 65)]
    assert desk.stretches() == [5, 40]


def test_what_is_stored_is_gone_on_with(start, venue, desk):
    held = venue.trades[:30]
    known = Splice(number_at(START_US) + 29, int(held.ts_us[-1]), held.ref.tolist())
    connected(start, venue, desk, held=known)
    assert desk.places() == list(range(30, 50))
    assert desk.ids() == list(range(number_at(START_US) + 30, number_at(START_US) + 50))
    assert desk.begun == []


def test_a_loss_on_a_running_line_is_told_once(start, venue, desk):
    splicer = connected(start, venue, desk)
    came(splicer, venue, 53, 60)
    until(lambda: desk.left, "told")
    asked = len(venue.asked)
    until(lambda: len(venue.asked) > asked + 3, "compared again")
    assert desk.left == [[b"00000050", b"00000051", b"00000052"]]
    came(splicer, venue, 61, 63)
    until(lambda: len(desk.left) == 2, "told of another")
    assert desk.left[1] == [b"00000060"]


def test_a_comparison_that_failed_is_made_up_for_soon(start, venue, desk, monkeypatch):
    monkeypatch.setattr(module, "LATEST_S", 60.0)
    venue.error = ConnectionLostError("no answer")
    splicer = start()
    splicer.opened([BTC])
    came(splicer, venue, 20, 50)
    venue.error = None
    until(lambda: splicer.is_joined(BTC), "joined")
    venue.error = ConnectionLostError("no answer")
    asked = len(venue.asked)
    until(lambda: len(venue.asked) > asked + 1, "not told twice")
    came(splicer, venue, 53, 60)
    venue.error = None
    until(lambda: desk.left, "told")


def test_what_is_on_its_way_is_no_loss(start, venue, desk, monkeypatch):
    splicer = connected(start, venue, desk)
    monkeypatch.setattr(module, "DOUBT_S", 0.3)
    came(splicer, venue, 51, 52)  # in front of the one before it
    asked = len(venue.asked)
    until(lambda: len(venue.asked) > asked, "compared")
    came(splicer, venue, 50, 51)
    until(lambda: len(venue.asked) > asked + 2, "compared again")
    assert desk.left == []
    assert sorted(desk.places()) == list(range(10, 52))


def test_symbols_do_not_wait_for_each_other(start, venue, desk):
    splicer = start(BTC, ETH)
    splicer.opened([BTC, ETH])
    came(splicer, venue, 0, 5, ETH)
    until(lambda: splicer.is_joined(ETH), "joined")
    assert not splicer.is_joined(BTC)
    assert (desk.places(ETH), desk.places(BTC)) == (list(range(5)), list(range(5)))


def test_the_end_hands_on_what_waits(start, venue, desk):
    splicer = connected(start, venue, desk)
    venue.error = ConnectionLostError("no answer")
    splicer.opened([BTC])
    came(splicer, venue, 60, 65)
    splicer.stop()
    assert desk.places() == [*range(10, 50), *range(60, 65)]
    assert desk.stretches() == [40, 5]


def test_numbers_that_a_day_leaves_are_told_with_the_next_days_first(start, venue, desk):
    venue.trades = tape(START_US + DAY_US - 60_000)  # sixty trades before midnight
    splicer = connected(start, venue, desk)
    came(splicer, venue, 50, 70)
    first = number_at(START_US + DAY_US)
    assert desk.ids()[-10:] == list(range(first, first + 10))
    last = desk.ids()[-11]
    assert [run for runs in desk.unused for run in runs] == [(last + 1, first - 1)]
