"""Whether the database file is still whole after a process that did not end in order."""

from __future__ import annotations

import logging
from pathlib import Path

from django.db import DatabaseError, connection

from marketdata.core.errors import BotCryptoError

log = logging.getLogger(__name__)

# A check reads the whole file, 4 ms a megabyte; beyond this it would keep the pages waiting.
CHECKED_BYTES = 300 << 20


class DamagedError(BotCryptoError):
    """The database file is damaged; nothing is started on it, least of all an empty one."""


def check_after_crash(database: Path) -> bool:
    """Look for damage where the last process left a write-ahead log behind.

    Returns
    -------
    bool
        Whether the file was looked at. A process that ends in order leaves no log.

    Raises
    ------
    DamagedError
        What SQLite found, and what to do.
    """
    wal = database.with_name(database.name + "-wal")
    if not database.exists() or not wal.exists() or not wal.stat().st_size:
        return False
    if database.stat().st_size > CHECKED_BYTES:
        log.warning(
            "the last process did not end in order and the database is large; "
            "look at it in quiet: sqlite3 %s 'PRAGMA quick_check'",
            database,
        )
        return False
    found = _quick_check()
    if found != "ok":
        raise DamagedError(
            f"{database} is damaged: {found}; move it aside together with its -wal and -shm files "
            "and put a backup in its place, or start without one: today's trades are fetched anew "
            "by themselves, older days with manage.py backfill"
        )
    log.info("the last process did not end in order; the database is whole")
    return True


def _quick_check() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA quick_check(1)")
            return str(cursor.fetchone()[0])
    except DatabaseError as error:
        return str(error)
    finally:
        connection.close()
