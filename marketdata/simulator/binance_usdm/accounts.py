"""What the one account of USD-M holds: quote, and a long position in the first contract."""

from __future__ import annotations

from typing import Any

from marketdata.simulator.binance_spot.info import assets_of
from marketdata.simulator.binance_usdm import rates
from marketdata.simulator.listing import Listing

WALLET = 10_000.0
POSITION_LOTS = 10
LEVERAGE, MAINTENANCE = 20.0, 0.004
# The position was entered this far below what the index of the first served trade was.
ENTRY = 0.99


def balance(listing: Listing) -> list[dict[str, Any]]:
    """Return `GET /fapi/v3/balance`."""
    held = _position(listing)
    free = WALLET + held["profit"] - held["margin"]
    return [
        {
            "accountAlias": "SimA",
            "asset": held["quote"],
            "balance": _text(WALLET),
            "crossWalletBalance": _text(WALLET),
            "crossUnPnl": _text(held["profit"]),
            "availableBalance": _text(free),
            "maxWithdrawAmount": _text(min(free, WALLET - held["margin"])),
            "marginAvailable": True,
            "updateTime": held["time"],
        }
    ]


def position_risk(listing: Listing) -> list[dict[str, Any]]:
    """Return `GET /fapi/v3/positionRisk`: only symbols with a position."""
    held = _position(listing)
    return [
        {
            "symbol": listing.symbol,
            "positionSide": "BOTH",
            "positionAmt": f"{held['qty']:f}",
            "entryPrice": _text(held["entry"]),
            "breakEvenPrice": _text(held["entry"] * 1.0004),
            "markPrice": _text(held["mark"]),
            "unRealizedProfit": _text(held["profit"]),
            "liquidationPrice": "0",
            "isolatedMargin": "0",
            "notional": _text(held["notional"]),
            "marginAsset": held["quote"],
            "isolatedWallet": "0",
            "initialMargin": _text(held["margin"]),
            "maintMargin": _text(held["notional"] * MAINTENANCE),
            "positionInitialMargin": _text(held["margin"]),
            "openOrderInitialMargin": "0",
            "adl": 2,
            "bidNotional": "0",
            "askNotional": "0",
            "updateTime": held["time"],
        }
    ]


def account(listing: Listing) -> dict[str, Any]:
    """Return `GET /fapi/v3/account`."""
    held = _position(listing)
    margins = {
        "initialMargin": _text(held["margin"]),
        "maintMargin": _text(held["notional"] * MAINTENANCE),
        "positionInitialMargin": _text(held["margin"]),
        "openOrderInitialMargin": _text(0),
    }
    wallet = {
        "walletBalance": _text(WALLET),
        "unrealizedProfit": _text(held["profit"]),
        "marginBalance": _text(WALLET + held["profit"]),
        "crossWalletBalance": _text(WALLET),
        "crossUnPnl": _text(held["profit"]),
        "availableBalance": _text(WALLET + held["profit"] - held["margin"]),
        "maxWithdrawAmount": _text(WALLET - held["margin"]),
    }
    totals = {f"total{name[0].upper()}{name[1:]}": value for name, value in margins.items()}
    return {
        **totals,
        "totalWalletBalance": wallet["walletBalance"],
        "totalUnrealizedProfit": wallet["unrealizedProfit"],
        "totalMarginBalance": wallet["marginBalance"],
        "totalCrossWalletBalance": wallet["crossWalletBalance"],
        "totalCrossUnPnl": wallet["crossUnPnl"],
        "availableBalance": wallet["availableBalance"],
        "maxWithdrawAmount": wallet["maxWithdrawAmount"],
        "assets": [{"asset": held["quote"], **wallet, **margins, "updateTime": held["time"]}],
        "positions": [
            {
                "symbol": listing.symbol,
                "positionSide": "BOTH",
                "positionAmt": f"{held['qty']:f}",
                "unrealizedProfit": _text(held["profit"]),
                "isolatedMargin": "0",
                "notional": _text(held["notional"]),
                "isolatedWallet": "0",
                "initialMargin": margins["initialMargin"],
                "maintMargin": margins["maintMargin"],
                "updateTime": held["time"],
            }
        ],
    }


def _position(listing: Listing) -> dict[str, Any]:
    market = listing.market
    mark = rates.marks(listing, market.now_us()).mark
    first = market.after(market.first_id - 1, 1)
    entry = round(float(first.price[0]) * ENTRY / listing.grid.tick_size) * listing.grid.tick_size
    qty = POSITION_LOTS * listing.grid.lot
    return {
        "quote": assets_of(listing.symbol)[1],
        "time": market.now_us() // 1000,
        "mark": mark,
        "entry": entry,
        "qty": qty,
        "notional": float(qty) * mark,
        "margin": float(qty) * mark / LEVERAGE,
        "profit": float(qty) * (mark - entry),
    }


def _text(value: float) -> str:
    return f"{value:.8f}"
