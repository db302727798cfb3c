"""What `instruments-info` says of a symbol: in linear with qtyStep, in spot with basePrecision."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote

from marketdata.simulator.bybit.instruments import LAUNCH_MS, Instrument
from marketdata.simulator.bybit.numerals import LINEAR, places
from marketdata.simulator.bybit.params import Query, invalid

TRADING, COMING = "Trading", "PreLaunch"
STATUSES = (TRADING, COMING, "Delivering", "Closed")
QUOTES = ("USDT", "USDC", "USDE", "EUR", "BTC", "ETH", "USD")
# Contracts announced and not traded yet; with them linear needs two pages, as at the venue.
ANNOUNCED = 520
HIGHEST = 20_000_000  # steps to the largest price
LARGEST = 1_190_000  # steps to the largest quantity


def instruments_info(query: Query) -> dict[str, Any]:
    """Return the category and a page of its symbols. Raises RefusedError."""
    category = query.category()
    limit = query.limit(500, 1000)
    is_one = bool(query.values.get("symbol"))
    rows = [_row(query.instrument())] if is_one else _listed(query, category)
    if status := query.values.get("status"):
        query.word("status", STATUSES)
        rows = [row for row in rows if row["status"] == status]
    if category != LINEAR:
        return {"category": category, "list": rows}
    first = _first(query.values.get("cursor", ""))
    more = first + limit < len(rows)
    return {
        "category": category,
        "list": rows[first : first + limit],
        "nextPageCursor": quote(f"first={first + limit}&last={len(rows)}") if more else "",
    }


def _first(cursor: str) -> int:
    if not cursor:
        return 0
    # Clients send it back as it came, or decoded once.
    text = unquote(cursor).partition("&")[0].removeprefix("first=")
    if not text.isdecimal():
        raise invalid("cursor is invalid")
    return int(text)


def _listed(query: Query, category: str) -> list[dict[str, Any]]:
    rows = [_row(one) for one in query.listed().values()]
    if category == LINEAR:
        rows += [_announced(number) for number in range(ANNOUNCED)]
    return sorted(rows, key=lambda row: str(row["symbol"]))


def coins(symbol: str) -> tuple[str, str]:
    """Return base and quote coin of a symbol."""
    found = next((one for one in QUOTES if symbol.endswith(one) and symbol != one), "USDT")
    return symbol.removesuffix(found), found


def _row(instrument: Instrument) -> dict[str, Any]:
    tick, lot = instrument.market.grid.tick, instrument.market.grid.lot
    if instrument.category == LINEAR:
        return _contract(instrument.symbol, tick, lot, TRADING)
    base, counter = coins(instrument.symbol)
    return {
        "symbol": instrument.symbol,
        "baseCoin": base,
        "quoteCoin": counter,
        "innovation": "0",
        "status": TRADING,
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": f"{lot:f}",
            "quotePrecision": f"{tick * lot:f}",
            "minOrderQty": f"{lot:f}",
            "maxOrderQty": f"{LARGEST * lot:f}",
            "minOrderAmt": "5",
            "maxLimitOrderQty": f"{LARGEST * lot:f}",
            "maxMarketOrderQty": f"{LARGEST // 2 * lot:f}",
        },
        "priceFilter": {"tickSize": f"{tick:f}"},
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
    }


def _announced(number: int) -> dict[str, Any]:
    symbol = f"1000SIM{number:03d}USDT"
    return _contract(symbol, Decimal("0.0001"), Decimal("1"), COMING)


def _contract(symbol: str, tick: Decimal, lot: Decimal, status: str) -> dict[str, Any]:
    base, counter = coins(symbol)
    return {
        "symbol": symbol,
        "contractType": "LinearPerpetual",
        "status": status,
        "baseCoin": base,
        "quoteCoin": counter,
        "launchTime": str(LAUNCH_MS),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(places(tick)),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": f"{tick:f}",
            "maxPrice": f"{(HIGHEST - 2) * tick:f}",
            "tickSize": f"{tick:f}",
        },
        "lotSizeFilter": {
            "maxOrderQty": f"{LARGEST * lot:f}",
            "minOrderQty": f"{lot:f}",
            "qtyStep": f"{lot:f}",
            "postOnlyMaxOrderQty": f"{LARGEST * lot:f}",
            "maxMktOrderQty": f"{LARGEST // 2 * lot:f}",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": counter,
        "copyTrading": "both",
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "isPreListing": status == COMING,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
    }
