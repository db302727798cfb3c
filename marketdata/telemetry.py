"""What the process measures of itself: Prometheus text and the JSON of /api/metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate, groupby
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from marketdata import live
from marketdata.context import DAY
from marketdata.core.timeframe import SECOND_US

# From the best to the worst: of several connections of a channel the worst one is told.
STATES = ("live", "stale", "connecting", "backoff", "stopped")
BREAKER = ("closed", "half_open", "open")
LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
SYMBOL = ("source", "symbol")
CHANNEL = ("source", "channel")


class LagHistogram:
    """Counts values in fixed buckets; one thread adds, any reads."""

    def __init__(self, buckets: tuple[float, ...] = LAG_BUCKETS_S) -> None:
        self.edges = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def metric(self, name: str, about: str) -> Metric:
        """Return the counts as Prometheus wants them: how many at or below each edge."""
        edges = [*map(str, self.edges), "+Inf"]
        family = HistogramMetricFamily(name, about)
        family.add_metric((), list(zip(edges, accumulate(self.counts), strict=True)), self.total)
        return family


class LiveCollector(Collector):
    """Reads the running parts when Prometheus asks; nothing is counted twice."""

    def collect(self) -> Iterable[Metric]:
        """Yield every metric of the running parts."""
        if not live.is_running():
            return
        yield from _feeds()
        yield from _trades()
        yield from _coverage()
        yield _books()
        yield from _writer()
        yield from _requests()


def _feeds() -> Iterator[Metric]:
    about = ", ".join(f"{number} {name}" for number, name in enumerate(STATES))
    state = GaugeMetricFamily("botcrypto_feed_state", about, labels=CHANNEL)
    reconnects = CounterMetricFamily(
        "botcrypto_feed_reconnects", "Connections lost and made anew", labels=CHANNEL
    )
    age = GaugeMetricFamily(
        "botcrypto_feed_last_message_age_seconds", "Silence of a connection", labels=CHANNEL
    )
    running = live.now()
    statuses = [status for line in running.lines + running.book_lines for status in line.statuses()]
    statuses.sort(key=lambda status: (status.source, status.channel))
    # One channel may take several connections; a label set must not come twice.
    for labels, several in groupby(statuses, key=lambda status: (status.source, status.channel)):
        group = list(several)
        state.add_metric(labels, max(STATES.index(status.state) for status in group))
        reconnects.add_metric(labels, sum(status.reconnects for status in group))
        heard_us = [status.last_message_us for status in group if status.last_message_us]
        if heard_us:
            age.add_metric(labels, max(0, running.wall_clock() - min(heard_us)) / SECOND_US)
    rejected = CounterMetricFamily(
        "botcrypto_frames_rejected", "Frames refused", labels=("source", "reason")
    )
    for source_and_reason, count in running.rejections().items():
        rejected.add_metric(source_and_reason, count)
    yield from (state, reconnects, age, rejected)


def _trades() -> Iterator[Metric]:
    running = live.now()
    trades = CounterMetricFamily("botcrypto_trades", "Trades taken in", labels=SYMBOL)
    for name, lane in list(running.flow.lanes.items()):
        trades.add_metric(name, lane.pipeline.counts.trades)
    yield trades
    yield running.lag.metric("botcrypto_trade_lag_seconds", "Exchange time to context")
    yield CounterMetricFamily(
        "botcrypto_dropped_trades", "Trades dropped by a full queue", running.flow.dropped
    )
    yield CounterMetricFamily(
        "botcrypto_flow_errors", "Errors nobody expected, survived", running.flow.errors
    )


def _coverage() -> Iterator[Metric]:
    ratio = GaugeMetricFamily(
        "botcrypto_coverage_ratio", "Held over expected trades", labels=(*SYMBOL, "scope")
    )
    missing = GaugeMetricFamily("botcrypto_missing_trades", "Trades missing today", labels=SYMBOL)
    for name, lane in list(live.now().flow.lanes.items()):
        if lane.coverage is not None:
            # How many trades a hole has that nobody counted is not known: no number is better.
            if lane.coverage.is_known:
                missing.add_metric(name, lane.coverage.missing)
            if lane.coverage.ratio is not None:
                ratio.add_metric((*name, DAY), lane.coverage.ratio)
    yield from (ratio, missing)


def _books() -> Metric:
    synced = GaugeMetricFamily("botcrypto_book_synced", "1 in step with the venue", labels=SYMBOL)
    for keeper in live.now().books.values():
        for status in keeper.statuses():
            synced.add_metric((status.source, status.symbol), int(status.is_synced))
    return synced


def _writer() -> Iterator[Metric]:
    running = live.now()
    depth = GaugeMetricFamily("botcrypto_queue_depth", "Waiting items", labels=("queue",))
    for name, size in queue_sizes().items():
        depth.add_metric((name,), size)
    yield depth
    yield running.write_rows.metric("botcrypto_write_batch_rows", "Rows per flush")
    yield running.write_seconds.metric("botcrypto_write_seconds", "Seconds per flush")


def _requests() -> Iterator[Metric]:
    """Tell of what was asked of the venues: each host once, whoever shares it."""
    running = live.now()
    requests = CounterMetricFamily(
        "botcrypto_http_requests", "Answers by status", labels=("host", "status")
    )
    latency = SummaryMetricFamily(
        "botcrypto_http_latency_seconds", "Time to an answer", labels=("host",)
    )
    used = GaugeMetricFamily(
        "botcrypto_rate_limit_used_ratio", "Of the weight granted a minute", labels=("host",)
    )
    about = ", ".join(f"{number} {name}" for number, name in enumerate(BREAKER))
    breaker = GaugeMetricFamily("botcrypto_breaker_state", about, labels=("host",))
    for status in {told.host.host: told for told in (x.status() for x in running.clients)}.values():
        host, limiter = status.host, status.limiter
        for outcome, count in host.answers.items():
            requests.add_metric((host.host, outcome), count)
        latency.add_metric((host.host,), sum(host.answers.values()), host.seconds)
        used.add_metric((host.host,), limiter.venue_used / limiter.venue_limit)
        breaker.add_metric((host.host,), BREAKER.index(host.state))
    progress = GaugeMetricFamily(
        "botcrypto_backfill_progress_ratio", "Of the trades asked for", labels=("job",)
    )
    for source, repair in running.repairs.items():
        done, pending = repair.done, repair.pending
        if done or pending:
            progress.add_metric((f"repair {source}",), done / (done + pending))
    yield from (requests, latency, used, breaker, progress)


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(LiveCollector())


def prometheus_text() -> bytes:
    """Return every metric in Prometheus' text format."""
    return generate_latest(REGISTRY)


def queue_sizes() -> dict[str, int]:
    """Return what waits where: batches before the pipelines, rows before the database."""
    running = live.now()
    return {"pipeline": running.flow.depth, "writer": running.writer.depth_rows}


def metrics_answer() -> dict[str, Any]:
    """Return the object of /api/metrics."""
    running, flow = live.now(), live.now().flow
    counts = [lane.pipeline.counts for lane in list(flow.lanes.values())]
    lags = np.array(list(flow.lag_us), dtype=np.float64) / 1000
    p50, p99 = np.percentile(lags, [50, 99]).round(3).tolist() if len(lags) else (None, None)
    return {
        "trades_per_second": round(flow.trades_per_s, 3),
        "depth_updates_per_second": round(
            sum(keeper.updates_per_s for keeper in running.books.values()), 3
        ),
        "queue_sizes": queue_sizes(),
        "latency_ms": {"p50": p50, "p99": p99},
        "trades": sum(item.trades for item in counts),
        "duplicates": sum(item.duplicates for item in counts),
        "late": sum(item.late for item in counts),
        "dropped": flow.dropped,
        "refused": flow.refused_batches,
        "rejected": sum(running.rejections().values()),
        "errors": flow.errors,
        "last_error": flow.last_error,
        "rows_written": running.writer.rows_written,
        "clients": running.publisher.clients,
    }
