"""The trial of an account's keys: one step after the other, none of which trades."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from marketdata.accounts.base import Account, Opened, Rights
from marketdata.core.errors import (
    BannedError,
    BlockedError,
    BotCryptoError,
    ConnectionLostError,
    UntrustedHostError,
    VenueError,
)

# A venue takes no question from a second ahead; half of it is worth a word.
NOTED_US = 500_000
NOTED_DAYS = 14
NOT_TRIED = "not tried"
ADVICE: tuple[tuple[type[BotCryptoError], str], ...] = (
    (BannedError, "ask nothing of this host until the ban ends"),
    (BlockedError, "a firewall or a border answers: check network, host and region"),
    (VenueError, "read the venue's words"),
    (UntrustedHostError, "check the clock of this machine, the network and the URL"),
    (ConnectionLostError, "check the network and the URL of the host"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a trial.

    Parameters
    ----------
    ok : bool or None
        None where it was not tried, because one before it failed.
    told : str
        What was seen.
    todo : str
        What to do, empty where nothing is to be done.
    """

    name: str
    ok: bool | None
    told: str
    todo: str = ""


class Trial:
    """Proves the keys of an account.

    Parameters
    ----------
    opened : Opened

    Attributes
    ----------
    account : Account or None
        What it holds, once that was answered.
    """

    def __init__(self, opened: Opened) -> None:
        self.account: Account | None = None
        self._opened = opened
        self._offset_us = 0

    def steps(self) -> Iterator[Step]:
        """Yield each step as it is done; after one that failed, none is tried."""
        yield Step("keys", True, f"{self._opened.kind}, from {' and '.join(self._opened.settings)}")
        work: tuple[tuple[str, Callable[[], Step]], ...] = (
            ("host", self._host),
            ("clock", self._clock),
            ("balances", self._balances),
            ("permissions", self._permissions),
        )
        has_failed = False
        for name, step in work:
            found = Step(name, None, NOT_TRIED) if has_failed else self._tried(name, step)
            has_failed = has_failed or not found.ok
            yield found

    def _tried(self, name: str, step: Callable[[], Step]) -> Step:
        try:
            return step()
        except BotCryptoError as error:
            return Step(name, False, str(error), advice_of(self._opened, error))

    def _host(self) -> Step:
        self._offset_us = self._opened.clock_offset_us()
        return Step("host", True, f"{self._opened.host} answers, mode {self._opened.shown_mode()}")

    def _clock(self) -> Step:
        ms, side = (
            round(abs(self._offset_us) / 1000),
            "behind" if self._offset_us > 0 else "ahead of",
        )
        told = f"{ms} ms {side} the venue's; questions allow for that"
        is_noted = abs(self._offset_us) > NOTED_US
        told = told if ms else "in step with the venue's"
        return Step("clock", True, told, "let this machine follow a time server" * is_noted)

    def _balances(self) -> Step:
        self.account = self._opened.account()
        assets, positions = len(self.account.balances), len(self.account.positions)
        return Step("balances", True, f"{assets} assets held, {positions} positions open")

    def _permissions(self) -> Step:
        rights = self._opened.rights()
        if rights is None:
            return Step(
                "permissions", True, "reads; what else the key may, the venue does not say",
                "see at the venue that the key may read and nothing else",
            )  # fmt: skip
        return Step("permissions", True, told_of(rights), todo_of(rights))


def told_of(rights: Rights) -> str:
    """Return what may be done, in words."""
    words = {True: "may", False: "may not", None: "is not said to"}
    told = [
        f"the {rights.of} {words[rights.trade]} trade",
        f"{words[rights.withdraw]} withdraw",
    ]
    if rights.is_bound is not None:
        told.append("works from named addresses only" if rights.is_bound else "works from anywhere")
    if rights.expires:
        told.append(f"ends {rights.expires} ({rights.days_left} days)")
    return ", ".join(told)


def todo_of(rights: Rights) -> str:
    """Return what ought to be done about rights, empty where all is well."""
    todo = []
    if rights.of == "account" and (rights.trade or rights.withdraw):
        todo.append("see at the venue that the key may read and nothing else")
    elif rights.withdraw:
        todo.append("take the right to withdraw from the key at once: nothing here needs it")
    elif rights.trade:
        todo.append("make the key read-only: nothing here trades")
    if rights.days_left is not None and rights.days_left <= NOTED_DAYS:
        todo.append("renew the key, or bind it to addresses")
    return "; ".join(todo)


def advice_of(opened: Opened, error: BotCryptoError) -> str:
    """Return what to do about an error."""
    known = opened.advice(getattr(error, "code", None))
    general = (words for kind, words in ADVICE if isinstance(error, kind))
    return known or next(general, "see the words, and ask again")
