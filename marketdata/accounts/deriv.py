"""Deriv's account: how its connection is made out of the settings, in both dialects."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from marketdata.accounts.otp import OneTimeUrl
from marketdata.accounts.socket_account import SocketAccount
from marketdata.accounts.token import Token, token_of
from marketdata.conf import Conf
from marketdata.core.errors import BadInputError, VenueError
from marketdata.feeds.link import Access
from marketdata.feeds.shared_connection import Login
from marketdata.venues import venue_of
from marketdata.venues.dialog import Account, SocketVenue

SOURCE = "deriv"
SETTINGS = ("DERIV_API_TOKEN",)
MODES = {"demo": "paper", "real": "live"}


class Entrance:
    """Makes connections the account's: by a one-time URL, or by a login on each.

    Parameters
    ----------
    conf : Conf
        Names token, app id, account and hosts.
    stop : threading.Event
        Ends a request that is under way.

    Raises
    ------
    BadInputError
        No token, or one that cannot be; the settings are named.
    """

    def __init__(self, conf: Conf, stop: threading.Event) -> None:
        hosts = conf.hosts(SOURCE)
        venue = venue_of(SOURCE, hosts.variant)
        if not isinstance(venue, SocketVenue):
            raise TypeError(f"a venue that is asked over its socket expected, seen {venue.title}")
        self.venue = venue
        self.host = urlsplit(hosts.ws).netloc
        self._token = _token(conf, venue)
        self._url: OneTimeUrl | None = None
        authorize = venue.dialog.authorize
        if authorize is None:
            self._url = _url(conf, venue, self._token, stop)
            self.access = Access(self._url)
        else:
            place = hosts.ws.rstrip("/") + venue.dialog.path(conf.deriv_app_id)
            login = Login(authorize(self._token.value), self._check)
            self.access = Access(lambda: place, login)

    def known(self) -> Account | None:
        """Return the account, asked for once; None where a login tells it. May raise."""
        return self._url.account() if self._url is not None else None

    def _check(self, body: bytes) -> Account:
        """Return whose login an answer tells of. Raises VenueError where it is another's."""
        account = self.venue.dialog.authorized_of(body)
        if self._token.account not in {"", account.id}:
            raise VenueError(
                f"the account {self._token.account} expected, the token is of {account.id}: set "
                "the token of the one or the name of the other"
            )
        return account


def access(conf: Conf, stop: threading.Event) -> Access | None:
    """Return how the feed's connection is made; None where no token is set. Raises BadInputError.

    Notes
    -----
    With a token the feed's own connection is the account's, so that one is enough.
    """
    return Entrance(conf, stop).access if conf.deriv_api_token else None


def opened(conf: Conf, stop: threading.Event) -> SocketAccount:
    """Open the account. Raises BadInputError where something is not set."""
    entrance = Entrance(conf, stop)
    return SocketAccount(
        entrance.venue,
        lambda: entrance.access,
        conf.deriv_balance_ttl_s,
        SETTINGS,
        entrance.host,
        entrance.known,
        MODES,
        stop,
    )


def _token(conf: Conf, venue: SocketVenue) -> Token:
    try:
        return token_of(conf.deriv_api_token, conf.deriv_account_id, venue.dialog.token)
    except BadInputError as error:
        raise BadInputError(f"DERIV_API_TOKEN: {error}") from None


def _url(conf: Conf, venue: SocketVenue, token: Token, stop: threading.Event) -> OneTimeUrl:
    hosts = conf.hosts(SOURCE)
    try:
        return OneTimeUrl(
            venue, hosts.rest, hosts.ws, token, conf.deriv_app_id, stop, conf.http_user_agent
        )
    except BadInputError as error:
        raise BadInputError(f"DERIV_APP_ID or DERIV_REST_URL: {error}") from None
