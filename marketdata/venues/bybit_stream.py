"""Bybit v5's public frames: trades, tickers, liquidations, candles, books.

Spot and linear order the keys of a frame differently, so that nothing is told by position. Trades
are decoded strictly first: a field that nobody knows is told, and its trades count.
Source: github.com/bybit-exchange/docs, docs/v5/websocket, 2026-07.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from marketdata.core.errors import FrameError
from marketdata.core.facts import Fact, Kline, Liquidation
from marketdata.core.trades import Trades
from marketdata.venues.base import Received
from marketdata.venues.bybit_control import control_of, kind_of
from marketdata.venues.bybit_wire import (
    Amount,
    Book,
    Ref,
    Seq,
    Side,
    Size,
    Ticker,
    Time,
    marked,
    refs,
    updated,
)
from marketdata.venues.wire_json import cut, parsed

LARGEST_FRAME = 1 << 20
# Where nearly every frame says what it is; the others are looked at whole.
TOPIC = re.compile(rb'"topic":"(\w+)\.')
HEAD = 64
TRADES, TICKERS, LIQUIDATIONS = "publicTrade", "tickers", "allLiquidation"
KLINE, BOOK = "kline", "orderbook"
TIMEFRAMES = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h",
    "240": "4h", "360": "6h", "720": "12h", "D": "1d", "W": "1w",
}  # fmt: skip
# A candle so old without a trade says that the market is quiet, not the subscription lost.
QUIET_MS = 30_000


class _Trade(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """One trade. Linear alone tells the direction `L`; all are trades, also block and RPI ones."""

    T: Time
    s: str
    S: Side
    v: Amount
    p: Amount
    L: str = ""
    i: Ref
    BT: bool = False
    RPI: bool = False
    seq: Seq = 0


class _Trades(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    topic: str
    type: str = ""
    ts: int = 0
    data: list[_Trade]


class _TradeLoose(_Trade, forbid_unknown_fields=False, kw_only=True):
    """The same with fields that nobody knows yet."""


class _TradesLoose(_Trades, forbid_unknown_fields=False, kw_only=True):
    data: list[_TradeLoose]  # type: ignore[assignment]


class _Tickers(Struct):
    topic: str
    ts: Time
    data: Ticker


class _Forced(Struct):
    """A liquidation; `S` is the side of the position that was liquidated."""

    T: Time
    s: str
    S: Side
    v: Amount
    p: Amount


class _Liquidations(Struct):
    topic: str
    data: list[_Forced]


class _Candle(Struct):
    start: Time
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    volume: Size
    turnover: Size
    confirm: bool
    timestamp: int = 0


class _Candles(Struct):
    topic: str
    data: list[_Candle]


class _Books(Struct):
    topic: str
    type: Literal["snapshot", "delta"]
    data: Book
    cts: Time = 0


_strict = msgspec.json.Decoder(_Trades, strict=False)
_loose: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_TradesLoose, strict=False)
_tickers = msgspec.json.Decoder(_Tickers, strict=False)
_liquidations = msgspec.json.Decoder(_Liquidations, strict=False)
_candles = msgspec.json.Decoder(_Candles, strict=False)
_books = msgspec.json.Decoder(_Books, strict=False)


def decode(frames: Sequence[bytes], symbols: frozenset[str]) -> Received:
    """Sort public frames into trades by symbol, facts in order, controls and errors.

    Notes
    -----
    `{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1700000000010,"data":[{"T":1700000000007,
    "s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick",
    "i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"RPI":false,"seq":1783284617}]}`
    """
    drain = _Drain(symbols)
    for frame in frames:
        try:
            drain.take(frame)
        except FrameError as error:
            drain.received.errors.append(error)
    return drain.ended()


@dataclass(slots=True)
class _Drain:
    """What frames that came together have come to so far."""

    symbols: frozenset[str]
    received: Received = field(default_factory=Received)
    rows: dict[str, list[_Trade]] = field(default_factory=dict)
    trades_of: msgspec.json.Decoder[_Trades] = _strict

    def take(self, frame: bytes) -> None:
        """Take one frame, wholly or not at all. Raises FrameError."""
        if len(frame) > LARGEST_FRAME:
            raise FrameError("size", f"at most {LARGEST_FRAME} bytes expected", frame)
        found = TOPIC.search(frame, 0, HEAD)
        kind = found[1].decode() if found else kind_of(frame)
        take = TAKES.get(kind)
        if take is None:
            self.received.controls.append(control_of(frame))
        else:
            take(self, frame)

    def ended(self) -> Received:
        """Return everything, the trades as columns."""
        self.received.trades = {symbol: _columns(rows) for symbol, rows in self.rows.items()}
        return self.received

    def trades(self, frame: bytes) -> None:
        """Take trades, in the order in which they were matched."""
        told, extra = self._read_trades(frame)
        symbol, _ = self._subject(told.topic, TRADES, frame)
        for row in told.data:
            _same(row.s, symbol, frame)
        refs([row.i for row in told.data], frame)
        if not told.data:
            raise FrameError("field", "at least one trade expected", frame)
        self.rows.setdefault(symbol, []).extend(told.data)
        self.received.topics.add(told.topic)
        if extra is not None:
            # A field that the venue added for good is noted once a drain.
            self.received.errors.append(extra)
            self.trades_of = _loose

    def _read_trades(self, frame: bytes) -> tuple[_Trades, FrameError | None]:
        try:
            return parsed(self.trades_of, frame), None
        except FrameError as error:
            if "unknown field" not in error.detail:
                raise
            told: _Trades = parsed(_loose, frame)
            return told, FrameError("extra", f"trades taken; {error.detail}", frame)

    def ticker(self, frame: bytes) -> None:
        """Take what is said of a contract; of spot that is nothing but the time."""
        told = parsed(_tickers, frame)
        symbol, _ = self._subject(told.topic, TICKERS, frame)
        _same(told.data.symbol or symbol, symbol, frame)
        self._say(told.topic, symbol, [marked(told.data, told.ts * 1000, frame)])

    def liquidations(self, frame: bytes) -> None:
        """Take forced orders: where a long is liquidated, the order sells."""
        told = parsed(_liquidations, frame)
        symbol, _ = self._subject(told.topic, LIQUIDATIONS, frame)
        for row in told.data:
            _same(row.s, symbol, frame)
        facts = [
            Liquidation(row.T * 1000, row.p, row.v, row.S == "Sell", is_sample=False)
            for row in told.data
        ]
        self._say(told.topic, symbol, facts)

    def candles(self, frame: bytes) -> None:
        """Take candles; one that is long without a trade stands for the trades that are none."""
        told = parsed(_candles, frame)
        symbol, interval = self._subject(told.topic, KLINE, frame)
        timeframe = TIMEFRAMES.get(interval)
        if timeframe is None:
            raise FrameError("event", f"a known interval expected, seen {cut(interval)!r}", frame)
        self._say(told.topic, symbol, [_kline(row, timeframe) for row in told.data])
        if any(not row.volume and row.timestamp - row.start >= QUIET_MS for row in told.data):
            self.received.topics.add(topic_of(TRADES, symbol))

    def book(self, frame: bytes) -> None:
        """Take levels: all of them, or those that changed."""
        told = parsed(_books, frame)
        symbol, _ = self._subject(told.topic, BOOK, frame)
        _same(told.data.s, symbol, frame)
        told.data.cts = told.cts
        self._say(told.topic, symbol, [updated(told.data, is_whole=told.type == "snapshot")])

    def _subject(self, topic: str, kind: str, frame: bytes) -> tuple[str, str]:
        """Return symbol and what stands before it. Raises FrameError."""
        name, _, rest = topic.partition(".")
        middle, _, symbol = rest.partition(".") if kind in MIDDLES else ("", "", rest)
        if name != kind:
            raise FrameError("event", f"a topic of {kind} expected, seen {cut(topic)!r}", frame)
        if symbol not in self.symbols:
            detail = f"a subscribed symbol expected, seen {cut(symbol)!r}"
            raise FrameError("symbol", detail, frame)
        return symbol, middle

    def _say(self, topic: str, symbol: str, facts: Sequence[Fact]) -> None:
        self.received.facts.extend((symbol, fact) for fact in facts)
        self.received.topics.add(topic)


# Topics that say interval or depth before the symbol.
MIDDLES = frozenset({KLINE, BOOK})
TAKES: dict[str, Callable[[_Drain, bytes], None]] = {
    TRADES: _Drain.trades,
    TICKERS: _Drain.ticker,
    LIQUIDATIONS: _Drain.liquidations,
    KLINE: _Drain.candles,
    BOOK: _Drain.book,
}


def topic_of(kind: str, symbol: str, middle: str = "") -> str:
    """Return a topic, for example `publicTrade.BTCUSDT` or `kline.1.BTCUSDT`."""
    return ".".join(part for part in (kind, middle, symbol) if part)


def _same(seen: str, symbol: str, frame: bytes) -> None:
    if seen != symbol:
        raise FrameError("symbol", f"data of {symbol} expected, seen {cut(seen)!r}", frame)


def _columns(rows: Sequence[_Trade]) -> Trades:
    """Turn trades into a batch; the number is provisional, as symbols share it."""
    count = len(rows)
    return Trades(
        np.fromiter([row.seq for row in rows], np.int64, count),
        np.fromiter([row.T for row in rows], np.int64, count) * 1000,
        np.fromiter([row.p for row in rows], np.float64, count),
        np.fromiter([row.v for row in rows], np.float64, count),
        np.fromiter([row.S == "Buy" for row in rows], np.bool_, count),
        refs([row.i for row in rows], b""),
    )


def _kline(row: _Candle, timeframe: str) -> Kline:
    return Kline(
        timeframe,
        row.start * 1000,
        row.open,
        row.high,
        row.low,
        row.close,
        row.volume,
        row.turnover,
        buy_volume=None,
        trades=None,
        is_closed=row.confirm,
    )
