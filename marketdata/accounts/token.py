"""An access token as it is set: checked, and split from the account's name. Nothing shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from marketdata.core.errors import BadInputError

PLAIN = re.compile(r"[\w\-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """What proves an account.

    Parameters
    ----------
    value : str
        As the venue takes it.
    account : str
        The account meant; empty where the token's only one is.
    """

    value: str = field(repr=False)
    account: str


def token_of(text: str, account: str, pattern: str) -> Token:
    """Read a token.

    Parameters
    ----------
    text : str
        The token alone, or `token:account`, which no venue takes as it stands.
    account : str
        The account that the settings name, perhaps none.
    pattern : str
        Which tokens the venue takes; others it refuses with words that mislead.

    Raises
    ------
    BadInputError
        No token, one that the venue would refuse, or two names for the account. Without the token.
    """
    value, _, named = text.strip().partition(":")
    value, named = value.strip(), named.strip()
    if account and named and account != named:
        raise BadInputError(
            f"one account expected, seen {named!r} behind the token's colon and {account!r} in the "
            "settings: name it in one place"
        )
    if not re.fullmatch(pattern, value, re.ASCII):
        raise BadInputError(
            f"a token of the form {pattern} expected, seen one of {len(value)} characters"
            f"{_odd(value)}: copy it again, whole and alone"
        )
    return Token(value, named or account)


def _odd(value: str) -> str:
    odd = sorted({letter for letter in value if not PLAIN.fullmatch(letter)})
    return f" with {', '.join(map(repr, odd[:5]))} in it" if odd else ""
