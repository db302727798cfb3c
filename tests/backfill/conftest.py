"""Venues on loopback, one of a small day, a writer, and jobs run against them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from marketdata.backfill import jobs
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request
from marketdata.backfill.means import Means, means_of
from marketdata.backfill.outcome import Outcome
from marketdata.backfill.runner import Runner
from marketdata.conf import Conf
from marketdata.core.trades import Trades
from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket
from marketdata.store.writer import Writer
from tests.backfill.made import DAY_LONG_US, DAY_US, made

SYMBOL = "BTCUSDT"
FIRST, LAST = 1_000, 25_999
# More than any test asks for: the limit is another room's test.
PLENTY = 10_000_000


@pytest.fixture
def day() -> Trades:
    """Return 25,000 trades: 25 pages, enough for a file to be worth it."""
    return made(range(FIRST, LAST + 1))


Serve = Callable[..., Simulator]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve trades as the venue's past."""
    started: list[Simulator] = []

    def start(trades: Trades, **options: Any) -> Simulator:
        market = RecordedMarket(SYMBOL, trades)
        market.played = len(market)
        options.setdefault("rules", Rules(weight_per_minute=PLENTY))
        started.append(Simulator([market], **options).start())
        return started[-1]

    yield start
    for simulator in started:
        simulator.stop()


@pytest.fixture
def venue(serve: Serve, day: Trades) -> Simulator:
    return serve(day)


@pytest.fixture(scope="module")
def bybit() -> Iterator[Simulator]:
    with Simulator.generated([SYMBOL], venues=("bybit",), rate=0.05) as venue:
        yield venue


@pytest.fixture(scope="module")
def deriv() -> Iterator[Simulator]:
    with Simulator.generated([SYMBOL], venues=("deriv",)) as venue:
        yield venue


def settings_of(url: str, folder: Path, **more: Any) -> Conf:
    """Return settings of a venue at `url` that keep nobody waiting."""
    given: dict[str, Any] = {
        "binance_rest_url": url,
        "binance_archive_url": url,
        "binance_rate_limit_per_minute": 100_000,
        "backfill_public_delay_ms": 0,
        "backfill_retry_base": 0.01,
        "backfill_cooldown_seconds": 0.2,
        "backfill_cache_dir": str(folder / "cache"),
        "binance_api_timeout": 5.0,
        **more,
    }
    return Conf(**given)


@pytest.fixture
def settings_at(venue: Simulator, tmp_path: Path) -> Conf:
    return settings_of(venue.rest_url, tmp_path)


@pytest.fixture
def writer(transactional_db) -> Iterator[Writer]:
    found = Writer(flush_s=0.01)
    found.start()
    yield found
    found.stop(5)
    connections.close_all()


Run = Callable[..., Outcome]


@pytest.fixture
def run(writer: Writer) -> Run:
    """Run a job of the small day to its end."""

    def start(settings: Conf, **given: Any) -> Outcome:
        return runner_of(settings, writer, **given).run()

    return start


def runner_of(
    settings: Conf,
    writer: Writer,
    *,
    via: str = "auto",
    span: tuple[int, int] = (DAY_US, DAY_US + DAY_LONG_US),
    path: str = "",
    workers: int = 2,
    patience_s: float = 5.0,
    inlet: Inlet | None = None,
    means: Means | None = None,
    clock: Callable[[], int] = jobs.wall_us,
) -> Runner:
    request = Request("binance_ws", SYMBOL, *span, via, path, workers)
    job = jobs.opened(jobs.checked(request, clock()), clock())
    means = means or means_of("binance_ws", settings, threading.Event())
    return Runner(job, means, inlet or Inlet(writer), patience_s, clock)
