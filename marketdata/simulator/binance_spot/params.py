"""Parameters of REST as Binance spot reads them, and how it refuses them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from multidict import MultiMapping

from marketdata.core.errors import BotCryptoError
from marketdata.core.timeframe import HOUR_US, MINUTE_US
from marketdata.simulator.binance_spot.wire import MICROSECONDS, MILLISECONDS
from marketdata.simulator.intervals import INTERVALS
from marketdata.simulator.listing import Listing

WHOLE = re.compile(r"[0-9]{1,20}")
SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"
SYMBOL = re.compile(r"(?:(?![a-z])[\w\-.]){1,50}")
SYMBOLS_RANGE = rf'^\[("{SYMBOL_RANGE[1:-1]}"(,"{SYMBOL_RANGE[1:-1]}"){{0,}}){{0,1}}\]$'
TRADING = "TRADING"
STATUSES = (TRADING, "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY")
OFFSET = re.compile(r"([+-]?)(\d{1,2})(?::(\d\d))?")
# From here on a number is microseconds; as milliseconds it would be the year 5138.
FIRST_US = 10**14
LAST_US = 4_102_444_800_000_000
LAST_ID = 2**62


class RefusedError(BotCryptoError):
    """The venue refuses a request: `{"code":-1121,"msg":"Invalid symbol."}`."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def missing(name: str) -> RefusedError:
    """Return the refusal of a parameter that was not sent."""
    return RefusedError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def illegal(name: str, legal: str) -> RefusedError:
    """Return the refusal of a parameter with the wrong characters."""
    return RefusedError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )


def invalid(name: str) -> RefusedError:
    """Return the refusal of a value out of range."""
    return RefusedError(-1130, f"Data sent for parameter '{name}' is not valid.")


def time_unit(header: str | None) -> int:
    """Return what times are divided by, from `X-MBX-TIME-UNIT`. Raises RefusedError."""
    units = {None: MILLISECONDS, "MILLISECOND": MILLISECONDS, "MICROSECOND": MICROSECONDS}
    try:
        return units[header.upper() if header else None]
    except KeyError:
        raise RefusedError(
            -1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."
        ) from None


@dataclass(frozen=True)
class Query:
    """The parameters of one request."""

    values: Mapping[str, str]
    listings: Mapping[str, Listing]
    unit: int

    @classmethod
    def of(
        cls,
        sent: MultiMapping[str],
        known: Sequence[str],
        listings: Mapping[str, Listing],
        unit: int,
    ) -> Query:
        """Check names. Raises RefusedError."""
        if len(set(sent)) != len(sent):
            raise RefusedError(-1101, "Duplicate values for a parameter detected.")
        if len(sent) > len(known):
            raise RefusedError(
                -1101, f"Too many parameters; expected '{len(known)}' and received '{len(sent)}'."
            )
        read = [name for name in sent if name in known]
        if len(read) != len(sent):
            raise RefusedError(
                -1104,
                "Not all sent parameters were read; "
                f"read '{len(read)}' parameter(s) but was sent '{len(sent)}'.",
            )
        for name, value in sent.items():
            if not value:
                raise RefusedError(-1105, f"Parameter '{name}' was empty.")
        return cls(dict(sent), listings, unit)

    def has(self, name: str) -> bool:
        """Tell whether a parameter was sent."""
        return name in self.values

    def flag(self, name: str) -> bool:
        """Return `true` or `false`; False where it was not sent."""
        text = self.values.get(name, "false").lower()
        if text not in {"true", "false"}:
            raise illegal(name, "true|false")
        return text == "true"

    def whole(self, name: str) -> int | None:
        """Return a whole number, or None where it was not sent."""
        text = self.values.get(name)
        if text is None:
            return None
        if not WHOLE.fullmatch(text):
            raise illegal(name, "^[0-9]{1,20}$")
        return min(int(text), LAST_ID)

    def limit(self, default: int, most: int, *, clamps: bool = False) -> int:
        """Return `limit`; above `most` it is refused, or clamped where the venue does."""
        limit = self.whole("limit")
        if limit is None:
            return default
        if not limit or (limit > most and not clamps):
            raise invalid("limit")
        return min(limit, most)

    def start_us(self, name: str = "startTime") -> int | None:
        """Return the first microsecond of a time sent in ms or µs."""
        value = self.whole(name)
        if value is None:
            return None
        return min(LAST_US, value if value >= FIRST_US else value * 1000)

    def end_us(self, name: str = "endTime") -> int | None:
        """Return the last microsecond of a time sent in ms or µs: both edges are inclusive."""
        value = self.whole(name)
        if value is None:
            return None
        return min(LAST_US, value if value >= FIRST_US else value * 1000 + 999)

    def listing(self) -> Listing:
        """Return what `symbol` names."""
        if not self.has("symbol"):
            raise missing("symbol")
        listing = self._named(self.values["symbol"], "symbol")
        if not self._is_status_met():
            raise RefusedError(
                -1220, "The symbol's status does not match the requested symbolStatus."
            )
        return listing

    def asked(self) -> list[Listing] | None:
        """Return what `symbol` or `symbols` names; None for neither, which is all."""
        if self.has("symbol") and self.has("symbols"):
            raise RefusedError(-1128, "Combination of optional parameters invalid.")
        if self.has("symbol"):
            return [self.listing()]
        if not self.has("symbols"):
            return None if self._is_status_met() else []
        try:
            names = msgspec.json.decode(self.values["symbols"], type=list[str])
        except msgspec.DecodeError:
            raise illegal("symbols", SYMBOLS_RANGE) from None
        if len(set(names)) != len(names):
            raise RefusedError(-1151, "Symbol is present multiple times in the list.")
        named = [self._named(name, "symbols") for name in names]
        return named if self._is_status_met() else []

    def interval(self, known: Sequence[str] = INTERVALS) -> str:
        """Return `interval`, one of those that the venue knows."""
        if not self.has("interval"):
            raise missing("interval")
        if self.values["interval"] not in known:
            raise RefusedError(-1120, "Invalid interval.")
        return self.values["interval"]

    def offset_us(self) -> int:
        """Return `timeZone` (`0`, `+08:00`, `-1:30`) as microseconds ahead of UTC."""
        found = OFFSET.fullmatch(self.values.get("timeZone", "0"))
        if not found:
            raise invalid("timeZone")
        sign, hours, minutes = found.groups(default="0")
        offset = int(hours) * HOUR_US + int(minutes) * MINUTE_US
        offset = -offset if sign == "-" else offset
        if not -12 * HOUR_US <= offset <= 14 * HOUR_US:
            raise invalid("timeZone")
        return offset

    def _is_status_met(self) -> bool:
        """Tell whether `symbolStatus` fits: everything here is trading."""
        status = self.values.get("symbolStatus", TRADING)
        if status not in STATUSES:
            raise RefusedError(-1122, "Invalid symbolStatus.")
        return status == TRADING

    def _named(self, symbol: str, parameter: str) -> Listing:
        if not SYMBOL.fullmatch(symbol):
            legal = SYMBOL_RANGE if parameter == "symbol" else SYMBOLS_RANGE
            raise illegal(parameter, legal)
        if symbol not in self.listings:
            raise RefusedError(-1121, "Invalid symbol.")
        return self.listings[symbol]
