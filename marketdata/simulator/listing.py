"""One symbol at the venue: its market, its past, its book."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from marketdata.simulator.book import Book, BookChange
from marketdata.simulator.history import History
from marketdata.simulator.markets import Market
from marketdata.simulator.rules import wall_us

# A level holds about this much, in quote units.
LEVEL_VALUE = 4_000.0


@dataclass(frozen=True, slots=True)
class Levels:
    """The best levels of a book at one update id: (tick, lots), best first."""

    last_id: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]

    @classmethod
    def of(cls, book: Book, count: int) -> Levels:
        """Return the best `count` levels of each side."""
        bids, asks = book.bids, book.asks
        return cls(
            book.last_id,
            [(tick, bids.lots[tick]) for tick in reversed(bids.ticks[-count:])],
            [(tick, asks.lots[tick]) for tick in asks.ticks[:count]],
        )


class Listing:
    """One symbol at the venue.

    Notes
    -----
    The book is made when first asked for, since every book costs work ten times a second.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self.symbol = market.symbol
        self.stream = market.symbol.lower()
        self.grid = market.grid
        self.history = History(market)
        self.book: Book | None = None
        self.born: Levels | None = None
        self.best: tuple[int, int, int, int] | None = None
        self.second: BookChange | None = None

    def made_book(self) -> Book:
        """Return the book, made at the first call."""
        if self.book is None:
            reference = self.market.after(self.market.first_id - 1, 1)
            size = max(1, int(LEVEL_VALUE / float(reference.price[0]) / self.grid.lot_size))
            self.book = Book(wall_us() // 1000, size, zlib.crc32(self.symbol.encode()))
            self.follow()
            self.born = Levels.of(self.book, 5000)
        return self.book

    def moved(self) -> Levels | None:
        """Return the best bid and ask where they have changed since the last call."""
        if self.book is None or self.book.best == self.best:
            return None
        self.best = self.book.best
        return Levels.of(self.book, 1)

    def follow(self) -> None:
        """Move the book to the newest public trade."""
        newest = self.history.last_trade()
        if not len(newest):
            newest = self.market.after(self.market.first_id - 1, 1)
        tick = int(self.grid.ticks(newest.price)[0])
        self.made_book().follow(tick, bool(newest.is_buy[0]))
