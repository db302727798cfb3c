"""What the process measures of itself: Prometheus text and the JSON of /api/metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from marketdata import live
from marketdata.context import DAY
from marketdata.core.timeframe import SECOND_US

STATES = ("connecting", "live", "stale", "backoff", "stopped")
LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class LagHistogram:
    """Counts seconds in fixed buckets; one thread adds, any reads."""

    def __init__(self, buckets: tuple[float, ...] = LAG_BUCKETS_S) -> None:
        self.edges = np.array(buckets)
        self.counts = np.zeros(len(buckets) + 1, dtype=np.int64)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[int(np.searchsorted(self.edges, seconds))] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (upper edge, observations at or below it), as Prometheus wants them."""
        sums = self.counts.cumsum().tolist()
        return list(zip([*map(str, self.edges.tolist()), "+Inf"], sums, strict=True))


class LiveCollector(Collector):
    """Reads the running parts when Prometheus asks; nothing is counted twice."""

    def collect(self) -> Iterable[Metric]:
        """Yield every metric of the running parts."""
        if not live.is_running():
            return
        yield from _feeds()
        yield from _context()
        yield from _writer()


def _feeds() -> Iterable[Metric]:
    running = live.now()
    state = GaugeMetricFamily(
        "botcrypto_feed_state",
        "0 " + " ".join(f"{n}={name}" for n, name in enumerate(STATES)),
        labels=("source", "channel"),
    )
    reconnects = CounterMetricFamily(
        "botcrypto_feed_reconnects_total", "Connections made anew", labels=("source", "channel")
    )
    rejected = CounterMetricFamily(
        "botcrypto_frames_rejected_total", "Frames refused", labels=("source", "reason")
    )
    age = GaugeMetricFamily(
        "botcrypto_feed_last_message_age_seconds", "Silence", labels=("source", "channel")
    )
    now_us = running.wall_clock()
    for supervisor in running.supervisors:
        for status in supervisor.statuses():
            labels = (status.source, status.channel)
            state.add_metric(labels, STATES.index(status.state))
            reconnects.add_metric(labels, status.reconnects)
            if status.last_message_us is not None:
                age.add_metric(labels, max(0, now_us - status.last_message_us) / SECOND_US)
    for (source, reason), count in running.rejections().items():
        rejected.add_metric((source, reason), count)
    yield from (state, reconnects, rejected, age)


def _context() -> Iterable[Metric]:
    flow = live.now().flow
    trades = CounterMetricFamily(
        "botcrypto_trades_total", "Trades taken in", labels=("source", "symbol")
    )
    ratio = GaugeMetricFamily(
        "botcrypto_coverage_ratio",
        "Held over expected trades",
        labels=("source", "symbol", "scope"),
    )
    missing = GaugeMetricFamily(
        "botcrypto_missing_trades", "Trades missing today", labels=("source", "symbol")
    )
    for name, lane in list(flow.lanes.items()):
        trades.add_metric(name, lane.pipeline.counts.trades)
        if lane.coverage is not None:
            missing.add_metric(name, lane.coverage.missing)
            ratio.add_metric((*name, DAY), lane.coverage.ratio or 0.0)
    lag = HistogramMetricFamily("botcrypto_trade_lag_seconds", "Exchange time to context")
    lag.add_metric((), live.now().lag.cumulative(), live.now().lag.total)
    yield from (trades, ratio, missing, lag)


def _writer() -> Iterable[Metric]:
    running = live.now()
    depth = GaugeMetricFamily("botcrypto_queue_depth", "Waiting items", labels=("queue",))
    for name, size in queue_sizes().items():
        depth.add_metric((name,), size)
    rows = HistogramMetricFamily("botcrypto_write_batch_rows", "Rows per flush")
    rows.add_metric((), running.write_rows.cumulative(), running.write_rows.total)
    seconds = HistogramMetricFamily("botcrypto_write_seconds", "Seconds per flush")
    seconds.add_metric((), running.write_seconds.cumulative(), running.write_seconds.total)
    yield from (depth, rows, seconds)


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(LiveCollector())


def prometheus_text() -> bytes:
    """Return every metric in Prometheus' text format."""
    return generate_latest(REGISTRY)


def queue_sizes() -> dict[str, int]:
    """Return what waits where: batches before the pipelines, rows before the database."""
    running = live.now()
    return {"pipeline": running.flow.depth, "writer": running.writer.depth_rows}


class Rate:
    """Events per second over the last ten seconds, from a running total."""

    def __init__(self, span_s: float = 10.0) -> None:
        self.span_s = span_s
        self._seen: list[tuple[float, int]] = []

    def note(self, total: int, now_s: float) -> float:
        """Take the total at a time and return the rate."""
        self._seen = [*(at for at in self._seen if now_s - at[0] <= self.span_s), (now_s, total)]
        first = self._seen[0]
        elapsed = now_s - first[0]
        return (total - first[1]) / elapsed if elapsed > 0 else 0.0


_rate = Rate()


def metrics_answer() -> dict[str, Any]:
    """Return the object of /api/metrics."""
    running = live.now()
    total = sum(lane.pipeline.counts.trades for lane in running.flow.lanes.values())
    lags = np.array(running.flow.lag_us, dtype=np.float64) / 1000
    p50, p99 = np.percentile(lags, [50, 99]).round(3).tolist() if len(lags) else (None, None)
    return {
        "trades_per_second": round(_rate.note(total, time.monotonic()), 3),
        "depth_updates_per_second": 0.0,
        "queue_sizes": queue_sizes(),
        "latency_ms": {"p50": p50, "p99": p99},
        "trades": total,
        "duplicates": sum(x.pipeline.counts.duplicates for x in running.flow.lanes.values()),
        "late": sum(x.pipeline.counts.late for x in running.flow.lanes.values()),
        "dropped": running.flow.dropped,
        "rejected": sum(running.rejections().values()),
        "rows_written": running.writer.rows_written,
        "clients": running.publisher.clients,
    }
