"""Parameters of REST as Bybit reads them, and how it refuses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from marketdata.core.errors import BotCryptoError
from marketdata.simulator.bybit.instruments import Instrument
from marketdata.simulator.bybit.numerals import CATEGORIES, LINEAR

WHOLE = re.compile(r"[0-9]{1,18}")
LAST_MS = 4_102_444_800_000
PARAMS = 10001


class RefusedError(BotCryptoError):
    """The venue refuses a request: `{"retCode":10001,"retMsg":"…"}`, mostly under HTTP 200."""

    def __init__(self, code: int, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def invalid(reason: str) -> RefusedError:
    """Return the refusal of a parameter."""
    return RefusedError(PARAMS, f"params error: {reason}")


@dataclass(frozen=True)
class Query:
    """The parameters of one request; what the venue does not know it ignores."""

    values: Mapping[str, str]
    instruments: Mapping[str, Mapping[str, Instrument]]

    def category(self, allowed: Iterable[str] = CATEGORIES, default: str = "") -> str:
        """Return `category`. Raises RefusedError."""
        category = self.values.get("category") or default
        if category not in allowed:
            raise invalid(f"Category is invalid, it should be one of {', '.join(allowed)}")
        return category

    def listed(self, default: str = "") -> Mapping[str, Instrument]:
        """Return the instruments of the category. Raises RefusedError."""
        return self.instruments[self.category(default=default)]

    def contract(self) -> Instrument:
        """Return what `symbol` names among the contracts. Raises RefusedError."""
        self.category((LINEAR,))
        return self.instrument()

    def instrument(self, default: str = "") -> Instrument:
        """Return what `symbol` names in the category. Raises RefusedError."""
        listed = self.listed(default)
        symbol = self.values.get("symbol", "")
        if not symbol:
            raise invalid("Symbol is required")
        if symbol not in listed:
            raise RefusedError(PARAMS, "Not supported symbols")
        return listed[symbol]

    def asked(self) -> list[Instrument]:
        """Return what `symbol` names, or all of the category. Raises RefusedError."""
        return [self.instrument()] if self.values.get("symbol") else [*self.listed().values()]

    def whole(self, name: str) -> int | None:
        """Return a whole number, or None where it was not sent. Raises RefusedError."""
        text = self.values.get(name)
        if not text:
            return None
        if not WHOLE.fullmatch(text):
            raise invalid(f"{name} is invalid")
        return int(text)

    def time_us(self, name: str) -> int | None:
        """Return a time sent in milliseconds, or None. Raises RefusedError."""
        value = self.whole(name)
        return None if value is None else min(value, LAST_MS) * 1000

    def limit(self, default: int, most: int) -> int:
        """Return `limit`. Raises RefusedError."""
        limit = self.whole("limit")
        if limit is None:
            return default
        if not 1 <= limit <= most:
            raise invalid(f"limit should be from 1 to {most}")
        return limit

    def word(self, name: str, known: Iterable[str]) -> str:
        """Return one of some words. Raises RefusedError."""
        word = self.values.get(name, "")
        if word not in known:
            raise invalid(f"{name} is invalid")
        return word
