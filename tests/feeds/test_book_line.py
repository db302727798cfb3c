"""A book's line: a connection that is replaced takes no book away from its successor."""

from __future__ import annotations

import pytest

from marketdata.conf import Conf
from marketdata.feeds.book_line import BookLine
from marketdata.feeds.books import BookKeeper
from marketdata.venues.bybit import BYBIT_LINEAR

NAMES = ("BTCUSDT", "ETHUSDT")


@pytest.fixture
def lost(monkeypatch) -> list[tuple[str, ...]]:
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(BookKeeper, "ended", lambda self, symbols: told.append(tuple(symbols)))
    return told


@pytest.fixture
def line(lost) -> BookLine:
    depth = BYBIT_LINEAR.depth
    assert depth is not None
    return BookLine(BYBIT_LINEAR, depth, NAMES, Conf(), None, None, lambda: 0)


def test_books_are_lost_with_the_last_connection_that_carries_them(line, lost):
    line.opened(NAMES)
    line.opened(NAMES)
    line.closed(NAMES)
    assert lost == [()]
    line.closed(NAMES)
    assert lost == [(), NAMES]


def test_a_connection_takes_only_its_own_books_away(line, lost):
    line.opened(NAMES[:1])
    line.opened(NAMES[1:])
    line.closed(NAMES[:1])
    assert lost == [NAMES[:1]]
