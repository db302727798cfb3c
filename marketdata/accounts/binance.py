"""Binance's accounts, spot and USD-M futures: questions, signatures and answers. Pure.

Source: developers.binance.com, "Signed endpoints", "Account endpoints", 2026-07.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from marketdata.accounts.base import Balance, Position, Private, Rights, exact
from marketdata.conf import Conf
from marketdata.core.signing import (
    ED25519,
    HMAC,
    WINDOW_MS,
    Keys,
    Sign,
    query_string,
    signed_query,
)
from marketdata.venues.base import Question, Signed
from marketdata.venues.binance_wire import parsed

SETTINGS = ("BINANCE_API_KEY", "BINANCE_API_SECRET")
ADVICE = {
    -1002: "the key may not ask this: allow reading for it at the venue",
    -1021: "the clock of this machine jumps: let it follow a time server",
    -1022: "the secret does not belong to the key: copy BINANCE_API_SECRET again, whole",
    -2014: "BINANCE_API_KEY is not in the venue's form: copy it again",
    -2015: "the key is unknown here: keys of demo trading and of the real venue differ "
    "(BINANCE_MODE), and a key may be bound to other addresses or lack the right to read",
}


class _Asset(Struct):
    asset: str
    free: str
    locked: str


class _Spot(Struct):
    balances: list[_Asset]
    canTrade: bool | None = None
    canWithdraw: bool | None = None


class _Margin(Struct):
    asset: str
    balance: str
    availableBalance: str


class _Risk(Struct):
    symbol: str
    positionAmt: str
    entryPrice: str
    markPrice: str
    unRealizedProfit: str


_spot = msgspec.json.Decoder(_Spot)
_margins = msgspec.json.Decoder(list[_Margin])
_risks = msgspec.json.Decoder(list[_Risk])


def keys(conf: Conf) -> Keys:
    """Return the keys of the settings."""
    return Keys(conf.binance_api_key, conf.binance_api_secret)


def signed(question: Question, keys: Keys, sign: Sign, time_ms: int) -> Signed:
    """Sign a question: time and window join its parameters, the signature comes last."""
    params = {**question.params, "recvWindow": WINDOW_MS, "timestamp": time_ms}
    query = signed_query(query_string(params), sign)
    return Signed(query, {"X-MBX-APIKEY": keys.key})


def spot_balances(body: bytes) -> tuple[Balance, ...]:
    """Read `{"balances":[{"asset":"BTC","free":"0.1","locked":"0.0"}],"canTrade":true,…}`."""
    rows = [
        (row.asset, exact(row.free, body), exact(row.locked, body))
        for row in parsed(_spot, body).balances
    ]
    return tuple(Balance(name, free + locked, free) for name, free, locked in rows if free + locked)


def spot_rights(body: bytes) -> Rights:
    """Read what the account may; of the key the venue says nothing here."""
    answer = parsed(_spot, body)
    return Rights("account", answer.canTrade, answer.canWithdraw)


def futures_balances(body: bytes) -> tuple[Balance, ...]:
    """Read `[{"asset":"USDT","balance":"100.0","availableBalance":"100.0",…}]`."""
    rows = [
        Balance(row.asset, exact(row.balance, body), exact(row.availableBalance, body))
        for row in parsed(_margins, body)
    ]
    return tuple(row for row in rows if row.total or row.available)


def futures_positions(body: bytes) -> tuple[Position, ...]:
    """Read positions: `positionAmt` is below zero for a short; rows of orders alone have zero.

    Notes
    -----
    `[{"symbol":"BTCUSDT","positionSide":"BOTH","positionAmt":"0.010","entryPrice":"64000.0",
    "markPrice":"64010.5","unRealizedProfit":"0.105",…}]`
    """
    rows = [
        Position(
            row.symbol,
            exact(row.positionAmt, body),
            exact(row.entryPrice, body),
            exact(row.markPrice, body),
            exact(row.unRealizedProfit, body),
        )
        for row in parsed(_risks, body)
    ]
    return tuple(row for row in rows if row.qty)


def _mode(conf: Conf, host: str) -> str:
    return conf.binance_mode


_ACCOUNT = Question("/api/v3/account", {"omitZeroBalances": "true"}, weight=20)
SPOT = Private(
    settings=SETTINGS,
    keys=keys,
    kinds=frozenset({HMAC, ED25519}),
    sign=signed,
    clock_codes=frozenset({-1021}),
    mode=_mode,
    balances=_ACCOUNT,
    balances_of=spot_balances,
    rights=_ACCOUNT,
    rights_of=spot_rights,
    advice=ADVICE,
)
FUTURES = Private(
    settings=SETTINGS,
    keys=keys,
    kinds=frozenset({HMAC, ED25519}),
    sign=signed,
    clock_codes=frozenset({-1021}),
    mode=_mode,
    balances=Question("/fapi/v3/balance", weight=5),
    balances_of=futures_balances,
    positions=(Question("/fapi/v3/positionRisk", weight=5),),
    positions_of=futures_positions,
    advice=ADVICE,
)
