"""When a book is asked for again, and what a desk tells; the clock is moved by hand."""

import logging

import pytest

from marketdata.core.backoff import Backoff
from marketdata.core.errors import ConnectionLostError, HostRestingError, OutOfSyncError
from marketdata.core.facts import BookUpdate, Mark, Quote
from marketdata.core.sequencer import increasing, spot
from marketdata.feeds.book_desk import GOOD_AFTER_S, GRACE_S, Desk
from marketdata.venues.base import Depth, Question, Stream


def depth_of(*, is_asked):
    return Depth(
        stream=lambda wanted_ms: Stream(name="depth", path=str, decode=None),
        sequencer=spot if is_asked else increasing,
        snapshot=(lambda symbol: Question("/depth")) if is_asked else None,
        snapshot_of=None,
        levels=100,
    )


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def desk(clock):
    return Desk("venue", "BTCUSDT", depth_of(is_asked=True), Backoff(jitter=0.0), clock)


@pytest.fixture
def sent(clock):
    return Desk("venue", "BTCUSDT", depth_of(is_asked=False), Backoff(jitter=0.0), clock)


def update(last, bids=(), asks=()):
    return BookUpdate(last, last, -1, 0, list(bids), list(asks))


def whole(last, bids=((100.0, 5.0),), asks=((101.0, 4.0),)):
    return BookUpdate(last, last, -1, 0, list(bids), list(asks), is_snapshot=True)


def sync(desk, last=10):
    desk.fact(update(last))
    assert desk.tend()
    desk.answer(whole(last))


def test_a_whole_book_is_asked_for_once_an_update_came(desk):
    assert not desk.tend()
    desk.fact(update(10))
    assert desk.tend()
    assert not desk.tend()
    desk.answer(whole(10))
    assert not desk.tend()
    assert desk.status().is_synced
    assert desk.status().asked == 1


def waited(desk, clock):
    """Return the seconds until a whole book is asked for."""
    began_s = clock.now_s
    while not desk.tend():
        clock.now_s += 0.25
    return clock.now_s - began_s


def test_each_refused_snapshot_doubles_the_wait(desk, clock):
    desk.fact(update(10))
    waits = [waited(desk, clock)]
    for _ in range(8):
        desk.answer(whole(5))
        waits.append(waited(desk, clock))
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_good_book_that_breaks_is_asked_for_at_once_and_a_bad_one_is_not(desk, clock):
    sync(desk)
    clock.now_s += GOOD_AFTER_S
    desk.fact(update(20))
    assert desk.tend()
    desk.answer(whole(20))
    desk.fact(update(30))
    assert not desk.tend()
    clock.now_s += 0.5
    assert desk.tend()


def test_a_book_that_goes_with_its_connection_is_asked_for_at_once(desk, clock):
    for last in (10, 20, 30, 40, 50):
        # Asked for without a wait, though the one before was whole for a second only.
        sync(desk, last)
        clock.now_s += 1
        desk.ended()
    # One that is not whole waits as it did: a line that comes and goes asks no more often.
    desk.fact(update(60))
    assert desk.tend()
    desk.answer(whole(5))
    desk.ended()
    desk.fact(update(70))
    assert waited(desk, clock) == 0.5


def test_no_series_of_losses_becomes_a_hot_loop(desk, clock):
    """Whole books that break at once are asked for at growing distances."""
    last, began_s = 10, clock.now_s
    desk.fact(update(last))
    while clock.now_s - began_s < 120:
        if desk.tend():
            desk.answer(whole(last))
            last += 10
            desk.fact(update(last))
        clock.now_s += 0.05
    assert 5 < desk.asked < 14


def test_a_venue_that_rests_is_left_alone_as_long_as_it_says(desk, clock, caplog):
    desk.fact(update(10))
    assert desk.tend()
    with caplog.at_level(logging.WARNING):
        desk.failed(HostRestingError("resting", retry_after_s=40.0, retryable=True))
        clock.now_s += 39.9
        assert not desk.tend()
        clock.now_s += 0.2
        assert desk.tend()
        desk.failed(HostRestingError("resting", retry_after_s=40.0, retryable=True))
    assert [record.getMessage() for record in caplog.records] == [
        "no whole book source=venue symbol=BTCUSDT error=resting"
    ]


def test_a_failure_is_tried_again(desk, clock):
    desk.fact(update(10))
    assert desk.tend()
    desk.failed(ConnectionLostError("gone"))
    assert not desk.tend()
    clock.now_s += 0.5
    assert desk.tend()
    desk.answer(whole(10))
    assert desk.status().is_synced


def test_a_stream_gets_time_to_send_a_whole_book_by_itself(sent, clock):
    clock.now_s += GRACE_S - 0.1
    assert not sent.tend()
    clock.now_s += 0.1
    assert sent.tend()
    sent.answer(None)
    assert not sent.tend()
    clock.now_s += GRACE_S
    assert sent.tend()
    sent.answer(None)
    sent.fact(whole(7))
    clock.now_s += 60
    assert not sent.tend()
    # An update is lost on a line that is open: nothing comes by itself.
    sent.fact(update(9))
    assert sent.tend()
    sent.answer(None)
    sent.fact(whole(9))
    clock.now_s += 60
    # The line ended: the one that comes subscribes anew.
    sent.ended()
    clock.now_s += GRACE_S - 0.1
    assert not sent.tend()
    clock.now_s += 0.1
    assert sent.tend()


def test_a_report_tells_the_book_its_metrics_and_its_age(desk, clock):
    with pytest.raises(OutOfSyncError):
        desk.report(5, 5)
    assert desk.age_ms is None
    sync(desk)
    desk.fact(update(11, [(100.0, 8.0)], [(101.0, 3.0)]))
    clock.now_s += 0.25
    report = desk.report(1, 2)
    assert report.view.bids == ((100.0, 8.0),)
    assert (report.view.update_id, report.ofi, report.age_ms) == (11, 4.0, 250)
    assert (report.liquidity.spread, report.liquidity.levels) == (1.0, 2)


def test_flow_begins_anew_after_a_loss(desk, clock):
    sync(desk)
    desk.fact(update(11, [(100.0, 8.0)]))
    assert desk.report(1, 1).ofi == 3.0
    desk.ended()
    clock.now_s += 1
    sync(desk, 20)
    assert desk.report(1, 1).ofi is None


def test_best_prices_are_held_against_the_book(desk):
    sync(desk)
    desk.fact(Quote(11, 0, 100.0, 8.0, 101.0, 4.0))
    desk.fact(update(11, [(100.0, 8.0)]))
    desk.fact(Quote(11, 0, 100.5, 8.0, 101.0, 4.0))
    desk.fact(Mark(ts_us=5, mark=100.0))
    status = desk.status()
    assert (status.compared, status.mismatched, status.updates) == (2, 1, 1)


def test_each_change_is_told_once(desk, clock, caplog):
    with caplog.at_level(logging.INFO):
        sync(desk)
        clock.now_s += 60
        desk.fact(update(15))
        desk.fact(update(16))
        desk.ended()
    assert [record.getMessage() for record in caplog.records] == [
        "book whole source=venue symbol=BTCUSDT update=10",
        "book lost source=venue symbol=BTCUSDT "
        "why=update 15 came where one that follows 10 was expected",
    ]
    assert desk.status().why == "the connection ended"
