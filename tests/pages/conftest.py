"""The desk in this process, at a moment that stands still, with trades one can add up by hand."""

from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from marketdata import live
from marketdata.core.trades import Trades
from tests.pages import desk

DAY_US = 1_704_067_200_000_000  # 2024-01-01
HOUR_US = 3_600_000_000
MINUTE_US = 60_000_000
NOW_US = DAY_US + 10 * HOUR_US + 30 * MINUTE_US
STRANGE = "<img src=x onerror=1>币安"
# Ids 13 and 14 are missing. Σ price × quantity = 508, Σ quantity = 5.
TRADES = Trades.of(
    (10, 11, 12, 15),
    tuple(DAY_US + minutes * MINUTE_US for minutes in (9 * 60, 600, 610, 620)),
    (100.0, 102.0, 101.0, 103.0),
    (1.0, 2.0, 1.0, 1.0),
    (True, False, True, True),
)


@pytest.fixture
def running(db: None) -> Iterator[live.Live]:
    """Run a desk of two symbols at 10:30 UTC; the first has four trades, the second none."""
    parts = desk.build("BTCUSDT", STRANGE, clock=lambda: NOW_US)
    for trade in TRADES.batches(1):
        desk.feed(parts, "BTCUSDT", trade)
    live.start(parts)
    yield parts
    live.stop()
    parts.flow.stop()


class Texts(HTMLParser):
    """Collects the text of each element that carries `data-v`, `data-level` or an id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"meta", "link", "line", "rect", "path", "img"}:
            return
        told = dict(attrs)
        name = told.get("data-v") or told.get("data-level") or told.get("id")
        self._open.append((tag, name))
        if name:
            self.found[name] = ""

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.found[name] = " ".join((self.found[name] + " " + data).split())


@pytest.fixture
def texts():
    """Return the texts of a response by the name of their element."""
    return lambda response: Texts(response.content.decode()).found
