"""Contexts as JSON bytes. What a posting says is encoded once for all who ask or are pushed to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from marketdata.payload import context_payload, encode
from marketdata.store.board import Key, Posting
from marketdata.venues import VENUES

# A full profile of a wide day is a megabyte.
KEPT = 16


class _Head:
    """The bytes of one posting; whoever comes while they are being made waits for them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: tuple[Posting, bytes] | None = None


_heads: OrderedDict[tuple[Key, int | None], _Head] = OrderedDict()
_lock = threading.Lock()


def posting_payload(key: Key, posting: Posting, limit: int | None) -> dict[str, Any]:
    """Return what a posting says as the object of /api/context."""
    return context_payload(
        posting.snapshot,
        proof=VENUES[key.source].proof,
        is_backfilling=posting.is_backfilling,
        limit=limit,
    )


def head(key: Key, posting: Posting, limit: int | None) -> bytes:
    """Return a posting as a JSON object without its closing brace, and without `precision`."""
    entry = _entry(key, limit)
    with entry.lock:
        if entry.made is None or entry.made[0] is not posting:
            payload = posting_payload(key, posting, limit)
            del payload["precision"]
            entry.made = posting, encode(payload)[:-1]
        return entry.made[1]


def is_ready(key: Key, posting: Posting, limit: int | None) -> bool:
    """Tell whether the bytes of a posting have been made."""
    entry = _heads.get((key, limit))
    return entry is not None and entry.made is not None and entry.made[0] is posting


def joined(start: bytes, *rest: dict[str, Any]) -> bytes:
    """Return a JSON object that goes on with more fields and ends."""
    return start + b"".join(b"," + encode(fields)[1:-1] for fields in rest) + b"}"


def _entry(key: Key, limit: int | None) -> _Head:
    with _lock:
        entry = _heads.pop((key, limit), None) or _Head()
        _heads[key, limit] = entry
        while len(_heads) > KEPT:
            _heads.popitem(last=False)
    return entry


def forget() -> None:
    """Forget every posting."""
    with _lock:
        _heads.clear()
