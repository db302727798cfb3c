"""Prometheus text: the names of the contract, no label set twice, only what is known."""

from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from marketdata import live, telemetry
from marketdata.core.coverage import ScopeCoverage
from marketdata.feeds.ingestor import FeedStatus
from marketdata.telemetry import LagHistogram

NOW_US = 1_704_067_200_000_000


def line(channel: str, state: str, **told: object) -> FeedStatus:
    return FeedStatus("binance_ws", channel, "BTCUSDT", state, **told)


def lane(trades: int, coverage: ScopeCoverage | None) -> SimpleNamespace:
    counts = SimpleNamespace(trades=trades, duplicates=0, late=0)
    return SimpleNamespace(pipeline=SimpleNamespace(counts=counts), coverage=coverage)


def client(host: str, answers: dict[str, int], state: str = "closed") -> SimpleNamespace:
    status = SimpleNamespace(
        host=SimpleNamespace(host=host, answers=answers, seconds=1.5, state=state),
        limiter=SimpleNamespace(venue_used=1500, venue_limit=6000),
    )
    return SimpleNamespace(status=lambda: status)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    statuses = [
        line("aggTrade", "live", last_message_us=NOW_US - 250_000, reconnects=2),
        line("aggTrade", "backoff", last_message_us=NOW_US - 9_000_000, reconnects=5),
        line("trade", "connecting"),
    ]
    lanes = {
        ("binance_ws", "BTCUSDT"): lane(7, ScopeCoverage(10, 8, 2, ((1, 2),), "held", {})),
        ("binance_ws", "ETHUSDT"): lane(0, ScopeCoverage(0, 0, 0, (), "held", {})),
        ("binance_ws", 'A"B\\C\n'): lane(1, None),
    }
    lag, rows, seconds = LagHistogram(), LagHistogram((1.0, 10.0)), LagHistogram()
    for value in (0.0004, 0.001, 0.3, 100.0):
        lag.add(value)
    for value in (1, 10, 11):
        rows.add(value)
    made = SimpleNamespace(
        lines=[SimpleNamespace(statuses=lambda: statuses)],
        book_lines=[],
        books={},
        wall_clock=lambda: NOW_US,
        rejections=lambda: {("binance_ws", "json"): 3, ("binance_ws", "number"): 1},
        flow=SimpleNamespace(lanes=lanes, dropped=12, errors=1, depth=4),
        lag=lag,
        write_rows=rows,
        write_seconds=seconds,
        writer=SimpleNamespace(depth_rows=5),
        clients=[client("a:443", {"200": 5, "429": 1}), client("b:443", {}, "open")],
        repairs={"binance_ws": SimpleNamespace(done=30, pending=10)},
    )
    monkeypatch.setattr(live, "_live", [made])
    return made


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(telemetry.prometheus_text().decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} comes twice"
            found[key] = sample.value
    return found


def value(name: str, **labels: str) -> float:
    return samples()[name, tuple(sorted(labels.items()))]


def test_the_names_of_the_contract(running: SimpleNamespace) -> None:
    names = {name for name, _ in samples()}
    assert names >= {
        "botcrypto_trades_total",
        "botcrypto_trade_lag_seconds_bucket",
        "botcrypto_trade_lag_seconds_sum",
        "botcrypto_trade_lag_seconds_count",
        "botcrypto_feed_state",
        "botcrypto_feed_reconnects_total",
        "botcrypto_frames_rejected_total",
        "botcrypto_feed_last_message_age_seconds",
        "botcrypto_coverage_ratio",
        "botcrypto_missing_trades",
        "botcrypto_queue_depth",
        "botcrypto_http_requests_total",
        "botcrypto_http_latency_seconds_sum",
        "botcrypto_http_latency_seconds_count",
        "botcrypto_rate_limit_used_ratio",
        "botcrypto_breaker_state",
        "botcrypto_backfill_progress_ratio",
        "botcrypto_write_batch_rows_bucket",
        "botcrypto_write_seconds_bucket",
    }
    assert {name.split("_")[0] for name in names} == {"botcrypto"}


def test_of_several_connections_the_worst_is_told(running: SimpleNamespace) -> None:
    of = {"source": "binance_ws", "channel": "aggTrade"}
    assert value("botcrypto_feed_state", **of) == telemetry.STATES.index("backoff")
    assert value("botcrypto_feed_reconnects_total", **of) == 7
    assert value("botcrypto_feed_last_message_age_seconds", **of) == 9.0
    other = ("source", "binance_ws"), ("channel", "trade")
    assert value("botcrypto_feed_state", **dict(other)) == telemetry.STATES.index("connecting")
    # Nothing was heard of it: an age would be invented.
    assert ("botcrypto_feed_last_message_age_seconds", tuple(sorted(other))) not in samples()


def test_every_state_of_the_contract_has_a_number() -> None:
    assert set(telemetry.STATES) == {"connecting", "live", "stale", "backoff", "stopped"}


def test_holes_of_which_nobody_knows_the_size_are_no_number(running: SimpleNamespace) -> None:
    holed = ScopeCoverage(5, 3, 2, ((10, 19), (30, 39)), "held", {}, is_counted=False)
    left_out = ScopeCoverage(5, 3, 2, (), "held", {}, is_counted=False, left_out=2)
    whole = ScopeCoverage(3, 3, 0, (), "held", {}, is_counted=False)
    running.flow.lanes |= {
        ("bybit", "BTCUSDT"): lane(3, holed),
        ("bybit", "SOLUSDT"): lane(3, left_out),
        ("bybit", "ETHUSDT"): lane(3, whole),
    }
    assert value("botcrypto_missing_trades", source="bybit", symbol="ETHUSDT") == 0
    assert value("botcrypto_missing_trades", source="bybit", symbol="SOLUSDT") == 2
    unknown = ("botcrypto_missing_trades", (("source", "bybit"), ("symbol", "BTCUSDT")))
    assert unknown not in samples()


def test_values_and_labels(running: SimpleNamespace) -> None:
    btc = {"source": "binance_ws", "symbol": "BTCUSDT"}
    assert value("botcrypto_trades_total", **btc) == 7
    assert value("botcrypto_coverage_ratio", **btc, scope="day") == 0.8
    assert value("botcrypto_missing_trades", **btc) == 2
    assert value("botcrypto_frames_rejected_total", source="binance_ws", reason="json") == 3
    assert value("botcrypto_queue_depth", queue="pipeline") == 4
    assert value("botcrypto_queue_depth", queue="writer") == 5
    assert value("botcrypto_http_requests_total", host="a:443", status="429") == 1
    assert value("botcrypto_http_latency_seconds_count", host="a:443") == 6
    assert value("botcrypto_rate_limit_used_ratio", host="a:443") == 0.25
    assert value("botcrypto_breaker_state", host="a:443") == 0
    assert value("botcrypto_breaker_state", host="b:443") == 2
    assert value("botcrypto_backfill_progress_ratio", job="repair binance_ws") == 0.75
    assert value("botcrypto_dropped_trades_total") == 12
    assert value("botcrypto_flow_errors_total") == 1


def test_a_ratio_of_nothing_is_not_told(running: SimpleNamespace) -> None:
    told = {labels for name, labels in samples() if name == "botcrypto_coverage_ratio"}
    assert told == {(("scope", "day"), ("source", "binance_ws"), ("symbol", "BTCUSDT"))}


def test_symbols_are_escaped(running: SimpleNamespace) -> None:
    assert value("botcrypto_trades_total", source="binance_ws", symbol='A"B\\C\n') == 1


def test_clients_that_share_a_host_count_once(running: SimpleNamespace) -> None:
    running.clients = [client("a:443", {"200": 5}), client("a:443", {"200": 5})]
    assert value("botcrypto_http_requests_total", host="a:443", status="200") == 5


def test_histograms_count_at_or_below_an_edge(running: SimpleNamespace) -> None:
    lag = "botcrypto_trade_lag_seconds"
    assert value(f"{lag}_bucket", le="0.001") == 2
    assert value(f"{lag}_bucket", le="0.25") == 2
    assert value(f"{lag}_bucket", le="0.5") == 3
    assert value(f"{lag}_bucket", le="60.0") == 3
    assert value(f"{lag}_bucket", le="+Inf") == 4
    assert value(f"{lag}_count") == 4
    assert value(f"{lag}_sum") == pytest.approx(100.3014)
    assert value("botcrypto_write_batch_rows_bucket", le="10.0") == 2
    assert value("botcrypto_write_seconds_count") == 0


def test_no_metric_where_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_live", [])
    assert telemetry.prometheus_text() == b""
