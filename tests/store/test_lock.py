import os
import signal
import subprocess
import sys
import threading

import pytest
from django.db import transaction

from marketdata.store.lock import DatabaseLock, LockedError, writing
from tests.store.stored import ROOT, until

HOLDER = """
import sys
from pathlib import Path
from marketdata.store.lock import DatabaseLock
with DatabaseLock(Path(sys.argv[1]), "manage.py run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Return another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "db.sqlite3")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_daemon_is_told_who_holds_the_database(holder, tmp_path):
    with pytest.raises(LockedError) as caught, DatabaseLock(tmp_path / "db.sqlite3", "second"):
        pass
    message = str(caught.value)
    assert f"process {holder.pid} (manage.py run), started 20" in message
    assert "use another DATABASE_URL or DATA_DIR" in message
    # Failing must not wipe the holder's name.
    assert f"process {holder.pid}" in (tmp_path / "db.sqlite3.lock").read_text()


def test_kill_frees_the_lock(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    with DatabaseLock(tmp_path / "db.sqlite3", "second") as lock:
        assert f"process {os.getpid()} (second)" in lock.path.read_text()


def test_leaving_frees_the_lock(tmp_path):
    database = tmp_path / "new" / "db.sqlite3"
    for name in ("first", "second"):
        with DatabaseLock(database, name) as lock:
            assert name in lock.path.read_text()
            with pytest.raises(LockedError, match=name), DatabaseLock(database, "other"):
                pass
        assert lock.path.read_text() == ""


def test_other_databases_are_free(tmp_path):
    with DatabaseLock(tmp_path / "a", "first"), DatabaseLock(tmp_path / "b", "second"):
        pass


@pytest.mark.django_db(transaction=True)
def test_one_transaction_at_a_time():
    order, entered = [], threading.Event()

    def other():
        entered.set()
        with writing():
            order.append("other")
        transaction.get_connection().close()

    with writing():
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait(5)
        with writing():  # the same thread may nest
            order.append("inner")
        order.append("outer")
    thread.join(5)
    until(lambda: not thread.is_alive())
    assert order == ["inner", "outer", "other"]
