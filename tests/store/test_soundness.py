"""Power cuts and damage: what SQLite leaves of a cut log, and what is said of a broken file."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.daemon.process import manage, running, until

NOBODY = {"BINANCE_REST_URL": "http://127.0.0.1:9", "BINANCE_WS_URL": "ws://127.0.0.1:9"}
BATCH, BATCHES = 50, 40


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Return the folder of a daemon that was killed, its log left behind."""
    with running(tmp_path, **NOBODY) as daemon:
        until(lambda: daemon.get("/ready")["status"] == "ready", "ready")
        daemon.kill()
    return tmp_path


def test_a_killed_daemon_is_looked_at_and_started_again(killed: Path):
    assert (killed / "botcrypto.sqlite3-wal").stat().st_size
    with running(killed, **NOBODY) as daemon:
        assert daemon.stop() == 0
    assert "the database is whole" in (killed / "run.log").read_text()


def test_a_damaged_database_is_not_started_on(killed: Path):
    database = killed / "botcrypto.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(database.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    database.write_bytes(content)
    (killed / "botcrypto.sqlite3-wal").write_bytes(b"left by a crash")
    said = manage(killed, "run", "--port", "0", code=1, **NOBODY)
    assert "is damaged" in said
    assert "backfill" in said
    assert database.read_bytes() == content, "the damaged file is left for whoever can save it"


def test_a_log_cut_at_any_byte_leaves_whole_batches(tmp_path: Path):
    source = tmp_path / "whole.sqlite3"
    connection = sqlite3.connect(source, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE trade (id INTEGER PRIMARY KEY)")
    for batch in range(BATCHES):
        connection.execute("BEGIN IMMEDIATE")
        ids = range(batch * BATCH, (batch + 1) * BATCH)
        connection.executemany("INSERT INTO trade VALUES (?)", [(id,) for id in ids])
        connection.execute("COMMIT")
    log = source.with_name("whole.sqlite3-wal").read_bytes()
    cuts = random.Random(4)
    for number in range(40):
        copy = tmp_path / f"cut{number}.sqlite3"
        shutil.copy(source, copy)
        copy.with_name(copy.name + "-wal").write_bytes(log[: cuts.randrange(len(log))])
        found = sqlite3.connect(copy)
        (whole,) = found.execute("PRAGMA quick_check").fetchone()
        tables = found.execute("SELECT name FROM sqlite_master").fetchall()
        rows = (
            found.execute("SELECT count(*), max(id) FROM trade").fetchone() if tables else (0, -1)
        )
        found.close()
        assert whole == "ok"
        assert rows[0] % BATCH == 0, "a batch is there or it is not"
        assert rows[1] in (None, rows[0] - 1), "what is lost is the newest"
    connection.close()
