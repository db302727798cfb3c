"""Binance's books: changes, whole books and best prices; the same in its markets.

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md, 2026-07;
developers.binance.com, USD-M "How to manage a local order book correctly".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from marketdata.core.errors import FrameError
from marketdata.core.facts import BookUpdate, Fact, Quote
from marketdata.core.trades import EARLIEST_US
from marketdata.venues.base import Received
from marketdata.venues.binance_wire import LATEST_MS, Amount, Time, is_wrapped, odd, parsed
from marketdata.venues.wire_json import BROKEN

# Real ones need 43 bits.
UpdateId = Annotated[int, Meta(ge=0, lt=2**53)]
# Zero: the level is gone.
Size = Annotated[float, Meta(ge=0, lt=1e15)]
Rows = list[tuple[Amount, Size]]
# Where a frame says what it is: the name of its stream, or its first field.
HEAD = 160
# USD-M contracts; coin-margined ones come by the same streams.
USD_M = 1
Named = tuple[str, Fact]


class _Diff(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Levels that changed. `T`, `pu`, `ps` and `st` come from futures only."""

    e: Literal["depthUpdate"]
    E: Time
    T: Time = 0
    s: str
    U: UpdateId
    u: UpdateId
    pu: Annotated[int, Meta(ge=-1, lt=2**53)] = -1
    b: Rows
    a: Rows
    ps: str = ""
    st: int = USD_M


class _Best(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Best bid and ask. Spot sends neither its kind nor a time."""

    e: Literal["bookTicker"] = "bookTicker"
    u: UpdateId
    E: Time = 0
    s: str
    ps: str = ""
    b: Amount
    B: Size
    a: Amount
    A: Size
    T: Time = 0
    st: int = USD_M


class _Whole(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A book's best levels, as REST answers them and as spot streams the partial kind."""

    lastUpdateId: UpdateId
    E: Time = 0
    T: Time = 0
    bids: Rows
    asks: Rows


class _DiffLoose(_Diff, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class _BestLoose(_Best, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class _WholeLoose(_Whole, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


def _wrapped(event: type[Struct]) -> msgspec.json.Decoder[Any]:
    wrapper: Any = msgspec.defstruct("Wrapper", [("stream", str), ("data", event)])
    return msgspec.json.Decoder(wrapper, strict=False)


def _micros(time: int) -> int:
    """Return a time as microseconds; 0 stays what it is: not told."""
    if time < LATEST_MS:
        return time * 1000
    if time < EARLIEST_US:
        raise FrameError("number", f"a time from 2010 to 2100 expected, seen {time}")
    return time


def _is_partial(stream: str) -> bool:
    return stream.partition("@depth")[2][:1].isdigit()


def _of_diff(event: _Diff, stream: str) -> Named:
    if event.u < event.U:
        raise FrameError("number", f"U <= u expected, seen {event.U} and {event.u}")
    if event.st != USD_M:
        raise FrameError("symbol", f"a USD-M contract expected, seen st {event.st}")
    ts_us = _micros(event.T or event.E)
    is_whole = _is_partial(stream)
    return event.s, BookUpdate(event.U, event.u, event.pu, ts_us, event.b, event.a, is_whole)


def _of_best(event: _Best, stream: str) -> Named:
    if event.st != USD_M:
        raise FrameError("symbol", f"a USD-M contract expected, seen st {event.st}")
    ts_us = _micros(event.T or event.E)
    return event.s, Quote(event.u, ts_us, event.b, event.B, event.a, event.A)


def _of_whole(event: _Whole, stream: str) -> Named:
    """Return a whole book; only the name of its stream tells whose it is."""
    return stream.partition("@")[0].upper(), _book(event)


def _book(event: _Whole) -> BookUpdate:
    last_id, ts_us = event.lastUpdateId, _micros(event.T or event.E)
    return BookUpdate(last_id, last_id, -1, ts_us, event.bids, event.asks, is_snapshot=True)


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of event: how it is decoded raw and wrapped, and what it comes to."""

    raw: msgspec.json.Decoder[Any]
    wrapped: msgspec.json.Decoder[Any]
    named: Callable[[Any, str], Named]


def _kind(event: type[Struct], named: Callable[[Any, str], Named]) -> _Kind:
    return _Kind(msgspec.json.Decoder(event, strict=False), _wrapped(event), named)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Tells the kinds apart and reads them."""

    diff: _Kind
    best: _Kind
    whole: _Kind

    def read(self, frame: bytes, is_wrapped: bool) -> Named:
        """Return (symbol, fact) of one frame."""
        kind = self._kind_of(frame[:HEAD])
        if not is_wrapped:
            return kind.named(kind.raw.decode(frame), "")
        wrapper = kind.wrapped.decode(frame)
        return kind.named(wrapper.data, wrapper.stream)

    def _kind_of(self, head: bytes) -> _Kind:
        if b"depthUpdate" in head:
            return self.diff
        return self.whole if b"@depth" in head else self.best


STRICT = _Reader(_kind(_Diff, _of_diff), _kind(_Best, _of_best), _kind(_Whole, _of_whole))
LOOSE = _Reader(
    _kind(_DiffLoose, _of_diff), _kind(_BestLoose, _of_best), _kind(_WholeLoose, _of_whole)
)
# REST answers may grow fields: what we know of them is enough.
_answer = msgspec.json.Decoder(_WholeLoose, strict=False)


def decode_book(frames: Sequence[bytes], symbols: frozenset[str]) -> Received:
    """Decode frames of a stream of books: `BookUpdate` and `Quote` facts in order. Never raises.

    Notes
    -----
    Spot `{"e":"depthUpdate","E":1760000000100,"s":"BTCUSDT","U":157,"u":160,
    "b":[["64000.10","0.5"]],"a":[["64000.20","0"]]}`, futures with `T`, `pu`, `ps`, `st` besides ·
    `{"u":400,"s":"BTCUSDT","b":"64000.10","B":"0.5","a":"64000.20","A":"0.2"}`, futures with `e`,
    `E`, `T` besides · partial spot, wrapped only: `{"lastUpdateId":160,"bids":[…],"asks":[…]}`.
    A symbol counts as heard once its book is: best prices alone would hide a book that is silent.
    """
    received = Received()
    reader = STRICT
    for frame in frames:
        found: Named | None
        try:
            found = reader.read(frame, is_wrapped(frame))
        except (*BROKEN, FrameError) as error:
            found = odd(LOOSE, frame, error, received)
            if found is None:
                continue
            # A field that the venue added for good is noted once a drain, and costs once a drain.
            reader = LOOSE
        _take(found, frame, symbols, received)
    return received


def _take(found: Named, frame: bytes, symbols: frozenset[str], received: Received) -> None:
    symbol, fact = found
    if symbol not in symbols:
        words = f"a subscribed symbol expected, seen {symbol[:200]!r}"
        received.errors.append(FrameError("symbol", words, frame))
        return
    received.facts.append(found)
    if isinstance(fact, BookUpdate):
        received.topics.add(symbol)


def book_of(body: bytes) -> BookUpdate:
    """Read a whole book as REST answers it. Raises FrameError.

    Notes
    -----
    `{"lastUpdateId":160,"bids":[["64000.10","0.5"]],"asks":[["64000.20","0.2"]]}`; futures with
    `E` and `T` besides.
    """
    try:
        return _book(parsed(_answer, body))
    except FrameError as error:
        raise FrameError(error.reason, error.detail, body) from error


def book_path(route: str, pace: str) -> Callable[[Sequence[str]], str]:
    """Return how the streams of books are addressed: changes and best prices of each symbol.

    Parameters
    ----------
    route : str
        What stands before `/stream`: empty, or `/public`.
    pace : str
        Empty, or for example `@100ms`.
    """

    def path(symbols: Sequence[str]) -> str:
        names = [quote(symbol.lower(), safe="") for symbol in symbols]
        streams = [f"{name}@depth{pace}/{name}@bookTicker" for name in names]
        return f"{route}/stream?streams={'/'.join(streams)}"

    return path
