"""The endpoints of `/fapi` and `/futures/data`: parameters, weight, answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US
from marketdata.simulator.binance_spot import rest as spot
from marketdata.simulator.binance_spot import tickers
from marketdata.simulator.binance_spot.params import Query, RefusedError, invalid
from marketdata.simulator.binance_spot.rest import Endpoint, Venue
from marketdata.simulator.binance_usdm import accounts, info, rates, wire
from marketdata.simulator.binance_usdm.dialect import CANDLES
from marketdata.simulator.intervals import LENGTHS
from marketdata.simulator.listing import Levels, Listing

KEPT_US = 48 * HOUR_US
LONGEST_US = HOUR_US
DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
PERIODS = {
    name: LENGTHS[name] for name in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
}
MONTH_US = 30 * DAY_US
NEWEST_FUNDINGS = 200
# Requests and minutes of what is not paid by weight.
POOLS = {"funding": (500, 5), "data": (1000, 5)}
NOT_OF_DAY = ("prevClosePrice", "bidPrice", "bidQty", "askPrice", "askQty")


def _json(answer: Any) -> bytes:
    return msgspec.json.encode(answer)


def exchange_info(venue: Venue, query: Query) -> bytes:
    """Return limits and every contract: there is no asking for one."""
    listings = venue.listings.values()
    limit = venue.rules.weight_per_minute
    return _json(info.exchange_info(listings, _now_us(venue) // 1000, limit, venue.label))


def depth(venue: Venue, query: Query) -> bytes:
    """Return the book; the fault `stale_snapshot` returns it as it was when it was made."""
    listing = query.listing()
    limit = _depth_limit(query)
    levels = Levels.of(listing.made_book(), limit)
    if listing.born and venue.faults.take("stale_snapshot"):
        born = listing.born
        levels = Levels(born.last_id, born.bids[:limit], born.asks[:limit])
    return _json(wire.levels(levels, listing.grid, listing.market.now_us() // 1000))


def trades(venue: Venue, query: Query) -> bytes:
    """Return the newest raw trades of the book."""
    listing = query.listing()
    return wire.trade_rows(listing.history.raw_page(None, query.limit(500, 1000)), listing.grid)


def agg_trades(venue: Venue, query: Query) -> bytes:
    """Return aggregates of the last 48 hours: from an id, or the oldest of a range, or the newest.

    What is older is not served: a page from an older id begins with the oldest that is kept.
    """
    listing = query.listing()
    from_id, start_us, end_us = query.whole("fromId"), query.start_us(), query.end_us()
    if from_id is not None and not (start_us is None and end_us is None):
        raise RefusedError(-1128, "Combination of optional parameters invalid.")
    if start_us is not None and end_us is not None and end_us + 1 - start_us > LONGEST_US:
        raise RefusedError(-1127, "Lookup interval is too big.")
    market = listing.market
    oldest = market.id_at(market.now_us() - KEPT_US)
    if from_id is not None:
        from_id = max(from_id, oldest)
    if start_us is not None:
        start_us = max(start_us, market.now_us() - KEPT_US)
    page = listing.history.page(from_id, start_us, end_us, query.limit(500, 1000))
    return wire.agg_trade_rows(page[page.id >= oldest], market.fills, listing.grid)


def klines(venue: Venue, query: Query) -> bytes:
    """Return candles that open in the range."""
    listing = query.listing()
    limit = query.limit(500, 1500)
    candles = listing.history.candles(
        query.interval(CANDLES), query.start_us(), query.end_us(), limit
    )
    return _json([wire.kline_row(candle, listing.grid) for candle in candles])


def premium_index(venue: Venue, query: Query) -> bytes:
    """Return mark, index and funding of one contract or all."""
    return _each(venue, query, _premium)


def funding_rate(venue: Venue, query: Query) -> bytes:
    """Return what was paid: the oldest of a range, or the newest."""
    asked = query.asked() or [*venue.listings.values()]
    start_us, end_us = query.start_us(), query.end_us()
    is_newest = start_us is None and end_us is None
    limit = query.limit(NEWEST_FUNDINGS if is_newest else 100, 1000)
    found = [
        (booked_ms, listing, due_us)
        for listing in asked
        for booked_ms, due_us in _fundings(listing, start_us, end_us)
    ]
    found.sort(key=lambda one: one[0])
    picked = found[-limit:] if start_us is None else found[:limit]
    return _json([_funding(*one) for one in picked])


def funding_info(venue: Venue, query: Query) -> bytes:
    """Return the contracts whose funding differs from what is usual."""
    return _json(
        [
            {
                "symbol": symbol,
                "adjustedFundingRateCap": "0.02000000",
                "adjustedFundingRateFloor": "-0.02000000",
                "fundingIntervalHours": hours,
                "disclaimer": False,
            }
            for symbol, hours in rates.ADJUSTED_HOURS.items()
            if symbol in venue.listings
        ]
    )


def open_interest(venue: Venue, query: Query) -> bytes:
    """Return the contracts open now."""
    listing = query.listing()
    now_us = listing.market.now_us()
    text = _qty(listing, rates.open_interest(listing, now_us))
    return _json({"openInterest": text, "symbol": listing.symbol, "time": now_us // 1000})


def open_interest_history(venue: Venue, query: Query) -> bytes:
    """Return the contracts open at the end of each period of the last month."""
    listing = query.listing()
    length_us = PERIODS.get(query.values.get("period", ""))
    if length_us is None:
        raise invalid("period")
    now_us = listing.market.now_us()
    start_us, end_us = query.start_us(), query.end_us()
    if start_us is not None and start_us < now_us - MONTH_US:
        raise RefusedError(-1130, "parameter 'startTime' is invalid.")
    limit = query.limit(30, 500)
    first = max(start_us or 0, now_us - MONTH_US)
    last = min(now_us if end_us is None else end_us, now_us)
    times = range(-(-first // length_us) * length_us, last + 1, length_us)
    picked = times[-limit:] if start_us is None else times[:limit]
    return _json([_interest(listing, ts_us) for ts_us in picked])


def ticker_price(venue: Venue, query: Query) -> bytes:
    """Return the last price of one contract or all."""
    return _each(venue, query, lambda one: {**tickers.price(one), "time": _ms(one)})


def ticker_book(venue: Venue, query: Query) -> bytes:
    """Return the best bid and ask of one contract or all."""
    return _each(venue, query, _book_ticker)


def ticker_day(venue: Venue, query: Query) -> bytes:
    """Return the rolling 24 hours of one contract or all."""
    return _each(venue, query, _day)


def _of_account(answer: Callable[[Listing], Any]) -> Callable[[Venue, Query], bytes]:
    def answered(venue: Venue, query: Query) -> bytes:
        first = next(iter(venue.listings.values()))
        asked = query.listing() if query.has("symbol") else first
        # A contract without a position is not there at all.
        return _json(answer(first) if asked is first else [])

    return answered


def _each(venue: Venue, query: Query, answer: Callable[[Listing], dict[str, Any]]) -> bytes:
    if query.has("symbol"):
        return _json(answer(query.listing()))
    return _json([answer(listing) for listing in venue.listings.values()])


def _premium(listing: Listing) -> dict[str, Any]:
    now_us = listing.market.now_us()
    now = rates.marks(listing, now_us)
    return {
        "symbol": listing.symbol,
        "markPrice": f"{now.mark:.8f}",
        "indexPrice": f"{now.index:.8f}",
        "estimatedSettlePrice": f"{now.index:.8f}",
        "lastFundingRate": f"{now.funding:.8f}",
        "interestRate": f"{rates.INTEREST:.8f}",
        "nextFundingTime": rates.next_funding_us(listing.symbol, now_us) // 1000,
        "time": now_us // 1000,
    }


def _fundings(listing: Listing, start_us: int | None, end_us: int | None) -> list[tuple[int, int]]:
    """Return when the fundings of a range were booked (ms) and due (µs), ascending."""
    symbol, market = listing.symbol, listing.market
    last_us = min(market.now_us(), market.now_us() if end_us is None else end_us)
    # A thousand is the longest page; what lies before it is asked for by its start.
    oldest_us = last_us - 1000 * rates.funding_hours(symbol) * HOUR_US
    first_us = oldest_us if start_us is None else start_us
    times = [
        (rates.booked_ms(symbol, due_us), due_us)
        for due_us in rates.fundings_us(symbol, first_us - MINUTE_US, last_us)
    ]
    return [one for one in times if first_us <= one[0] * 1000 <= last_us]


def _funding(booked_ms: int, listing: Listing, due_us: int) -> dict[str, Any]:
    marks = rates.marks(listing, due_us)
    return {
        "symbol": listing.symbol,
        "fundingTime": booked_ms,
        "fundingRate": f"{marks.funding:.8f}",
        "markPrice": f"{marks.mark:.8f}",
        "rateType": "Regular",
    }


def _interest(listing: Listing, ts_us: int) -> dict[str, Any]:
    text = _qty(listing, rates.open_interest(listing, ts_us))
    return {
        "symbol": listing.symbol,
        "sumOpenInterest": text,
        "sumOpenInterestValue": f"{float(text) * rates.marks(listing, ts_us).mark:.8f}",
        "CMCCirculatingSupply": "0.00000000",
        "timestamp": ts_us // 1000,
    }


def _book_ticker(listing: Listing) -> dict[str, Any]:
    top = Levels.of(listing.made_book(), 1)
    event = wire.book_ticker_event(top, listing.grid, listing.symbol, _ms(listing))
    names = {
        "symbol": "s",
        "lastUpdateId": "u",
        "bidPrice": "b",
        "bidQty": "B",
        "askPrice": "a",
        "askQty": "A",
        "time": "T",
    }
    return {name: event[key] for name, key in names.items()}


def _day(listing: Listing) -> dict[str, Any]:
    told = tickers.day(listing, 1000, is_mini=False)
    return {name: value for name, value in told.items() if name not in NOT_OF_DAY}


def _depth_limit(query: Query) -> int:
    limit = query.whole("limit")
    if limit is not None and limit not in DEPTHS:
        raise RefusedError(-4021, f"'{limit}' is not valid depth limit.")
    return limit or 500


def _qty(listing: Listing, qty: float) -> str:
    return wire.plain(round(qty / listing.grid.lot_size), listing.grid.lot)


def _ms(listing: Listing) -> int:
    return listing.market.now_us() // 1000


def _now_us(venue: Venue) -> int:
    return next(iter(venue.listings.values())).market.now_us()


def _past_of_candles(venue: Venue, query: Query) -> list[tuple[Listing, int]]:
    listing = query.listing()
    length_us = LENGTHS.get(query.interval(CANDLES), 31 * DAY_US)
    newest_us = listing.market.now_us() - query.limit(500, 1500) * length_us
    start_us = query.start_us()
    return [(listing, newest_us if start_us is None else start_us)]


def _past_of_day(venue: Venue, query: Query) -> list[tuple[Listing, int]]:
    asked = query.asked() or [*venue.listings.values()]
    return [(one, one.market.now_us() - DAY_US) for one in asked]


def _by_limit(default: int, *steps: tuple[int, int], beyond: int) -> Callable[..., int]:
    def weight(sent: Mapping[str, str]) -> int:
        text = sent.get("limit", "")
        limit = int(text) if text.isdecimal() else default
        return next((cost for most, cost in steps if limit <= most), beyond)

    return weight


def _one_or_all(one: int, everything: int) -> Callable[[Mapping[str, str]], int]:
    return lambda sent: one if "symbol" in sent else everything


SIGNED = Endpoint(_of_account(accounts.balance), weight=5, is_signed=True)
RANGE = ("startTime", "endTime", "limit")
ENDPOINTS = {
    "fapi/v1/ping": Endpoint(spot.ping),
    "fapi/v1/time": Endpoint(spot.server_time),
    "fapi/v1/exchangeInfo": Endpoint(exchange_info),
    "fapi/v1/depth": Endpoint(
        depth, ("symbol", "limit"), _by_limit(500, (50, 2), (100, 5), (500, 10), beyond=20)
    ),
    "fapi/v1/trades": Endpoint(trades, ("symbol", "limit"), weight=5),
    "fapi/v1/aggTrades": Endpoint(agg_trades, ("symbol", "fromId", *RANGE), weight=20),
    "fapi/v1/klines": Endpoint(
        klines,
        ("symbol", "interval", *RANGE),
        _by_limit(500, (99, 1), (499, 2), (1000, 5), beyond=10),
        past=_past_of_candles,
    ),
    "fapi/v1/premiumIndex": Endpoint(premium_index, ("symbol",), _one_or_all(1, 10)),
    "fapi/v1/fundingRate": Endpoint(funding_rate, ("symbol", *RANGE), pool="funding"),
    "fapi/v1/fundingInfo": Endpoint(funding_info, pool="funding"),
    "fapi/v1/openInterest": Endpoint(open_interest, ("symbol",)),
    "futures/data/openInterestHist": Endpoint(
        open_interest_history, ("symbol", "period", *RANGE), pool="data"
    ),
    "fapi/v1/ticker/24hr": Endpoint(ticker_day, ("symbol",), _one_or_all(1, 40), past=_past_of_day),
    "fapi/v1/ticker/bookTicker": Endpoint(ticker_book, ("symbol",), _one_or_all(2, 5)),
    "fapi/v2/ticker/price": Endpoint(ticker_price, ("symbol",), _one_or_all(1, 2)),
    "fapi/v3/balance": SIGNED,
    "fapi/v3/account": replace(SIGNED, answer=_of_account(accounts.account)),
    "fapi/v3/positionRisk": replace(
        SIGNED, answer=_of_account(accounts.position_risk), params=("symbol",)
    ),
}
