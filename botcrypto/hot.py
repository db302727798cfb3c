"""The two questions that are asked all the time, answered before Django: `/health`, `/api/context`.

Django's middleware and a thread for every request cost many times the answer itself. Whatever is
not plain (an unknown name, a bad parameter, a context not posted yet, a stored one) goes on to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.http.request import validate_host

from botcrypto.csp import POLICY
from marketdata import answers, encoded, live
from marketdata.store.board import Key

Scope = dict[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ALIVE = b'{"status":"ok"}'
HEALTH = {"/health", "/api/health"}
CONTEXT = "/api/context"
PARAMETERS = {"symbol", "source", "scope", "rows"}
MOST_ROWS = 100_000
# A profile of more rows takes milliseconds to encode, which the loop does not have.
QUICK_ROWS = 500
# What Django's middleware sets on every answer.
HEADERS = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


class Hot:
    """ASGI: answers what is plain, hands on the rest.

    Parameters
    ----------
    application : callable
        The ASGI application behind.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        body = await _body(scope) if scope["method"] == "GET" else None
        if body is None:
            await self.application(scope, receive, send)
            return
        headers = [*HEADERS, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _body(scope: Scope) -> bytes | None:
    if scope["path"] in HEALTH:
        return ALIVE
    if scope["path"] != CONTEXT or not live.is_running() or not _is_our_host(scope["headers"]):
        return None
    asked = _asked(scope["query_string"])
    return await _context(*asked) if asked else None


def _is_our_host(headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether Django would accept the Host header, whose only plain forms are these."""
    hosts = [value.decode("latin1") for name, value in headers if name == b"host"]
    return len(hosts) == 1 and validate_host(_name(hosts[0]), settings.ALLOWED_HOSTS)


def _name(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdecimal() else host.lower()


def _asked(query: bytes) -> tuple[Key, int | None] | None:
    """Read the query string; None where it is not plain."""
    pairs = parse_qsl(query.decode("latin1"), keep_blank_values=True)
    given = dict(pairs)
    if len(given) != len(pairs) or not given.keys() <= PARAMETERS:
        return None
    rows = given.get("rows")
    if rows is not None and not _is_count(rows):
        return None
    name = answers.followed(given.get("source"), given.get("symbol"))
    pipeline = answers.live_pipeline(name) if name else None
    scope = given.get("scope", "day")
    if name is None or pipeline is None or scope not in pipeline.context.names():
        return None
    return Key(*name, scope), int(rows) if rows else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= MOST_ROWS


async def _context(key: Key, rows: int | None) -> bytes | None:
    board = live.now().board
    board.want(key)
    posting = board.latest(key)
    if posting is None:
        return None
    if (rows is None or rows > QUICK_ROWS) and not encoded.is_ready(key, posting, rows):
        return await asyncio.to_thread(answers.posting_bytes, key, posting, rows)
    return answers.posting_bytes(key, posting, rows)
