"""Who has an account here, what proves it, and the one-time passwords of the account socket."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

TOKENS = frozenset({"SIMTOKEN", "pat_SIMTOKEN"})
DEMO, REAL = "demo", "real"


@dataclass(frozen=True)
class Account:
    """One account.

    Parameters
    ----------
    id : str
        As REST spells it.
    loginid : str
        As the legacy dialect spells it.
    kind : str
        `demo` or `real`; also the end of its socket's path.
    balance : float
        In `currency`; nothing here may trade, so it never changes.
    """

    id: str
    loginid: str
    kind: str
    balance: float
    currency: str = "USD"

    def row(self) -> dict[str, Any]:
        """Return the account as REST lists it."""
        return {
            "account_id": self.id,
            "balance": self.balance,
            "currency": self.currency,
            "group": "row",
            "status": "active",
            "account_type": self.kind,
        }


ACCOUNTS = {
    one.id: one
    for one in (
        Account("DOT90000001", "VRTC9000001", DEMO, 10_000.0),
        Account("ROT90000002", "CR9000002", REAL, 250.75),
    )
}


def legacy_login(account: Account) -> dict[str, Any]:
    """Return what stands under `authorize`."""
    is_virtual = int(account.kind == DEMO)
    company = "virtual" if is_virtual else "svg"
    listed: list[dict[str, Any]] = [
        {
            "loginid": one.loginid,
            "account_type": "binary",
            "currency": one.currency,
            "created_at": 1_700_000_000,
            "is_disabled": 0,
            "is_virtual": int(one.kind == DEMO),
            "landing_company_name": "virtual" if one.kind == DEMO else "svg",
            "linked_to": [],
        }
        for one in ACCOUNTS.values()
    ]
    return {
        "loginid": account.loginid,
        "balance": account.balance,
        "currency": account.currency,
        "is_virtual": is_virtual,
        "email": "trader@example.com",
        "fullname": "",
        "country": "id",
        "landing_company_name": company,
        "landing_company_fullname": company,
        "scopes": ["read"],
        "user_id": 1,
        "preferred_language": "EN",
        "linked_to": [],
        "local_currencies": {},
        "upgradeable_landing_companies": [],
        "account_list": listed,
    }


class Passwords:
    """One-time passwords: valid once, for a while, for the socket of one account.

    Attributes
    ----------
    counts : Counter
        How many were `issued`, `used`, `refused`; never which.
    """

    def __init__(self, valid_s: float) -> None:
        self.counts: Counter[str] = Counter(issued=0, used=0, refused=0)
        self._valid_s = valid_s
        self._open: dict[str, tuple[Account, float]] = {}

    def issue(self, account: Account) -> str:
        """Return a new one."""
        password = secrets.token_urlsafe(24)
        self._open[password] = account, time.monotonic() + self._valid_s
        self.counts["issued"] += 1
        return password

    def use(self, password: str, kind: str) -> Account | None:
        """Spend one and return its account; None where it is unknown, spent, late, another's."""
        account, until_s = self._open.pop(password, (None, 0.0))
        is_good = account is not None and account.kind == kind and time.monotonic() < until_s
        self.counts["used" if is_good else "refused"] += 1
        return account if is_good else None
