"""`SocketAccount`: an account behind a shared connection: its feed's, or one of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping

from marketdata.accounts.balance import Balances
from marketdata.accounts.base import Account, Balance, Rights
from marketdata.core.errors import BotCryptoError
from marketdata.feeds.link import Access, Nobody
from marketdata.feeds.shared_connection import SharedConnection, running
from marketdata.feeds.socket_client import SocketClient
from marketdata.feeds.supervisor import Policy
from marketdata.venues.dialog import Account as Owned
from marketdata.venues.dialog import Balance as Told
from marketdata.venues.dialog import SocketVenue

# People wait for it.
ANSWER_S = 10.0


class SocketAccount:
    """Asks what an account holds over its feed's connection, so that there is one. Any thread.

    Parameters
    ----------
    venue : SocketVenue
    access : callable
        How a connection is made where the feed has none; called when it is needed.
    ttl_s : float
        How long a balance counts, seconds.
    settings : tuple of str
        Names of the settings that the token comes from.
    host : str
        Who is asked.
    known : callable
        Returns the account, or None where only a login tells it; it may have to ask.
    modes : mapping of str to str
        Kind of account → whose money it is, `live` or `paper`.
    stop : threading.Event
        Ends every wait.
    """

    kind = "access token"

    def __init__(
        self,
        venue: SocketVenue,
        access: Callable[[], Access],
        ttl_s: float,
        settings: tuple[str, ...],
        host: str,
        known: Callable[[], Owned | None],
        modes: Mapping[str, str],
        stop: threading.Event,
    ) -> None:
        self.source = venue.source
        self.host = host
        self.settings = settings
        self._venue = venue
        self._access = access
        self._known = known
        self._modes = modes
        self._mode = ""
        self._stop = stop
        self._lock = threading.Lock()
        self._own: SharedConnection | None = None
        self._balances = Balances(self._told, ttl_s)

    def account(self) -> Account:
        """Return the balance, as old as `as_of_us` says. Raises BotCryptoError."""
        held = self._balances.get()
        told = held.balance
        balance = Balance(told.currency, told.amount, told.amount)
        return Account(self.source, (balance,), (), held.as_of_us, self.shown_mode())

    def rights(self) -> Rights | None:
        """Return None: the venue does not tell what a token may do."""
        return None

    def clock_offset_us(self) -> int:
        """Return the venue's clock minus ours, microseconds. Raises BotCryptoError."""
        return self._client().clock_offset_us()

    def shown_mode(self) -> str:
        """Return whose money it is, as far as the answers so far tell."""
        line = running(self.source)
        return "simulated" if line is not None and line.label else self._mode

    def advice(self, code: int | None) -> str:
        """Return nothing: a refusal says itself what can be done."""
        return ""

    def close(self) -> None:
        """Close the connection where it is our own."""
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.stop()

    def _told(self) -> Told:
        told = self._client().balance()
        line = running(self.source)
        # The balance counts though nobody says whose it is.
        with contextlib.suppress(BotCryptoError):
            owner = (line.account if line is not None else None) or self._known()
            self._mode = self._modes.get(owner.kind, "") if owner is not None else ""
        return told

    def _client(self) -> SocketClient:
        return SocketClient(self._venue, self._line(), self._stop, ANSWER_S)

    def _line(self) -> SharedConnection:
        with self._lock:
            line = running(self.source)
            if line is None:
                self._own = line = self._made()
            elif self._own is not None and line is not self._own:
                # The feed has come up meanwhile.
                self._own.stop()
                self._own = None
            return line

    def _made(self) -> SharedConnection:
        access = self._access()
        line = SharedConnection(
            self._venue,
            self._venue.channel(),
            access.locate,
            (),
            Nobody(),
            Policy(),
            lambda: time.time_ns() // 1000,
            login=access.login,
        )
        line.start()
        return line
