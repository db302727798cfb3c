"""`manage.py backfill` as its users run it: in a process of its own, stopped, killed, resumed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from marketdata.core.coverage import Coverage, runs_of
from marketdata.core.trades import Trades
from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket
from tests.backfill.made import csv, made, same, zipped

ROOT = Path(__file__).resolve().parent.parent.parent
KEYS = {
    "job", "status", "trades", "inserted", "missing", "vwap", "chunks", "chunks_ok", "seconds",
}  # fmt: skip
DAY = made(range(1_000, 26_000))


@pytest.fixture(scope="module")
def venue():
    market = RecordedMarket("BTCUSDT", DAY)
    market.played = len(market)
    with Simulator([market], rules=Rules(weight_per_minute=10_000_000)) as simulator:
        yield simulator


@pytest.fixture
def environment(venue, tmp_path):
    return {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "BACKFILL_CACHE_DIR": str(tmp_path / "cache"),
        "BINANCE_REST_URL": venue.rest_url,
        "BINANCE_ARCHIVE_URL": venue.rest_url,
        "BINANCE_RATE_LIMIT_PER_MINUTE": "100000",
        "BACKFILL_PUBLIC_DELAY_MS": "0",
        "BACKFILL_RETRY_BASE": "0.01",
    }


def start(environment, *arguments, day="2024-01-01"):
    command = [sys.executable, "manage.py", "backfill", "--symbol", "BTCUSDT", "--date", day]
    return subprocess.Popen(
        [*command, *arguments], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finished(process, timeout=40):
    out, error = process.communicate(timeout=timeout)
    return process.returncode, out, error


def database(environment):
    connection = sqlite3.connect(Path(environment["DATA_DIR"]) / "botcrypto.sqlite3", timeout=10)
    try:
        rows = connection.execute(
            "SELECT trade_id, ts_us, price, qty, is_buy FROM marketdata_trade ORDER BY id"
        ).fetchall()
        segments = connection.execute(
            "SELECT first_id, last_id FROM marketdata_coveragesegment ORDER BY first_id"
        ).fetchall()
    finally:
        connection.close()
    return rows, segments


def trades_of(rows) -> Trades:
    return Trades.of(*zip(*rows, strict=True)) if rows else Trades.empty()


def until_rows(environment, count, seconds=30.0):
    """Wait until so many trades are committed."""
    path = Path(environment["DATA_DIR"]) / "botcrypto.sqlite3"
    deadline = time.monotonic() + seconds
    while True:
        assert time.monotonic() < deadline, "not in time"
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        except sqlite3.OperationalError:
            time.sleep(0.02)
            continue
        try:
            found = connection.execute("SELECT COUNT(*) FROM marketdata_trade").fetchone()[0]
        except sqlite3.OperationalError:
            found = 0
        finally:
            connection.close()
        if found >= count:
            return
        time.sleep(0.02)


def test_json_is_one_object_and_a_second_run_finds_nothing_to_do(environment):
    code, out, error = finished(start(environment, "--json"))
    assert code == 0, error
    answer = json.loads(out)
    assert answer.keys() == KEYS
    assert (answer["status"], answer["trades"], answer["inserted"]) == ("completed", 25_000, 25_000)
    assert (answer["missing"], answer["chunks"], answer["chunks_ok"]) == (0, 1, 1)
    expected = float((DAY.price * DAY.qty).sum() / DAY.qty.sum())
    assert answer["vwap"] == pytest.approx(expected, rel=1e-12)
    code, out, error = finished(start(environment))
    assert code == 0, error
    assert "25,000 of 25,000 held, 0 new" in out
    rows, segments = database(environment)
    assert same(trades_of(rows), DAY)
    assert segments == [(1_000, 25_999)]


def test_sigterm_stops_at_a_page_says_how_to_go_on_and_the_next_run_does(environment):
    # 20 ms between pages: 25 of them take half a second at least.
    slow = {**environment, "BACKFILL_PUBLIC_DELAY_MS": "100"}
    process = start(slow, "--via", "rest", "--json")
    until_rows(slow, 2_000)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code, out, error = finished(process)
    assert time.monotonic() - began < 5
    assert code == 1
    answer = json.loads(out)
    assert answer["status"] == "stopped"
    assert 2_000 <= answer["trades"] < 25_000
    assert "run the same command again" in error
    code, out, error = finished(start(environment, "--via", "rest", "--json"))
    assert code == 0, error
    again = json.loads(out)
    assert (again["job"], again["missing"]) == (answer["job"], 0)
    assert again["inserted"] == 25_000 - answer["trades"]
    assert same(trades_of(database(environment)[0]), DAY)


@pytest.mark.parametrize("via", ["rest", "archive"])
def test_kill_9_leaves_ledger_and_rows_in_agreement_and_nothing_is_lost(environment, via):
    slow = {**environment, "BACKFILL_PUBLIC_DELAY_MS": "60" if via == "rest" else "0"}
    for committed in (1, 9_000, 17_000) if via == "rest" else (1,):
        process = start(slow, "--via", via)
        until_rows(slow, committed)
        process.kill()
        process.communicate()
        rows, segments = database(environment)
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        # What the ledger claims is there, and what is there it claims.
        assert Coverage(segments) == Coverage(runs_of(ids))
        assert len(set(ids.tolist())) == len(ids)
    code, out, error = finished(start(environment, "--via", via, "--json"))
    assert code == 0, error
    assert json.loads(out)["missing"] == 0
    rows, segments = database(environment)
    assert same(trades_of(rows), DAY)
    assert segments == [(1_000, 25_999)]


def test_a_second_process_is_told_who_holds_the_database_and_how_to_ask_it(environment):
    slow = {**environment, "BACKFILL_PUBLIC_DELAY_MS": "200"}
    first = start(slow, "--via", "rest")
    try:
        until_rows(slow, 1)
        code, out, error = finished(start(environment, "--json"))
        assert code == 1
        assert out == ""
        assert f"process {first.pid} (manage.py backfill)" in error
        assert "/api/backfill/jobs" in error
    finally:
        first.kill()
        first.communicate()


def test_a_local_file_needs_no_network(environment, tmp_path):
    path = zipped(tmp_path / "BTCUSDT-aggTrades-2024-01-01.zip", csv(DAY))
    nowhere = {
        **environment,
        "BINANCE_REST_URL": "http://127.0.0.1:9",
        "BINANCE_ARCHIVE_URL": "http://127.0.0.1:9",
    }
    code, out, error = finished(start(nowhere, "--file", str(path), "--json"))
    assert code == 0, error
    answer = json.loads(out)
    assert (answer["status"], answer["trades"], answer["missing"]) == ("completed", 25_000, 0)
    assert same(trades_of(database(environment)[0]), DAY)
    code, out, error = finished(start(nowhere, "--file", str(path), "--json", day="2024-01-02"))
    assert (code, json.loads(out)["status"]) == (1, "failed")
    assert "seen trades from 2024-01-01T00:00:00" in error


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--date", "2024-01-01", "--today"),
        ("--start", "2024-01-01"),
        ("--date", "2024-01-01", "--start", "2024-01-01", "--end", "2024-01-02"),
        ("--start", "2024-01-02", "--end", "2024-01-01"),
        ("--date", "soon"),
        ("--date", "2999-01-01"),
        ("--date", "2024-01-01", "--via", "file"),
        ("--date", "2024-01-01", "--via", "rest", "--file", "x.zip"),
        ("--date", "2024-01-01", "--workers", "-3"),
        ("--date", "2024-01-01", "--source", "nowhere"),
    ],
    ids=" ".join,
)
def test_bad_arguments_are_exit_code_2(arguments):
    with pytest.raises(CommandError) as caught:
        call_command("backfill", "--symbol", "BTCUSDT", *arguments)
    assert caught.value.returncode == 2


def test_an_unknown_way_is_refused_by_the_parser():
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("backfill", "--symbol", "BTCUSDT", "--today", "--via", "pigeon")
