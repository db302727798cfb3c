"""Bybit's unified account: questions, signatures and answers. Pure.

Source: bybit-exchange.github.io/docs/v5, "Authentication", "Get Wallet Balance", 2026-07.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from marketdata.accounts.base import Balance, Position, Private, Rights
from marketdata.conf import Conf
from marketdata.core.signing import WINDOW_MS, Keys, Sign, query_string, stamped_payload
from marketdata.venues.base import Question, Signed
from marketdata.venues.bybit_wire import positions_of, wallet_of
from marketdata.venues.wire_json import parsed

ADVICE = {
    10002: "the clock of this machine jumps: let it follow a time server",
    10003: "the key is unknown here: keys of the real, the test and the demo venue differ "
    "(BYBIT_REST_BASE_URL); copy BYBIT_API_KEY again",
    10004: "the secret does not belong to the key: copy BYBIT_API_SECRET again, whole",
    10005: "the key may not ask this: allow it to read the account at the venue",
    10007: "the key is unknown here: copy BYBIT_API_KEY again",
    10009: "the account's region has a host of its own: set BYBIT_REST_BASE_URL to it",
    10010: "the key is bound to other addresses than this machine's: add it at the venue",
    10024: "the venue's compliance rules stop this account: ask the venue",
    10028: "only a unified trading account can be asked: upgrade it at the venue",
    33004: "the key has expired, as keys without bound addresses do after 90 days: make a new one",
}
# Contracts settle in one of these; a page holds 200 positions, which nobody has in one coin.
SETTLED_IN = ("USDT", "USDC")
PAGE = 200
TRADES = {
    "ContractTrade": "Order",
    "Derivatives": "DerivativesTrade",
    "Spot": "SpotTrade",
    "Options": "OptionsTrade",
}


class _Key(Struct):
    readOnly: int
    permissions: dict[str, list[str]] = {}
    ips: list[str] = []
    deadlineDay: int | None = None
    expiredAt: str | None = None


class _Answer(Struct):
    result: _Key


_key = msgspec.json.Decoder(_Answer, strict=False)


def keys(conf: Conf) -> Keys:
    """Return the keys of the settings."""
    return Keys(conf.bybit_api_key, conf.bybit_api_secret)


def signed(question: Question, keys: Keys, sign: Sign, time_ms: int) -> Signed:
    """Sign a question: its query stays as it is, time and signature travel in headers."""
    query = query_string(question.params)
    return Signed(
        query,
        {
            "X-BAPI-API-KEY": keys.key,
            "X-BAPI-TIMESTAMP": str(time_ms),
            "X-BAPI-RECV-WINDOW": str(WINDOW_MS),
            "X-BAPI-SIGN": sign(stamped_payload(time_ms, keys.key, query)),
        },
    )


def balances(body: bytes) -> tuple[Balance, ...]:
    """Read the coins that are owned or owed."""
    rows = [Balance(*row) for row in wallet_of(body)]
    return tuple(row for row in rows if row.total or row.available)


def positions(body: bytes) -> tuple[Position, ...]:
    """Read the contracts that are held."""
    return tuple(
        Position(row.symbol, row.qty, row.entry, None, row.unrealised) for row in positions_of(body)
    )


def rights(body: bytes) -> Rights:
    """Read what the key may.

    Notes
    -----
    `{"readOnly":0,"permissions":{"ContractTrade":["Order","Position"],"Wallet":["Withdraw"]},
    "ips":["*"],"deadlineDay":59,"expiredAt":"2027-01-23T10:00:00Z"}`
    """
    key = parsed(_key, body).result
    may_write = key.readOnly == 0
    may_trade = any(right in key.permissions.get(name, ()) for name, right in TRADES.items())
    may_withdraw = "Withdraw" in key.permissions.get("Wallet", ())
    is_bound = bool(key.ips) and "*" not in key.ips
    ends = not is_bound and bool(key.expiredAt)
    return Rights(
        "key",
        trade=may_write and may_trade,
        withdraw=may_write and may_withdraw,
        expires=(key.expiredAt or "") if ends else "",
        days_left=key.deadlineDay if ends else None,
        is_bound=is_bound,
    )


def _mode(conf: Conf, host: str) -> str:
    """Return `paper` for the test and the demo venue: `api-testnet.bybit.com`, `api-demo.…`."""
    name = (urlsplit(host).hostname or "").partition(".")[0]
    return "paper" if name in {"api-testnet", "api-demo"} else "live"


UNIFIED = Private(
    settings=("BYBIT_API_KEY", "BYBIT_API_SECRET"),
    keys=keys,
    sign=signed,
    clock_codes=frozenset({10002}),
    mode=_mode,
    balances=Question("/v5/account/wallet-balance", {"accountType": "UNIFIED"}),
    balances_of=balances,
    positions=tuple(
        Question("/v5/position/list", {"category": "linear", "settleCoin": coin, "limit": PAGE})
        for coin in SETTLED_IN
    ),
    positions_of=positions,
    rights=Question("/v5/user/query-api"),
    rights_of=rights,
    advice=ADVICE,
)
