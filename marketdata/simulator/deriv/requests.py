"""What a client may ask, key by key, in both dialects. What is not listed is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from marketdata.core.errors import BotCryptoError

# What is wrong with a value; empty where nothing is.
Check = Callable[[Any], str]
Schema = Mapping[str, Check]

GRANULARITIES = (60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
STREAMS = (
    "balance", "candles", "cashier_payments", "proposal", "proposal_open_contract", "ticks",
    "transaction",
)  # fmt: skip
LEGACY_STREAMS = (
    *STREAMS, "p2p_advert", "p2p_advertiser", "p2p_order", "p2p_settings", "website_status",
    "crypto_estimations", "trading_platform_asset_listing",
)  # fmt: skip
NEW, LEGACY = "new", "legacy"
SECRET = "<redacted>"  # noqa: S105  (what stands for one in echoes)


class RefusedError(BotCryptoError):
    """The venue refuses a request: `{"error":{"code":"InvalidSymbol","message":"…"}}`."""

    def __init__(self, code: str, message: str, details: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    def told(self) -> dict[str, Any]:
        """Return what stands under `error`."""
        told: dict[str, Any] = {"code": self.code, "message": str(self)}
        return {**told, "details": self.details} if self.details else told


def invalid(key: str, reason: str) -> RefusedError:
    """Return the refusal of a value that breaks the schema."""
    return RefusedError(
        "InputValidationFailed", f"Input validation failed: {key}", details={key: reason}
    )


@dataclass(frozen=True)
class Request:
    """One request as sent.

    Attributes
    ----------
    name : str
        The call; empty where there is none that the venue knows.
    """

    name: str
    sent: Mapping[str, Any]

    @classmethod
    def read(cls, text: str, dialect: str) -> Request:
        """Read a message. Raises RefusedError where it is no JSON object."""
        try:
            sent = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError):
            raise RefusedError("BadRequest", "The application sent an invalid request.") from None
        return cls(next((key for key in sent if key in CALLS[dialect]), ""), sent)

    def check(self, dialect: str) -> None:
        """Compare with the schema of its call. Raises RefusedError."""
        if not self.name:
            raise RefusedError("UnrecognisedRequest", "Unrecognised request.")
        schema = CALLS[dialect][self.name]
        if schema is None:
            return
        if extra := [key for key in self.sent if key not in schema and key not in COMMON]:
            raise RefusedError(
                "InputValidationFailed",
                f"Properties not allowed: {', '.join(sorted(extra))}.",
                details=dict.fromkeys(extra, "Property not allowed."),
            )
        for key, value in self.sent.items():
            if reason := {**COMMON, **schema}[key](value):
                raise invalid(key, reason)
        if self.name == "ticks_history" and "end" not in self.sent:
            raise invalid("end", "Missing property.")

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or what stands for one that was not sent."""
        return self.sent.get(key, default)

    @property
    def subscribes(self) -> bool:
        """Whether updates are wanted."""
        return bool(self.sent.get("subscribe"))

    def envelope(self, msg_type: str, *, bare: bool = False) -> dict[str, Any]:
        """Return what every answer to this request carries; `bare` leaves the echo out."""
        hidden = {key: SECRET for key in ("authorize", "tokens") if key in self.sent}
        around = {} if bare else {"echo_req": {**self.sent, **hidden}}
        id = self.sent.get("req_id")
        return {**around, "msg_type": msg_type, **({} if id is None else {"req_id": id})}


def one_of(*known: object) -> Check:
    """Accept these values, of these types."""

    def check(value: Any) -> str:
        is_known = any(type(value) is type(one) and value == one for one in known)
        return "" if is_known else f"Not in enum list: {', '.join(map(str, known))}."

    return check


def text(pattern: str) -> Check:
    """Accept strings that match a pattern."""
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str):
            return f"Expected string - got {_kind(value)}."
        return "" if compiled.fullmatch(value) else f"String does not match '{pattern}'."

    return check


def whole(low: int, high: int) -> Check:
    """Accept integers in a range."""

    def check(value: Any) -> str:
        if not isinstance(value, int) or isinstance(value, bool):
            return f"Expected integer - got {_kind(value)}."
        return "" if low <= value <= high else f"{value} is not from {low} to {high}."

    return check


def listed(item: Check) -> Check:
    """Accept arrays of what another check accepts."""

    def check(value: Any) -> str:
        if not isinstance(value, list):
            return f"Expected array - got {_kind(value)}."
        return next((reason for one in value if (reason := item(one))), "")

    return check


def either(first: Check, second: Check) -> Check:
    """Accept what one of two checks accepts."""
    return lambda value: first(value) and second(value)


def mapping(value: Any) -> str:
    """Accept objects."""
    return "" if isinstance(value, dict) else f"Expected object - got {_kind(value)}."


def never(value: Any) -> str:
    """Accept nothing."""
    return "Not expected here."


def _kind(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "null" if value is None else "object")


ONE = one_of(1)
SYMBOL = text(r"^\w{2,30}$")
NAMES = listed(text(r"^\w{1,60}$"))
TOKEN = text(r"^[\w\-]{1,128}$")
LOGINID = text(r"^[A-Za-z]+[0-9]+$")
COMMON: Schema = {"req_id": whole(-(2**63), 2**63 - 1), "passthrough": mapping}
TICKS: Schema = {"ticks": either(SYMBOL, listed(SYMBOL)), "subscribe": ONE}
HISTORY: Schema = {
    "ticks_history": SYMBOL,
    "adjust_start_time": ONE,
    "count": whole(-(2**63), 2**63 - 1),
    "end": text(r"^(latest|[0-9]{1,10})$"),
    "granularity": one_of(*GRANULARITIES),
    "start": whole(0, 9_999_999_999),
    "style": one_of("candles", "ticks"),
    "subscribe": ONE,
}
PAGE: Schema = {
    "description": one_of(0, 1),
    "limit": whole(0, 999),
    "offset": whole(0, 2**31),
    "date_from": whole(0, 9_999_999_999),
    "date_to": whole(0, 9_999_999_999),
}
# None: no schema is looked at, since nothing here may trade.
CALLS: dict[str, dict[str, Schema | None]] = {
    NEW: {
        "ping": {"ping": ONE},
        "time": {"time": ONE},
        "active_symbols": {"active_symbols": one_of("brief", "full"), "contract_type": NAMES},
        "contracts_for": {"contracts_for": SYMBOL},
        "ticks": TICKS,
        "ticks_history": HISTORY,
        "forget": {"forget": text(r"^[\w-]{32,128}$")},
        "forget_all": {"forget_all": either(one_of(*STREAMS), listed(one_of(*STREAMS)))},
        "balance": {"balance": ONE, "subscribe": ONE},
        "portfolio": {"portfolio": ONE, "contract_type": NAMES},
        "authorize": {"authorize": never},
        "statement": {"statement": ONE, **PAGE},
        "profit_table": {"profit_table": ONE, "sort": one_of("ASC", "DESC"), **PAGE},
        **dict.fromkeys(("buy", "sell", "transaction", "proposal_open_contract")),
    },
}
CALLS[LEGACY] = {
    **CALLS[NEW],
    "active_symbols": {
        "active_symbols": one_of("brief", "full"),
        "barrier_category": NAMES,
        "contract_type": NAMES,
        "landing_company": text(r"^\w+$"),
        "landing_company_short": text(r"^\w+$"),
        "product_type": one_of("basic"),
        "loginid": LOGINID,
    },
    "contracts_for": {
        "contracts_for": SYMBOL,
        "currency": text(r"^[a-zA-Z0-9]{2,20}$"),
        "landing_company": text(r"^\w+$"),
        "landing_company_short": text(r"^\w+$"),
        "product_type": one_of("basic"),
        "loginid": LOGINID,
    },
    "forget_all": {"forget_all": either(one_of(*LEGACY_STREAMS), listed(one_of(*LEGACY_STREAMS)))},
    "balance": {
        "balance": ONE,
        "account": text(r"^(current|all|[A-Z]{2,4}[0-9]{1,10})$"),
        "subscribe": one_of(0, 1),
        "loginid": LOGINID,
    },
    "portfolio": {"portfolio": ONE, "contract_type": NAMES, "loginid": LOGINID},
    "authorize": {
        "authorize": TOKEN,
        "add_to_login_history": one_of(0, 1),
        "tokens": listed(TOKEN),
    },
}
