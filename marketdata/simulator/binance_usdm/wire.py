"""Bytes as Binance USD-M writes them, where they differ from spot's. Times are milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot import wire as spot
from marketdata.simulator.binance_spot.wire import MILLISECONDS
from marketdata.simulator.binance_usdm.numbering import EVERY, has_stranger, numbered
from marketdata.simulator.binance_usdm.rates import Marks
from marketdata.simulator.book import BookChange
from marketdata.simulator.fills import Fills
from marketdata.simulator.history import Candle
from marketdata.simulator.listing import Levels
from marketdata.simulator.markets import Market
from marketdata.simulator.streams import Around

USD_M, COIN_M = 1, 2
# All symbols share the venue's update ids: what is next in a book is not the next id.
IDS_APART = 3
HEADER = b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
# Every so many strangers among raw trades, one is a fill of the insurance fund.
FUND_EVERY = 4


def plain(count: int, step: Decimal) -> str:
    """Return `count` steps with as many decimals as the step has.

    Examples
    --------
    >>> plain(640001, Decimal("0.10"))
    '64000.10'
    """
    return f"{count * step:f}"


def agg_trade_events(
    trades: Trades, fills: Fills, symbol: str, grid: Grid, now_ms: int, around: Around
) -> list[bytes]:
    """Return `{"e":"aggTrade","E":…,"s":"BTCUSDT","a":88,"p":"64000.10","q":…,"nq":…}` each."""
    price, qty = _templates(grid)
    inner = (
        b'{"e":"aggTrade","E":%d,"s":%s,"a":%%d,"p":"%s","q":"%s","nq":"%s","f":%%d,"l":%%d,'
        b'"T":%%d,"m":%%s,"st":1}' % (now_ms, _name(symbol), price, qty, qty)
    )
    return spot.rows(spot.within(around, inner), _agg_columns(trades, fills, net=True))


def agg_trade_rows(trades: Trades, fills: Fills, grid: Grid) -> bytes:
    """Return the array of `{"a":88,"p":"64000.10","q":"0.030","nq":"0.030","f":899,…}`."""
    price, qty = _templates(grid)
    row = b'{"a":%%d,"p":"%s","q":"%s","nq":"%s","f":%%d,"l":%%d,"T":%%d,"m":%%s}' % (
        price,
        qty,
        qty,
    )
    return spot.array(spot.rows(row, _agg_columns(trades, fills, net=True)))


def archive_rows(trades: Trades, market: Market, unit: int) -> bytes:
    """Return lines `88,64000.10,0.030,899,901,1760000000001,true`."""
    row = b"%%d,%s,%s,%%d,%%d,%%d,%%s\n" % _templates(market.grid)
    return b"".join(spot.rows(row, _agg_columns(trades, market.fills, net=False)))


def trade_events(
    raw: Trades, symbol: str, grid: Grid, now_ms: int, around: Around
) -> list[list[bytes]]:
    """Return the events of each raw trade: its own, and that of a stranger after it.

    Notes
    -----
    `{"e":"trade","E":…,"T":…,"s":"BTCUSDT","t":901,"p":…,"q":…,"X":"MARKET","m":true,"st":1}`;
    a stranger is a placeholder with X `NA` and zeros, or a fill of the insurance fund.
    """
    price, qty = _templates(grid)
    head = b'{"e":"trade","E":%d,"T":%%d,"s":%s,"t":%%d,' % (now_ms, _name(symbol))
    tail = b'"m":%s,"st":1}'
    own = spot.within(around, head + b'"p":"%s","q":"%s","X":"MARKET",' % (price, qty) + tail)
    fund = spot.within(
        around, head + b'"p":"%s","q":"%s","X":"INSURANCE_FUND",' % (price, qty) + tail
    )
    empty = spot.within(around, head + b'"p":"0","q":"0","X":"NA",' + tail)
    ids, times, makers = numbered(raw.id), raw.ts_us // MILLISECONDS, spot.maker(raw)
    made = [[one] for one in spot.rows(own, (times, ids, raw.price, raw.qty, makers))]
    for row in (row for row, fill in enumerate(raw.id.tolist()) if has_stranger(fill)):
        id = int(ids[row]) + 1
        if id // EVERY % FUND_EVERY == 0:
            values = (times[row], id, raw.price[row], raw.qty[row], makers[row])
            made[row].append(fund % values)
        else:
            made[row].append(empty % (times[row], id, makers[row]))
    return made


def trade_rows(raw: Trades, grid: Grid) -> bytes:
    """Return the array of `{"id":900,"price":…,"qty":…,"quoteQty":…,"time":…}`: book trades."""
    price, qty = _templates(grid)
    row = (
        b'{"id":%%d,"price":"%s","qty":"%s","quoteQty":"%%.2f","time":%%d,"isBuyerMaker":%%s,'
        b'"isRPITrade":false}' % (price, qty)
    )
    columns = (
        *(numbered(raw.id), raw.price, raw.qty, raw.price * raw.qty),
        *(raw.ts_us // MILLISECONDS, spot.maker(raw)),
    )
    return spot.array(spot.rows(row, columns))


def depth_event(
    change: BookChange, grid: Grid, symbol: str, now_ms: int, *, before: int
) -> dict[str, Any]:
    """Return one `depthUpdate`; `before` is the last id of the update before on this stream."""
    return _depth(
        (change.first, change.last, before),
        (
            _levels(sorted(change.bids.items(), reverse=True), grid),
            _levels(sorted(change.asks.items()), grid),
        ),
        symbol,
        now_ms,
    )


def partial_event(
    top: Levels, grid: Grid, symbol: str, now_ms: int, *, before: int
) -> dict[str, Any]:
    """Return the best levels in the shape of a `depthUpdate`."""
    ids = (before + 1, top.last_id, before)
    return _depth(ids, (_levels(top.bids, grid), _levels(top.asks, grid)), symbol, now_ms)


def _depth(
    ids: tuple[int, int, int], sides: tuple[Any, Any], symbol: str, now_ms: int
) -> dict[str, Any]:
    first, last, before = (id * IDS_APART for id in ids)
    return {
        "e": "depthUpdate",
        "E": now_ms,
        "T": now_ms - 3,
        "s": symbol,
        "U": first,
        "u": last,
        "pu": before,
        "b": sides[0],
        "a": sides[1],
        "ps": symbol,
        "st": USD_M,
    }


def levels(book: Levels, grid: Grid, now_ms: int) -> dict[str, Any]:
    """Return a snapshot."""
    return {
        "lastUpdateId": book.last_id * IDS_APART,
        "E": now_ms,
        "T": now_ms - 3,
        "bids": _levels(book.bids, grid),
        "asks": _levels(book.asks, grid),
    }


def book_ticker_event(book: Levels, grid: Grid, symbol: str, now_ms: int) -> dict[str, Any]:
    """Return one `bookTicker`."""
    (bid, bid_lots), (ask, ask_lots) = book.bids[0], book.asks[0]
    return {
        "e": "bookTicker",
        "u": book.last_id * IDS_APART,
        "E": now_ms,
        "T": now_ms - 3,
        "s": symbol,
        "ps": symbol,
        "b": plain(bid, grid.tick),
        "B": plain(bid_lots, grid.lot),
        "a": plain(ask, grid.tick),
        "A": plain(ask_lots, grid.lot),
        "st": USD_M,
    }


def mark_price_event(now: Marks, symbol: str, next_ms: int, now_ms: int) -> dict[str, Any]:
    """Return one `markPriceUpdate`."""
    return {
        "e": "markPriceUpdate",
        "E": now_ms,
        "s": symbol,
        "p": f"{now.mark:.8f}",
        "ap": f"{(now.mark + now.index) / 2:.8f}",
        "P": f"{now.index:.8f}",
        "i": f"{now.index:.8f}",
        "r": f"{now.funding:.8f}",
        "T": next_ms,
        "st": USD_M,
    }


def force_order_event(
    symbol: str, price: str, qty: str, now_ms: int, *, is_buy: bool
) -> dict[str, Any]:
    """Return one `forceOrder`: SELL closes a long."""
    order = {
        "s": symbol,
        "S": "BUY" if is_buy else "SELL",
        "o": "LIMIT",
        "f": "IOC",
        "q": qty,
        "p": price,
        "ap": price,
        "X": "FILLED",
        "l": qty,
        "z": qty,
        "T": now_ms - 5,
    }
    return {"e": "forceOrder", "E": now_ms, "o": order, "ps": symbol, "st": USD_M}


def kline_event(
    candle: Candle, grid: Grid, symbol: str, interval: str, now_us: int
) -> dict[str, Any]:
    """Return one `kline`, whose ids are those of the venue."""
    return spot.kline_event(_numbered(candle), grid, symbol, interval, now_us, MILLISECONDS)


def kline_row(candle: Candle, grid: Grid) -> list[Any]:
    """Return the twelve positions of a candle in REST."""
    return spot.kline_row(candle, grid, MILLISECONDS)


def coin_trade_event(symbol: str, now_ms: int) -> dict[str, Any]:
    """Return the `aggTrade` of a coin-margined contract under the same name."""
    return {
        "e": "aggTrade",
        "E": now_ms,
        "s": symbol,
        "a": 7,
        "p": "1.0",
        "q": "77",
        "nq": "77",
        "f": 1,
        "l": 1,
        "T": now_ms,
        "m": True,
        "st": COIN_M,
    }


def stranger(event: dict[str, Any]) -> dict[str, Any]:
    """Return the same event of a coin-margined contract: other numbers under the same name."""
    changed: dict[str, Any] = {"st": COIN_M}
    for key, value in event.items():
        if key == "o":
            changed[key] = {**value, "p": "1.0", "ap": "1.0", "q": "77"}
        elif key in {"a", "b"} and isinstance(value, list):
            changed[key] = [("1.0", "77")]
        elif key in {"p", "b", "a"} and isinstance(value, str):
            changed[key] = "1.0"
        elif key in {"a", "f", "l", "u", "U", "pu"}:
            changed[key] = value + 1_000_000
    return {**event, **changed}


def _numbered(candle: Candle) -> Candle:
    if not candle.count:
        return candle
    first, last = numbered(np.array([candle.first_id, candle.last_id])).tolist()
    return replace(candle, first_id=first, last_id=last)


def _agg_columns(trades: Trades, fills: Fills, *, net: bool) -> tuple[Any, ...]:
    id, price, qty, first, last, times, maker = spot.agg_columns(trades, fills, MILLISECONDS)
    sizes = (qty, qty) if net else (qty,)
    return (id, price, *sizes, numbered(first), numbered(last), times, maker)


def _templates(grid: Grid) -> tuple[bytes, bytes]:
    """Return how price and quantity are printed: `%.2f` for a tick of 0.10, escaped once."""
    price, qty = (
        b"%%.%df" % max(0, -int(step.as_tuple().exponent)) for step in (grid.tick, grid.lot)
    )
    return price, qty


def _levels(held: Iterable[tuple[int, int]], grid: Grid) -> list[tuple[str, str]]:
    return [(plain(tick, grid.tick), plain(lots, grid.lot)) for tick, lots in held]


def _name(symbol: str) -> bytes:
    return spot.escaped(msgspec.json.encode(symbol))
