"""The tickers: prices of now, the last 24 hours, and for contracts mark, index and funding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marketdata.core.timeframe import DAY_US, HOUR_US
from marketdata.simulator.bybit.instruments import FUNDING_CAP, FUNDING_US, Instrument
from marketdata.simulator.bybit.numerals import LINEAR, directions, places, stripped
from marketdata.simulator.history import Candle
from marketdata.simulator.listing import Levels

# The mark lies this far from the index towards the last price.
MARK_LEAN = 0.4
INDEX_ASIDE = 1e-4  # of a contract without a spot market beside it


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours in one candle, and the price an hour ago; nothing where none traded."""

    window: Candle | None
    hour_ago: float


def counted(instrument: Instrument) -> Day:
    """Count the last 24 hours; the first time takes a while."""
    history, now_us = instrument.listing.history, instrument.market.now_us()
    history.warm(now_us - DAY_US)
    before = history.page(None, None, now_us - HOUR_US, 1)
    return Day(
        history.window(now_us - DAY_US, now_us + 1), float(before.price[0]) if len(before) else 0.0
    )


def marked(instrument: Instrument, spot: Instrument | None) -> tuple[float, float]:
    """Return mark and index price of a contract."""
    last = instrument.last_price()
    index = spot.last_price() if spot else last * (1 - INDEX_ASIDE)
    return index + MARK_LEAN * (last - index), index


def streamed(instrument: Instrument, spot: Instrument | None, day: Day | None) -> dict[str, str]:
    """Return all fields of the stream; those of a day not counted yet are empty."""
    if instrument.category != LINEAR:
        index = stripped(f"{instrument.last_price() * (1 + INDEX_ASIDE):.6f}")
        return {
            "symbol": instrument.symbol,
            "lastPrice": _last(instrument),
            **_day(instrument, day),
            "usdIndexPrice": index,
        }
    return {
        "symbol": instrument.symbol,
        "tickDirection": _direction(instrument),
        "lastPrice": _last(instrument),
        **_day(instrument, day),
        "prevPrice1h": _price(instrument, day.hour_ago) if day and day.hour_ago else "",
        **_contract(instrument, spot),
        **_best(instrument),
    }


def answered(instrument: Instrument, spot: Instrument | None, day: Day) -> dict[str, str]:
    """Return one row of REST."""
    row = streamed(instrument, spot, day)
    if instrument.category != LINEAR:
        return {**row, **_best(instrument)}
    extra = ("predictedDeliveryPrice", "basisRate", "deliveryFeeRate", "basis", "preOpenPrice")
    return {**row, "deliveryTime": "0", **dict.fromkeys(extra, "")}


def _day(instrument: Instrument, day: Day | None) -> dict[str, str]:
    names = ("prevPrice24h", "highPrice24h", "lowPrice24h", "turnover24h", "volume24h")
    if day is None or day.window is None:
        return dict.fromkeys(("price24hPcnt", *names), "")
    window, numerals, grid = day.window, instrument.numerals, instrument.market.grid
    last = round(instrument.last_price() / float(grid.tick))
    return {
        "price24hPcnt": f"{(last - window.open) / window.open:.6f}",
        "prevPrice24h": numerals.price(window.open),
        "highPrice24h": numerals.price(max(window.high, last)),
        "lowPrice24h": numerals.price(min(window.low, last)),
        "turnover24h": stripped(f"{window.quote * grid.tick * grid.lot:f}"),
        "volume24h": numerals.size(window.volume),
    }


def _contract(instrument: Instrument, spot: Instrument | None) -> dict[str, str]:
    now_us = instrument.market.now_us()
    mark, index = marked(instrument, spot)
    both, single = held(instrument, now_us)
    return {
        "markPrice": _price(instrument, mark),
        "indexPrice": _price(instrument, index),
        "openInterest": both,
        "openInterestValue": f"{float(both) * mark:.2f}",
        "singleOpenInterest": single,
        "singleOpenInterestValue": f"{float(single) * mark:.2f}",
        "fundingRate": rate(instrument.funding(now_us)),
        "nextFundingTime": str((now_us // FUNDING_US + 1) * FUNDING_US // 1000),
        "fundingIntervalHour": str(FUNDING_US // HOUR_US),
        "fundingCap": f"{FUNDING_CAP:g}",
    }


def held(instrument: Instrument, ts_us: int) -> tuple[str, str]:
    """Return the open interest at a time: both sides, and one."""
    both = instrument.open_interest(ts_us)
    first, second = instrument.numerals.sizes(np.array([both, both / 2]))
    return first, second


def rate(value: float) -> str:
    """Return a funding rate as text."""
    return stripped(f"{value:.8f}")


def _best(instrument: Instrument) -> dict[str, str]:
    top, numerals = Levels.of(instrument.listing.made_book(), 1), instrument.numerals
    (bid, bid_lots), (ask, ask_lots) = top.bids[0], top.asks[0]
    return {
        "bid1Price": numerals.price(bid),
        "bid1Size": numerals.size(bid_lots),
        "ask1Price": numerals.price(ask),
        "ask1Size": numerals.size(ask_lots),
    }


def _last(instrument: Instrument) -> str:
    return _price(instrument, instrument.last_price())


def _direction(instrument: Instrument) -> str:
    newest = instrument.listing.history.last_trade()
    return directions(newest.price, instrument.before(newest))[-1] if len(newest) else ""


def _price(instrument: Instrument, value: float) -> str:
    text = f"{value:.{places(instrument.market.grid.tick)}f}"
    return text if instrument.category == LINEAR else stripped(text)
