"""Signed questions about one small account: how they are verified, and what they are answered."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from marketdata.simulator.bybit.info import coins
from marketdata.simulator.bybit.instruments import Instrument
from marketdata.simulator.bybit.numerals import LINEAR, SPOT
from marketdata.simulator.bybit.params import Query, RefusedError, invalid
from marketdata.simulator.bybit.tickers import marked

KEYS = {"SIMKEY": "SIMSECRET"}
WINDOW_MS = 5000
AHEAD_MS = 1000
# What the account holds: coins in all, and of each contract a position that was bought long ago.
PURSE = {"USDT": "10000.5", "BTC": "0.25"}
LEVERAGE = 10
ENTRY = 0.98  # entry price as a part of the mark
POSITION_LOTS = 50


def verify(headers: Mapping[str, str], query: str, keys: Mapping[str, str], now_ms: int) -> None:
    """Check a GET's signature as the venue does. Raises RefusedError.

    Parameters
    ----------
    query : str
        The query string exactly as it came, without the question mark.
    keys : mapping of str to str
        API key → secret.
    now_ms : int
        The server's time; a request is valid in (now - window … now + 1 s).
    """
    key, sign = headers.get("X-BAPI-API-KEY", ""), headers.get("X-BAPI-SIGN", "")
    stamp, window = headers.get("X-BAPI-TIMESTAMP", ""), headers.get("X-BAPI-RECV-WINDOW", "")
    if not (key and sign and stamp.isdecimal()):
        raise RefusedError(10003, "API key, timestamp or sign is missing", 401)
    if key not in keys:
        raise RefusedError(10003, "API key is invalid.")
    window_ms = int(window) if window.isdecimal() else WINDOW_MS
    if not now_ms - window_ms <= int(stamp) < now_ms + AHEAD_MS:
        raise RefusedError(
            10002,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window_ms}]",
        )
    text = f"{stamp}{key}{window}{query}"
    expected = hmac.new(keys[key].encode(), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), sign.encode()):
        raise RefusedError(10004, f"error sign! origin_string[{text}]")


def wallet(query: Query) -> dict[str, Any]:
    """Return coins and sums. Raises RefusedError."""
    if query.values.get("accountType") != "UNIFIED":
        raise invalid("accountType only support UNIFIED")
    wanted = {one for one in query.values.get("coin", "").split(",") if one}
    worth = {coin: float(amount) * _price(query, coin) for coin, amount in PURSE.items()}
    sums = f"{sum(worth.values()):.8f}"
    none = ("totalInitialMargin", "totalMaintenanceMargin", "accountIMRate", "accountMMRate")
    row = {
        "accountType": "UNIFIED",
        **dict.fromkeys(("totalEquity", "totalWalletBalance", "totalMarginBalance"), sums),
        "totalAvailableBalance": sums,
        **dict.fromkeys(("totalPerpUPL", *none, "accountLTV"), "0"),
        "coin": [
            _coin(coin, amount, worth[coin])
            for coin, amount in PURSE.items()
            if not wanted or coin in wanted
        ],
    }
    return {"list": [row]}


def positions(query: Query) -> dict[str, Any]:
    """Return what is held of contracts. Raises RefusedError."""
    category = query.category((LINEAR,))
    settled_in = query.values.get("settleCoin")
    if not query.values.get("symbol") and not settled_in:
        raise invalid("symbol or settleCoin is required")
    spots = query.instruments[SPOT]
    rows = [_position(one, spots.get(one.symbol)) for one in query.asked()[:1]]
    rows = [row for row in rows if settled_in in (None, "", coins(row["symbol"])[1])]
    return {"list": rows, "nextPageCursor": "", "category": category}


def api_key(query: Query) -> dict[str, Any]:
    """Return what the key may do: read, nothing else."""
    return {
        "id": "1",
        "note": "simulated",
        "apiKey": next(iter(KEYS)),
        "readOnly": 1,
        "secret": "",
        "permissions": {"ContractTrade": [], "Spot": [], "Wallet": [], "Derivatives": []},
        "ips": ["*"],
        "type": 1,
        "deadlineDay": 82,
        "expiredAt": "2027-02-15T00:00:00Z",
        "createdAt": "2026-11-17T00:00:00Z",
        "unified": 0,
        "uta": 1,
        "userID": 1,
        "vipLevel": "No VIP",
        "isMaster": True,
    }


def _coin(coin: str, amount: str, worth: float) -> dict[str, Any]:
    zeros = ("locked", "spotBorrow", "accruedInterest", "unrealisedPnl", "cumRealisedPnl", "bonus")
    return {
        "coin": coin,
        "equity": amount,
        "usdValue": f"{worth:.8f}",
        "walletBalance": amount,
        **dict.fromkeys(zeros, "0"),
        "borrowAmount": "0.0",
        # The venue leaves these empty for accounts in cross margin.
        **dict.fromkeys(("totalOrderIM", "totalPositionIM", "totalPositionMM"), ""),
        "collateralSwitch": True,
        "marginCollateral": True,
        "spotHedgingQty": "0",
        "availableToWithdraw": "",
    }


def _price(query: Query, coin: str) -> float:
    for listed in query.instruments.values():
        for one in listed.values():
            if coins(one.symbol)[0] == coin:
                return one.last_price()
    return 1.0


def _position(instrument: Instrument, spot: Instrument | None) -> dict[str, Any]:
    mark, _ = marked(instrument, spot)
    numerals, grid = instrument.numerals, instrument.market.grid
    size, entry = float(grid.lot) * POSITION_LOTS, mark * ENTRY
    entry_text, mark_text = (
        numerals.price(round(price / float(grid.tick))) for price in (entry, mark)
    )
    gained = size * (float(mark_text) - float(entry_text))
    return {
        "positionIdx": 0,
        "symbol": instrument.symbol,
        "side": "Buy",
        "size": numerals.size(POSITION_LOTS),
        "avgPrice": entry_text,
        "positionValue": f"{size * float(entry_text):.8f}",
        "tradeMode": 0,
        "positionStatus": "Normal",
        "leverage": str(LEVERAGE),
        "markPrice": mark_text,
        "liqPrice": "",
        "positionIM": f"{size * float(entry_text) / LEVERAGE:.8f}",
        "positionMM": "",
        "unrealisedPnl": f"{gained:.8f}",
        "cumRealisedPnl": "0",
        "takeProfit": "",
        "stopLoss": "",
        "seq": instrument.seq(),
        "isReduceOnly": False,
        "createdTime": "1700000000000",
        "updatedTime": str(instrument.now_ms()),
    }


SIGNED: Mapping[str, Callable[[Query], dict[str, Any]]] = {
    "account/wallet-balance": wallet,
    "position/list": positions,
    "user/query-api": api_key,
}
