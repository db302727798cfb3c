"""What a host has asked of us, kept in the database: a ban outlives the process it was told to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from django.db import DatabaseError, connection

from marketdata.models import HostState
from marketdata.store.lock import writing

log = logging.getLogger(__name__)


class Bans(Protocol):
    """Where bans are kept."""

    def until(self, host: str) -> tuple[int, str]:
        """Return until when a host must not be asked, microseconds UTC, and why; 0 for never."""

    def keep(self, host: str, until_us: int, reason: str, now_us: int) -> None:
        """Keep a ban."""


class StoredBans:
    """Bans in the table of hosts. While the database does not answer, memory has to do."""

    def until(self, host: str) -> tuple[int, str]:
        """Return until when a host must not be asked, and why."""
        try:
            with _borrowed():
                row = HostState.objects.filter(host=host).first()
        except DatabaseError as error:
            log.warning("bans are not readable host=%s error=%s", host, error)
            return 0, ""
        return (row.banned_until_us, row.reason) if row else (0, "")

    def keep(self, host: str, until_us: int, reason: str, now_us: int) -> None:
        """Keep a ban, or log that it is lost at the next start."""
        values = {"banned_until_us": until_us, "reason": reason, "updated_us": now_us}
        try:
            with _borrowed(), writing():
                HostState.objects.update_or_create(host=host, defaults=values)
        except DatabaseError as error:
            log.error("ban not kept beyond this process host=%s error=%s", host, error)


STORED = StoredBans()


@contextmanager
def _borrowed() -> Iterator[None]:
    """Close this thread's connection afterwards, where the thread had none before."""
    had_one = connection.connection is not None
    try:
        yield
    finally:
        if not had_one:
            connection.close()
