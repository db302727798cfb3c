"""A venue of its own for each source, one real daemon, and what is compared when all is over."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import requests

from marketdata.core.trades import Trades
from marketdata.models import ID_BITS
from marketdata.simulator.book import Book
from marketdata.simulator.markets import Market
from marketdata.simulator.server import Simulator
from tests.daemon.outage import Happening, trades_from, wall_us
from tests.daemon.process import Running, running, until

SYMBOLS = {
    "binance_ws": "BTCUSDT",
    "binance_futures": "BTCUSDT",
    "bybit": "BTCUSDT",
    "deriv": "1HZ100V",
}
ROOMS = {
    "binance_ws": "binance_spot",
    "binance_futures": "binance_usdm",
    "bybit": "bybit",
    "deriv": "deriv",
}
SETTINGS = {
    "binance_ws": {"BINANCE_REST_URL": "rest", "BINANCE_WS_URL": "ws"},
    "binance_futures": {"BINANCE_FUTURES_REST_URL": "rest", "BINANCE_FUTURES_WS_URL": "ws"},
    "bybit": {"BYBIT_REST_BASE_URL": "rest", "BYBIT_WS_URL": "ws", "BYBIT_ARCHIVE_URL": "rest"},
    "deriv": {"DERIV_REST_URL": "rest", "DERIV_WS_URL": "ws"},
}
# Silence counts in seconds here, so that a fault that silences a line is over soon.
QUICK = {
    "FEED_STALE_AFTER_S": 1.5,
    "FEED_DEAD_AFTER_S": 3,
    "BACKFILL_COOLDOWN_SECONDS": 1,
    "BACKFILL_RETRY_BASE": 0.1,
    "BACKFILL_PUBLIC_DELAY_MS": 0,
    "BYBIT_RATE_LIMIT_PER_MINUTE": 3000,
    "BYBIT_API_TIMEOUT": 3,
    "BINANCE_API_TIMEOUT": 5,
}
# Trades a second, evenly: so Bybit's page of newest trades reaches back ten seconds.
RATE = 100.0
PAGE = 1000
# All but Deriv's are tapes that play now: their past begins with the drill.
LASTS_S = 600.0


@dataclass
class Place:
    """One venue, and the daemon's view of it."""

    source: str
    venue: Simulator
    daemon: Running | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.source]

    @property
    def room(self) -> Any:
        return self.venue.rooms[ROOMS[self.source]]

    @property
    def market(self) -> Market:
        if self.source == "bybit":
            return self.room.instruments["linear"][self.symbol].market
        return self.venue.listed[ROOMS[self.source]][self.symbol]

    @property
    def settings(self) -> dict[str, str]:
        urls = {"rest": self.venue.rest_url, "ws": self.venue.ws_url}
        return {name: urls[kind] for name, kind in SETTINGS[self.source].items()}

    def get(self, path: str, **more: Any) -> Any:
        """Return the JSON of a path of the daemon about this instrument."""
        assert self.daemon is not None
        given = {"source": self.source, "symbol": self.symbol, **more}
        return requests.get(self.daemon.url + path, params=given, timeout=10).json()

    def lines(self) -> list[dict[str, Any]]:
        """Return the daemon's connections to this venue."""
        return [
            line
            for line in self.get("/api/ws/health")["connections"]
            if line["source"] == self.source
        ]

    @property
    def is_live(self) -> bool:
        return all(line["state"] == "live" for line in self.lines())

    def context(self) -> dict[str, Any]:
        return self.get("/api/context", rows=1)

    def coverage(self) -> dict[str, Any]:
        return self.context()["coverage"]

    def events(self, kind: str) -> list[dict[str, Any]]:
        found = self.get("/api/strategy/events", limit=500)["events"]
        return [event for event in found if event["kind"] == kind]

    def status(self) -> dict[str, Any]:
        return self.venue.status()["rooms"][ROOMS[self.source]]

    # The book.

    def book(self) -> tuple[int, dict[float, float], dict[float, float]]:
        """Return the venue's book as it was sent last: update id, bids, asks."""
        if self.source == "bybit":
            instrument = self.room.instruments["linear"][self.symbol]
            (depth,) = instrument.ladders
            step = instrument.ladders[depth].snapshot()
            return step.update_id, *self._on_grid(map(dict, step.levels))
        book = self.room.listings[self.symbol].book
        id, *sides = settled(book)
        apart = 3 if self.source == "binance_futures" else 1
        return id * apart, *self._on_grid(sides)

    def _on_grid(self, sides: Any) -> list[dict[float, float]]:
        grid = self.market.grid
        return [
            {grid.price(tick): lots * float(grid.lot) for tick, lots in side.items()}
            for side in sides
        ]

    def compare_books(self) -> None:
        """Wait for a moment at which the daemon has the venue's update, and compare all levels."""
        settle_book(self)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            id, *sides = self.book()
            held = self.get("/api/orderbook", depth=1000)
            if held.get("sequence") != id:
                continue
            for levels, side in zip((held["bids"], held["asks"]), sides, strict=True):
                seen = {round(price, 8): round(size, 8) for price, size in levels}
                assert seen == {round(price, 8): round(size, 8) for price, size in side.items()}
            return
        raise AssertionError(f"{self.source}: never the same update as the venue's: {held}")


def settled(book: Book) -> tuple[int, dict[int, int], dict[int, int]]:
    """Return a book at a moment when all that changed in it has been sent."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        before = book.last_id
        sides = dict(book.bids.lots), dict(book.asks.lots)
        is_whole = not book.bids.changed and not book.asks.changed
        if is_whole and before == book.last_id == book.sent_id:
            return before, *sides
        time.sleep(0.001)
    raise AssertionError("the book was never at rest")


def opened(source: str) -> Simulator:
    """Return a venue for one source, with a past that can be fetched in time."""
    room = ROOMS[source]
    if source == "deriv":
        return Simulator.generated(["BTCUSDT"], venues=(room,), rate=RATE)
    trades = trades_from(wall_us(), RATE, LASTS_S)
    return Simulator({room: [Happening(SYMBOLS[source], trades)]})


@contextmanager
def places(*sources: str) -> Iterator[dict[str, Place]]:
    """Open the venues."""
    with ExitStack() as held:
        yield {source: Place(source, held.enter_context(opened(source))) for source in sources}


@contextmanager
def watched(folder: Path, found: dict[str, Place], **more: Any) -> Iterator[Running]:
    """Run the daemon on all of them; return when each is live and settled."""
    settings: dict[str, Any] = {
        "DATA_SOURCE": ",".join(found),
        "SYMBOLS": ",".join(f"{place.source}:{place.symbol}" for place in found.values()),
        **QUICK,
        **more,
    }
    for place in found.values():
        settings |= place.settings
    with running(folder, **settings) as daemon:
        for place in found.values():
            place.daemon = daemon
        for place in found.values():
            settle(place)
        yield daemon


def settle(place: Place, wait_s: float = 60.0) -> None:
    """Wait until every line is live, trades come, and what can be refilled is."""
    until(lambda: place.is_live, f"{place.source} live {place.notes[-1:]}", wait_s)
    until(lambda: moves(place), f"{place.source} moves {place.notes[-1:]}", wait_s)
    if place.source.startswith("binance"):
        until(
            lambda: not place.coverage()["missing"],
            f"{place.source} refilled {place.notes[-1:]}",
            wait_s,
        )


def settle_book(place: Place) -> None:
    """Wait until the book is in step with the venue again."""
    until(lambda: place.get("/api/orderbook").get("synced"), f"{place.source} book", 60.0)


def moves(place: Place) -> bool:
    """Tell whether trades come: joined ones, for what waits is not counted."""
    found = place.context()
    if "trades" not in found:
        return False
    until(lambda: place.context()["trades"] > found["trades"], f"{place.source} trades", 30)
    return True


# What is stored, and what was traded.


@dataclass
class Stored:
    """The rows of one instrument, and where its numbers jump.

    Parameters
    ----------
    runs : list of (start, end)
        Rows whose numbers follow on each other, half-open.
    """

    trades: Trades
    refs: dict[int, str]
    runs: list[tuple[int, int]]

    @classmethod
    def of(cls, folder: Path, source: str) -> Stored:
        where = "WHERE source = ? AND symbol = ?"
        with closing(sqlite3.connect(folder / "botcrypto.sqlite3")) as database:
            question = f"SELECT id FROM marketdata_instrument {where}"
            (key,) = database.execute(question, (source, SYMBOLS[source])).fetchone()
            mine = f"BETWEEN {key << ID_BITS} AND {(key + 1 << ID_BITS) - 1}"
            rows = database.execute(
                "SELECT trade_id, ts_us, price, qty, is_buy FROM marketdata_trade "
                f"WHERE id {mine} ORDER BY id"
            ).fetchall()
            refs = database.execute(f"SELECT id, ref FROM marketdata_traderef WHERE id {mine}")
            told = {id - (key << ID_BITS): ref for id, ref in refs}
        trades = Trades.of(*zip(*rows, strict=True))
        jumps = (np.flatnonzero(np.diff(trades.id) != 1) + 1).tolist()
        return cls(trades, told, list(pairwise([0, *jumps, len(trades)])))

    @property
    def names(self) -> list[str]:
        """The venue's own ids, row by row."""
        return [self.refs[id] for id in self.trades.id.tolist()]


def truth(place: Place, held: Trades) -> Trades:
    """Return what the venue traded from the first to the last time held."""
    market, last_us = place.market, int(held.ts_us.max())
    return market.slice(market.id_at(int(held.ts_us[0])), market.id_at(last_us + 1000) - 1)


def told(trades: Trades) -> list[tuple[int, float, float, bool]]:
    """Return trades as streams tell them: whole milliseconds."""
    ms = (trades.ts_us // 1000).tolist()
    columns = (trades.price.tolist(), trades.qty.tolist(), trades.is_buy.tolist())
    return list(zip(ms, *columns, strict=True))
