"""Text without what nobody may read: secrets by their value, and by the names they travel under."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "…"
# Anything shorter is found in ordinary words; no venue gives out such a key.
SHORTEST = 6
_NAMES = (
    r"signature|otp|listen[-_]?key|password|passwd|secret|token|authorization|"
    r"(?:x-)?(?:mbx|bapi)-(?:api-?key|sign)|(?:x-)?api[-_]?key|api[-_]?secret"
)
_PATTERNS = (
    (
        re.compile(r"-----BEGIN [^-]*PRIVATE KEY-----.*?(?:-----END [^-]*-----|\Z)", re.DOTALL),
        HIDDEN,
    ),
    (re.compile(r"://[^/\s@'\"]+@"), f"://{HIDDEN}@"),
    (
        re.compile(
            rf"(?i)((?<![a-z])(?:[a-z]+[-_]){{0,4}}(?:{_NAMES})\\?[\"']?\s*[=:]\s*(?:b(?=[\"']))?\\?[\"']?)"
            r"(?:(?:bearer|basic|token)\s+)?[^\s\"'\\&,;<>(){}\[\]]+"
        ),
        rf"\g<1>{HIDDEN}",
    ),
    (re.compile(r"(?i)(\bbearer\s+)[^\s\"'\\&,;<>(){}\[\]]+"), rf"\g<1>{HIDDEN}"),
)


def redacted(text: str, values: Iterable[str] = ()) -> str:
    """Return a text with secrets replaced by `…`.

    Parameters
    ----------
    text : str
    values : iterable of str
        What must not appear, as `spellings` returns it.

    Notes
    -----
    Besides the values: whatever stands behind `signature=`, `otp=`, `token`, `X-MBX-APIKEY`,
    `Authorization` and the like, user and password in a URL, and private keys in PEM.

    Examples
    --------
    >>> redacted("GET /api/v3/account?timestamp=1&signature=c8db56825a")
    'GET /api/v3/account?timestamp=1&signature=…'
    """
    for value in values:
        text = text.replace(value, HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return every way in which secrets may turn up in a text, the longest first.

    Parameters
    ----------
    secrets : iterable of str
        As they are set; of `token:loginid` the token, of several lines each one, count too.
    """
    found: set[str] = set()
    for secret in secrets:
        lines = secret.replace("\\n", "\n").splitlines()
        parts = {secret, secret.partition(":")[0], *(line.strip() for line in lines)}
        found |= parts | {quote(part, safe="") for part in parts}
    return tuple(sorted((x for x in found if _is_telling(x)), key=len, reverse=True))


def _is_telling(part: str) -> bool:
    return len(part) >= SHORTEST and not part.startswith("-----")
