"""Binance USD-M futures: aggregated trades with marks, liquidations and candles; past, funding.

Source: developers.binance.com, USD-M; the official Python SDK
binance-sdk-derivatives-trading-usds-futures 18.1, 2026-08.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from marketdata.core.facts import Reading
from marketdata.core.sequencer import futures
from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US
from marketdata.venues import binance_spot
from marketdata.venues.base import (
    Archive,
    ById,
    Channel,
    Depth,
    Question,
    Series,
    Stream,
    Venue,
)
from marketdata.venues.binance_depth import book_of, book_path, decode_book
from marketdata.venues.binance_futures_events import Time, decode_market, decode_trades
from marketdata.venues.binance_wire import parsed

Params = dict[str, str | int]
# The same questions are answered in the same words in both markets.
SPOT, SPOT_PAST = binance_spot.VENUE, binance_spot.AGG_TRADE.by_id
HOUR_S, DAY_S = 3600.0, 86_400.0
# The venue keeps 48 hours. What is asked for near their end may be gone by the time the answer
# is made, or the last page of a long stretch is asked for: an hour is left for that.
REACH_S = 47 * HOUR_S
# Of 2,400 a minute, shared with coin-margined contracts.
WEIGHT = 2400
# Two pools of their own have no header: funding 500 and statistics 1,000 requests in 5 minutes.
# At these weights the common budget keeps to them.
FUNDING_WEIGHT, STATISTICS_WEIGHT = WEIGHT * 5 // 500, WEIGHT * 5 // 1000


class _Paid(Struct):
    """A funding rate that was paid."""

    fundingTime: Time
    fundingRate: Annotated[float, Meta(gt=-1e3, lt=1e3)]


class _Interest(Struct):
    """Contracts open at a time, one side counted, base units."""

    timestamp: Time
    sumOpenInterest: Annotated[float, Meta(ge=0, lt=1e15)]


_funding = msgspec.json.Decoder(list[_Paid], strict=False)
_interest = msgspec.json.Decoder(list[_Interest], strict=False)


def _path(route: str, kinds: Sequence[str]) -> Callable[[Sequence[str]], str]:
    """Return how streams are addressed: on the route that carries them; another one is silent."""

    def path(symbols: Sequence[str]) -> str:
        names = [quote(symbol.lower(), safe="") for symbol in symbols]
        streams = [f"{name}@{kind}" for name in names for kind in kinds]
        return f"{route}/stream?streams={'/'.join(streams)}"

    return path


def _topics(*kinds: str) -> Callable[[Sequence[str]], frozenset[str]]:
    def topics(symbols: Sequence[str]) -> frozenset[str]:
        return frozenset(f"{symbol}@{kind}" for symbol in symbols for kind in kinds)

    return topics


def _page(symbol: str, first_id: int, limit: int) -> Question:
    # An id and times in one question time out.
    params: Params = {"symbol": symbol, "fromId": first_id, "limit": limit}
    return Question("/fapi/v1/aggTrades", params, weight=20)


def _first(symbol: str, ts_us: int) -> Question:
    # With a start alone the venue answers the oldest from there on. An end besides may be an hour
    # later at most: of a market that rests for that long it would say that nothing follows.
    params: Params = {"symbol": symbol, "startTime": -(-ts_us // 1000), "limit": 1}
    return Question("/fapi/v1/aggTrades", params, weight=20)


def _day(symbol: str, day_us: int) -> Question:
    params: Params = {
        "symbol": symbol,
        "interval": "1d",
        "startTime": day_us // 1000,
        "endTime": (day_us + DAY_US) // 1000 - 1,
        "limit": 1,
    }
    return Question("/fapi/v1/klines", params, weight=1)


def _archive(kind: str) -> Archive:
    """Return where days are; as in spot, but always in milliseconds, and headed since 2022.

    Notes
    -----
    `/data/futures/um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-01-01.zip`
    Source: github.com/binance/binance-public-data, 2025-01.
    """

    def path(symbol: str, day: str) -> str:
        name = quote(symbol, safe="")
        return f"/data/futures/um/daily/{kind}/{name}/{name}-{kind}-{day}.zip"

    return Archive(
        path=path,
        checksum=lambda symbol, day: path(symbol, day) + ".CHECKSUM",
        published_s=8 * HOUR_S,
    )


def _between(symbol: str, start_us: int, end_us: int, limit: int) -> Params:
    return {
        "symbol": symbol,
        "startTime": -(-start_us // 1000),
        "endTime": -(-end_us // 1000) - 1,
        "limit": limit,
    }


FUNDING_PAGE, INTEREST_PAGE = 1000, 500
INTEREST_EVERY_US = 5 * MINUTE_US


def _ask_funding(symbol: str, start_us: int, end_us: int) -> Question:
    params = _between(symbol, start_us, end_us, FUNDING_PAGE)
    return Question("/fapi/v1/fundingRate", params, weight=FUNDING_WEIGHT)


def _funding_of(body: bytes) -> list[Reading]:
    """Read `[{"symbol":"BTCUSDT","fundingRate":"0.00010000","fundingTime":1759996800000}]`."""
    found = [
        Reading("funding", row.fundingTime * 1000, row.fundingRate)
        for row in parsed(_funding, body)
    ]
    return sorted(found, key=lambda reading: reading.ts_us)


def _ask_interest(symbol: str, start_us: int, end_us: int) -> Question:
    # Nobody says which end of a range is cut off that holds more than a page: none ever does.
    end_us = min(end_us, start_us + INTEREST_PAGE * INTEREST_EVERY_US)
    params = {"period": "5m"} | _between(symbol, start_us, end_us, INTEREST_PAGE)
    return Question("/futures/data/openInterestHist", params, weight=STATISTICS_WEIGHT)


def _interest_of(body: bytes) -> list[Reading]:
    """Read `[{"symbol":"BTCUSDT","sumOpenInterest":"98765.4","timestamp":1760000000000}]`."""
    found = [
        Reading("open_interest", row.timestamp * 1000, row.sumOpenInterest)
        for row in parsed(_interest, body)
    ]
    return sorted(found, key=lambda reading: reading.ts_us)


# Paces of book changes: milliseconds → what stands in the stream's name.
PACES = {100: "@100ms", 250: "", 500: "@500ms"}
BOOK_LEVELS = 1000


def _book(symbol: str) -> Question:
    return Question("/fapi/v1/depth", {"symbol": symbol, "limit": BOOK_LEVELS}, weight=20)


def _book_stream(wanted_ms: int) -> Stream:
    pace = PACES[min(PACES, key=lambda offered: abs(offered - wanted_ms))]
    return Stream(name="depth", path=book_path("/public", pace), decode=decode_book)


AGG_TRADE = Channel(
    name="aggTrade",
    path=_path("/market", ("aggTrade", "markPrice@1s", "forceOrder", "kline_1m")),
    decode=decode_market,
    # Liquidations come seldom, and a candle comes with the trades that are awaited anyway.
    topics=_topics("aggTrade", "markPrice"),
    past=ById(
        page=_page,
        page_of=SPOT_PAST.page_of,
        first=_first,
        first_of=SPOT_PAST.first_of,
        reach_s=REACH_S,
    ),
    archive=_archive("aggTrades"),
    time_step_us=1000,
)
# Undocumented, and what old captures hold. Its past by REST costs 200 a page, serves 500 trades
# and wants an API key, while one number in 200 is a placeholder that would be asked for: not had.
TRADE = Channel(
    name="trade",
    path=_path("/public", ("trade",)),
    decode=decode_trades,
    topics=_topics("trade"),
    past=None,
    archive=_archive("trades"),
    time_step_us=1000,
)
VENUE = Venue(
    key="binance_usdm",
    source="binance_futures",
    title="Binance USD-M",
    proof="id_exact",
    channels={"aggTrade": AGG_TRADE, "trade": TRADE},
    page_limit=1000,
    # Four streams a symbol: the names of 50 symbols make a URL of 5 kB.
    streams_per_connection=50,
    server_ping_s=180.0,
    life_s=DAY_S,
    weight_per_minute=WEIGHT,
    weight_header="X-MBX-USED-WEIGHT-1M",
    # All contracts in one answer: there is no asking for one.
    listing=lambda symbol: Question("/fapi/v1/exchangeInfo"),
    listing_of=SPOT.listing_of,
    day=_day,
    day_of=SPOT.day_of,
    clock=lambda: Question("/fapi/v1/time"),
    clock_of=SPOT.clock_of,
    error_of=SPOT.error_of,
    retryable_codes=SPOT.retryable_codes,
    depth=Depth(
        stream=_book_stream,
        sequencer=futures,
        snapshot=_book,
        snapshot_of=book_of,
        levels=BOOK_LEVELS,
    ),
    series={
        # The shortest interval between two fundings is an hour.
        "funding": Series(_ask_funding, _funding_of, FUNDING_PAGE * HOUR_US),
        # A month; the month of February has 28 days.
        "open_interest": Series(
            _ask_interest, _interest_of, INTEREST_PAGE * INTEREST_EVERY_US, 28 * DAY_S
        ),
    },
)
