"""The keeper's threads: updates that never wait, snapshots asked aside, readers, the end."""

import threading
import time

import pytest

from marketdata.core.backoff import Backoff
from marketdata.core.errors import ConnectionLostError, OutOfSyncError
from marketdata.core.facts import BookUpdate, Kline, Quote
from marketdata.feeds.book_desk import ENDED, GRACE_S
from marketdata.feeds.books import DROPPED, STOPPED, BookKeeper
from tests.feeds.test_book_desk import Clock, depth_of, update, whole

BTC, ETH = "BTCUSDT", "ETHUSDT"


def until(condition, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.001)


class Venue:
    """Answers with the book that was set; may be slow, may fail first."""

    def __init__(self):
        self.books = {}
        self.asked = []
        self.failures = []
        self.gate = threading.Event()
        self.gate.set()

    def snapshot(self, symbol):
        self.asked.append(symbol)
        assert self.gate.wait(5)
        if self.failures:
            raise self.failures.pop(0)
        return self.books[symbol]

    def resubscribe(self, symbol):
        self.asked.append(symbol)


@pytest.fixture
def venue():
    return Venue()


@pytest.fixture
def keep(venue):
    """Return a function that starts a keeper; every thread must have ended at the end."""
    before, kept = set(threading.enumerate()), []

    def start(symbols=(BTC, ETH), *, is_asked=True, **more):
        more.setdefault("backoff", lambda: Backoff(0.01, cap_s=0.01))
        keeper = BookKeeper(
            "venue",
            depth_of(is_asked=is_asked),
            symbols,
            snapshot=venue.snapshot if is_asked else None,
            resubscribe=None if is_asked else venue.resubscribe,
            **more,
        )
        keeper.start()
        kept.append(keeper)
        return keeper

    yield start
    venue.gate.set()
    for keeper in kept:
        keeper.stop()
    assert set(threading.enumerate()) == before


def status(keeper, symbol=BTC):
    return next(one for one in keeper.statuses() if one.symbol == symbol)


def synced(keeper, venue, symbol=BTC, last=10):
    venue.books[symbol] = whole(last)
    keeper.put(symbol, update(last))
    until(lambda: status(keeper, symbol).is_synced)


def test_a_book_is_whole_once_its_snapshot_came(keep, venue):
    keeper = keep()
    with pytest.raises(OutOfSyncError, match="no update has come yet"):
        keeper.view(BTC)
    synced(keeper, venue)
    keeper.put(BTC, update(11, [(100.5, 2.0)]))
    until(lambda: keeper.view(BTC).view.update_id == 11)
    report = keeper.view(BTC, depth=1, levels=1)
    assert (report.view.bids, report.view.asks) == (((100.5, 2.0),), ((101.0, 4.0),))
    assert report.liquidity.spread == 0.5
    assert keeper.symbols == (BTC, ETH)
    assert not status(keeper, ETH).is_synced
    with pytest.raises(KeyError):
        keeper.view("DOGEUSDT")


def test_updates_go_on_being_kept_while_a_snapshot_is_on_its_way(keep, venue):
    keeper = keep()
    venue.gate.clear()
    venue.books[BTC] = whole(12)
    for number in range(10, 15):
        keeper.put(BTC, update(number, [(90.0 + number, 1.0)]))
    until(lambda: venue.asked == [BTC])
    keeper.put(ETH, update(5))
    until(lambda: keeper.waiting == 0)
    venue.books[ETH] = whole(5)
    venue.gate.set()
    until(lambda: status(keeper).is_synced and status(keeper, ETH).is_synced)
    assert keeper.view(BTC).view.update_id == 14
    assert keeper.view(BTC).view.bids[:2] == ((104.0, 1.0), (103.0, 1.0))


def test_a_failure_and_an_old_snapshot_are_followed_by_another_question(keep, venue):
    keeper = keep()
    venue.failures = [ConnectionLostError("gone")]
    venue.books[BTC] = whole(5)
    keeper.put(BTC, update(10))
    until(lambda: len(venue.asked) >= 3)
    venue.books[BTC] = whole(9)
    until(lambda: status(keeper).is_synced)


def test_a_lost_update_brings_a_new_snapshot(keep, venue):
    keeper = keep()
    synced(keeper, venue)
    venue.gate.clear()
    venue.books[BTC] = whole(20)
    keeper.put(BTC, update(20))
    until(lambda: not status(keeper).is_synced)
    with pytest.raises(OutOfSyncError, match="follows 10 was expected"):
        keeper.view(BTC)
    venue.gate.set()
    until(lambda: status(keeper).is_synced)
    assert (status(keeper).gaps, status(keeper).resyncs, status(keeper).asked) == (1, 1, 2)


def test_an_ended_connection_makes_its_books_unknown(keep, venue):
    keeper = keep()
    synced(keeper, venue)
    synced(keeper, venue, ETH)
    keeper.ended([BTC, "DOGEUSDT"])
    until(lambda: not status(keeper).is_synced)
    assert (status(keeper).why, status(keeper, ETH).is_synced) == (ENDED, True)
    synced(keeper, venue, BTC, 50)


def test_a_full_queue_drops_and_the_book_is_known_to_be_broken(keep, venue):
    keeper = keep([BTC], most_waiting=5)
    synced(keeper, venue)
    with keeper._lock:
        # The thread stands still at the first update; five wait, the sixth is dropped.
        keeper.put(BTC, update(11))
        until(lambda: keeper.waiting == 0)
        for number in range(12, 17):
            keeper.put(BTC, update(number))
        keeper.put(BTC, Quote(16, 0, 1.0, 1.0, 2.0, 1.0))
        keeper.put(BTC, update(17))
        assert (keeper.dropped, keeper.waiting) == (2, 5)
        venue.gate.clear()
    until(lambda: status(keeper).why == DROPPED)
    venue.books[BTC] = whole(17)
    venue.gate.set()
    until(lambda: status(keeper).is_synced)
    assert keeper.view(BTC).view.update_id == 17


def test_a_stream_that_sends_whole_books_is_asked_by_subscribing_anew(keep, venue):
    clock = Clock()
    keeper = keep([BTC], is_asked=False, clock=clock)
    clock.now_s += GRACE_S
    until(lambda: venue.asked == [BTC])
    keeper.put(BTC, whole(7))
    until(lambda: status(keeper).is_synced)
    keeper.put(BTC, update(9))
    clock.now_s += 60
    until(lambda: venue.asked == [BTC, BTC])
    assert not status(keeper).is_synced


def test_best_prices_are_compared_and_other_facts_passed_over(keep, venue):
    keeper = keep()
    synced(keeper, venue)
    keeper.put(BTC, Quote(10, 0, 100.0, 5.0, 101.0, 4.0))
    keeper.put(BTC, Quote(10, 0, 100.0, 5.0, 101.5, 4.0))
    keeper.put(BTC, Kline("1m", 0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, None, None, False))
    keeper.put("DOGEUSDT", update(1))
    until(lambda: status(keeper).compared == 2)
    assert status(keeper).mismatched == 1


def test_updates_are_counted_by_the_second(keep, venue):
    clock = Clock()
    keeper = keep([BTC], clock=clock)
    assert keeper.updates_per_s == 0.0
    clock.now_s += 1
    until(lambda: len(keeper._pulse) == 1)
    for number in range(10, 60):
        keeper.put(BTC, update(number))
    venue.books[BTC] = whole(10)
    until(lambda: keeper.waiting == 0)
    clock.now_s += 2
    until(lambda: len(keeper._pulse) == 2)
    assert keeper.updates_per_s == 25.0


def test_books_are_not_known_any_more_once_the_keeper_ended(keep, venue):
    keeper = keep()
    synced(keeper, venue)
    keeper.stop()
    with pytest.raises(OutOfSyncError, match=STOPPED):
        keeper.view(BTC)
    assert (status(keeper).is_synced, status(keeper).why) == (False, STOPPED)


def test_a_keeper_ends_though_the_venue_is_slow_to_answer(keep, venue):
    keeper = keep()
    venue.gate.clear()
    venue.books[BTC] = whole(10)
    keeper.put(BTC, update(10))
    until(lambda: venue.asked == [BTC])
    keeper.stop(timeout_s=0.05)
    assert not keeper.is_alive()


def test_a_keeper_that_never_began_ends_too():
    BookKeeper("venue", depth_of(is_asked=True), [BTC], snapshot=lambda s: whole(1)).stop()


@pytest.mark.parametrize("is_asked", [True, False])
def test_without_a_way_to_whole_books_there_is_no_keeper(is_asked):
    with pytest.raises(ValueError, match="venue: a way to whole books expected"):
        BookKeeper("venue", depth_of(is_asked=is_asked), [BTC])


def test_readers_never_see_half_an_update(keep, venue):
    """Each update moves both sides by the same step; a reader sees them moved together or not."""
    keeper = keep([BTC])
    synced(keeper, venue)
    done = threading.Event()
    seen, torn = set(), []

    def read():
        while not done.is_set():
            view = keeper.view(BTC, 1).view
            seen.add(view.update_id)
            if view.bids[0][1] + 1 != view.asks[0][1] and view.update_id > 10:
                torn.append(view)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(11, 1500):
        size = float(number)
        keeper.put(BTC, BookUpdate(number, number, -1, 0, [(100.0, size)], [(101.0, size + 1)]))
    until(lambda: keeper.view(BTC).view.update_id == 1499)
    done.set()
    for reader in readers:
        reader.join()
    assert not torn
    assert seen
