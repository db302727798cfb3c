"""Which feeds have accounts that can be asked, and how each is opened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from marketdata.accounts import binance, bybit, deriv
from marketdata.accounts.base import Opened, Private
from marketdata.accounts.signed_account import SignedAccount
from marketdata.conf import Conf
from marketdata.feeds.link import Access
from marketdata.venues import venue_of


@dataclass(frozen=True, slots=True)
class Kind:
    """A feed's account.

    Parameters
    ----------
    settings : tuple of str
        Names of the settings it takes.
    open : callable
        (settings, stop) → the account. Raises BadInputError where something is not set.
    """

    settings: tuple[str, ...]
    open: Callable[[Conf, threading.Event], Opened]

    def is_configured(self, conf: Conf) -> bool:
        """Tell whether its settings are made, rightly or not."""
        return any(getattr(conf, name.lower()) for name in self.settings)


def _signed(source: str, feed: str, private: Private) -> Kind:
    """Return the account of a feed, asked at that feed's host by the rules of `feed`'s venue."""

    def opened(conf: Conf, stop: threading.Event) -> Opened:
        venue = venue_of(feed, conf.hosts(source).variant)
        return SignedAccount(source, private, venue, conf, stop)

    return Kind(private.settings, opened)


KINDS: Mapping[str, Kind] = {
    "binance_ws": _signed("binance_ws", "binance_ws", binance.SPOT),
    "binance_futures": _signed("binance_futures", "binance_futures", binance.FUTURES),
    "bybit": _signed("bybit", "bybit", bybit.UNIFIED),
    "bybit_connector": _signed("bybit_connector", "bybit", bybit.UNIFIED),
    "deriv": Kind(deriv.SETTINGS, deriv.opened),
}
# How a feed's own connection is made the account's, where one connection is for everything.
ACCESS: Mapping[str, Callable[[Conf, threading.Event], Access | None]] = {"deriv": deriv.access}
