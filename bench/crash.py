"""Kill -9 again and again while live trades and a backfill are written; then count.

Usage: python bench/crash.py [--rounds 10]

The venue is invented, so the truth is known without asking it: every trade is a function of its
id. The rows are read with plain sqlite3 and compared with that function, column by column.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from marketdata.simulator.generator import GeneratedMarket  # noqa: E402

KEY = "drill-key-of-no-use-elsewhere"
RATE = 10.0
SYMBOL = "BTCUSDT"
ID_BITS = 51


def main() -> None:
    """Run the drill and print what was found; exit code 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        venue = started("simulate", "--symbols", SYMBOL, "--rate", str(RATE))
        told = json.loads(venue.stdout.readline())
        settings = {
            "DATA_DIR": folder, "API_KEY": KEY, "BINANCE_WS_URL": told["ws_url"],
            "BINANCE_REST_URL": told["rest_url"], "BINANCE_ARCHIVE_URL": told["rest_url"],
            "BINANCE_RATE_LIMIT_PER_MINUTE": "6000",
        }  # fmt: skip
        try:
            wrong = drill(Path(folder), settings, rounds)
        finally:
            venue.terminate()
            venue.wait()
    print("clean" if not wrong else f"WRONG: {wrong}")
    raise SystemExit(bool(wrong))


def started(*arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    """Start one of our commands."""
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    environment = {**os.environ, **settings}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def drill(folder: Path, settings: dict[str, str], rounds: int) -> list[str]:
    """Kill so many times, then let everything be finished, then compare."""
    moments, wrong = random.Random(5), []
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    job = {"date": day, "via": "rest", "workers": 2}
    for number in range(rounds + 1):
        daemon = started("run", "--port", "0", **settings)
        url = daemon.stdout.readline().decode().split("at ")[1].split(" ")[0].rstrip("/")
        headers = {"X-API-Key": KEY}
        requests.post(f"{url}/api/backfill/jobs", json=job, headers=headers, timeout=10)
        if number == rounds:
            wait_until_done(url)
            daemon.terminate()
            print(f"last run ended with code {daemon.wait()}")
            break
        time.sleep(moments.uniform(0.2, 6.0))
        daemon.kill()
        daemon.wait()
        found = compare(folder / "botcrypto.sqlite3")
        print(f"round {number + 1}: {found['rows']:,} rows, {found['wrong'] or 'agreed'}")
        wrong += found["wrong"]
    found = compare(folder / "botcrypto.sqlite3")
    print(f"end: {found['rows']:,} rows, missing inside {found['missing']:,}")
    return wrong + found["wrong"] + (["ids missing"] if found["missing"] else [])


def wait_until_done(url: str) -> None:
    """Wait until the day before and today so far are whole."""
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        time.sleep(1)
        status = requests.get(f"{url}/api/backfill/status", timeout=30).json()["status"]
        precision = requests.get(f"{url}/ready", timeout=30).json()["metrics_precision"]
        if (status, precision) == ("completed", "exact"):
            return
    print(f"not done in time: backfill {status}, precision {precision}")


def compare(database: Path) -> dict[str, object]:
    """Hold rows and ledger against the truth."""
    with sqlite3.connect(database) as connection:
        rows = np.array(
            connection.execute(
                "SELECT id, trade_id, ts_us, price, qty, is_buy FROM marketdata_trade ORDER BY id"
            ).fetchall(),
            dtype=[
                ("row", "i8"),
                ("id", "i8"),
                ("ts", "i8"),
                ("p", "f8"),
                ("q", "f8"),
                ("b", "i8"),
            ],
        )
        claims = connection.execute(
            "SELECT first_id, last_id FROM marketdata_coveragesegment ORDER BY first_id"
        ).fetchall()
        (whole,) = connection.execute("PRAGMA quick_check").fetchone()
    wrong = [] if whole == "ok" else [whole]
    held = set(rows["id"].tolist())
    claimed = {id for first, last in claims for id in range(first, last + 1)}
    if len(held) != len(rows):
        wrong.append("duplicates")
    if sum(last - first + 1 for first, last in claims) != len(claimed):
        wrong.append("segments overlap")
    if claimed != held:
        wrong.append(
            f"{len(claimed - held)} claimed and not held, {len(held - claimed)} the reverse"
        )
    if len(rows):
        truth = GeneratedMarket(SYMBOL, 0, RATE, lambda: 0)
        first, last = int(rows["id"][0]), int(rows["id"][-1])
        true = truth.slice(first, last)
        mine = true[rows["id"] - first]
        same = (rows["ts"] == mine.ts_us) & (rows["p"] == mine.price) & (rows["q"] == mine.qty)
        if not (same & (rows["b"] == mine.is_buy)).all():
            wrong.append(f"{int((~same).sum())} rows differ from the truth")
        return {"rows": len(rows), "missing": last - first + 1 - len(rows), "wrong": wrong}
    return {"rows": 0, "missing": 0, "wrong": wrong}


if __name__ == "__main__":
    main()
