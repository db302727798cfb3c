"""What `exchangeInfo` of USD-M says of its contracts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from marketdata.simulator.binance_spot.info import HIGHEST, assets_of
from marketdata.simulator.binance_usdm.wire import plain
from marketdata.simulator.listing import Listing

PERPETUAL_MS = 4_133_404_800_000  # the delivery date of what is never delivered
ONBOARD_MS = 1_569_398_400_000
MIN_NOTIONAL = {"BTCUSDT": "50", "ETHUSDT": "20"}


def exchange_info(
    listings: Iterable[Listing], now_ms: int, weight_limit: int, label: str
) -> dict[str, Any]:
    """Return the whole answer; `simulated` is ours, the venue has no such field."""
    limits = [
        ("REQUEST_WEIGHT", "MINUTE", 1, weight_limit),
        ("ORDERS", "MINUTE", 1, 1200),
        ("ORDERS", "SECOND", 10, 300),
    ]
    names = ("rateLimitType", "interval", "intervalNum", "limit")
    return {
        "exchangeFilters": [],
        "rateLimits": [dict(zip(names, limit, strict=True)) for limit in limits],
        "serverTime": now_ms,
        "timezone": "UTC",
        "futuresType": "U_MARGINED",
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_symbol(listing) for listing in listings],
        "simulated": label,
    }


def _symbol(listing: Listing) -> dict[str, Any]:
    symbol, grid = listing.symbol, listing.grid
    base, quote = assets_of(symbol)
    # Not the decimals of tick and lot: who rounds by these rounds wrong.
    decimals = [max(0, -int(step.as_tuple().exponent)) for step in (grid.tick, grid.lot)]
    return {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL_MS,
        "onboardDate": ONBOARD_MS,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": quote,
        "marginAsset": quote,
        "pricePrecision": decimals[0] + 1,
        "quantityPrecision": decimals[1],
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": _filters(listing),
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def _filters(listing: Listing) -> list[dict[str, Any]]:
    tick, lot = listing.grid.tick, listing.grid.lot
    sizes = {"minQty": plain(1, lot), "maxQty": plain(HIGHEST, lot), "stepSize": plain(1, lot)}
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": plain(1, tick),
            "maxPrice": plain(HIGHEST, tick),
            "tickSize": plain(1, tick),
        },
        {"filterType": "LOT_SIZE", **sizes},
        {"filterType": "MARKET_LOT_SIZE", **sizes},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": MIN_NOTIONAL.get(listing.symbol, "5")},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": "1.0500",
            "multiplierDown": "0.9500",
            "multiplierDecimal": "4",
        },
    ]
