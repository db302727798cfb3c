import itertools
import os
import subprocess
import sys
import time

from tests.store.stored import ROOT, rows_of

ROUNDS = 5


def start(folder, first):
    environment = {**os.environ, "DATA_DIR": str(folder), "DATABASE_URL": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.crashing", str(first)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def runs(ids):
    """Longest runs of neighbours."""
    found = []
    for id in ids:
        if found and found[-1][1] == id - 1:
            found[-1][1] = id
        else:
            found.append([id, id])
    return found


def merged(segments):
    """Disjoint runs joined where they touch, whatever their origin; fails where they overlap."""
    found = []
    for first, last in segments:
        if found and first <= found[-1][1]:
            raise AssertionError(f"segment {first}..{last} overlaps the one before")
        if found and first == found[-1][1] + 1:
            found[-1][1] = last
        else:
            found.append([first, last])
    return found


def test_kill_at_any_moment_leaves_rows_and_ledger_in_agreement(tmp_path):
    database, acknowledged = tmp_path / "botcrypto.sqlite3", 0
    for number in range(ROUNDS):
        process = start(tmp_path, acknowledged)
        if number == ROUNDS - 1:
            # However busy the machine is, one flush at least has been acknowledged.
            acknowledged = max(acknowledged, int(process.stdout.readline()))
        time.sleep(0.03 + 0.05 * number)
        process.kill()
        told = process.communicate(timeout=10)[0].split()
        # The last line may have been cut by the kill.
        acknowledged = max([acknowledged, *map(int, told[:-1])])
        assert rows_of(database, "PRAGMA integrity_check") == [("ok",)]
        ids = [
            id for (id,) in rows_of(database, "SELECT trade_id FROM marketdata_trade ORDER BY id")
        ]
        segments = rows_of(
            database, "SELECT first_id, last_id FROM marketdata_coveragesegment ORDER BY first_id"
        )
        assert merged(segments) == runs(ids)
        if acknowledged:
            wanted = [id for id in range(acknowledged) if id % 97 != 13]
            assert set(wanted) <= set(ids)
    assert acknowledged > 0
    assert list(itertools.islice(ids, 3)) == [0, 1, 2]
