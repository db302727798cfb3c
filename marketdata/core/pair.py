"""What a symbol says: what is traded and what it is paid with, in any venue's spelling."""

from __future__ import annotations

import re

# What follows a pair's name: a contract without an end, or the day it ends.
CONTRACT = re.compile(r"(?:[-_]?PERP|[-_]SWAP|[-_]\d{6}|[-_]\d{1,2}[A-Z]{3}\d{2})$")
# A class of symbols told in small letters before the name.
CLASS = re.compile(r"^[a-z]+(?=[A-Z])")
PAIR = re.compile(
    r"(?P<base>.+?)[-_/]?"
    r"(?P<quote>FDUSD|USDT|USDC|TUSD|BUSD|USD|EUR|GBP|JPY|TRY|BRL|BTC|ETH|BNB)$"
)


def parts_of(symbol: str) -> tuple[str, str]:
    """Return what is traded and what it is paid with; the latter is empty where nobody can say.

    Examples
    --------
    >>> parts_of("BTC/USDT:USDT"), parts_of("cryBTCUSD"), parts_of("R_100")
    (('BTC', 'USDT'), ('BTC', 'USD'), ('R_100', ''))
    """
    whole = CLASS.sub("", symbol).partition(":")[0].upper()
    name = CONTRACT.sub("", whole)
    found = PAIR.fullmatch(name)
    if found:
        return found["base"], found["quote"]
    return (name if name and name != whole else symbol), ""


def base_of(symbol: str) -> str:
    """Return what is traded: BTC of BTCUSDT, cryBTCUSD and BTC-USDT."""
    return parts_of(symbol)[0]
