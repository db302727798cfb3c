"""Prices of now and of the last 24 hours, as REST answers them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from marketdata.core.timeframe import DAY_US, MINUTE_US
from marketdata.simulator.binance_spot.wire import book_ticker_event
from marketdata.simulator.history import Candle, money
from marketdata.simulator.listing import Levels, Listing

AVERAGE_MINUTES = 5


def price(listing: Listing) -> dict[str, Any]:
    """Return the last price; zero where nothing has traded."""
    newest = listing.history.last_trade()
    ticks = int(listing.grid.ticks(newest.price)[0]) if len(newest) else 0
    return {"symbol": listing.symbol, "price": money(ticks, listing.grid.tick)}


def book_ticker(listing: Listing) -> dict[str, Any]:
    """Return the best bid and ask, without a time."""
    best = book_ticker_event(Levels.of(listing.made_book(), 1), listing.grid, listing.symbol)
    names = {"bidPrice": "b", "bidQty": "B", "askPrice": "a", "askQty": "A"}
    return {"symbol": listing.symbol, **{name: best[key] for name, key in names.items()}}


def average(listing: Listing, unit: int) -> dict[str, Any]:
    """Return the volume-weighted price of the last five minutes."""
    now_us = listing.market.now_us()
    window = listing.history.window(now_us - AVERAGE_MINUTES * MINUTE_US, now_us + 1)
    newest = listing.history.last_trade()
    return {
        "mins": AVERAGE_MINUTES,
        "price": _average(window, listing) if window else price(listing)["price"],
        "closeTime": int(newest.ts_us[0]) // unit if len(newest) else now_us // unit,
    }


def day(listing: Listing, unit: int, *, is_mini: bool) -> dict[str, Any]:
    """Return the rolling 24 hours; all zero where nothing has traded in them."""
    now_us = listing.market.now_us()
    begin_us = now_us - DAY_US
    window = listing.history.window(begin_us, now_us + 1) or Candle.flat(begin_us, 0, now_us + 1)
    grid = listing.grid
    mini = {
        "symbol": listing.symbol,
        "openPrice": money(window.open, grid.tick),
        "highPrice": money(window.high, grid.tick),
        "lowPrice": money(window.low, grid.tick),
        "lastPrice": money(window.close, grid.tick),
        "volume": money(window.volume, grid.lot),
        "quoteVolume": money(window.quote, grid.tick * grid.lot),
        "openTime": begin_us // unit,
        "closeTime": now_us // unit,
        "firstId": window.first_id,
        "lastId": window.last_id,
        "count": window.count,
    }
    return mini if is_mini else {**mini, **_change(window, listing), **_now(listing, window)}


def _change(window: Candle, listing: Listing) -> dict[str, str]:
    moved = window.close - window.open
    percent = Decimal(100 * moved) / window.open if window.open else Decimal(0)
    return {
        "priceChange": money(moved, listing.grid.tick),
        "priceChangePercent": f"{percent:.3f}",
        "weightedAvgPrice": _average(window, listing),
    }


def _now(listing: Listing, window: Candle) -> dict[str, str]:
    newest, history, grid = listing.history.last_trade(), listing.history, listing.grid
    before = history.page(None, None, window.open_us - 1, 1)
    best = book_ticker(listing)
    del best["symbol"]
    lots = int(grid.lots(newest.qty)[0]) if len(newest) else 0
    ticks = int(grid.ticks(before.price)[0]) if len(before) else window.open
    return {"prevClosePrice": money(ticks, grid.tick), "lastQty": money(lots, grid.lot), **best}


def _average(window: Candle, listing: Listing) -> str:
    if not window.volume:
        return money(0, listing.grid.tick)
    return f"{window.quote * listing.grid.tick / window.volume:.8f}"
