"""Bytes as Binance spot writes them: events of the streams and rows of REST.

Many trades are encoded in one go, from columns through one template: 1 µs a frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.simulator.book import BookChange
from marketdata.simulator.fills import Fills
from marketdata.simulator.history import Candle, money
from marketdata.simulator.listing import Levels
from marketdata.simulator.markets import Market
from marketdata.simulator.streams import BARE, Around

# What a time in microseconds is divided by.
MILLISECONDS, MICROSECONDS = 1000, 1
BOOLS = np.array([b"false", b"true"], dtype=object)


def wrapper(stream: str) -> Around:
    """Return what a combined stream puts around its events."""
    return b'{"stream":' + msgspec.json.encode(stream) + b',"data":', b"}"


def agg_trade_events(
    trades: Trades, fills: Fills, symbol: str, now_us: int, unit: int, around: Around = BARE
) -> list[bytes]:
    """Return `{"e":"aggTrade","E":…,"s":"BTCUSDT","a":77,"p":"64000.10000000",…}` per aggregate."""
    inner = (
        b'{"e":"aggTrade","E":%d,"s":%s,"a":%%d,"p":"%%.8f","q":"%%.8f","f":%%d,"l":%%d,"T":%%d,'
        b'"m":%%s,"M":true}' % (now_us // unit, escaped(msgspec.json.encode(symbol)))
    )
    return rows(within(around, inner), agg_columns(trades, fills, unit))


def agg_trade_rows(trades: Trades, fills: Fills, unit: int) -> bytes:
    """Return the array of `{"a":77,"p":"64000.10000000","q":…,"f":500,"l":502,"T":…}`."""
    row = b'{"a":%d,"p":"%.8f","q":"%.8f","f":%d,"l":%d,"T":%d,"m":%s,"M":true}'
    return array(rows(row, agg_columns(trades, fills, unit)))


def trade_events(
    raw: Trades, symbol: str, now_us: int, unit: int, around: Around = BARE
) -> list[bytes]:
    """Return `{"e":"trade","E":…,"s":"BTCUSDT","t":501,"p":…,"q":…,"T":…}` per raw trade."""
    inner = (
        b'{"e":"trade","E":%d,"s":%s,"t":%%d,"p":"%%.8f","q":"%%.8f","T":%%d,"m":%%s,"M":true}'
        % (now_us // unit, escaped(msgspec.json.encode(symbol)))
    )
    columns = (raw.id, raw.price, raw.qty, raw.ts_us // unit, maker(raw))
    return rows(within(around, inner), columns)


def trade_rows(raw: Trades, unit: int) -> bytes:
    """Return the array of `{"id":501,"price":…,"qty":…,"quoteQty":…,"time":…}`."""
    row = (
        b'{"id":%d,"price":"%.8f","qty":"%.8f","quoteQty":"%.8f","time":%d,"isBuyerMaker":%s,'
        b'"isBestMatch":true}'
    )
    quote = raw.price * raw.qty
    columns = (raw.id, raw.price, raw.qty, quote, raw.ts_us // unit, maker(raw))
    return array(rows(row, columns))


def archive_rows(trades: Trades, market: Market, unit: int) -> bytes:
    """Return lines `77,64000.10000000,0.03000000,500,502,1760000000001,True,True`."""
    row = b"%d,%.8f,%.8f,%d,%d,%d,%s,True\n"
    columns = list(agg_columns(trades, market.fills, unit))
    columns[-1] = np.where(trades.is_buy, b"False", b"True").astype(object)
    return b"".join(rows(row, columns))


def depth_event(
    change: BookChange, grid: Grid, symbol: str, now_us: int, unit: int
) -> dict[str, Any]:
    """Return one `depthUpdate`; a level of zero is gone."""
    return {
        "e": "depthUpdate",
        "E": now_us // unit,
        "s": symbol,
        "U": change.first,
        "u": change.last,
        "b": _levels(sorted(change.bids.items(), reverse=True), grid),
        "a": _levels(sorted(change.asks.items()), grid),
    }


def levels(book: Levels, grid: Grid) -> dict[str, Any]:
    """Return a snapshot or partial depth."""
    return {
        "lastUpdateId": book.last_id,
        "bids": _levels(book.bids, grid),
        "asks": _levels(book.asks, grid),
    }


def book_ticker_event(book: Levels, grid: Grid, symbol: str) -> dict[str, Any]:
    """Return one `bookTicker`: no event name, no time."""
    (bid, bid_lots), (ask, ask_lots) = book.bids[0], book.asks[0]
    return {
        "u": book.last_id,
        "s": symbol,
        "b": money(bid, grid.tick),
        "B": money(bid_lots, grid.lot),
        "a": money(ask, grid.tick),
        "A": money(ask_lots, grid.lot),
    }


def kline_event(
    candle: Candle, grid: Grid, symbol: str, interval: str, now_us: int, unit: int
) -> dict[str, Any]:
    """Return one `kline`; `x` tells whether it is over."""
    values = _kline(candle, grid)
    return {
        "e": "kline",
        "E": now_us // unit,
        "s": symbol,
        "k": {
            "t": candle.open_us // unit,
            "T": candle.end_us // unit - 1,
            "s": symbol,
            "i": interval,
            "f": candle.first_id,
            "L": candle.last_id,
            **dict(zip(("o", "h", "l", "c", "v", "q", "V", "Q"), values, strict=True)),
            "n": candle.count,
            "x": now_us >= candle.end_us,
            "B": "0",
        },
    }


def kline_row(candle: Candle, grid: Grid, unit: int) -> list[Any]:
    """Return the twelve positions of a candle in REST."""
    *prices, volume, quote, buy_volume, buy_quote = _kline(candle, grid)
    return [
        candle.open_us // unit,
        *(*prices, volume),
        candle.end_us // unit - 1,
        *(quote, candle.count, buy_volume, buy_quote, "0"),
    ]


def _kline(candle: Candle, grid: Grid) -> list[str]:
    """Return open, high, low, close, volume, quote, taker-buy volume, taker-buy quote."""
    prices = (candle.open, candle.high, candle.low, candle.close)
    value = grid.tick * grid.lot
    return [
        *(money(price, grid.tick) for price in prices),
        *(money(candle.volume, grid.lot), money(candle.quote, value)),
        *(money(candle.buy_volume, grid.lot), money(candle.buy_quote, value)),
    ]


def _levels(held: Iterable[tuple[int, int]], grid: Grid) -> list[tuple[str, str]]:
    return [(money(tick, grid.tick), money(lots, grid.lot)) for tick, lots in held]


def agg_columns(trades: Trades, fills: Fills, unit: int) -> tuple[npt.NDArray[Any], ...]:
    """Return id, price, quantity, first and last raw id, time, and whether the buyer made."""
    first, last = fills.first(trades.id), fills.last(trades.id)
    times = trades.ts_us // unit
    return trades.id, trades.price, trades.qty, first, last, times, maker(trades)


def maker(trades: Trades) -> npt.NDArray[Any]:
    """Return `true` where the buyer is the maker: where the aggressor sold."""
    return np.asarray(BOOLS[(~trades.is_buy).astype(np.int64)])


def rows(template: bytes, columns: Iterable[npt.NDArray[Any]]) -> list[bytes]:
    """Return the template filled with each row of columns."""
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [template % row for row in values]


def array(made: list[bytes]) -> bytes:
    """Return rows as an array of JSON."""
    return b"[" + b",".join(made) + b"]"


def within(around: Around, inner: bytes) -> bytes:
    """Return a template with what stands around it."""
    return escaped(around[0]) + inner + escaped(around[1])


def escaped(text: bytes) -> bytes:
    """Return text that a template keeps as it is."""
    return text.replace(b"%", b"%%")
