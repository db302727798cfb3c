"""The daemon as a user runs it: a process, a tape, a simulated venue, signals and kills."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from marketdata.core.trades import Trades
from marketdata.simulator.generator import GeneratedMarket
from marketdata.simulator.server import Simulator
from tests.daemon.process import manage, running, until

# A Tuesday evening and the night after it, of the invented market.
MIDNIGHT_US = 1_717_545_600_000_000  # 2024-06-05T00:00:00Z
INVENTED = GeneratedMarket("BTCUSDT", seed=3, rate=10.0, clock_us=lambda: MIDNIGHT_US)


def tape(folder: Path, hours_before: float, hours_after: float) -> tuple[Path, Trades]:
    """Write a part of the invented market as the archive lays it out."""
    first = INVENTED.id_at(MIDNIGHT_US - int(hours_before * 3.6e9))
    last = INVENTED.id_at(MIDNIGHT_US + int(hours_after * 3.6e9)) - 1
    trades = INVENTED.slice(first, last)
    path = folder / "BTCUSDT-aggTrades-2024-06-04.csv"
    columns = (trades.id, trades.price, trades.qty, trades.ts_us // 1000, trades.is_buy)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    path.write_text(
        "".join(
            f"{id},{price:.2f},{qty:.5f},{id},{id},{ms},{not buy},True\n"
            for id, price, qty, ms, buy in rows
        )
    )
    return path, trades


@pytest.mark.slow
def test_a_tape_through_venue_socket_and_database_ends_as_in_replay(tmp_path):
    path, trades = tape(tmp_path, 0.5, 0.5)
    wanted = manage(tmp_path, "replay", str(path), "--json")
    with running(tmp_path, "--replay", str(path), "--speed", "0") as daemon:
        until(lambda: daemon.get("/api/context").get("trades") == wanted["trades"], "all trades")
        shown = daemon.get("/api/context")
        for name in ("levels", "volume_profile", "volume", "cumulative_delta", "delta_min"):
            assert shown[name] == wanted[name], name
        assert shown["mode"] == "replay"
        assert shown["simulated"] is False
        until(lambda: daemon.get("/ready")["metrics_precision"] == "exact", "exact")
        until(lambda: daemon.get("/api/metrics")["queue_sizes"]["writer"] == 0, "written")
        daemon.kill()
    again = manage(tmp_path, "context", "--symbol", "BTCUSDT", "--json")
    assert again["hash"] == wanted["hash"]
    assert again["levels"] == wanted["levels"]
    proof = manage(tmp_path, "verify", "--symbol", "BTCUSDT", "--date", "2024-06-05", "--json")
    assert (proof["missing"], proof["held"]) == (0, wanted["trades"])
    both = ("--start", "2024-06-04", "--end", "2024-06-06")
    whole = manage(tmp_path, "verify", "--symbol", "BTCUSDT", *both, "--json")
    assert (whole["held"], whole["missing"]) == (len(trades), 0)


@pytest.mark.slow
def test_kill_and_restart_on_a_live_venue_lose_nothing(tmp_path):
    with Simulator.generated(["BTCUSDT"], rate=20.0) as venue:
        venue.faults.update({"drop": 0.05, "duplicate": 0.05, "reorder": 0.05, "garbage": 0.02})
        settings = {"BINANCE_REST_URL": venue.rest_url, "BINANCE_WS_URL": venue.ws_url}
        for _ in range(2):
            with running(tmp_path, **settings, BINANCE_RATE_LIMIT_PER_MINUTE=6000) as daemon:
                until(lambda: daemon.get("/api/context").get("trades", 0) > 200, "trades")
                assert daemon.get("/api/context")["simulated"] is True
                time.sleep(0.3)
                daemon.kill()
        # The last run ends in order, once everything since midnight is there or on its way.
        with running(tmp_path, **settings, BINANCE_RATE_LIMIT_PER_MINUTE=6000) as daemon:
            until(lambda: daemon.get("/api/context").get("trades", 0) > 200, "trades")
            assert daemon.stop() == 0
    audit = manage(
        tmp_path,
        "shell",
        "-v0",
        "-c",
        "from marketdata.store import ledger; print(ledger.audit(1) or 'agreed')",
    )
    assert "agreed" in audit


def test_it_serves_though_the_venue_is_away(tmp_path):
    nobody = {"BINANCE_REST_URL": "http://127.0.0.1:9", "BINANCE_WS_URL": "ws://127.0.0.1:9"}
    with running(tmp_path, **nobody, SYMBOLS="BTCUSDT,deriv:R_100") as daemon:
        assert daemon.get("/health") == {"status": "ok"}
        assert daemon.get("/ready")["status"] == "ready"
        until(
            lambda: daemon.get("/api/ws/health")["connections"][0]["state"] == "backoff", "backoff"
        )
        assert daemon.get("/ready")["metrics_precision"] == "backfilling"
        began_s = time.monotonic()
        assert daemon.stop(signal.SIGINT) == 0
        assert time.monotonic() - began_s < 10
    said = (tmp_path / "run.log").read_text()
    assert "nobody follows the symbols that SYMBOLS gives deriv" in said


def test_a_second_daemon_is_refused_and_told_who_holds_the_database(tmp_path):
    nobody = {"BINANCE_REST_URL": "http://127.0.0.1:9", "BINANCE_WS_URL": "ws://127.0.0.1:9"}
    with running(tmp_path, **nobody) as daemon:
        said = manage(tmp_path, "run", "--port", "0", code=1, **nobody)
        assert f"process {daemon.process.pid}" in said


def test_a_port_in_use_is_said(tmp_path):
    nobody = {"BINANCE_REST_URL": "http://127.0.0.1:9", "BINANCE_WS_URL": "ws://127.0.0.1:9"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = manage(tmp_path, "run", "--port", port, code=1, **nobody)
    assert f"port {port}" in said


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (("run", "--port", "70000"), {}, "--port from 0 to 65535 expected, seen 70000"),
        (("run", "--source", "kraken"), {}, "seen 'kraken'"),
        (("run", "--symbols", ","), {}, "--symbols with at least one name expected"),
        (("run", "--replay", "x.zip", "--speed", "-1"), {}, "--speed of 0 or more expected"),
        (
            ("run",),
            {"MAX_QUEUE": "many"},
            "(marketdata.E001) MAX_QUEUE='many': a whole number expected",
        ),
        (("ingest",), {"BINANCE_WS_URL": "ws://example.com"}, "loopback only"),
    ],
)
def test_nonsense_is_refused_with_exit_code_2(tmp_path, arguments, settings, words):
    assert words in manage(tmp_path, *arguments, code=2, **settings)


def test_a_missing_tape_is_said(tmp_path):
    said = manage(tmp_path, "run", "--replay", "nowhere.zip", "--port", "0", code=1)
    assert "nowhere.zip" in said


@pytest.mark.slow
def test_ingest_ends_by_itself_with_a_summary(tmp_path):
    with Simulator.generated(["BTCUSDT", "ETHUSDT"], rate=40.0) as venue:
        settings = {
            "BINANCE_REST_URL": venue.rest_url,
            "BINANCE_WS_URL": venue.ws_url,
            "CONTEXT_BACKFILL_ENABLED": "false",
        }
        told = manage(
            tmp_path, "ingest", "--symbols", "BTCUSDT,ETHUSDT", "--max-trades", "100", **settings
        )
    assert told["trades"] == told["live"] == told["rows_written"] >= 100
    assert (told["holes"], told["reconnects"], told["missing"]) == (0, 0, 0)
