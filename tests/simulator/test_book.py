import random

from marketdata.simulator.book import DEPTH, Book


def walk(book, steps, seed=1):
    """Move a book as a market does; yield after each beat."""
    chance = random.Random(seed)
    tick = 100_000
    for _ in range(steps):
        tick += chance.randint(-40, 40)
        book.follow(tick, chance.random() < 0.5)
        book.breathe()
        yield tick


def test_the_last_trade_is_at_the_best_and_the_book_never_crosses():
    book = Book(1000, 500)
    for tick in walk(book, 300):
        bid, bid_lots, ask, ask_lots = book.best
        assert ask == bid + 1
        assert tick in (bid, ask)
        assert min(bid_lots, ask_lots) > 0
        assert len(book.bids.ticks) == len(book.asks.ticks) == DEPTH


def test_changes_chain_and_rebuild_the_book_from_any_snapshot():
    book = Book(1000, 500)
    beats = walk(book, 200)
    for _ in range(20):
        next(beats)
    book.change()
    bids, asks, last = dict(book.bids.lots), dict(book.asks.lots), book.last_id
    for _ in beats:
        change = book.change()
        assert change.first == last + 1
        assert change.last >= change.first
        last = change.last
        for side, changed in ((bids, change.bids), (asks, change.asks)):
            side.update(changed)
        bids = {tick: lots for tick, lots in bids.items() if lots}
        asks = {tick: lots for tick, lots in asks.items() if lots}
        assert (bids, asks) == (book.bids.lots, book.asks.lots)
    assert book.change() is None


def test_two_changes_make_one():
    book = Book(1000, 500)
    beats = walk(book, 3)
    next(beats)
    first = book.change()
    next(beats)
    second = book.change()
    both = first.then(second)
    assert (both.first, both.last) == (first.first, second.last)
    assert both.bids == {**first.bids, **second.bids}


def test_ids_of_a_book_born_later_are_greater():
    old, new = Book(1000, 500), Book(61_000, 500)
    for _ in walk(old, 100):
        pass
    assert new.last_id > old.last_id


def test_a_book_at_the_lowest_price_has_no_price_below_one_tick():
    book = Book(1000, 500)
    book.follow(1, False)
    assert book.bids.ticks[0] >= 1
    assert book.best[0] == 1
