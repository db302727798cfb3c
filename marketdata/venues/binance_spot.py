"""Binance spot: trades by `aggTrade` (default) or `trade`, tick and lot, daily levels.

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md and rest-api.md, 2026-07.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from marketdata.core.errors import BadInputError, FrameError
from marketdata.core.instrument import FINEST, Grid
from marketdata.core.sequencer import spot
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import EARLIEST_US, Trades
from marketdata.venues.base import (
    Archive,
    ById,
    Channel,
    DayLevels,
    Depth,
    Listing,
    Question,
    Stream,
    Venue,
)
from marketdata.venues.binance_depth import book_of, book_path, decode_book
from marketdata.venues.binance_wire import LATEST_MS, Amount, Id, Time, columns, decoder, parsed
from marketdata.venues.wire_json import BROKEN

LARGEST_STEP = Decimal(10**9)
Params = dict[str, str | int]


class _Agg(Struct, forbid_unknown_fields=True, gc=False):
    """A taker order's fills at one price. The fields' order is the wire's: that reads fastest."""

    e: Literal["aggTrade"]
    E: int
    s: str
    id: Id = msgspec.field(name="a")
    p: Amount
    q: Amount
    f: int
    l: int  # noqa: E741  (the wire's letter)
    T: Time
    m: bool
    M: bool = True


class _Single(Struct, forbid_unknown_fields=True, gc=False):
    """One fill. Order ids `a` and `b` were on the wire until 2024 and are passed over."""

    e: Literal["trade"]
    E: int
    s: str
    id: Id = msgspec.field(name="t")
    p: Amount
    q: Amount
    T: Time
    m: bool
    M: bool = True
    a: int = 0
    b: int = 0


class _AggLoose(_Agg, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class _SingleLoose(_Single, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class _AggRow(Struct, gc=False):
    id: Id = msgspec.field(name="a")
    p: Amount
    q: Amount
    f: int
    T: Time
    m: bool


class _SingleRow(Struct, gc=False):
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


class _Kline(Struct, array_like=True):
    """The first nine of twelve positions; more of them are passed over."""

    opened: int
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    volume: float
    closed: int
    quote_volume: float
    count: int


class _Clock(Struct):
    serverTime: Annotated[int, Meta(ge=EARLIEST_US // 1000, lt=LATEST_MS)]


class _Refused(Struct):
    code: int
    msg: str


_agg_rows = msgspec.json.Decoder(list[_AggRow], strict=False)
_single_rows = msgspec.json.Decoder(list[_SingleRow], strict=False)
_info = msgspec.json.Decoder(_ExchangeInfo)
_clock = msgspec.json.Decoder(_Clock)
_refused = msgspec.json.Decoder(_Refused)
_klines = msgspec.json.Decoder(list[_Kline], strict=False)


def _page(rows_of: msgspec.json.Decoder[list[Any]], body: bytes) -> Trades:
    return columns(parsed(rows_of, body), body)


def _path(suffix: str) -> Callable[[Sequence[str]], str]:
    def path(symbols: Sequence[str]) -> str:
        streams = [quote(symbol.lower(), safe="") + suffix for symbol in symbols]
        if len(streams) == 1:
            return f"/ws/{streams[0]}"
        return f"/stream?streams={'/'.join(streams)}"

    return path


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
    rows = parsed(_agg_rows, body)
    return rows[0].id if rows else None


def _single_first(body: bytes) -> int | None:
    rows = parsed(_agg_rows, body)
    if rows and rows[0].f < 0:
        raise FrameError("number", f"an id of zero or more expected, seen {rows[0].f}", body)
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
    info = parsed(_info, body)
    found = next((item for item in info.symbols if item.symbol == symbol), None)
    if found is None:
        raise FrameError("symbol", f"{symbol} expected in exchangeInfo, it is not there", body)
    steps = {item.filterType: item.tickSize or item.stepSize for item in found.filters}
    try:
        grid = Grid(_step(steps["PRICE_FILTER"]), _step(steps["LOT_SIZE"]))
    except (KeyError, ArithmeticError, BadInputError) as error:
        detail = f"a tick and a lot above zero expected for {symbol}: {error}"
        raise FrameError("number", detail, body) from error
    return Listing(symbol, grid, found.status, _weight_per_minute(info.rateLimits))


def _step(text: str) -> Decimal:
    step = Decimal(text).normalize()
    # Zero switches the venue's own check off; a grid needs a step.
    if not FINEST <= step < LARGEST_STEP:
        raise BadInputError(f"a step of at least {FINEST} expected, seen {text}")
    return step


def _weight_per_minute(limits: list[_RateLimit]) -> int | None:
    for item in limits:
        minute = (item.rateLimitType, item.interval) == ("REQUEST_WEIGHT", "MINUTE")
        if minute and item.limit >= item.intervalNum > 0:
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
    rows = parsed(_klines, body)
    if not rows:
        return None
    day = rows[0]
    if day.opened != day_us // 1000:
        raise FrameError("number", f"day {day_us // 1000} ms expected, seen {day.opened}", body)
    if not day.low <= min(day.open, day.close) <= max(day.open, day.close) <= day.high:
        raise FrameError("number", f"open and close between low and high expected: {day}", body)
    return DayLevels(day.high, day.low, day.close) if day.count else None


def _error_of(body: bytes) -> tuple[int, str] | None:
    try:
        refused = _refused.decode(body)
    except BROKEN:
        return None
    return refused.code, refused.msg


def _archive(kind: str) -> Archive:
    """Return where days are: `/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-01-01.zip`.

    Notes
    -----
    Files come the next day, measured 7 hours after midnight; from 2025 on they speak microseconds.
    Source: github.com/binance/binance-public-data, 2025-01.
    """

    def path(symbol: str, day: str) -> str:
        name = quote(symbol, safe="")
        return f"/data/spot/daily/{kind}/{name}/{name}-{kind}-{day}.zip"

    return Archive(
        path=path,
        checksum=lambda symbol, day: path(symbol, day) + ".CHECKSUM",
        published_s=8 * 3600.0,
    )


# Levels a side of a snapshot: 5,000 would cost five times the weight, and nobody looks so deep.
BOOK_LEVELS = 1000
# Paces of changes in milliseconds; in between lies the border to the slower one.
FAST_MS, SLOW_MS = 100, 1000


def _book(symbol: str) -> Question:
    return Question("/api/v3/depth", {"symbol": symbol, "limit": BOOK_LEVELS}, weight=50)


def _book_stream(wanted_ms: int) -> Stream:
    pace = "@100ms" if wanted_ms < (FAST_MS + SLOW_MS) // 2 else ""
    return Stream(name="depth", path=book_path("", pace), decode=decode_book)


# Streams and pages tell milliseconds unless they are asked for more.
STEP_US = 1000
AGG_TRADE = Channel(
    name="aggTrade",
    path=_path("@aggTrade"),
    decode=decoder(_Agg, _AggLoose),
    past=ById(
        page=_agg_page,
        page_of=lambda body: _page(_agg_rows, body),
        first=_first,
        first_of=_agg_first,
    ),
    archive=_archive("aggTrades"),
    time_step_us=STEP_US,
)
TRADE = Channel(
    name="trade",
    path=_path("@trade"),
    decode=decoder(_Single, _SingleLoose),
    past=ById(
        page=_single_page,
        page_of=lambda body: _page(_single_rows, body),
        first=_first,
        first_of=_single_first,
    ),
    archive=_archive("trades"),
    time_step_us=STEP_US,
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
    clock_of=lambda body: parsed(_clock, body).serverTime * 1000,
    error_of=_error_of,
    fallbacks={"https://api.binance.com": "https://data-api.binance.vision"},
    depth=Depth(
        stream=_book_stream,
        sequencer=spot,
        snapshot=_book,
        snapshot_of=book_of,
        levels=BOOK_LEVELS,
    ),
    # Disconnected, timed out twice over, overloaded, out of time: reads may be repeated.
    retryable_codes=frozenset({-1001, -1006, -1007, -1008, -1021}),
)
