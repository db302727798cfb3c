"""Rows a second into SQLite by the writer, beside `bulk_create` of the same rows; and reading back.

Usage: python bench/writer.py [RUNS]
Both sides keep the same table with the same keys in WAL with FULL; ours also keeps the ledger.
Goals: 300,000 rows/s, 5 times bulk_create; a day of 863,000 rows read back in 1.0 s and 100 MB.
"""
# ruff: noqa: E402  (Django wants its settings before it is imported from)

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
# The reader runs as a process of its own, so that its memory can be told from the writer's.
IS_READER = sys.argv[1:2] == ["--read"]
FOLDER = sys.argv[2] if IS_READER else tempfile.mkdtemp(prefix="bench-writer-")
os.environ.update(DATA_DIR=FOLDER, DATABASE_URL="", DJANGO_SETTINGS_MODULE="botcrypto.settings")

import django

django.setup()

import numpy as np
from django.core.management import call_command
from django.db import connection, transaction

from marketdata.core.events import Batch
from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.models import ID_BITS, CoverageSegment, Trade
from marketdata.store import instruments, rows
from marketdata.store.writer import Writer

DAY_ROWS = 863_403
DAY_US = 86_400_000_000
START_US = 1_704_067_200_000_000
FLUSH_ROWS = 10_000


def day() -> Trades:
    """Return a day of trades with the shape of a busy spot market."""
    random = np.random.default_rng(7)
    price = 42_000 + np.cumsum(random.integers(-5, 6, DAY_ROWS)) * 0.01
    return Trades.of(
        np.arange(2_807_759_891, 2_807_759_891 + DAY_ROWS),
        START_US + np.sort(random.integers(0, DAY_US, DAY_ROWS)) // 1000 * 1000,
        price.round(2),
        random.integers(1, 100_000, DAY_ROWS) / 1e5,
        random.random(DAY_ROWS) < 0.5,
    )


def emptied() -> None:
    """Start from empty tables and a small file."""
    Trade.objects.all().delete()
    CoverageSegment.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def ours(instrument_id: int, trades: Trades) -> float:
    """Return rows a second through the writer, ledger included."""
    writer = Writer(flush_rows=FLUSH_ROWS)
    writer.start()
    began = time.perf_counter()
    for part in trades.batches(1000):
        writer.put_trades(instrument_id, Batch(part))
    if not writer.flush(60):
        raise SystemExit("the writer did not finish")
    seconds = time.perf_counter() - began
    writer.stop()
    return len(trades) / seconds


def bulk_create(instrument_id: int, trades: Trades) -> float:
    """Return rows a second through `bulk_create`, without a ledger."""
    began = time.perf_counter()
    for part in trades.batches(FLUSH_ROWS):
        columns = (part.id, part.ts_us, part.price, part.qty, part.is_buy)
        found = [
            Trade(
                id=(instrument_id << ID_BITS) + id,
                instrument_id=instrument_id,
                trade_id=id,
                ts_us=ts_us,
                price=price,
                qty=qty,
                is_buy=is_buy,
            )
            for id, ts_us, price, qty, is_buy in zip(*(c.tolist() for c in columns), strict=True)
        ]
        with transaction.atomic():
            Trade.objects.bulk_create(found, ignore_conflicts=True)
    return len(trades) / (time.perf_counter() - began)


def file_bytes() -> int:
    """Return the size of the database file with everything checkpointed."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Path(connection.settings_dict["NAME"]).stat().st_size


def peak_mb() -> float:
    """Return the most memory this process ever held, in MB (Linux)."""
    # getrusage would carry over what the parent held.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def read_back(runs: int) -> None:
    """Print the seconds and the memory to read the day into columns."""
    instrument = instruments.known()[0]
    before, seconds = peak_mb(), []
    for _ in range(runs):
        began = time.perf_counter()
        pages = rows.read_trades(instrument.id, START_US, START_US + DAY_US)
        if sum(len(page) for page in pages) != DAY_ROWS:
            raise SystemExit(f"{DAY_ROWS} rows expected")
        seconds.append(time.perf_counter() - began)
    print(f"read the day back        {statistics.median(seconds):>11.2f} s       (goal 1.0)")
    print(f"extra memory for it      {peak_mb() - before:>11.0f} MB      (goal 100)")


def main(runs: int = 3) -> None:
    """Print medians, ratios and whether each goal is met."""
    call_command("migrate", verbosity=0)
    instrument = instruments.remember("binance_ws", "BTCUSDT", Grid.of_values(*[np.ones(1)] * 2))
    trades = day()
    part = trades[:100_000]
    mine, theirs = [], []
    for _ in range(runs):
        emptied()
        theirs.append(bulk_create(instrument.id, part))
        emptied()
        mine.append(ours(instrument.id, part))
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    print(f"writer, ledger included  {statistics.median(mine):>11,.0f} rows/s  (goal 300,000)")
    print(f"bulk_create, no ledger   {statistics.median(theirs):>11,.0f} rows/s")
    print(f"ratio                    {statistics.median(ratios):>11.1f}         (goal 5)")
    emptied()
    empty = file_bytes()
    print(f"a day of {DAY_ROWS:,}        {ours(instrument.id, trades):>11,.0f} rows/s")
    print(f"bytes a trade            {(file_bytes() - empty) / DAY_ROWS:>11.1f}         (goal 60)")
    connection.close()
    subprocess.run([sys.executable, __file__, "--read", FOLDER, str(runs)], check=True)


if __name__ == "__main__":
    if IS_READER:
        read_back(int(sys.argv[3]))
    else:
        try:
            main(*map(int, sys.argv[1:2]))
        finally:
            shutil.rmtree(FOLDER)
