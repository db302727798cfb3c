"""The limits that Deriv documents, and who has used how much of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

from marketdata.simulator.deriv.requests import LEGACY, NEW
from marketdata.simulator.rules import Allowance, Rules

MINUTE_S, HOUR_S = 60.0, 3600.0
# Calls that have a budget of their own; all others share one, and `ping` has its own rule.
BUDGETS = {
    NEW: {
        "balance": "balance",
        "statement": "balance",
        "portfolio": "portfolio",
        "profit_table": "portfolio",
    },
    LEGACY: {"portfolio": "portfolio", "profit_table": "portfolio", "statement": "portfolio"},
}


@dataclass(frozen=True)
class DerivRules(Rules):
    """Limits of the venue; the defaults are those that Deriv documents.

    Parameters
    ----------
    weight_per_minute, general_per_hour : int
        Calls that have no budget of their own.
    balance_per_minute, balance_per_hour : int
        `balance` and `statement`; in the legacy dialect nothing.
    portfolio_per_minute, portfolio_per_hour : int
        `portfolio` and `profit_table`; in the legacy dialect `statement` as well.
    pings_per_s : int
        Of one connection.
    idle_s : float
        A connection without traffic for so long is cut.
    otp_s : float
        Life of a one-time password.
    rest_per_minute, rest_per_10_minutes, rest_per_user : int
        REST requests of one address, and a minute's of one token.
    """

    weight_per_minute: int = 220
    messages_per_s: int = 100
    ping_every_s: float = float("inf")
    general_per_hour: int = 14_400
    balance_per_minute: int = 100
    balance_per_hour: int = 2_000
    portfolio_per_minute: int = 30
    portfolio_per_hour: int = 1_500
    pings_per_s: int = 10
    idle_s: float = 120.0
    otp_s: float = 120.0
    rest_per_minute: int = 300
    rest_per_10_minutes: int = 1_000
    rest_per_user: int = 80

    @classmethod
    def of(cls, rules: Rules) -> Self:
        """Return rules of any venue as Deriv's; what they do not know is as documented."""
        if isinstance(rules, cls):
            return rules
        return cls(**{field.name: getattr(rules, field.name) for field in fields(rules)})


class Budgets:
    """What each user has left: an account, or everybody who has none."""

    def __init__(self, rules: DerivRules) -> None:
        self._rules = rules
        self._held: dict[tuple[str, str], tuple[Allowance, Allowance]] = {}

    def allow(self, user: str, call: str, dialect: str = NEW) -> bool:
        """Count a call and tell whether it was within the budgets of a minute and an hour."""
        name = BUDGETS[dialect].get(call, "general")
        if (user, name) not in self._held:
            minute, hour = self._sizes()[name]
            self._held[user, name] = Allowance(minute, MINUTE_S), Allowance(hour, HOUR_S)
        # Both count, whatever the first one says.
        return all([allowance.allows() for allowance in self._held[user, name]])  # noqa: C419

    def _sizes(self) -> dict[str, tuple[int, int]]:
        rules = self._rules
        return {
            "general": (rules.weight_per_minute, rules.general_per_hour),
            "balance": (rules.balance_per_minute, rules.balance_per_hour),
            "portfolio": (rules.portfolio_per_minute, rules.portfolio_per_hour),
        }


class RestLimits:
    """REST requests of one address and of each token."""

    def __init__(self, rules: DerivRules) -> None:
        self._per_user = rules.rest_per_user
        self._address = (
            Allowance(rules.rest_per_minute, MINUTE_S),
            Allowance(rules.rest_per_10_minutes, 10 * MINUTE_S),
        )
        self._users: dict[str, Allowance] = {}

    def allow(self, token: str) -> bool:
        """Count a request and tell whether it was within all limits."""
        user = self._users.setdefault(token, Allowance(self._per_user, MINUTE_S))
        return all([allowance.allows() for allowance in (*self._address, user)])  # noqa: C419
