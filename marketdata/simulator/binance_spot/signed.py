"""Signed requests: the key, the signature over the exact query, and how old it may be."""

from __future__ import annotations

import hashlib
import hmac

from aiohttp import web

from marketdata.simulator.binance_spot.params import WHOLE, RefusedError, illegal, missing

# The one account there is. Known to everybody: it opens nothing but the simulator.
KEY, SECRET = "SIMKEY", "SIMSECRET"
PARAMS = ("timestamp", "recvWindow", "signature")
SIGNATURE = "&signature="
AHEAD_MS = 1000
WINDOW_MS, LONGEST_WINDOW_MS = 5000, 60_000
# From here on a timestamp is microseconds.
FIRST_US = 10**14


def signature_of(payload: str) -> str:
    """Return the hexadecimal HMAC-SHA256 that the account signs a query with."""
    return hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()


def verify(request: web.Request, now_us: int) -> None:
    """Check key, parameters, time and signature, in this order. Raises RefusedError.

    Notes
    -----
    The signature is over the query as it came, byte for byte; it stands last.
    """
    _verify_key(request.headers.get("X-MBX-APIKEY", ""))
    for name in ("timestamp", "signature"):
        if not request.query.get(name):
            raise missing(name)
    _verify_time(request, now_us // 1000)
    payload, found, signature = request.raw_path.partition("?")[2].rpartition(SIGNATURE)
    if not (found and hmac.compare_digest(signature.lower(), signature_of(payload))):
        raise RefusedError(-1022, "Signature for this request is not valid.")


def _verify_key(key: str) -> None:
    if not key:
        raise RefusedError(-2014, "API-key format invalid.", 401)
    if key != KEY:
        raise RefusedError(-2015, "Invalid API-key, IP, or permissions for action.", 401)


def _verify_time(request: web.Request, now_ms: int) -> None:
    told_ms = _whole(request, "timestamp", 0)
    told_ms = told_ms // 1000 if told_ms >= FIRST_US else told_ms
    window_ms = _whole(request, "recvWindow", WINDOW_MS)
    if window_ms > LONGEST_WINDOW_MS:
        raise RefusedError(-1131, "recvWindow must be less than 60000.")
    if told_ms >= now_ms + AHEAD_MS:
        raise RefusedError(
            -1021, "Timestamp for this request was 1000ms ahead of the server's time."
        )
    if now_ms - told_ms > window_ms:
        raise RefusedError(-1021, "Timestamp for this request is outside of the recvWindow.")


def _whole(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not WHOLE.fullmatch(text):
        raise illegal(name, "^[0-9]{1,20}$")
    return int(text)
