"""`OneTimeUrl`: where the socket of an account is, asked for anew before each connection.

The URL opens one connection once, and is a secret: it is in no log and in no error.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from marketdata.accounts.token import Token
from marketdata.core.errors import BadInputError, VenueError
from marketdata.rest.session import Reply, Session
from marketdata.rest.verdict import LONGEST_PAUSE_S, retry_after_s
from marketdata.venues.dialog import Account, SocketVenue, Tickets

log = logging.getLogger(__name__)

ASK_AGAIN = frozenset((408, 425, 429))
# A connection waits for it.
TIMEOUT_S = 10.0
PORTS = {"wss": 443, "ws": 80}
ADVICE = {
    401: ": the token is unknown or has expired: make a new one and set it",
    403: ": the token may not do this: make one that may trade and read the account",
    404: ": no such account: check its id",
}


class OneTimeUrl:
    """Fetches the URL each time it is called. One thread at a time.

    Parameters
    ----------
    venue : SocketVenue
        One that gives tickets.
    rest_url, ws_url : str
        Where tickets are had, and where alone they may lead.
    token : Token
    app_id : str
    stop : threading.Event
        Ends a request that is under way.

    Attributes
    ----------
    known : Account or None
        The account meant, once the venue has told of it.
    """

    def __init__(
        self,
        venue: SocketVenue,
        rest_url: str,
        ws_url: str,
        token: Token,
        app_id: str,
        stop: threading.Event,
        user_agent: str = "",
    ) -> None:
        if venue.dialog.tickets is None:
            raise TypeError(f"{venue.title} gives no one-time URLs in this dialect")
        if not app_id or not app_id.isascii() or not app_id.isalnum():
            raise BadInputError(f"an app id of letters and digits expected, seen {app_id!r}")
        self._venue = venue
        self._tickets: Tickets = venue.dialog.tickets
        self._ws_url = ws_url
        self._token = token
        self._headers = self._tickets.headers(token.value, app_id)
        self._session = Session(rest_url, user_agent, TIMEOUT_S, stop)
        self.known: Account | None = None

    def __call__(self) -> str:
        """Return a fresh URL, verified.

        Raises
        ------
        BotCryptoError
            VenueError where the venue refuses, leads elsewhere or has not the account that is set;
            ConnectionLostError and its like.
        """
        account = self.account()
        reply = self._session.post(self._tickets.ticket(account.id).path, self._headers)
        if reply.status == 404:
            # Accounts may be replaced by others: look again the next time.
            self.known = None
        url = self._tickets.url_of(self._answered(reply, "a one-time URL"))
        log.info("one-time url source=%s account=%s", self._venue.source, account.id)
        return checked_url(url, self._ws_url, self._tickets.paths.get(account.kind, ""))

    def account(self) -> Account:
        """Return the account meant, asked for once. Raises as a call."""
        if self.known is None:
            asked = self._tickets.accounts
            reply = self._session.get(asked.path, asked.params, self._headers)
            known = self._tickets.accounts_of(self._answered(reply, "the accounts"))
            self.known = chosen(known, self._token.account)
        return self.known

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _answered(self, reply: Reply, what: str) -> bytes:
        if 200 <= reply.status < 300:
            return reply.body
        known = self._venue.error_of(reply.body)
        words = known[1] if known else "in no words of its own"
        advice = ADVICE.get(reply.status, "")
        raise VenueError(
            f"{self._venue.title} refuses {what} with status {reply.status}, {words}{advice}",
            reply.status,
            retryable=reply.status in ASK_AGAIN or reply.status >= 500,
            retry_after_s=retry_after_s(reply, LONGEST_PAUSE_S),
        )


def chosen(known: Sequence[Account], wanted: str) -> Account:
    """Return the account meant.

    Parameters
    ----------
    wanted : str
        Its id, or its kind where there is one of that; empty where there is one in all.

    Raises
    ------
    VenueError
        None, or more than one, or one that is not active.
    """
    found = [account for account in known if account.id == wanted]
    found = found or [account for account in known if wanted in {"", account.kind}]
    if len(found) != 1:
        names = ", ".join(f"{account.id} ({account.kind})" for account in known) or "none"
        raise VenueError(f"one account {wanted!r} expected, seen {names}: set its id")
    if found[0].status not in {"", "active"}:
        raise VenueError(f"an active account expected, {found[0].id} is {found[0].status}")
    return found[0]


def checked_url(url: str, ws_url: str, path: str) -> str:
    """Return a one-time URL that leads where it must. Raises VenueError, without the URL."""
    try:
        parts, base = urlsplit(url), urlsplit(ws_url)
        places = [(part.scheme, part.hostname, _port(part)) for part in (parts, base)]
    except ValueError:
        raise VenueError("a one-time URL expected, seen one that is none") from None
    if places[0] != places[1] or parts.username is not None or parts.fragment:
        raise VenueError(f"a one-time URL at {base.scheme}://{base.netloc} expected, seen another")
    if not path or parts.path != path or not parts.query or not url.isascii():
        raise VenueError(f"a one-time URL with path {path} and a query expected, seen another")
    return url


def _port(parts: SplitResult) -> int:
    return parts.port or PORTS.get(parts.scheme, 0)
