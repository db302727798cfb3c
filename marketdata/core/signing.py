"""Signatures of questions: what is signed, and by which kind of key. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from marketdata.core.errors import BadInputError

HMAC, ED25519 = "HMAC", "Ed25519"
# The venues' own default; a larger one would hide a clock that is wrong.
WINDOW_MS = 5000
Params = Mapping[str, str | int]
Sign = Callable[[bytes], str]
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a venue knows us by, and what proves it.

    Parameters
    ----------
    key : str
        Sent along.
    secret : str
        Never sent: an HMAC secret, or an Ed25519 private key in PEM.
    """

    key: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def kind(self) -> str:
        """`HMAC` or `Ed25519`, by the text of the secret."""
        return kind_of(self.secret)


def kind_of(secret: str) -> str:
    """Return the kind of key that a secret is, by its text: `HMAC` or `Ed25519`."""
    return ED25519 if "-----BEGIN" in secret else HMAC


def signer(secret: str) -> Sign:
    r"""Return what signs bytes with a secret.

    Parameters
    ----------
    secret : str
        HMAC secret, signs to hex; or PKCS#8 Ed25519 private key in PEM, signs to base64. In PEM
        the lines may be parted by `\n` in two characters, or by blanks, as in an environment.

    Raises
    ------
    BadInputError
        Neither of them. The secret is not in the words.

    Notes
    -----
    Source: RFC 2104, RFC 8032; developers.binance.com, "Request security", 2026-07.
    """
    if not secret:
        raise BadInputError("a secret to sign with expected, seen none")
    if kind_of(secret) == HMAC:
        key = secret.encode()
        return lambda payload: hmac.new(key, payload, hashlib.sha256).hexdigest()
    return _ed25519(secret)


def query_string(params: Params) -> str:
    """Return parameters as a query string, percent-encoded, in their order.

    Examples
    --------
    >>> query_string({"symbol": "１", "limit": 5})
    'symbol=%EF%BC%91&limit=5'
    """
    return "&".join(f"{quote(k, safe='')}={quote(str(v), safe='')}" for k, v in params.items())


def signed_query(query: str, sign: Sign, body: str = "") -> str:
    """Return a query string with its signature, last.

    Parameters
    ----------
    query, body : str
        Percent-encoded, as they are sent; signed with nothing between them.

    Notes
    -----
    Source: developers.binance.com, "Signed endpoints", 2026-07: values are to be encoded before
    they are signed, and the base64 of Ed25519 once more to be sent.
    """
    signature = quote(sign((query + body).encode()), safe="")
    return f"{query}&signature={signature}" if query else f"signature={signature}"


def sorted_payload(params: Params) -> bytes:
    """Return what is signed of a request over Binance's WebSocket API: sorted, not encoded."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params)).encode()


def stamped_payload(time_ms: int, key: str, payload: str, window_ms: int = WINDOW_MS) -> bytes:
    """Return what is signed of a request whose signature travels in headers.

    Parameters
    ----------
    payload : str
        Query string without `?`, or body, as it is sent.

    Notes
    -----
    Source: bybit-exchange.github.io/docs/v5/guide, "Authentication", 2026-07.
    """
    return f"{time_ms}{key}{window_ms}{payload}".encode()


def socket_payload(expires_ms: int) -> bytes:
    """Return what is signed to log in to a Bybit socket."""
    return f"GET/realtime{expires_ms}".encode()


def _ed25519(pem: str) -> Sign:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    label, text = _unfolded(pem)
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Their words may quote the key.
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        seen = type(key).__name__ if key else f"{label} that cannot be read or is encrypted"
        raise BadInputError(
            f"an Ed25519 private key in PEM (PKCS#8, not encrypted) expected, seen {seen}"
        )
    return lambda payload: b64encode(key.sign(payload)).decode()


def _unfolded(pem: str) -> tuple[str, bytes]:
    """Return label and text of a PEM, its lines parted by line ends."""
    found = _PEM.search(pem)
    if found is None:
        raise BadInputError("a whole PEM from BEGIN to END expected, seen a part of one")
    label, body = found[1], "".join(found[2].replace("\\n", "\n").split())
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return label, "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----")).encode()
