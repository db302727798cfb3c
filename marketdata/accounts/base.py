"""What an account holds, and what a venue must supply so that it can be asked. Nothing trades."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from marketdata.conf import Conf
from marketdata.core.errors import FrameError
from marketdata.core.signing import HMAC, Keys, Sign
from marketdata.venues.base import Question, Signed

PLAIN = re.compile(r"-?\d{1,30}(\.\d{1,30})?")


@dataclass(frozen=True, slots=True)
class Balance:
    """What is owned of an asset.

    Parameters
    ----------
    total : Decimal
        Owned, in units of the asset.
    available : Decimal
        Of it, what no order and no position holds back.
    """

    asset: str
    total: Decimal
    available: Decimal


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of a contract.

    Parameters
    ----------
    qty : Decimal
        Base units, below zero for a short.
    entry, mark : Decimal or None
        Quote per base; None where the venue does not say.
    unrealised : Decimal
        Profit at the mark price, in the coin of settlement.
    """

    symbol: str
    qty: Decimal
    entry: Decimal
    mark: Decimal | None
    unrealised: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """What a venue said that we hold.

    Parameters
    ----------
    as_of_us : int
        When it answered, microseconds UTC by this machine.
    mode : {"live", "paper", "simulated"}
        Whose money it is.
    """

    source: str
    balances: tuple[Balance, ...]
    positions: tuple[Position, ...]
    as_of_us: int
    mode: str


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be done, as far as the venue tells.

    Parameters
    ----------
    of : {"key", "account"}
        Whether the venue speaks of the key, or only of the account behind it.
    trade, withdraw : bool or None
        None where it does not say.
    expires : str
        When the key ends, in the venue's words; empty where it does not or nothing is said.
    days_left : int or None
    is_bound : bool or None
        Whether the key works from named addresses only.
    """

    of: str
    trade: bool | None = None
    withdraw: bool | None = None
    expires: str = ""
    days_left: int | None = None
    is_bound: bool | None = None


class Opened(Protocol):
    """An account that can be asked. Any thread may ask.

    Attributes
    ----------
    source : str
        Name of the feed whose account it is.
    host : str
        Who is asked.
    kind : str
        Kind of key.
    settings : tuple of str
        Names of the settings that the key comes from.
    """

    source: str
    host: str
    kind: str
    settings: tuple[str, ...]

    def account(self) -> Account:
        """Return what is held as of now. Raises BotCryptoError."""

    def rights(self) -> Rights | None:
        """Return what may be done, None where the venue does not tell. Raises BotCryptoError."""

    def clock_offset_us(self) -> int:
        """Return the venue's clock minus ours, microseconds. Raises BotCryptoError."""

    def shown_mode(self) -> str:
        """Return whose money it is, as far as the answers so far tell."""

    def advice(self, code: int | None) -> str:
        """Return what to do about a refusal, empty where nothing is known of it."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, kw_only=True)
class Private:
    """How one kind of account is asked: pure functions and data.

    Parameters
    ----------
    settings : (str, str)
        Names of the settings of key and secret.
    keys : callable
        Settings → keys.
    kinds : frozenset of str
        Kinds of secret that the venue knows.
    sign : callable
        (question, keys, what signs, milliseconds UTC) → query and headers.
    clock_codes : frozenset of int
        Codes of refusals that mean: your clock is wrong.
    mode : callable
        Settings, host → `live` or `paper`.
    balances : Question
    balances_of : callable
        Body → balances above or below zero. Raises FrameError.
    positions : tuple of Question
        Empty where the market has none.
    positions_of : callable
        Body → positions that are open. Raises FrameError.
    rights : Question or None
    rights_of : callable
        Body → rights. Raises FrameError.
    advice : mapping of int to str
        What to do about a code of refusal.
    """

    settings: tuple[str, str]
    keys: Callable[[Conf], Keys]
    kinds: frozenset[str] = frozenset({HMAC})
    sign: Callable[[Question, Keys, Sign, int], Signed]
    clock_codes: frozenset[int]
    mode: Callable[[Conf, str], str]
    balances: Question
    balances_of: Callable[[bytes], tuple[Balance, ...]]
    positions: tuple[Question, ...] = ()
    positions_of: Callable[[bytes], tuple[Position, ...]] = lambda body: ()
    rights: Question | None = None
    rights_of: Callable[[bytes], Rights] = lambda body: Rights("key")
    advice: Mapping[int, str] = field(default_factory=dict)


def exact(text: str, body: bytes) -> Decimal:
    """Return a decimal number, exactly. Raises FrameError."""
    if not PLAIN.fullmatch(text):
        raise FrameError("number", f"a plain number expected, seen {text[:40]!r}", body)
    return Decimal(text)
