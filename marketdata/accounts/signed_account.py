"""`SignedAccount`: one configured account behind signed questions."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

from marketdata.accounts.base import Account, Position, Private, Rights
from marketdata.conf import Conf
from marketdata.core.errors import BadInputError
from marketdata.core.signing import Keys, Sign, signer
from marketdata.rest.client import ClientStatus
from marketdata.rest.clock import CLOCK, Clock
from marketdata.rest.pool import Pool
from marketdata.rest.signed import SignedClient
from marketdata.venues.base import Question, Signed, Venue

# People wait for the answer; who wants it later asks again.
RETRIES = 1


class SignedAccount:
    """Asks what an account holds. Any thread may use it.

    Parameters
    ----------
    source : str
        Name of the feed whose account it is.
    pool : Pool, optional
        In place of the one that all who ask this host share.

    Raises
    ------
    BadInputError
        Keys that are not set, or a secret that cannot sign; the settings are named.
    """

    def __init__(
        self,
        source: str,
        private: Private,
        venue: Venue,
        conf: Conf,
        stop: threading.Event,
        *,
        pool: Pool | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        self.source = source
        self.settings: tuple[str, ...] = private.settings
        self.host = conf.hosts(source).rest
        keys = private.keys(conf)
        sign = checked_signer(private, keys)
        self.kind = keys.kind
        self.mode = private.mode(conf, self.host)
        self._private = private
        self._clock = clock
        self._client = SignedClient(
            venue,
            self.host,
            replace(conf, backfill_max_retries=min(conf.backfill_max_retries, RETRIES)),
            stop,
            partial(_signed, private, keys, sign),
            private.clock_codes,
            pool=pool,
            clock=clock,
        )

    def account(self) -> Account:
        """Return balances and positions as of now. Raises BotCryptoError."""
        reply = self._client.ask(self._private.balances)
        balances = self._private.balances_of(reply.body)
        return Account(
            self.source, balances, self.positions(), self._clock.wall_us(), self.shown_mode()
        )

    def positions(self) -> tuple[Position, ...]:
        """Return what is open now. Raises BotCryptoError."""
        asked = (self._client.ask(question) for question in self._private.positions)
        found = [self._private.positions_of(reply.body) for reply in asked]
        return tuple(position for part in found for position in part)

    def rights(self) -> Rights | None:
        """Return what may be done, None where the venue does not tell. Raises BotCryptoError."""
        if self._private.rights is None:
            return None
        return self._private.rights_of(self._client.ask(self._private.rights).body)

    def clock_offset_us(self) -> int:
        """Return the venue's clock minus ours, measured now. Raises BotCryptoError."""
        return self._client.measure()

    def shown_mode(self) -> str:
        """Return whose money it is, as far as the answers so far tell."""
        return "simulated" if self._client.is_simulated else self.mode

    def advice(self, code: int | None) -> str:
        """Return what to do about a refusal, empty where nothing is known of it."""
        return self._private.advice.get(code, "") if code is not None else ""

    def status(self) -> ClientStatus:
        """Return the state of host and limiter."""
        return self._client.status()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _signed(private: Private, keys: Keys, sign: Sign, question: Question, time_ms: int) -> Signed:
    return private.sign(question, keys, sign, time_ms)


def checked_signer(private: Private, keys: Keys) -> Sign:
    """Return what signs with these keys. Raises BadInputError, which names the settings."""
    names = dict(zip(private.settings, (keys.key, keys.secret), strict=True))
    missing = [name for name, value in names.items() if not value]
    if missing:
        raise BadInputError(
            f"{' and '.join(missing)} expected in the environment or in .env, seen nothing; make a "
            "key at the venue that may read and nothing else"
        )
    if keys.kind not in private.kinds:
        known = " or ".join(sorted(private.kinds))
        raise BadInputError(f"{private.settings[1]}: {known} expected, seen {keys.kind}")
    if not all(33 <= ord(letter) < 127 for letter in keys.key):
        raise BadInputError(f"{private.settings[0]}: plain letters and digits expected")
    try:
        return signer(keys.secret)
    except BadInputError as error:
        raise BadInputError(f"{private.settings[1]}: {error}") from error
