"""The limits that Bybit puts on an address: requests, and what follows when there are too many."""

from __future__ import annotations

import time
from dataclasses import dataclass

from marketdata.simulator.rules import Allowance, Rules

NEVER_S = 1e9


@dataclass(frozen=True)
class BybitRules(Rules):
    """Limits of Bybit; the defaults are those that it documents.

    Parameters
    ----------
    weight_per_minute : int
        HTTP requests of one address, counted in stretches of `within_s`.
    within_s, ban_s : float
        The stretch they are counted in, and how long nothing is answered once they are too many.
    idle_s : float
        A stream connection without a ping and without data for so long is cut.
    args : int
        Topics of one request, spot only.
    text : int
        Characters of all topics of one connection.

    Notes
    -----
    The venue itself never pings, and sets no limit on messages or the life of a connection.
    """

    weight_per_minute: int = 7200
    connects: int = 500
    messages_per_s: int = 1000
    ping_every_s: float = NEVER_S
    lifetime_s: float = NEVER_S
    within_s: float = 5.0
    ban_s: float = 600.0
    idle_s: float = 600.0
    args: int = 10
    text: int = 21_000

    @property
    def requests(self) -> int:
        """HTTP requests of one address within `within_s`."""
        return max(1, round(self.weight_per_minute * self.within_s / 60))


class Requests:
    """The requests of all clients of one address."""

    def __init__(self, rules: BybitRules) -> None:
        self._allowance = Allowance(rules.requests, rules.within_s)
        self._ban_s = rules.ban_s
        self._banned_until_s = 0.0

    @property
    def banned_s(self) -> float:
        """Seconds for which nothing is answered."""
        return max(0.0, self._banned_until_s - time.monotonic())

    def allows(self) -> bool:
        """Count one request and tell whether it is answered; the ban lifts by itself."""
        if self.banned_s:
            return False
        if self._allowance.allows():
            return True
        self._banned_until_s = time.monotonic() + self._ban_s
        return False
