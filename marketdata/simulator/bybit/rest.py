"""The market endpoints of `/v5/market`: parameters and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, unquote

from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US, open_us
from marketdata.simulator.bybit import tickers, wire
from marketdata.simulator.bybit.info import instruments_info
from marketdata.simulator.bybit.instruments import FUNDING_US, LAUNCH_MS, Instrument
from marketdata.simulator.bybit.ladder import DEEPEST
from marketdata.simulator.bybit.numerals import LINEAR, SPOT
from marketdata.simulator.bybit.params import Query, invalid
from marketdata.simulator.bybit.streams import INTERVALS
from marketdata.simulator.faults import Faults
from marketdata.simulator.intervals import LENGTHS

HOLDING = {
    "5min": 5 * MINUTE_US,
    "15min": 15 * MINUTE_US,
    "30min": 30 * MINUTE_US,
    "1h": HOUR_US,
    "4h": 4 * HOUR_US,
    "1d": DAY_US,
}


class Venue(Protocol):
    """What the endpoints see of the venue."""

    faults: Faults

    def now_us(self) -> int:
        """Return the server's time."""


@dataclass(frozen=True)
class Endpoint:
    """One path: how it answers, and whose past is needed since when before it can."""

    answer: Callable[[Venue, Query], dict[str, Any]]
    past: Callable[[Venue, Query], list[tuple[Instrument, int]]] | None = None


def server_time(venue: Venue, query: Query) -> dict[str, Any]:
    """Return the server's time in seconds and in nanoseconds."""
    now_us = venue.now_us()
    return {"timeSecond": str(now_us // 1_000_000), "timeNano": str(now_us * 1000)}


def info(venue: Venue, query: Query) -> dict[str, Any]:
    """Return the symbols of a category."""
    return instruments_info(query)


def recent_trades(venue: Venue, query: Query) -> dict[str, Any]:
    """Return the newest trades, newest first; there is no way to older ones."""
    instrument = query.instrument()
    is_spot = instrument.category == SPOT
    limit = query.limit(60 if is_spot else 500, 60 if is_spot else 1000)
    page = instrument.listing.history.page(None, None, None, limit)
    return {
        "category": instrument.category,
        "list": wire.recent_rows(page, instrument.numerals)[::-1],
    }


def klines(venue: Venue, query: Query) -> dict[str, Any]:
    """Return candles, newest first, the open one included."""
    instrument = query.instrument(LINEAR)
    interval, limit = _interval(query), query.limit(200, 1000)
    start_us, end_us = query.time_us("start"), query.time_us("end")
    if start_us is not None:
        start_us = _aligned(interval, start_us)
    history = instrument.listing.history
    if end_us is None:
        candles = history.candles(interval, start_us, None, limit)
    else:
        candles = history.candles(interval, None, end_us, limit)
        candles = [one for one in candles if start_us is None or one.open_us >= start_us]
    rows = [wire.kline_row(candle, instrument.numerals) for candle in reversed(candles)]
    return {"symbol": instrument.symbol, "category": instrument.category, "list": rows}


def book(venue: Venue, query: Query) -> dict[str, Any]:
    """Return the book under the ids of the deepest stream; `stale_snapshot` returns its first."""
    instrument = query.instrument()
    limit = query.limit(1 if instrument.category == SPOT else 25, DEEPEST)
    ladder = instrument.ladder(DEEPEST)
    stale = instrument.first if venue.faults.take("stale_snapshot") else None
    step = stale or ladder.snapshot()
    now_ms = instrument.now_ms()
    return {
        "s": instrument.symbol,
        "b": wire.level_rows(step.levels[0][:limit], instrument.numerals),
        "a": wire.level_rows(step.levels[1][:limit], instrument.numerals),
        "ts": now_ms,
        "u": step.update_id,
        "seq": instrument.seq(),
        "cts": now_ms - 2,
    }


def all_tickers(venue: Venue, query: Query) -> dict[str, Any]:
    """Return the ticker of one symbol or of all."""
    spots = query.instruments[SPOT]
    rows = [
        tickers.answered(one, spots.get(one.symbol), tickers.counted(one)) for one in query.asked()
    ]
    return {"category": query.category(), "list": rows}


def funding_history(venue: Venue, query: Query) -> dict[str, Any]:
    """Return rates paid, newest first."""
    instrument, limit = query.contract(), query.limit(200, 200)
    start_us, end_us = query.time_us("startTime"), query.time_us("endTime")
    if start_us is not None and end_us is None:
        raise invalid("endTime is required with startTime")
    times, _ = _grid(instrument, FUNDING_US, start_us, end_us, limit)
    rows = [
        {
            "symbol": instrument.symbol,
            "fundingRate": tickers.rate(instrument.funding(at)),
            "fundingRateTimestamp": str(at // 1000),
        }
        for at in times
    ]
    return {"category": instrument.category, "list": rows}


def open_interest(venue: Venue, query: Query) -> dict[str, Any]:
    """Return what was held at equal steps of time, newest first, in pages."""
    instrument, limit = query.contract(), query.limit(50, 200)
    step_us = HOLDING[query.word("intervalTime", HOLDING)]
    start_us, end_us = query.time_us("startTime"), query.time_us("endTime")
    if cursor := query.values.get("cursor"):
        end_us = _before(cursor)
    times, more = _grid(instrument, step_us, start_us, end_us, limit)
    last = quote(f"lastid={times[-1] // 1000}") if more else ""
    return {
        "symbol": instrument.symbol,
        "category": instrument.category,
        "list": [_held(instrument, at) for at in times],
        "nextPageCursor": last,
    }


def _held(instrument: Instrument, at_us: int) -> dict[str, str]:
    both, single = tickers.held(instrument, at_us)
    return {"openInterest": both, "singleOpenInterest": single, "timestamp": str(at_us // 1000)}


def _before(cursor: str) -> int:
    text = unquote(cursor).removeprefix("lastid=")
    if not text.isdecimal():
        raise invalid("cursor is invalid")
    return int(text) * 1000 - 1


def _grid(
    instrument: Instrument, step_us: int, start_us: int | None, end_us: int | None, limit: int
) -> tuple[list[int], bool]:
    """Return the newest times on a grid in [start, end], newest first, and whether more follow."""
    now_us = instrument.market.now_us()
    newest = open_us(now_us if end_us is None else min(end_us, now_us), step_us)
    oldest = max(LAUNCH_MS * 1000, start_us or 0)
    times = list(range(newest, oldest - 1, -step_us)[: limit + 1])
    return times[:limit], len(times) > limit


def _interval(query: Query) -> str:
    return INTERVALS[query.word("interval", INTERVALS)]


def _aligned(interval: str, start_us: int) -> int:
    """Return the opening of the candle that holds a time; months are asked for as they open."""
    return open_us(start_us, LENGTHS[interval]) if interval in LENGTHS else start_us


def _past_of_candles(venue: Venue, query: Query) -> list[tuple[Instrument, int]]:
    instrument = query.instrument(LINEAR)
    length_us = LENGTHS.get(_interval(query), 31 * DAY_US)
    start_us = query.time_us("start")
    newest_us = instrument.market.now_us() - query.limit(200, 1000) * length_us
    return [(instrument, newest_us if start_us is None else start_us)]


def _past_of_day(venue: Venue, query: Query) -> list[tuple[Instrument, int]]:
    return [(one, one.market.now_us() - DAY_US) for one in query.asked()]


ENDPOINTS = {
    "market/time": Endpoint(server_time),
    "market/instruments-info": Endpoint(info),
    "market/recent-trade": Endpoint(recent_trades),
    "market/kline": Endpoint(klines, _past_of_candles),
    "market/orderbook": Endpoint(book),
    "market/tickers": Endpoint(all_tickers, _past_of_day),
    "market/funding/history": Endpoint(funding_history),
    "market/open-interest": Endpoint(open_interest),
}
