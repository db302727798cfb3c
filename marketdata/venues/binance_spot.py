"""Binance spot: trades by `aggTrade` (default) or `trade`, tick and lot, daily levels.

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md and rest-api.md, 2026-07.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from marketdata.core.errors import BadInputError, BadTradesError, FrameError
from marketdata.core.instrument import Grid
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import EARLIEST_US, LATEST_US, Trades
from marketdata.venues.base import (
    Channel,
    Control,
    DayLevels,
    Listing,
    Question,
    Received,
    Venue,
)

# The store keeps a venue's trade id in 51 bits; real ones need 32.
Id = Annotated[int, Meta(ge=0, lt=2**51)]
# NaN, infinity, zero and negatives fail the bounds; no listed price or size is near them.
Amount = Annotated[float, Meta(gt=0, lt=1e15)]
# Milliseconds by default, microseconds where the URL asks for them.
Time = Annotated[int, Meta(ge=EARLIEST_US // 1000, lt=LATEST_US)]
MICROSECONDS = 10**14
LATEST_MS = LATEST_US // 1000
LARGEST_FRAME = 1 << 20
T = TypeVar("T")
Params = dict[str, str | int]


class _Agg(Struct, tag_field="e", tag="aggTrade", forbid_unknown_fields=True):
    """A taker order's fills at one price."""

    E: int
    s: str
    a: Id
    p: Amount
    q: Amount
    f: int
    l: int  # noqa: E741  (the wire's letter)
    T: Time
    m: bool
    M: bool = True

    @property
    def id(self) -> int:
        return self.a


class _Single(Struct, tag_field="e", tag="trade", forbid_unknown_fields=True):
    """One fill. Order ids `a` and `b` were on the wire until 2024 and are passed over."""

    E: int
    s: str
    t: Id
    p: Amount
    q: Amount
    T: Time
    m: bool
    M: bool = True
    a: int = 0
    b: int = 0

    @property
    def id(self) -> int:
        return self.t


class _AggLoose(_Agg, tag_field="e", tag="aggTrade", forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class _SingleLoose(_Single, tag_field="e", tag="trade", forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class _Reader:
    """Decoders of one event, raw and wrapped, strict and loose."""

    def __init__(self, strict: type[_Agg | _Single], loose: type[_Agg | _Single]) -> None:
        self.raw, self.wrapped = _decoders(strict)
        self.loose_raw, self.loose_wrapped = _decoders(loose)

    def read(self, frame: bytes) -> Any:
        """Return the event of a frame that has just the fields we know."""
        if frame.startswith(WRAPPER):
            return self.wrapped.decode(frame).data
        return self.raw.decode(frame)

    def read_loosely(self, frame: bytes, body: dict[str, Any]) -> Any:
        """Return the event of a frame with more fields than we know."""
        return (
            self.loose_wrapped.decode(frame).data if _inner(body) else self.loose_raw.decode(frame)
        )


WRAPPER = b'{"stream"'


def _decoders(event: type[Any]) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    wrapper = msgspec.defstruct("Wrapper", [("stream", str), ("data", event)])
    return (
        msgspec.json.Decoder(event, strict=False),
        msgspec.json.Decoder(wrapper, strict=False),
    )


def _decode(reader: _Reader, frames: Sequence[bytes], symbols: frozenset[str]) -> Received:
    """Decode frames into trades by symbol; whatever is no trade becomes a control or an error."""
    received = Received()
    rows: dict[str, list[Any]] = {}
    for frame in frames:
        try:
            event = reader.read(frame)
        except (msgspec.DecodeError, RecursionError) as error:
            event = _odd(reader, frame, error, received)
            if event is None:
                continue
        if event.s not in symbols or LATEST_MS <= event.T < EARLIEST_US:
            received.errors.append(_foreign(event, symbols, frame))
            continue
        rows.setdefault(event.s, []).append(event)
    received.trades = {symbol: _columns(events) for symbol, events in rows.items()}
    return received


def _foreign(event: Any, symbols: frozenset[str], frame: bytes) -> FrameError:
    if event.s in symbols:
        return FrameError("number", f"a time from 2010 to 2100 expected, seen {event.T}", frame)
    detail = f"one of {', '.join(sorted(symbols))} expected as symbol, seen {event.s!r}"
    return FrameError("symbol", detail, frame)


def _columns(events: list[Any]) -> Trades:
    return Trades.of(
        [event.id for event in events],
        [_us(event.T) for event in events],
        [event.p for event in events],
        [event.q for event in events],
        # The buyer was the maker: the aggressor sold.
        [not event.m for event in events],
    )


def _us(time: int) -> int:
    return time if time >= MICROSECONDS else time * 1000


def _odd(reader: _Reader, frame: bytes, error: Exception, received: Received) -> Any | None:
    """Sort out a frame that is not just a trade; return the trade where it is one after all."""
    try:
        if len(frame) > LARGEST_FRAME:
            raise FrameError("size", f"at most {LARGEST_FRAME} bytes expected", frame)
        body = _object(frame, error)
        control = _control(body)
        if control is not None:
            received.controls.append(control)
            return None
        event = reader.read_loosely(frame, body)
    except FrameError as refused:
        received.errors.append(refused)
        return None
    except (msgspec.DecodeError, RecursionError) as refused:
        received.errors.append(_refusal(refused, frame))
        return None
    # The trade counts; that the venue sends more than we know is for people to see.
    received.errors.append(FrameError("extra", f"trade taken; {error}", frame))
    return event


def _object(frame: bytes, error: Exception) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(frame)
    except (msgspec.DecodeError, RecursionError) as refused:
        raise FrameError("json", f"JSON expected: {refused}", frame) from refused
    if not isinstance(body, dict):
        raise FrameError("type", f"a JSON object expected: {error}", frame)
    return body


def _inner(body: dict[str, Any]) -> dict[str, Any] | None:
    data = body.get("data")
    return data if "stream" in body and isinstance(data, dict) else None


def _control(body: dict[str, Any]) -> Control | None:
    """Recognise answers to requests and the announced end.

    Notes
    -----
    `{"result":null,"id":1}` · `{"code":2,"msg":"Invalid request: …","id":1}` ·
    `{"e":"serverShutdown","E":1770000000000}`, also wrapped as stream `!serverShutdown`.
    """
    inner = _inner(body) or body
    if inner.get("e") == "serverShutdown":
        return Control("shutdown", "the server says that it will close the connection")
    if "msg" in body or "error" in body:
        words = body.get("error", body)
        words = words if isinstance(words, dict) else {"msg": words}
        return Control("refused", f"{words.get('code')}: {words.get('msg')}")
    if "result" in body and "id" in body:
        return Control("ack", str(body["id"]))
    return None


def _refusal(error: Exception, frame: bytes) -> FrameError:
    words = str(error)
    if "missing required field" in words:
        return FrameError("field", words, frame)
    if ("Invalid value" in words and "`$.e`" in words) or "data.e" in words:
        return FrameError("event", f"a trade expected: {words}", frame)
    if any(sign in words for sign in (" > ", " < ", " >= ", " <= ", "out of range")):
        return FrameError("number", words, frame)
    return FrameError(
        "type" if isinstance(error, msgspec.ValidationError) else "json", words, frame
    )


class _AggRow(Struct):
    a: Id
    p: Amount
    q: Amount
    T: Time
    m: bool
    f: int

    @property
    def id(self) -> int:
        return self.a


class _SingleRow(Struct):
    id: Id
    p: Amount = msgspec.field(name="price")
    q: Amount = msgspec.field(name="qty")
    T: Time = msgspec.field(name="time")
    m: bool = msgspec.field(name="isBuyerMaker")


class _Filter(Struct):
    filterType: str
    tickSize: str = ""
    stepSize: str = ""


class _Symbol(Struct):
    symbol: str
    status: str
    filters: list[_Filter]


class _RateLimit(Struct):
    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int


class _ExchangeInfo(Struct):
    symbols: list[_Symbol]
    rateLimits: list[_RateLimit] = []


class _Clock(Struct):
    serverTime: int


class _Refused(Struct):
    code: int
    msg: str


def _parsed(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refusal(error, body) from error


_agg_rows = msgspec.json.Decoder(list[_AggRow], strict=False)
_single_rows = msgspec.json.Decoder(list[_SingleRow], strict=False)
_info = msgspec.json.Decoder(_ExchangeInfo)
_clock = msgspec.json.Decoder(_Clock)
_refused = msgspec.json.Decoder(_Refused)
# [openTime, open, high, low, close, volume, closeTime, quoteVolume, count, …]
_klines = msgspec.json.Decoder(
    list[tuple[int, Amount, Amount, Amount, Amount, float, int, float, int, float, float, str]],
    strict=False,
)


def _page(decoder: msgspec.json.Decoder[list[Any]], body: bytes) -> Trades:
    try:
        return _columns(_parsed(decoder, body)).checked()
    except BadTradesError as error:
        raise FrameError("number", str(error), body) from error


def _path(suffix: str) -> Callable[[Sequence[str]], str]:
    def path(symbols: Sequence[str]) -> str:
        streams = [quote(symbol.lower(), safe="") + suffix for symbol in symbols]
        if len(streams) == 1:
            return f"/ws/{streams[0]}"
        return f"/stream?streams={'/'.join(streams)}"

    return path


def _reading(reader: _Reader) -> Callable[[Sequence[bytes], frozenset[str]], Received]:
    return lambda frames, symbols: _decode(reader, frames, symbols)


def _agg_page(symbol: str, first_id: int, limit: int) -> Question:
    params: Params = {"symbol": symbol, "fromId": first_id, "limit": limit}
    return Question("/api/v3/aggTrades", params, weight=4)


def _single_page(symbol: str, first_id: int, limit: int) -> Question:
    params: Params = {"symbol": symbol, "fromId": first_id, "limit": limit}
    return Question("/api/v3/historicalTrades", params, weight=25)


def _first(symbol: str, ts_us: int) -> Question:
    # With a start alone the venue answers the oldest from there on.
    params: Params = {"symbol": symbol, "startTime": -(-ts_us // 1000), "limit": 1}
    return Question("/api/v3/aggTrades", params, weight=4)


def _agg_first(body: bytes) -> int | None:
    rows = _parsed(_agg_rows, body)
    return rows[0].a if rows else None


def _single_first(body: bytes) -> int | None:
    rows = _parsed(_agg_rows, body)
    return rows[0].f if rows else None


def _listing(symbol: str) -> Question:
    return Question("/api/v3/exchangeInfo", {"symbol": symbol}, weight=20)


def _listing_of(body: bytes, symbol: str) -> Listing:
    """Read tick, lot and limits out of exchangeInfo.

    Notes
    -----
    `{"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,
    "limit":6000}],"symbols":[{"symbol":"BTCUSDT","status":"TRADING","filters":[
    {"filterType":"PRICE_FILTER","tickSize":"0.01000000"},
    {"filterType":"LOT_SIZE","stepSize":"0.00001000"}]}]}`
    """
    info = _parsed(_info, body)
    found = next((item for item in info.symbols if item.symbol == symbol), None)
    if found is None:
        raise FrameError("symbol", f"{symbol} expected in exchangeInfo, it is not there", body)
    steps = {item.filterType: item.tickSize or item.stepSize for item in found.filters}
    try:
        grid = Grid(_step(steps["PRICE_FILTER"]), _step(steps["LOT_SIZE"]))
    except (KeyError, InvalidOperation, BadInputError) as error:
        detail = f"a tick and a lot above zero expected for {symbol}: {error}"
        raise FrameError("number", detail, body) from error
    return Listing(symbol, grid, found.status, _weight_per_minute(info.rateLimits))


def _step(text: str) -> Decimal:
    return Decimal(text).normalize()


def _weight_per_minute(limits: list[_RateLimit]) -> int | None:
    for item in limits:
        minute = (item.rateLimitType, item.interval) == ("REQUEST_WEIGHT", "MINUTE")
        if minute and item.intervalNum > 0:
            return item.limit // item.intervalNum
    return None


def _day(symbol: str, day_us: int) -> Question:
    start_ms = day_us // 1000
    params: Params = {
        "symbol": symbol,
        "interval": "1d",
        "startTime": start_ms,
        "endTime": start_ms + DAY_US // 1000 - 1,
        "limit": 1,
    }
    return Question("/api/v3/klines", params, weight=2)


def _day_of(body: bytes, day_us: int) -> DayLevels | None:
    rows = _parsed(_klines, body)
    if not rows:
        return None
    opened, _, high, low, close = rows[0][:5]
    if opened != day_us // 1000:
        detail = f"the candle of {day_us // 1000} ms expected, seen {opened}"
        raise FrameError("number", detail, body)
    return DayLevels(high, low, close) if rows[0][8] else None


def _error_of(body: bytes) -> tuple[int, str] | None:
    try:
        refused = _refused.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return refused.code, refused.msg


AGG_TRADE = Channel(
    name="aggTrade",
    path=_path("@aggTrade"),
    decode=_reading(_Reader(_Agg, _AggLoose)),
    page=_agg_page,
    page_of=lambda body: _page(_agg_rows, body),
    first=_first,
    first_of=_agg_first,
)
TRADE = Channel(
    name="trade",
    path=_path("@trade"),
    decode=_reading(_Reader(_Single, _SingleLoose)),
    page=_single_page,
    page_of=lambda body: _page(_single_rows, body),
    first=_first,
    first_of=_single_first,
)
VENUE = Venue(
    key="binance_spot",
    source="binance_ws",
    title="Binance spot",
    proof="id_exact",
    channels={"aggTrade": AGG_TRADE, "trade": TRADE},
    page_limit=1000,
    streams_per_connection=200,
    server_ping_s=20.0,
    life_s=86_400.0,
    weight_per_minute=6000,
    weight_header="X-MBX-USED-WEIGHT-1M",
    listing=_listing,
    listing_of=_listing_of,
    day=_day,
    day_of=_day_of,
    clock=lambda: Question("/api/v3/time"),
    clock_of=lambda body: _parsed(_clock, body).serverTime * 1000,
    error_of=_error_of,
)
