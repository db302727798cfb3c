"""What `exchangeInfo` says of a symbol: status, assets, filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from marketdata.simulator.history import money
from marketdata.simulator.listing import Listing

QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")
ORDER_TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]
FLAGS = {
    "icebergAllowed": True,
    "ocoAllowed": True,
    "otoAllowed": True,
    "opoAllowed": True,
    "quoteOrderQtyMarketAllowed": True,
    "allowTrailingStop": True,
    "cancelReplaceAllowed": True,
    "amendAllowed": True,
    "pegInstructionsAllowed": True,
    "isSpotTradingAllowed": True,
    "isMarginTradingAllowed": False,
}
HIGHEST = 10**8  # steps from the smallest to the largest price or quantity


def exchange_info(
    listings: Iterable[Listing], now_ms: int, weight_limit: int, label: str
) -> dict[str, Any]:
    """Return the whole answer; `simulated` is ours, the venue has no such field."""
    limits = [
        ("REQUEST_WEIGHT", "MINUTE", 1, weight_limit),
        ("ORDERS", "SECOND", 10, 50),
        ("ORDERS", "DAY", 1, 160_000),
        ("RAW_REQUESTS", "MINUTE", 5, 300_000),
    ]
    names = ("rateLimitType", "interval", "intervalNum", "limit")
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [dict(zip(names, limit, strict=True)) for limit in limits],
        "exchangeFilters": [],
        "symbols": [_symbol(listing) for listing in listings],
        "simulated": label,
    }


def assets_of(symbol: str) -> tuple[str, str]:
    """Return base and quote of a symbol, by the quotes that are known."""
    quote = next((quote for quote in QUOTES if symbol.endswith(quote) and symbol != quote), "USDT")
    return symbol.removesuffix(quote), quote


def _symbol(listing: Listing) -> dict[str, Any]:
    symbol = listing.symbol
    base, quote = assets_of(symbol)
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ORDER_TYPES,
        **FLAGS,
        "filters": _filters(listing),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _filters(listing: Listing) -> list[dict[str, Any]]:
    tick, lot = listing.grid.tick, listing.grid.lot
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": money(1, tick),
            "maxPrice": money(HIGHEST, tick),
            "tickSize": money(1, tick),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": money(1, lot),
            "maxQty": money(HIGHEST, lot),
            "stepSize": money(1, lot),
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": "5.00000000",
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
    ]
