"""Trades to store, what is stored of them, and processes that meddle with the database."""

import itertools
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from django.db import connection

from marketdata.core.trades import Trades
from marketdata.models import CoverageSegment, Instrument, Trade
from marketdata.store import ledger
from marketdata.store.lock import writing
from marketdata.store.writer import Writer, _write_all, insert_trades
from tests.core.invented import MONDAY

ROOT = Path(__file__).resolve().parent.parent.parent


def run_of(first, count, start_us=MONDAY, step_us=1000):
    """Trades with ids first, first + 1, …; price and side follow from the id."""
    ids = np.arange(first, first + count)
    return Trades.of(ids, start_us + ids * step_us, 100 + ids % 50 / 100, ids % 7 + 1, ids % 3 == 0)


def store(instrument_id, trades, origin="live"):
    """Write trades as the writer does."""
    with writing():
        insert_trades(instrument_id, trades)
        ledger.claim(instrument_id, trades, origin)


numbers = itertools.count(1)


def new_instrument(tick="0.01", lot="1"):
    """Store an instrument of a name no test used before, and return its number."""
    name = f"S{next(numbers)}"
    return Instrument.objects.create(source="binance_ws", symbol=name, tick=tick, lot=lot).pk


def held_ids(instrument_id):
    """Ids of the rows, ascending."""
    rows = Trade.objects.filter(instrument_id=instrument_id).order_by("id")
    return list(rows.values_list("trade_id", flat=True))


def segments(instrument_id):
    """(first, last, origin) of every run the ledger claims, ascending."""
    rows = CoverageSegment.objects.filter(instrument_id=instrument_id).order_by("first_id")
    return list(rows.values_list("first_id", "last_id", "origin"))


def until(condition, timeout_s=10.0):
    """Wait for a condition; fail where it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def locking_process():
    """A process that holds the test database's write lock until its input closes."""
    code = (
        "import sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('BEGIN IMMEDIATE')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(connection.settings_dict["NAME"])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    return process


def release(process):
    """Let the other process go."""
    process.communicate(timeout=10)


def rows_of(path, question):
    """Ask a database file that no Django knows."""
    database = sqlite3.connect(path)
    try:
        return database.execute(question).fetchall()
    finally:
        database.close()


class Immediate(Writer):
    """A writer that writes in the caller's thread, each job in a transaction of its own."""

    def _put(self, job, most_rows=None):
        with writing():
            _write_all([job])
