"""What Bybit v5's frames and answers share: envelope, refusals, numbers; and the private answers.

Every answer is `{"retCode":0,"retMsg":"OK","result":{…},"retExtInfo":{},"time":1700000000123}`, and
HTTP says 200 whatever `retCode` is. Numbers are text, and may be empty.
Source: github.com/bybit-exchange/docs, docs/v5, 2026-07.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Generic, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from marketdata.core.errors import FrameError
from marketdata.core.facts import BookUpdate, Mark
from marketdata.core.trades import EARLIEST_US, LATEST_US, Refs
from marketdata.venues.wire_json import BROKEN, parsed

# NaN, infinity, zero and negatives fail the bounds; no listed price or size is near them.
Amount = Annotated[float, Meta(gt=0, lt=1e15)]
# Zero: the level is gone, nothing was traded, nobody holds anything.
Size = Annotated[float, Meta(ge=0, lt=1e15)]
Levels = list[tuple[Amount, Size]]
# A fraction per interval.
Rate = Annotated[float, Meta(gt=-100, lt=100)]
# Milliseconds.
Time = Annotated[int, Meta(ge=EARLIEST_US // 1000, lt=LATEST_US // 1000)]
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
UpdateId = Annotated[int, Meta(ge=0, lt=2**53)]
# A UUID on linear, a number on spot: text, whatever it looks like.
Ref = Annotated[str, Meta(min_length=1, max_length=64)]
Side = Literal["Buy", "Sell"]
# Text, or empty where there is nothing to say.
Text = str | None
# A service that restarts sends the whole book under this id.
RESTARTED = 1
RETURNED = re.compile(rb'\s*\{\s*"retCode"\s*:\s*(-?\d{1,9})\s*[,}]')
PLAIN = re.compile(r"-?\d{1,30}(\.\d{1,30})?")
T = TypeVar("T")


class Answer(Struct, Generic[T]):
    """The envelope of an answer that does not refuse."""

    result: T


class Rows(Struct, Generic[T]):
    """A result that is a page of rows."""

    rows: list[T] = msgspec.field(name="list")


class Ticker(Struct):
    """What tickers say of a contract; what is absent or empty has not changed or does not apply."""

    symbol: str = ""
    markPrice: Text = None
    indexPrice: Text = None
    fundingRate: Text = None
    nextFundingTime: Text = None
    openInterest: Text = None
    singleOpenInterest: Text = None


class Book(Struct):
    """Levels of one book."""

    s: str
    b: Levels
    a: Levels
    u: UpdateId
    seq: Seq = 0
    cts: Time = 0


class _Coin(Struct):
    coin: str
    walletBalance: Text = ""
    locked: Text = ""
    spotBorrow: Text = ""


class _Wallet(Struct):
    coin: list[_Coin]


class _Held(Struct):
    symbol: str
    side: Literal["Buy", "Sell", "", "None"]
    size: Text
    avgPrice: Text = ""
    unrealisedPnl: Text = ""


class _Refused(Struct):
    retCode: int
    retMsg: Text = ""


_wallets = msgspec.json.Decoder(Answer[Rows[_Wallet]], strict=False)
_positions = msgspec.json.Decoder(Answer[Rows[_Held]], strict=False)
_refused = msgspec.json.Decoder(_Refused)


def is_refusal(body: bytes) -> bool:
    """Tell whether an answer refuses although HTTP says 200; big ones are told by their head."""
    found = RETURNED.match(body)
    if found is not None:
        return int(found[1]) != 0
    return error_of(body) is not None


def error_of(body: bytes) -> tuple[int, str] | None:
    """Return code and words of a refusal: `{"retCode":10006,"retMsg":"Too many visits!",…}`."""
    try:
        refused = _refused.decode(body)
    except BROKEN:
        return None
    return (refused.retCode, refused.retMsg or "") if refused.retCode else None


def refs(texts: Sequence[str], body: bytes) -> Refs:
    """Return trade ids as a column of bytes. Raises FrameError where one is no plain text."""
    joined = "".join(texts)
    if not (joined.isascii() and joined.isprintable()):
        raise FrameError("type", "trade ids of plain letters and digits expected", body)
    return np.array([text.encode() for text in texts] or [b""], np.bytes_)[: len(texts)]


def marked(ticker: Ticker, ts_us: int, body: bytes) -> Mark:
    """Return a ticker as a fact. Prices and times of zero are what the venue has none of."""
    is_none = ticker.nextFundingTime == "0"
    next_funding = None if is_none else number(ticker.nextFundingTime, Time, body)
    return Mark(
        ts_us,
        mark=number(ticker.markPrice, Size, body) or None,
        index=number(ticker.indexPrice, Size, body) or None,
        funding_rate=number(ticker.fundingRate, Rate, body),
        next_funding_us=int(next_funding) * 1000 if next_funding else None,
        open_interest=one_side(ticker.singleOpenInterest, ticker.openInterest, body),
    )


def one_side(single: Text, both: Text, body: bytes) -> float | None:
    """Return open interest with each contract counted once: `openInterest` counts both holders."""
    told, twice = number(single, Size, body), number(both, Size, body)
    return told if told is not None or twice is None else twice / 2


def number(text: Text, kind: object, body: bytes) -> float | None:
    """Read a number within its bounds; None where nothing is said. Raises FrameError."""
    if not text:
        return None
    try:
        value: float = msgspec.convert(text, kind, strict=False)
    except BROKEN as error:
        raise FrameError("number", f"a number expected, seen {text[:40]!r}", body) from error
    return value


def updated(book: Book, *, is_whole: bool) -> BookUpdate:
    """Return levels as a fact."""
    is_snapshot = is_whole or book.u == RESTARTED
    return BookUpdate(book.u, book.u, -1, book.cts * 1000, book.b, book.a, is_snapshot)


# Private answers.


class Position(NamedTuple):
    """What is held of a contract.

    Parameters
    ----------
    qty : Decimal
        Base units, below zero for a short.
    entry : Decimal
        Average price, quote per base.
    unrealised : Decimal
        Profit at the mark price, in the coin of settlement.
    """

    symbol: str
    qty: Decimal
    entry: Decimal
    unrealised: Decimal


def wallet_of(body: bytes) -> list[tuple[str, Decimal, Decimal]]:
    """Read wallet-balance: (coin, total, available) of each coin, in the venue's order.

    Returns
    -------
    list of (str, Decimal, Decimal)
        Total is what is owned: borrowed coins are in `walletBalance` and count against it, so it
        is below zero where more is owed than held. Available is total less what orders lock, and
        never below zero.
    """
    rows = [coin for wallet in parsed(_wallets, body).result.rows for coin in wallet.coin]
    found = []
    for row in rows:
        total = _exact(row.walletBalance, body) - _exact(row.spotBorrow, body)
        found.append((row.coin, total, max(Decimal(0), total - _exact(row.locked, body))))
    return found


def positions_of(body: bytes) -> list[Position]:
    """Read the positions that are open."""
    found = []
    for row in parsed(_positions, body).result.rows:
        qty = _exact(row.size, body)
        signed = -qty if row.side == "Sell" else qty
        entry, unrealised = _exact(row.avgPrice, body), _exact(row.unrealisedPnl, body)
        found.append(Position(row.symbol, signed, entry, unrealised))
    return [position for position in found if position.qty]


def _exact(text: Text, body: bytes) -> Decimal:
    if not text:
        return Decimal(0)
    if not PLAIN.fullmatch(text):
        raise FrameError("number", f"a plain number expected, seen {text[:40]!r}", body)
    return Decimal(text)
