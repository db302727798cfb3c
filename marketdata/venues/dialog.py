"""What a venue supplies that is asked over its socket: requests with a number, and accounts.

A question's `params` are the request; its first key is the name of the call. Whoever sends it adds
`req_id`, and the answer repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from marketdata.core.trades import Trades
from marketdata.venues.base import Question, Venue


@dataclass(frozen=True, slots=True)
class Rule:
    """What a venue's code of refusal asks for.

    Parameters
    ----------
    kind : {"fatal", "pause", "backoff", "drop", "harmless", "unknown"}
        Our set-up is wrong; the market sleeps; ask later; this symbol gives nothing; all is well;
        nobody has told us.
    advice : str
        What a person can do.
    retry_after_s : float or None
        How long to wait where waiting helps.
    """

    kind: str
    advice: str = ""
    retry_after_s: float | None = None

    @property
    def is_retryable(self) -> bool:
        """Whether asking again later can help."""
        return self.kind in {"pause", "backoff"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that says no.

    Parameters
    ----------
    code, words : str
        The venue's own.
    rule : Rule
    """

    code: str
    words: str
    rule: Rule

    def __str__(self) -> str:
        advice = f": {self.rule.advice}" if self.rule.advice else ""
        return f"{self.code}: {self.words}{advice}"


@dataclass(frozen=True, slots=True)
class Budget:
    """How many requests a venue grants to some of its calls together.

    Parameters
    ----------
    calls : frozenset of str
        Names of calls; empty is every call that no other budget names.
    per_minute, per_hour : int
    """

    calls: frozenset[str]
    per_minute: int
    per_hour: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds.

    Parameters
    ----------
    amount : Decimal
        In units of the currency, as the venue writes it.
    currency : str
    account : str
        The venue's name of the account; empty where it does not say.
    """

    amount: Decimal
    currency: str
    account: str


@dataclass(frozen=True, slots=True)
class Account:
    """One account of an owner.

    Parameters
    ----------
    id : str
    kind : str
        The venue's word, for example `demo`.
    currency, status : str
    """

    id: str
    kind: str
    currency: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Tickets:
    """How a URL is had over REST that opens one socket of one account.

    Parameters
    ----------
    accounts : Question
        For the owner's accounts (GET).
    ticket : callable
        Account id → the question for a URL (POST).
    accounts_of, url_of : callable
        Bodies of those answers. Raise FrameError.
    headers : callable
        (token, app id) → headers of both.
    paths : mapping of str to str
        Path that the URL must have, by kind of account.
    lasts_s : float
        How long the URL can be used, once.
    """

    accounts: Question
    ticket: Callable[[str], Question]
    accounts_of: Callable[[bytes], list[Account]]
    url_of: Callable[[bytes], str]
    headers: Callable[[str, str], Mapping[str, str]]
    paths: Mapping[str, str]
    lasts_s: float


@dataclass(frozen=True, kw_only=True)
class Dialog:
    """How a venue is asked over its socket.

    Parameters
    ----------
    path : callable
        App id, perhaps empty → path and query of the socket that is open to anyone.
    newest : callable
        (symbol, limit) → the question for the newest ticks.
    between : callable
        (symbol, start_us, end_us, limit) → the question for the newest ticks in [start_us, end_us).
    page_of : callable
        (body, start_us, end_us) → the ticks of such an answer, ascending, with `ref`. Raises
        FrameError, also where the answer is of another time than was asked for.
    refusal_of : callable
        Answer → what it refuses, or None where it does not.
    budgets : tuple of Budget
    balance : Question
        For what the account of the connection holds.
    balance_of : callable
        Body of that answer → `Balance`. Raises FrameError.
    token : str
        Pattern of a whole access token.
    authorize : callable or None
        Token → the question by which a connection becomes the account's; None where its URL does.
    authorized_of : callable
        Body of that answer → the account. Raises FrameError.
    tickets : Tickets or None
        None where the connection itself authorizes.
    handshakes : mapping of int to Rule
        HTTP statuses by which a handshake fails, and what they mean.
    """

    path: Callable[[str], str]
    newest: Callable[[str, int], Question]
    between: Callable[[str, int, int, int], Question]
    page_of: Callable[[bytes, int, int], Trades]
    refusal_of: Callable[[bytes], Refusal | None]
    budgets: tuple[Budget, ...]
    balance: Question
    balance_of: Callable[[bytes], Balance]
    token: str
    authorize: Callable[[str], Question] | None
    authorized_of: Callable[[bytes], Account]
    tickets: Tickets | None
    handshakes: Mapping[int, Rule] = field(default_factory=dict)

    def budget(self, call: str) -> Budget:
        """Return the budget that a call counts towards."""
        named = (budget for budget in self.budgets if call in budget.calls)
        return next(named, None) or next(budget for budget in self.budgets if not budget.calls)


@dataclass(frozen=True, kw_only=True)
class SocketVenue(Venue):
    """A venue that is asked over its socket; its questions go there and not to a REST host."""

    dialog: Dialog
