"""`AccountWatch`: what the configured accounts hold, asked in the background while people look."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from marketdata.accounts.base import Account, Opened, Rights
from marketdata.accounts.table import KINDS, Kind
from marketdata.accounts.trial import advice_of
from marketdata.conf import Conf
from marketdata.core.errors import BadInputError, BotCryptoError, StoppedError
from marketdata.rest.clock import CLOCK, Clock

log = logging.getLogger(__name__)

# How old an answer may be before it is asked for again, and how old what a key may do.
AGE_S = 60.0
RIGHTS_AGE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one account.

    Parameters
    ----------
    account : Account or None
        The newest answer, None before the first.
    rights : Rights or None
    error, todo : str
        Why the newest question was not answered, and what to do; empty where it was.
    asked_s : float
        Monotonic seconds of the newest question; minus infinity before the first.
    rights_s : float
        The same for what may be done.
    """

    source: str
    account: Account | None = None
    rights: Rights | None = None
    error: str = ""
    todo: str = ""
    asked_s: float = float("-inf")
    rights_s: float = float("-inf")


class AccountWatch:
    """Remembers accounts; who looks never waits. Any thread may look.

    Parameters
    ----------
    kinds : mapping of str to Kind
        By feed.
    clock : Clock
    """

    def __init__(self, kinds: Mapping[str, Kind] = KINDS, clock: Clock = CLOCK) -> None:
        self._kinds = kinds
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seen: dict[str, Seen] = {}
        self._opened: dict[str, tuple[Conf, Opened]] = {}
        self._thread: threading.Thread | None = None

    def look(self, conf: Conf) -> list[Seen]:
        """Return what is known of each followed feed whose keys are set; ask for what is old."""
        names = [x for x in conf.data_source if x in self._kinds]
        names = [name for name in names if self._kinds[name].is_configured(conf)]
        with self._lock:
            found = [self._seen.setdefault(name, Seen(name)) for name in names]
            now_s = self._clock.monotonic_s()
            old = [seen.source for seen in found if now_s - seen.asked_s >= AGE_S]
            is_busy = self._thread is not None and self._thread.is_alive()
            if old and not is_busy and not self._stop.is_set():
                for name in old:
                    self._seen[name] = replace(self._seen[name], asked_s=now_s)
                self._thread = threading.Thread(
                    target=self._ask_all, args=(conf, old), name="accounts", daemon=True
                )
                self._thread.start()
        return found

    def wait(self, timeout_s: float) -> bool:
        """Wait until nothing is being asked; tell whether that came true."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    def close(self, timeout_s: float = 5.0) -> None:
        """End what is under way, for good."""
        self._stop.set()
        self.wait(timeout_s)
        for _, opened in self._opened.values():
            opened.close()
        self._opened.clear()

    # In the thread that asks.

    def _ask_all(self, conf: Conf, sources: list[str]) -> None:
        for source in sources:
            seen = self._asked(conf, self._seen[source])
            with self._lock:
                self._seen[source] = seen

    def _asked(self, conf: Conf, seen: Seen) -> Seen:
        """Return an account as the venue tells it now, or as before and why it does not tell."""
        try:
            opened = self._open(conf, seen.source)
        except BadInputError as error:
            return replace(seen, error=str(error), todo="correct the setting and start again")
        try:
            account = opened.account()
            if seen.asked_s - seen.rights_s >= RIGHTS_AGE_S:
                seen = replace(seen, rights=opened.rights(), rights_s=seen.asked_s)
        except StoppedError:
            return seen
        except BotCryptoError as error:
            log.warning("account not told source=%s error=%s", seen.source, error)
            return replace(seen, error=str(error), todo=advice_of(opened, error))
        return replace(seen, account=account, error="", todo="")

    def _open(self, conf: Conf, source: str) -> Opened:
        """Return an account that is asked over the connections of before."""
        known = self._opened.get(source)
        if known is not None and known[0] is conf:
            return known[1]
        if known is not None:
            known[1].close()
        opened = self._kinds[source].open(conf, self._stop)
        self._opened[source] = (conf, opened)
        return opened


_watch: list[AccountWatch] = []
_making = threading.Lock()


def watch() -> AccountWatch:
    """Return the one of this process; made when somebody first looks."""
    with _making:
        if not _watch:
            _watch.append(AccountWatch())
        return _watch[0]
