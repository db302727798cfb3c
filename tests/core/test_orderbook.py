"""The book against one that is a dictionary sorted anew each time; and what it says of itself."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.facts import BookUpdate
from marketdata.core.orderbook import BookView, OrderBook

TOLD = 10


def change(bids=(), asks=(), last=1, ts_us=0, *, is_snapshot=False):
    return BookUpdate(last, last, -1, ts_us, list(bids), list(asks), is_snapshot)


def book(bids=(), asks=(), told=TOLD, **more):
    made = OrderBook(told, **more)
    made.replace(change(bids, asks, is_snapshot=True))
    return made


class Naive:
    """Everything ever told, sorted when asked."""

    def __init__(self, bids, asks):
        self.sides = {"bids": dict(bids), "asks": dict(asks)}
        self.drop_empty()

    def apply(self, bids, asks):
        self.sides["bids"].update(bids)
        self.sides["asks"].update(asks)
        self.drop_empty()

    def drop_empty(self):
        self.sides = {
            name: {price: qty for price, qty in side.items() if qty}
            for name, side in self.sides.items()
        }

    def levels(self, count):
        bids = sorted(self.sides["bids"].items(), reverse=True)[:count]
        return tuple(bids), tuple(sorted(self.sides["asks"].items())[:count])


PRICES = st.integers(1, 40).map(lambda number: number / 8)
SIDE = st.lists(st.tuples(PRICES, st.sampled_from([0.0, 0.5, 1.0, 7.25])), max_size=12)
CHANGES = st.lists(st.tuples(SIDE, SIDE), max_size=20)


@given(start=st.tuples(SIDE, SIDE), changes=CHANGES)
def test_after_any_changes_it_is_what_a_sorted_dictionary_is(start, changes):
    made, naive = book(*start, told=100), Naive(*start)
    for number, (bids, asks) in enumerate(changes, 2):
        made.apply(change(bids, asks, last=number))
        naive.apply(bids, asks)
        expected = naive.levels(99)
        view = made.view(99)
        assert (view.bids, view.asks) == expected
        assert made.bid == (expected[0][0] if expected[0] else None)
        assert made.ask == (expected[1][0] if expected[1] else None)
        assert len(made) == sum(map(len, expected))
        crossed = all(expected) and expected[0][0][0] >= expected[1][0][0]
        assert made.is_crossed == bool(crossed)
        for count in (1, 3):
            view = made.view(count)
            assert (view.bids, view.asks) == naive.levels(count)


@given(start=st.tuples(SIDE, SIDE), changes=CHANGES)
def test_a_bounded_book_holds_the_best_levels_and_never_more(start, changes):
    """Levels let go are missing when they would come back into view; those above never are."""
    made, naive = book(*start, told=3, bound=4), Naive(*start)
    for bids, asks in changes:
        made.apply(change(bids, asks))
        naive.apply(bids, asks)
        assert len(made) <= 8
        known = made.known
        view, expected = made.view(known), naive.levels(known)
        assert (view.bids, view.asks) == expected


def test_a_view_says_when_it_was_and_never_changes():
    made = book([(99.0, 1.0)], [(101.0, 2.0)])
    made.apply(change([(100.0, 3.0)], last=7, ts_us=5))
    view = made.view(5)
    assert view == BookView(((100.0, 3.0), (99.0, 1.0)), ((101.0, 2.0),), 7, 5, known=1)
    made.apply(change([(100.0, 0.0)], last=8))
    assert view.bids[0] == (100.0, 3.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.bids = ()


def test_what_is_not_there_can_be_removed():
    made = book([(99.0, 1.0)], [(101.0, 2.0)])
    made.apply(change([(98.0, 0.0)], [(150.0, 0.0)]))
    assert (made.bid, made.ask, len(made)) == ((99.0, 1.0), (101.0, 2.0), 2)


def test_an_empty_side_has_no_best_and_crosses_nothing():
    made = book([(99.0, 1.0)])
    assert (made.ask, made.is_crossed) == (None, False)
    made.apply(change([(99.0, 0.0)]))
    assert (made.bid, made.ask, len(made)) == (None, None, 0)


@pytest.mark.parametrize(("ask", "is_crossed"), [(99.5, False), (99.0, True), (98.5, True)])
def test_a_book_is_crossed_where_the_best_bid_reaches_the_best_ask(ask, is_crossed):
    assert book([(99.0, 1.0)], [(ask, 1.0)]).is_crossed is is_crossed


def test_a_new_whole_book_leaves_nothing_of_the_old_one():
    made = book([(99.0, 1.0), (98.0, 1.0)], [(101.0, 2.0)])
    made.replace(change([(97.0, 5.0)], [], last=9, is_snapshot=True))
    assert made.view(9) == BookView(((97.0, 5.0),), (), 9, 0, known=0)


def full(told=TOLD):
    """Return a book whose snapshot told as many levels as it can: 100 down to 91, 101 up to 110."""
    bids = [(100.0 - n, 1.0) for n in range(told)]
    return book(bids, [(101.0 + n, 1.0) for n in range(told)], told)


def test_levels_behind_the_snapshot_are_shown_but_not_counted_as_known():
    made = full()
    assert made.known == 10
    made.apply(change([(90.0, 2.0), (85.0, 2.0), (100.5, 1.0)]))
    # One came within what was told; behind 91 only what changed is known.
    assert made.known == 10
    assert made.view(20).bids[-3:] == ((91.0, 1.0), (90.0, 2.0), (85.0, 2.0))
    made.apply(change([(100.5, 0.0), (100.0, 0.0), (99.0, 0.0)]))
    assert made.known == 8


def test_a_book_is_thin_when_nearly_nothing_is_left_of_what_was_told():
    made = full(20)
    made.apply(change([(100.0 - n, 0.0) for n in range(18)]))
    assert (made.known, made.is_thin) == (2, False)
    made.apply(change([(82.0, 0.0)]))
    assert (made.known, made.is_thin) == (1, True)


def test_a_book_told_whole_is_never_thin():
    made = book([(99.0, 1.0)], [(101.0, 1.0)])
    assert (made.known, made.is_thin) == (1, False)
    made.apply(change([(99.0, 0.0)]))
    assert (made.known, made.is_thin) == (0, False)


def test_a_window_that_the_venue_keeps_full_has_nothing_missing():
    levels = [(100.0 - n, 1.0) for n in range(3)]
    made = book(levels, [(101.0, 1.0)], told=3, is_window=True)
    made.apply(change([(100.0, 0.0), (97.0, 4.0)]))
    assert (made.known, made.is_thin) == (1, False)
    made.apply(change((), [(102.0, 1.0), (103.0, 1.0)]))
    assert made.known == 3


def test_the_farthest_levels_go_first_and_the_best_stay():
    made = book([(100.0, 1.0)], [(200.0, 1.0)], told=8, bound=16)
    made.apply(change([(100.0 + n, 1.0) for n in range(1, 17)]))
    # Seventeen are one too many: some more go than must, so that it happens seldom.
    assert len(made.view(99).bids) == 14
    assert made.bid == (116.0, 1.0)
    assert made.view(99).bids[-1] == (103.0, 1.0)
    assert made.known == 1
    made.apply(change((), [(150.0 + n, 1.0) for n in range(9)]))
    assert made.known == 10
    assert made.view(99).asks[0] == (150.0, 1.0)
