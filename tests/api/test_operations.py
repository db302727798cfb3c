"""Health, readiness and metrics, at the root and under `/api/`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from marketdata import readiness
from marketdata.backfill.progress import ProgressNow
from tests.api.house import BTC, ETH, NEW_YEAR_US, House, line, trades, until

Get = Callable[..., Any]


def broken(*args: object, **named: object) -> None:
    raise OperationalError("disk I/O error")


@pytest.mark.parametrize("path", ["/health", "/api/health"])
def test_alive_whatever_else_is_broken(
    path: str, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No database is allowed in this test, and nothing runs.
    monkeypatch.setattr("marketdata.live.now", broken)
    assert get(path) == {"status": "ok"}


@pytest.mark.parametrize("path", ["/ready", "/api/ready"])
def test_ready_has_every_field(house: House, get: Get, path: str) -> None:
    house.open()
    house.feed(trades(1, [(10, 100.0, 1.0, True)]))
    until(lambda: get(path)["metrics_precision"] == "exact")
    assert get(path) == {
        "status": "ready",
        "checks": {"database": True, "writer": True},
        "session": "off",
        "session_message": "Off hours, London opens in 7 h 00 min",
        "is_trading_active": False,
        "trading_enabled": False,
        "backfill_complete": True,
        "backfill_status": "idle",
        "backfill_progress": {
            "current": 0,
            "total": 0,
            "percentage": 100.0,
            "estimated_seconds_remaining": None,
        },
        "metrics_precision": "exact",
    }


def test_a_session_is_a_time_to_trade(database: None, get: Get) -> None:
    with House(seconds=8.5 * 3600) as house:
        house.open()
        answer = get("/ready")
        assert (answer["session"], answer["is_trading_active"]) == ("london", True)
        assert answer["session_message"] == "London session, 3 h 30 min left"


def test_not_ready_before_anything_runs(database: None, get: Get) -> None:
    answer = get("/ready", 503)
    assert answer["status"] == "starting"
    assert answer["checks"] == {"database": True, "writer": False}
    assert (answer["backfill_complete"], answer["metrics_precision"]) == (False, "backfilling")
    assert answer["backfill_progress"]["percentage"] == 0.0
    assert Client().get("/ready").headers["Retry-After"] == "1"


def test_refusals_are_answers_and_no_errors_of_ours(
    database: None, get: Get, caplog: pytest.LogCaptureFixture
) -> None:
    get("/ready", 503)
    get("/api/context", 404, symbol="DOGE")
    assert caplog.records == []


def test_not_ready_while_the_database_is_silent(
    house: House, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open()
    with monkeypatch.context() as patched:
        patched.setattr("django.db.connection.cursor", broken)
        answer = get("/ready", 503)
    assert answer["status"] == "unavailable"
    assert answer["checks"] == {"database": False, "writer": True}
    assert get("/ready")["status"] == "ready"


def test_not_ready_while_the_writer_is_stuck(
    house: House, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "WRITER_S", 0.05)
    monkeypatch.setattr(readiness, "RECENT_S", 0.0)
    gate = threading.Event()
    monkeypatch.setattr("marketdata.store.writer.writing", lambda: Stuck(gate))
    house.open()
    house.feed(trades(1, [(10, 100.0, 1.0, True)]))
    assert get("/ready", 503)["checks"] == {"database": True, "writer": False}
    gate.set()
    until(lambda: Client().get("/ready").status_code == 200)


def test_a_writer_with_much_to_do_is_ready(
    house: House, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "WRITER_S", 0.0)
    house.open()
    monkeypatch.setattr(type(house.writer), "depth_rows", 200_000)
    # It has committed lately, though what waits will take it longer than anybody would wait.
    assert get("/ready")["checks"]["writer"] is True
    house.writer.statistics.last_commit_s -= 10
    assert get("/ready", 503)["checks"]["writer"] is False


class Stuck:
    """A transaction that waits for a gate and then is as it always was."""

    def __init__(self, gate: threading.Event) -> None:
        from marketdata.store.lock import writing

        self.gate, self.real = gate, writing()

    def __enter__(self) -> object:
        assert self.gate.wait(10)
        return self.real.__enter__()

    def __exit__(self, *error: Any) -> object:
        return self.real.__exit__(*error)


def test_not_ready_when_the_writer_has_ended_or_fails(house: House, get: Get) -> None:
    house.open()
    house.writer.last_error = "database or disk is full"
    assert get("/ready", 503)["checks"]["writer"] is False
    house.writer.last_error = ""
    assert get("/ready")["checks"]["writer"] is True
    house.writer.stop()
    assert get("/ready", 503)["checks"]["writer"] is False


def test_backfill_is_told_as_it_goes(house: House, get: Get) -> None:
    house.open()
    lane = house.flow.lanes[BTC]
    house.feed(trades(1, [(10, 100.0, 1.0, True)]))
    house.repairs.done, house.repairs.pending, house.repairs.seconds = 300, 900, 4.5
    lane.is_backfilling = True
    until(lambda: lane.coverage)
    answer = get("/ready")
    assert answer["backfill_status"] == "running"
    assert not answer["backfill_complete"]
    assert answer["backfill_progress"] == {
        "current": 300,
        "total": 1200,
        "percentage": 25.0,
        "estimated_seconds_remaining": 4.5,
    }
    assert answer["metrics_precision"] == "backfilling"
    house.repairs.done, house.repairs.pending = 1200, 0
    lane.is_backfilling = False
    answer = get("/ready")
    assert (answer["backfill_status"], answer["backfill_complete"]) == ("completed", True)
    assert answer["metrics_precision"] == "exact"


class Jobs:
    """A service whose one job runs, over a range of one instrument."""

    def __init__(self, end_us: int, symbol: str = "BTCUSDT") -> None:
        self.name, self.end_us = ("binance_ws", symbol), end_us

    def running(self) -> tuple[int, ProgressNow]:
        return 7, ProgressNow(250, 1000, 4, 1, 100.0, 7.5, None, "pages")

    def concerns(self, source: str, symbol: str, since_us: int) -> bool:
        return (source, symbol) == self.name and self.end_us > since_us


def test_a_job_for_a_day_that_is_over_runs_beside_exact_numbers(house: House, get: Get) -> None:
    house.open()
    house.feed(trades(1, [(10, 100.0, 1.0, True)]))
    until(lambda: get("/ready")["metrics_precision"] == "exact")
    house.live.backfill = Jobs(NEW_YEAR_US)  # type: ignore[assignment]
    answer = get("/ready")
    assert answer["status"] == "ready"
    assert (answer["backfill_status"], answer["backfill_complete"]) == ("running", True)
    assert answer["metrics_precision"] == "exact"
    assert answer["backfill_progress"] == {
        "current": 250,
        "total": 1000,
        "percentage": 25.0,
        "estimated_seconds_remaining": 7.5,
    }


def test_a_job_for_today_is_what_today_waits_for(house: House, get: Get) -> None:
    house.open()
    house.feed(trades(1, [(10, 100.0, 1.0, True)]))
    until(lambda: get("/ready")["metrics_precision"] == "exact")
    house.live.backfill = Jobs(NEW_YEAR_US + 1)  # type: ignore[assignment]
    assert get("/ready")["backfill_complete"] is False
    house.live.backfill = Jobs(house.now_us, "ETHUSDT")  # type: ignore[assignment]
    assert get("/ready")["backfill_complete"] is True
    # Repairs and the job are one progress: 300 + 250 of 1200 + 1000, the longer wait of the two.
    house.repairs.done, house.repairs.pending, house.repairs.seconds = 300, 900, 4.5
    answer = get("/ready")
    assert answer["backfill_complete"] is False
    assert answer["backfill_progress"] == {
        "current": 550,
        "total": 2200,
        "percentage": 25.0,
        "estimated_seconds_remaining": 7.5,
    }


def test_precision_is_that_of_the_worst_instrument(database: None, get: Get) -> None:
    with House([BTC, ETH]) as house:
        house.lines.found = [line(symbol="BTCUSDT,ETHUSDT")]
        house.open(BTC)
        house.feed(trades(1, [(10, 100.0, 1.0, True)]))
        # The other one's tick is still being asked for.
        until(lambda: house.flow.lanes[BTC].coverage)
        assert get("/ready")["metrics_precision"] == "backfilling"
        assert not get("/ready")["backfill_complete"]
        house.open(ETH)
        house.feed(trades(1, [(10, 100.0, 1.0, True)]), ETH)
        until(lambda: get("/ready")["metrics_precision"] == "exact")
        house.feed(trades(5, [(10, 100.0, 1.0, True)]), ETH)
        until(lambda: get("/ready")["metrics_precision"] == "degraded")


def test_precision_is_degraded_where_nothing_is_heard_or_something_broke(
    house: House, get: Get
) -> None:
    house.open()
    house.feed(trades(1, [(10, 100.0, 1.0, True)]))
    until(lambda: get("/ready")["metrics_precision"] == "exact")
    house.lines.found = [line("backoff")]
    assert get("/ready")["metrics_precision"] == "degraded"
    house.lines.found = [line("live")]
    assert get("/ready")["metrics_precision"] == "exact"
    house.flow.lanes[BTC].damage = "ValueError: x"
    assert get("/ready")["metrics_precision"] == "degraded"
    house.flow.lanes[BTC].damage = ""
    house.flow.stop()
    assert get("/ready")["metrics_precision"] == "degraded"


def test_every_connection_is_told(house: House, get: Get) -> None:
    house.gaps["binance_ws"] = 3
    house.lines.found = [
        line(
            "live",
            "BTCUSDT,ETHUSDT",
            connected_at_us=house.now_us - 60_000_000,
            last_message_us=house.now_us - 1_500,
            reconnects=2,
            rejected=1,
        ),
        line("backoff", last_error="no route to host"),
    ]
    assert get("/api/ws/health") == {
        "connections": [
            {
                "source": "binance_ws",
                "channel": "aggTrade",
                "symbol": "BTCUSDT,ETHUSDT",
                "state": "live",
                "connected_at": "2024-01-01T00:59:00.000Z",
                "last_message_age_ms": 1,
                "reconnects": 2,
                "gaps": 3,
                "proof": "id_exact",
                "rejected": 1,
                "last_error": "",
            },
            {
                "source": "binance_ws",
                "channel": "aggTrade",
                "symbol": "BTCUSDT",
                "state": "backoff",
                "connected_at": None,
                "last_message_age_ms": None,
                "reconnects": 0,
                "gaps": 3,
                "proof": "id_exact",
                "rejected": 0,
                "last_error": "no route to host",
            },
        ]
    }


def test_no_connection_where_nothing_runs(database: None, get: Get) -> None:
    assert get("/api/ws/health") == {"connections": []}


# Metrics


def test_metrics_as_json(house: House, get: Get) -> None:
    house.open()
    house.feed(trades(1, [(3599, 100.0, 1.0, True), (3599.9, 100.0, 1.0, True)]))
    house.feed(trades(2, [(3599.9, 100.0, 1.0, True)]))
    house.store()
    answer = get("/api/metrics")
    assert answer["queue_sizes"] == {"pipeline": 0, "writer": 0}
    assert answer["latency_ms"] == {"p50": 100.0, "p99": 100.0}
    assert answer["depth_updates_per_second"] == 0.0
    assert answer["trades_per_second"] >= 0
    assert (answer["trades"], answer["duplicates"], answer["rows_written"]) == (2, 1, 2)
    assert (answer["dropped"], answer["errors"], answer["clients"]) == (0, 0, 0)
    assert get("/metrics", headers={"Accept": "application/json"})["trades"] == 2


def test_no_latency_before_the_first_trade(house: House, get: Get) -> None:
    assert get("/api/metrics")["latency_ms"] == {"p50": None, "p99": None}


def test_metrics_as_json_where_nothing_runs(database: None, get: Get) -> None:
    assert "manage.py run" in get("/api/metrics", 503)["detail"]
    assert "manage.py run" in get("/metrics", 503, headers={"Accept": "application/json"})["detail"]


@pytest.mark.parametrize(
    ("path", "accept"), [("/metrics", "*/*"), ("/metrics", ""), ("/api/metrics", "text/plain")]
)
def test_metrics_as_text(house: House, path: str, accept: str) -> None:
    house.open()
    house.feed(trades(1, [(3599, 100.0, 1.0, True)]))
    until(lambda: house.flow.lanes[BTC].coverage)
    response = Client().get(path, headers={"Accept": accept})
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = {f.name: f for f in text_string_to_metric_families(response.content.decode())}
    (sample,) = families["botcrypto_trades"].samples
    assert sample.name == "botcrypto_trades_total"
    assert (sample.labels, sample.value) == ({"source": BTC[0], "symbol": BTC[1]}, 1.0)


def test_prometheus_is_answered_where_nothing_runs() -> None:
    response = Client().get("/metrics")
    assert (response.status_code, response.content) == (200, b"")
