"""Bybit v5's public answers: instruments, newest trades, candles, series, tickers, books.

Source: github.com/bybit-exchange/docs, docs/v5/market, 2026-07.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from marketdata.core.errors import BadInputError, FrameError
from marketdata.core.facts import BookUpdate, Mark, Reading
from marketdata.core.instrument import FINEST, Grid
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import EARLIEST_US, LATEST_US, Trades
from marketdata.venues.base import DayLevels, Listing
from marketdata.venues.bybit_wire import (
    Amount,
    Answer,
    Book,
    Rate,
    Ref,
    Rows,
    Seq,
    Side,
    Size,
    Text,
    Ticker,
    Time,
    marked,
    one_side,
    refs,
    updated,
)
from marketdata.venues.wire_json import cut, parsed

Nanos = Annotated[int, Meta(ge=EARLIEST_US * 1000, lt=LATEST_US * 1000)]
LARGEST_STEP = Decimal(10**9)
T = TypeVar("T")


class _Timed(Answer[T]):
    """An answer whose own time matters; 0 where it tells none."""

    time: Time = 0


class _Lot(Struct):
    """Linear names its step `qtyStep`, spot `basePrecision`."""

    qtyStep: Text = ""
    basePrecision: Text = ""


class _Price(Struct):
    tickSize: str


class _Instrument(Struct):
    symbol: str
    status: str
    priceFilter: _Price
    lotSizeFilter: _Lot


class _Newest(Struct, gc=False):
    execId: Ref | Seq
    symbol: str
    price: Amount
    size: Amount
    side: Side
    time: Time
    seq: Seq = 0


class _Candle(Struct, array_like=True, gc=False):
    opened: Time
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    volume: Size
    turnover: Size


class _Clock(Struct):
    timeNano: Nanos


class _Funding(Struct):
    fundingRate: Rate
    fundingRateTimestamp: Time


class _Interest(Struct):
    openInterest: Text
    timestamp: Time
    singleOpenInterest: Text = None


_instruments = msgspec.json.Decoder(Answer[Rows[_Instrument]], strict=False)
_newest = msgspec.json.Decoder(Answer[Rows[_Newest]], strict=False)
_candles = msgspec.json.Decoder(_Timed[Rows[_Candle]], strict=False)
_clock = msgspec.json.Decoder(Answer[_Clock], strict=False)
_funding = msgspec.json.Decoder(Answer[Rows[_Funding]], strict=False)
_interest = msgspec.json.Decoder(Answer[Rows[_Interest]], strict=False)
_tickers = msgspec.json.Decoder(_Timed[Rows[Ticker]], strict=False)
_book = msgspec.json.Decoder(Answer[Book], strict=False)


def listing_of(body: bytes, symbol: str) -> Listing:
    """Read tick and lot out of a page of instruments-info.

    Notes
    -----
    `{"symbol":"BTCUSDT","status":"Trading","priceFilter":{"tickSize":"0.10"},"lotSizeFilter":
    {"qtyStep":"0.001","minNotionalValue":"5"}}`; spot has `"lotSizeFilter":{"basePrecision":
    "0.000001","minOrderAmt":"5"}`.
    """
    rows = parsed(_instruments, body).result.rows
    found = next((row for row in rows if row.symbol == symbol), None)
    if found is None:
        raise FrameError("symbol", f"{symbol} expected among instruments, it is not there", body)
    lot = found.lotSizeFilter
    try:
        grid = Grid(_step(found.priceFilter.tickSize), _step(lot.qtyStep or lot.basePrecision))
    except (ArithmeticError, BadInputError) as error:
        detail = f"a tick and a lot above zero expected for {symbol}: {cut(error)}"
        raise FrameError("number", detail, body) from error
    return Listing(symbol, grid, found.status, None)


def _step(text: Text) -> Decimal:
    step = Decimal(text or 0).normalize()
    if not FINEST <= step < LARGEST_STEP:
        raise BadInputError(f"a step of at least {FINEST} expected, seen {text}")
    return step


def newest_of(body: bytes) -> Trades:
    """Read recent-trade in the order in which trades were matched.

    Notes
    -----
    `{"execId":"2100000000007764263","symbol":"BTCUSDT","price":"16618.49","size":"0.00012",
    "side":"Buy","time":"1672052955758","isBlockTrade":false,"isRPITrade":false,"seq":"123456"}`,
    the newest first, which no document promises: they are put in order of time and sequence.
    """
    rows = parsed(_newest, body).result.rows[::-1]
    if len({row.symbol for row in rows}) > 1:
        raise FrameError("symbol", "trades of one symbol expected", body)
    rows.sort(key=lambda row: (row.time, row.seq))
    return Trades(
        np.array([row.seq for row in rows], np.int64),
        np.array([row.time for row in rows], np.int64) * 1000,
        np.array([row.price for row in rows], np.float64),
        np.array([row.size for row in rows], np.float64),
        np.array([row.side == "Buy" for row in rows], np.bool_),
        refs([str(row.execId) for row in rows], body),
    )


def day_of(body: bytes, day_us: int) -> DayLevels | None:
    """Return the levels of a UTC day out of candles of a day, newest first.

    Notes
    -----
    `["1672324800000","16649.5","16677","16608","16677","2.081","34666.4"]`. The candle of a day
    that has not ended is no level of it.
    """
    answer = parsed(_candles, body)
    if not answer.result.rows:
        return None
    found = next((row for row in answer.result.rows if row.opened == day_us // 1000), None)
    if found is None:
        raise FrameError("number", f"day {day_us // 1000} ms expected, it is not there", body)
    if day_us + DAY_US > answer.time * 1000:
        raise FrameError("number", f"a day over by {answer.time} ms expected", body)
    if not found.low <= min(found.open, found.close) <= max(found.open, found.close) <= found.high:
        raise FrameError("number", f"open and close between low and high expected: {found}", body)
    return DayLevels(found.high, found.low, found.close) if found.volume else None


def clock_of(body: bytes) -> int:
    """Read `{"timeSecond":"1688639403","timeNano":"1688639403423213947"}` as microseconds UTC."""
    return parsed(_clock, body).result.timeNano // 1000


def funding_of(body: bytes) -> list[Reading]:
    """Read rates paid: `{"symbol":"ETHPERP","fundingRate":"0.0001","fundingRateTimestamp":"…"}`."""
    rows = parsed(_funding, body).result.rows
    found = [Reading("funding", row.fundingRateTimestamp * 1000, row.fundingRate) for row in rows]
    return sorted(found, key=_when)


def interest_of(body: bytes) -> list[Reading]:
    """Read open interest, one side counted.

    Notes
    -----
    `{"openInterest":"63910691.0","singleOpenInterest":"31955345.5","timestamp":"1780963200000"}`:
    the first counts both sides, the second is newer than the first.
    """
    rows = parsed(_interest, body).result.rows
    told = [(row, one_side(row.singleOpenInterest, row.openInterest, body)) for row in rows]
    found = [
        Reading("open_interest", row.timestamp * 1000, value)
        for row, value in told
        if value is not None
    ]
    return sorted(found, key=_when)


def _when(reading: Reading) -> int:
    return reading.ts_us


def mark_of(body: bytes, symbol: str) -> Mark:
    """Read what the tickers of REST say of a contract; their rows carry no time of their own."""
    answer = parsed(_tickers, body)
    found = next((row for row in answer.result.rows if row.symbol == symbol), None)
    if found is None:
        raise FrameError("symbol", f"{symbol} expected among tickers, it is not there", body)
    return marked(found, answer.time * 1000, body)


def book_of(body: bytes) -> BookUpdate:
    """Read a whole book as REST answers it: its ids are those of the stream of 1,000 levels."""
    return updated(parsed(_book, body).result, is_whole=True)
