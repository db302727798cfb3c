"""One book's life: buffered updates, snapshots too old, losses, crossings, restarts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.booksync import (
    CROSSED_US,
    MOST_BUFFERED,
    MOST_QUOTES,
    UNHEARD,
    BookSync,
    QuoteCheck,
)
from marketdata.core.errors import OutOfSyncError
from marketdata.core.facts import BookUpdate, Quote
from marketdata.core.orderbook import OrderBook
from marketdata.core.sequencer import futures, increasing, spot

TOLD = 20


def update(first, last, bids=(), asks=(), prev=-1, *, is_snapshot=False):
    return BookUpdate(first, last, prev, 0, list(bids), list(asks), is_snapshot)


def whole(last, bids=((100.0, 1.0),), asks=((101.0, 1.0),)):
    return update(last, last, bids, asks, is_snapshot=True)


@pytest.fixture
def asked():
    return BookSync(spot, TOLD, is_asked=True)


@pytest.fixture
def sent():
    return BookSync(increasing, TOLD, is_asked=False)


def synced(rule=spot, last=10, **sides):
    made = BookSync(rule, TOLD, is_asked=True)
    made.put(update(last, last, prev=last - 1), 0)
    assert made.offer(whole(last, **sides), 0)
    return made


def test_nothing_is_asked_for_before_the_first_update(asked):
    assert (asked.is_synced, asked.why, asked.wants_snapshot) == (False, UNHEARD, False)
    assert not asked.offer(whole(10), 0)
    with pytest.raises(OutOfSyncError, match="no update has come yet"):
        asked.whole()


def test_updates_wait_for_the_snapshot_and_follow_it(asked):
    for number in range(5, 15):
        assert not asked.put(update(number, number, [(90.0 + number, 1.0)]), 0)
    assert (asked.wants_snapshot, asked.kept) == (True, 10)
    assert asked.offer(whole(11), 0)
    book = asked.whole()
    # Those up to 11 are in the snapshot already; 12, 13 and 14 are not.
    assert (book.update_id, asked.kept, asked.why) == (14, 0, "")
    assert book.view(9).bids == ((104.0, 1.0), (103.0, 1.0), (102.0, 1.0), (100.0, 1.0))
    assert (asked.counts.updates, asked.counts.syncs, asked.counts.resyncs) == (3, 1, 0)


def test_a_snapshot_older_than_the_updates_is_refused_and_they_stay(asked):
    asked.put(update(20, 22), 0)
    asked.put(update(23, 25), 0)
    assert not asked.offer(whole(18), 0)
    assert asked.why == "snapshot 18 is older than update 20"
    assert (asked.wants_snapshot, asked.kept, asked.counts.too_old) == (True, 2, 1)
    assert asked.offer(whole(19), 0)
    assert asked.whole().update_id == 25


def test_a_snapshot_newer_than_every_update_waits_for_the_next(asked):
    asked.put(update(20, 22), 0)
    assert asked.offer(whole(30), 0)
    assert not asked.put(update(29, 30), 0)
    assert asked.put(update(31, 33), 0)
    assert (asked.whole().update_id, asked.counts.stale) == (33, 1)


def test_a_hole_among_the_waiting_updates_needs_a_snapshot_behind_it(asked):
    for first, last in ((10, 12), (13, 15), (20, 22), (23, 24)):
        asked.put(update(first, last), 0)
    assert not asked.offer(whole(11), 0)
    assert (asked.why, asked.kept) == ("snapshot 11 is older than update 20", 2)
    assert asked.offer(whole(21), 0)
    assert asked.whole().update_id == 24


def test_no_more_updates_wait_than_a_bound(asked):
    for number in range(MOST_BUFFERED + 50):
        asked.put(update(number, number), 0)
    assert asked.kept == MOST_BUFFERED
    assert not asked.offer(whole(10), 0)
    assert asked.offer(whole(49), 0)


def test_a_lost_update_ends_the_book_and_is_the_first_to_wait():
    made = synced()
    made.put(update(11, 12), 0)
    assert not made.put(update(14, 15), 0)
    assert (made.is_synced, made.counts.gaps, made.kept) == (False, 1, 1)
    assert made.why == "update 14 came where one that follows 12 was expected"
    with pytest.raises(OutOfSyncError, match="follows 12"):
        made.whole()
    assert made.offer(whole(13), 0)
    assert (made.whole().update_id, made.counts.syncs, made.counts.resyncs) == (15, 2, 1)


def test_futures_go_by_the_id_before_from_the_second_update_on():
    made = BookSync(futures, TOLD, is_asked=True)
    made.put(update(100, 110, [(99.0, 1.0)], prev=90), 0)
    made.put(update(150, 160, [(98.0, 1.0)], prev=110), 0)
    assert made.offer(whole(105), 0)
    assert made.whole().update_id == 160
    assert made.put(update(190, 200, prev=160), 0)
    assert not made.put(update(201, 210, prev=199), 0)
    assert made.counts.gaps == 1


def test_an_ended_connection_ends_the_book_and_what_waited():
    made = synced()
    made.lost("the connection ended")
    assert (made.is_synced, made.why, made.wants_snapshot) == (False, "the connection ended", False)
    # The answer to a question from before is of no use: nothing is heard that follows it.
    assert not made.offer(whole(11), 0)
    made.put(update(50, 51), 0)
    assert made.wants_snapshot


def test_a_crossed_book_is_given_up_when_it_stays_crossed():
    made = synced()
    made.put(update(11, 11, [(101.5, 1.0)]), 1_000)
    assert (made.is_synced, made.counts.crossed) == (True, 1)
    made.put(update(12, 12), 1_000 + CROSSED_US - 1)
    assert made.is_synced
    made.tend(1_000 + CROSSED_US)
    assert (made.is_synced, made.counts.crossed) == (False, 1)
    assert made.why == "the book has been crossed for 1000 ms"


def test_a_book_that_is_crossed_for_a_moment_goes_on():
    made = synced()
    made.put(update(11, 11, [(101.5, 1.0)]), 0)
    made.put(update(12, 12, [(101.5, 0.0)]), CROSSED_US // 2)
    made.put(update(13, 13, [(101.5, 1.0)]), CROSSED_US)
    made.tend(CROSSED_US + CROSSED_US // 2)
    assert (made.is_synced, made.counts.crossed) == (True, 2)


def test_a_snapshot_that_is_crossed_is_given_up_too(asked):
    asked.put(update(10, 10), 0)
    assert asked.offer(whole(10, [(102.0, 1.0)]), 0)
    asked.tend(CROSSED_US)
    assert not asked.is_synced


def deep(last):
    bids = [(100.0 - n, 1.0) for n in range(TOLD)]
    return whole(last, bids, [(101.0 + n, 1.0) for n in range(TOLD)])


def test_a_book_whose_known_levels_run_out_goes_on_and_asks_for_more():
    made = synced()
    made.lost("")
    made.put(update(20, 20), 0)
    assert made.offer(deep(20), 0)
    made.put(update(21, 21, [(100.0 - n, 0.0) for n in range(19)]), 0)
    assert not made.wants_snapshot
    made.tend(0)
    assert (made.is_synced, made.wants_snapshot) == (True, True)
    # One from before the book's state would turn it back.
    assert not made.offer(deep(20), 0)
    made.put(update(22, 22, [(81.0, 9.0)]), 0)
    assert made.kept == 1
    assert not made.offer(deep(20), 0)
    assert (made.is_synced, made.whole().update_id, made.why) == (True, 22, "")
    assert made.offer(deep(21), 0)
    assert (made.whole().known, made.whole().update_id, made.wants_snapshot) == (TOLD, 22, False)
    assert (81.0, 9.0) in made.whole().view(TOLD).bids
    assert (made.counts.syncs, made.counts.too_old) == (2, 2)


def test_a_stream_that_sends_whole_books_is_waited_for(sent):
    assert not sent.put(update(7, 7, [(99.0, 1.0)]), 0)
    assert (sent.is_synced, sent.wants_snapshot, sent.kept) == (False, False, 0)
    assert sent.put(whole(8), 0)
    assert sent.put(update(9, 9, [(99.0, 2.0)]), 0)
    assert sent.whole().view(9).bids == ((100.0, 1.0), (99.0, 2.0))
    # One that comes in between replaces all there is.
    assert sent.put(whole(4, [(50.0, 1.0)]), 0)
    assert sent.whole().view(9).bids == ((50.0, 1.0),)
    assert sent.put(update(5, 5), 0)
    assert not sent.put(update(7, 7), 0)
    assert (sent.is_synced, sent.counts.gaps, sent.wants_snapshot) == (False, 1, False)
    assert not sent.offer(whole(9), 0)


def test_a_service_that_counts_anew_replaces_the_book(sent):
    sent.put(whole(500), 0)
    assert sent.put(update(1, 1, [(70.0, 3.0)], [(71.0, 4.0)]), 0)
    view = sent.whole().view(9)
    assert (view.bids, view.asks, view.update_id) == (((70.0, 3.0),), ((71.0, 4.0),), 1)
    assert sent.put(update(2, 2), 0)


@given(data=st.data())
def test_whatever_is_lost_a_book_said_to_be_whole_is_the_venues(data):
    """The oracle is a venue that keeps its own book; updates and snapshots come and go missing."""
    made = BookSync(spot, 1000, is_asked=True)
    venue, number = {}, 0
    for _ in range(data.draw(st.integers(1, 40))):
        kind = data.draw(st.sampled_from(["update"] * 6 + ["loss", "snapshot", "ended"]))
        if kind == "snapshot":
            made.offer(whole(number, list(venue.items()), []), 0)
        elif kind == "ended":
            made.lost("the connection ended")
        else:
            count = data.draw(st.integers(1, 3))
            price = float(data.draw(st.integers(1, 9)))
            venue[price] = float(data.draw(st.integers(0, 3)))
            told = update(number + 1, number + count, [(price, venue[price])])
            number += count
            if kind == "update":
                made.put(told, 0)
        if made.is_synced and made.book.update_id == number:
            expected = sorted(((p, q) for p, q in venue.items() if q), reverse=True)
            assert made.whole().view(99).bids == tuple(expected)


def quote(update_id, bid=100.0, ask=101.0):
    return Quote(update_id, 0, bid, 1.0, ask, 1.0)


def book_at(update_id):
    made = OrderBook(TOLD)
    made.replace(whole(update_id))
    return made


def test_best_prices_wait_for_the_update_with_their_id():
    check = QuoteCheck()
    for number in (3, 4, 5, 6):
        check.quote(quote(number), book_at(2))
    check.book(book_at(5))
    assert (check.compared, check.mismatched) == (1, 0)
    check.book(book_at(6))
    assert check.compared == 2


def test_best_prices_that_come_later_are_compared_at_once():
    check = QuoteCheck()
    check.quote(quote(5), book_at(5))
    check.quote(quote(4), book_at(5))
    assert (check.compared, check.mismatched) == (1, 0)


def test_best_prices_that_differ_are_counted_and_told():
    check = QuoteCheck()
    check.quote(quote(5, bid=99.5), None)
    check.book(book_at(5))
    assert (check.compared, check.mismatched) == (1, 1)
    assert check.last == (
        "update 5: ((99.5, 1.0), (101.0, 1.0)) told, ((100.0, 1.0), (101.0, 1.0)) held"
    )


def test_best_prices_that_nothing_follows_do_not_pile_up():
    check = QuoteCheck()
    for number in range(MOST_QUOTES + 10):
        check.quote(quote(number), None)
    check.book(book_at(9))
    assert check.compared == 0
    check.book(book_at(10))
    assert check.compared == 1
    check.forget()
    check.book(book_at(11))
    assert check.compared == 1
