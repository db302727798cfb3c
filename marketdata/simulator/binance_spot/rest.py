"""The market-data endpoints of `/api/v3`: parameters, weight, answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from marketdata.core.timeframe import DAY_US
from marketdata.simulator.binance_spot import accounts, info, tickers, wire
from marketdata.simulator.binance_spot.params import Query, RefusedError, invalid
from marketdata.simulator.faults import Faults
from marketdata.simulator.intervals import LENGTHS
from marketdata.simulator.listing import Levels, Listing
from marketdata.simulator.rules import Rules

MOST_LEVELS = 5000


class Venue(Protocol):
    """What the endpoints see of the venue."""

    listings: Mapping[str, Listing]
    faults: Faults
    rules: Rules
    label: str


@dataclass(frozen=True)
class Endpoint:
    """One path: what it takes, what it costs, how it answers.

    Parameters
    ----------
    answer : callable
        Returns JSON text. Raises RefusedError.
    params : tuple of str
        Names it knows; symbol, interval and the like are checked by the answer.
    weight : int or callable
        Request weight, by the parameters sent where it depends on them.
    past : callable, optional
        Returns whose past is needed since when, where counting it may take longer than a stream
        should wait: it is then counted beside the loop first.
    pool : str
        Which pool of requests pays for it; empty is that of weight.
    is_signed : bool
        Whether the account's key and signature are needed.
    """

    answer: Callable[[Venue, Query], bytes]
    params: tuple[str, ...] = ()
    weight: int | Callable[[Mapping[str, str]], int] = 1
    past: Callable[[Venue, Query], list[tuple[Listing, int]]] | None = None
    pool: str = ""
    is_signed: bool = False

    def cost(self, sent: Mapping[str, str]) -> int:
        """Return the weight of one request, whether it will be refused or not."""
        return self.weight if isinstance(self.weight, int) else self.weight(sent)


def _json(answer: Any) -> bytes:
    return msgspec.json.encode(answer)


def ping(venue: Venue, query: Query) -> bytes:
    """Return `{}`."""
    return b"{}"


def server_time(venue: Venue, query: Query) -> bytes:
    """Return the market's time: the wall clock, or the tape's."""
    return _json({"serverTime": _now_us(venue) // query.unit})


def exchange_info(venue: Venue, query: Query) -> bytes:
    """Return limits and symbols."""
    listings = _wanted(venue, query)
    now = _now_us(venue) // query.unit
    limit = venue.rules.weight_per_minute
    return _json(info.exchange_info(listings, now, limit, venue.label))


def depth(venue: Venue, query: Query) -> bytes:
    """Return the book; the fault `stale_snapshot` returns it as it was when it was made."""
    listing = query.listing()
    limit = query.limit(100, MOST_LEVELS, clamps=True)
    book = listing.made_book()
    levels = Levels.of(book, limit)
    if listing.born and venue.faults.take("stale_snapshot"):
        born = listing.born
        levels = Levels(born.last_id, born.bids[:limit], born.asks[:limit])
    return _json(wire.levels(levels, listing.grid))


def trades(venue: Venue, query: Query) -> bytes:
    """Return raw trades: the newest, or from an id on where the path allows it."""
    listing = query.listing()
    page = listing.history.raw_page(query.whole("fromId"), query.limit(500, 1000))
    return wire.trade_rows(page, query.unit)


def agg_trades(venue: Venue, query: Query) -> bytes:
    """Return aggregates: from an id, or the oldest of a time range, or the newest."""
    listing = query.listing()
    from_id, start_us, end_us = query.whole("fromId"), query.start_us(), query.end_us()
    if from_id is not None and not (start_us is None and end_us is None):
        raise RefusedError(-1128, "Combination of optional parameters invalid.")
    page = listing.history.page(from_id, start_us, end_us, query.limit(500, 1000))
    return wire.agg_trade_rows(page, listing.market.fills, query.unit)


def klines(venue: Venue, query: Query) -> bytes:
    """Return candles that open in the range."""
    listing = query.listing()
    candles = listing.history.candles(
        query.interval(),
        query.start_us(),
        query.end_us(),
        query.limit(500, 1000),
        query.offset_us(),
    )
    return _json([wire.kline_row(candle, listing.grid, query.unit) for candle in candles])


def average_price(venue: Venue, query: Query) -> bytes:
    """Return the average of five minutes."""
    return _json(tickers.average(query.listing(), query.unit))


def ticker_price(venue: Venue, query: Query) -> bytes:
    """Return the last price of one symbol, some, or all."""
    return _each(venue, query, tickers.price)


def ticker_book(venue: Venue, query: Query) -> bytes:
    """Return the best bid and ask of one symbol, some, or all."""
    return _each(venue, query, tickers.book_ticker)


def ticker_day(venue: Venue, query: Query) -> bytes:
    """Return the rolling 24 hours of one symbol, some, or all."""
    kind = query.values.get("type", "FULL")
    if kind not in {"FULL", "MINI"}:
        raise invalid("type")
    is_mini = kind == "MINI"
    return _each(venue, query, lambda one: tickers.day(one, query.unit, is_mini=is_mini))


def account(venue: Venue, query: Query) -> bytes:
    """Return what the account holds: the assets of the first listing, and nothing moves."""
    listing = next(iter(venue.listings.values()))
    return _json(accounts.spot(listing, omits_zero=query.flag("omitZeroBalances")))


def _each(venue: Venue, query: Query, answer: Callable[[Listing], dict[str, Any]]) -> bytes:
    answers = [answer(listing) for listing in _wanted(venue, query)]
    return _json(answers[0] if query.has("symbol") else answers)


def _wanted(venue: Venue, query: Query) -> list[Listing]:
    asked = query.asked()
    return list(venue.listings.values()) if asked is None else asked


def _now_us(venue: Venue) -> int:
    return next(iter(venue.listings.values())).market.now_us()


def _past_of_candles(venue: Venue, query: Query) -> list[tuple[Listing, int]]:
    listing = query.listing()
    length_us = LENGTHS.get(query.interval(), 31 * DAY_US)
    newest_us = listing.market.now_us() - query.limit(500, 1000) * length_us
    start_us = query.start_us()
    return [(listing, newest_us if start_us is None else start_us)]


def _past_of_day(venue: Venue, query: Query) -> list[tuple[Listing, int]]:
    return [(one, one.market.now_us() - DAY_US) for one in _wanted(venue, query)]


def _depth_weight(sent: Mapping[str, str]) -> int:
    text = sent.get("limit", "")
    limit = int(text) if text.isdecimal() else 100
    return next((cost for most, cost in ((100, 5), (500, 25), (1000, 50)) if limit <= most), 250)


def _ticker_weight(sent: Mapping[str, str]) -> int:
    return 2 if "symbol" in sent else 4


def _day_weight(sent: Mapping[str, str]) -> int:
    if "symbol" in sent:
        return 2
    if "symbols" not in sent:
        return 80
    asked = sent["symbols"].count(",") + 1
    return 2 if asked <= 20 else 40 if asked <= 100 else 80


SOME = ("symbol", "symbols", "symbolStatus")
KLINES = ("symbol", "interval", "startTime", "endTime", "timeZone", "limit")
ENDPOINTS = {
    "ping": Endpoint(ping),
    "time": Endpoint(server_time),
    "exchangeInfo": Endpoint(
        exchange_info, (*SOME, "permissions", "showPermissionSets"), weight=20
    ),
    "depth": Endpoint(depth, ("symbol", "limit", "symbolStatus"), weight=_depth_weight),
    "trades": Endpoint(trades, ("symbol", "limit"), weight=25),
    "historicalTrades": Endpoint(trades, ("symbol", "limit", "fromId"), weight=25),
    "aggTrades": Endpoint(
        agg_trades, ("symbol", "fromId", "startTime", "endTime", "limit"), weight=4
    ),
    "klines": Endpoint(klines, KLINES, weight=2, past=_past_of_candles),
    "uiKlines": Endpoint(klines, KLINES, weight=2, past=_past_of_candles),
    "avgPrice": Endpoint(average_price, ("symbol",), weight=2),
    "ticker/price": Endpoint(ticker_price, SOME, weight=_ticker_weight),
    "ticker/bookTicker": Endpoint(ticker_book, SOME, weight=_ticker_weight),
    "ticker/24hr": Endpoint(ticker_day, (*SOME, "type"), weight=_day_weight, past=_past_of_day),
    "account": Endpoint(account, ("omitZeroBalances",), weight=20, is_signed=True),
}
