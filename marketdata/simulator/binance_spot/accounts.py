"""What the one account of spot holds."""

from __future__ import annotations

from typing import Any

from marketdata.simulator.binance_spot.info import assets_of
from marketdata.simulator.listing import Listing

# Free and locked of base and quote, and an asset of which nothing is left.
BASE_HELD, QUOTE_HELD = ("0.50000000", "0.10000000"), ("25000.00000000", "1500.00000000")
EMPTY = ("0.00000000", "0.00000000")


def spot(listing: Listing, *, omits_zero: bool = False) -> dict[str, Any]:
    """Return `GET /api/v3/account`."""
    base, quote = assets_of(listing.symbol)
    held = {base: BASE_HELD, quote: QUOTE_HELD}
    if not omits_zero:
        held.setdefault("BNB", EMPTY)
    names = ("free", "locked")
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": "0.00100000",
            "taker": "0.00100000",
            "buyer": "0.00000000",
            "seller": "0.00000000",
        },
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": listing.market.now_us() // 1000,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, **dict(zip(names, amounts, strict=True))}
            for asset, amounts in held.items()
        ],
        "permissions": ["SPOT"],
        "uid": 1,
    }
