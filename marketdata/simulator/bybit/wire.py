"""Frames as Bybit's public streams write them. Spot and linear order their keys differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from marketdata.core.trades import Floats, Trades
from marketdata.simulator.bybit.numerals import LINEAR, Numerals, directions, stripped
from marketdata.simulator.history import Candle

LINEAR_TRADE = (
    '{"T":%d,"s":"{symbol}","S":"%s","v":"%s","p":"%s","L":"%s","i":"%s","BT":false,"RPI":%s,'
    '"seq":%d}'
)
SPOT_TRADE = (
    '{"i":"%s","T":%d,"p":"%s","v":"%s","S":"%s","seq":%d,"s":"{symbol}","BT":false,"RPI":%s}'
)
# Where a category puts these among the keys of a frame.
ORDERS: dict[str, dict[str, tuple[str, ...]]] = {
    "trade": {
        "linear": ("topic", "type", "ts", "data"),
        "spot": ("topic", "ts", "type", "data"),
    },
    "book": {
        "linear": ("topic", "type", "ts", "data", "cts"),
        "spot": ("topic", "ts", "type", "data", "cts"),
    },
    "ticker": {
        "linear": ("topic", "type", "data", "cs", "ts"),
        "spot": ("topic", "ts", "type", "cs", "data"),
    },
    "kline": {
        "linear": ("topic", "data", "ts", "type"),
        "spot": ("type", "topic", "data", "ts"),
    },
}
Level = tuple[int, int]


def message(form: str, category: str, parts: Mapping[str, Any]) -> bytes:
    """Return one frame's JSON, its keys in the order of the category."""
    return msgspec.json.encode({key: parts[key] for key in ORDERS[form][category]})


def trade_pieces(trades: Trades, numerals: Numerals, before: Floats) -> list[bytes]:
    """Return the JSON object of each trade.

    Parameters
    ----------
    before : (n,) float64
        Some prices before the first trade, for its tick direction.
    """
    times, seqs = (trades.ts_us // 1000).tolist(), numerals.seqs(trades.ts_us).tolist()
    sides = ["Buy" if is_buy else "Sell" for is_buy in trades.is_buy.tolist()]
    prices, sizes = numerals.prices(trades.price), numerals.sizes(trades.qty)
    ids = numerals.ids(trades)
    rpis = ["true" if is_rpi else "false" for is_rpi in numerals.are_rpi(trades).tolist()]
    symbol = msgspec.json.encode(numerals.symbol).decode()[1:-1].replace("%", "%%")
    if numerals.category == LINEAR:
        moves = directions(trades.price, before)
        template = LINEAR_TRADE.replace("{symbol}", symbol)
        rows = zip(times, sides, sizes, prices, moves, ids, rpis, seqs, strict=True)
        return [(template % row).encode() for row in rows]
    template = SPOT_TRADE.replace("{symbol}", symbol)
    spot = zip(ids, times, prices, sizes, sides, seqs, rpis, strict=True)
    return [(template % row).encode() for row in spot]


def trade_message(category: str, topic: str, ts_ms: int, pieces: Sequence[bytes]) -> bytes:
    """Return one `publicTrade` frame's JSON around some trades."""
    data = msgspec.Raw(b"[" + b",".join(pieces) + b"]")
    parts = {"topic": topic, "type": "snapshot", "ts": ts_ms, "data": data}
    return message("trade", category, parts)


def recent_rows(trades: Trades, numerals: Numerals) -> list[dict[str, Any]]:
    """Return the rows of REST, in the order of the trades; all numbers are text."""
    columns = zip(
        numerals.ids(trades),
        numerals.prices(trades.price),
        numerals.sizes(trades.qty),
        trades.is_buy.tolist(),
        (trades.ts_us // 1000).tolist(),
        numerals.are_rpi(trades).tolist(),
        numerals.seqs(trades.ts_us).tolist(),
        strict=True,
    )
    return [
        {
            "execId": id,
            "symbol": numerals.symbol,
            "price": price,
            "size": size,
            "side": "Buy" if is_buy else "Sell",
            "time": str(ms),
            "isBlockTrade": False,
            "isRPITrade": is_rpi,
            "seq": str(seq),
        }
        for id, price, size, is_buy, ms, is_rpi, seq in columns
    ]


def book_message(
    numerals: Numerals,
    topic: str,
    kind: str,
    levels: tuple[Sequence[Level], Sequence[Level]],
    stamp: tuple[int, int, int],
) -> bytes:
    """Return one `orderbook` frame's JSON.

    Parameters
    ----------
    kind : {"snapshot", "delta"}
    levels : pair of (tick, lots)
        Bids and asks; no lots delete.
    stamp : tuple of int
        Update id, sequence, and the engine's time in milliseconds.
    """
    update_id, seq, cts_ms = stamp
    parts = {
        "topic": topic,
        "type": kind,
        "ts": cts_ms + 2,
        "data": {
            "s": numerals.symbol,
            "b": level_rows(levels[0], numerals),
            "a": level_rows(levels[1], numerals),
            "u": update_id,
            "seq": seq,
        },
        "cts": cts_ms,
    }
    return message("book", numerals.category, parts)


def level_rows(levels: Sequence[Level], numerals: Numerals) -> list[tuple[str, str]]:
    """Return levels as pairs of text; a size of none is `0`."""
    return [(numerals.price(tick), numerals.size(lots) if lots else "0") for tick, lots in levels]


def ticker_message(
    category: str, topic: str, kind: str, data: Mapping[str, str], stamp: tuple[int, int]
) -> bytes:
    """Return one `tickers` frame's JSON; the stamp is sequence and milliseconds."""
    parts = {"topic": topic, "type": kind, "data": data, "cs": stamp[0], "ts": stamp[1]}
    return message("ticker", category, parts)


def kline_message(
    numerals: Numerals, topic: str, interval: str, candle: Candle, now_us: int
) -> bytes:
    """Return one `kline` frame's JSON; `confirm` tells whether the candle is over."""
    start, *values = kline_row(candle, numerals)
    names = ("open", "high", "low", "close", "volume", "turnover")
    texts = dict(zip(names, values, strict=True))
    data = {
        "start": int(start),
        "end": candle.end_us // 1000 - 1,
        "interval": interval,
        **{name: texts[name] for name in ("open", "close", "high", "low", "volume", "turnover")},
        "confirm": now_us >= candle.end_us,
        "timestamp": now_us // 1000,
    }
    parts = {"topic": topic, "type": "snapshot", "data": [data], "ts": now_us // 1000}
    return message("kline", numerals.category, parts)


def kline_row(candle: Candle, numerals: Numerals) -> list[str]:
    """Return the seven positions of a candle: start, open, high, low, close, volume, turnover."""
    grid = numerals.grid
    prices = (candle.open, candle.high, candle.low, candle.close)
    return [
        str(candle.open_us // 1000),
        *(stripped(f"{ticks * grid.tick:f}") for ticks in prices),
        stripped(f"{candle.volume * grid.lot:f}"),
        stripped(f"{candle.quote * grid.tick * grid.lot:f}"),
    ]


def liquidation_message(
    numerals: Numerals, topic: str, rows: Sequence[tuple[int, bool, str, str]], ts_ms: int
) -> bytes:
    """Return one `allLiquidation` frame's JSON.

    Parameters
    ----------
    rows : sequence of (ms, whether a long was liquidated, size, bankruptcy price)
        `S` is the side of the position, not of the order that closes it.
    """
    data = [
        {"T": ms, "s": numerals.symbol, "S": "Buy" if is_long else "Sell", "v": size, "p": price}
        for ms, is_long, size, price in rows
    ]
    parts = {"topic": topic, "type": "snapshot", "ts": ts_ms, "data": data}
    return message("trade", numerals.category, parts)
