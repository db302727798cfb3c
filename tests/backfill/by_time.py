"""Jobs of venues that number no trades: run against simulated ones, and what is held after."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from marketdata.backfill import jobs
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request
from marketdata.backfill.means import means_of
from marketdata.backfill.outcome import Outcome
from marketdata.backfill.runner import Runner
from marketdata.conf import Conf
from marketdata.context import day_window
from marketdata.core.events import Batch
from marketdata.core.instrument import Instrument
from marketdata.core.numbering import begun
from marketdata.core.timeframe import DAY_US, HOUR_US, open_us
from marketdata.core.trades import Trades
from marketdata.simulator.server import Simulator
from marketdata.store import instruments, ledger, rows
from marketdata.store.writer import Writer
from marketdata.venues import venue_of
from marketdata.verify import verified
from tests.backfill.conftest import SYMBOL, Run

BTC, INDEX = SYMBOL, "R_100"
# The clock of jobs stands in the past, so that it never is too early in the day for a test.
TODAY_US = open_us(time.time_ns() // 1000, DAY_US) - 2 * DAY_US
NOW_US = TODAY_US + 20 * HOUR_US
DAY = (TODAY_US - DAY_US, TODAY_US)


def market_of(venue: Simulator):
    if "bybit" in venue.rooms:
        return venue.rooms["bybit"].instruments["linear"][BTC].market
    return venue.listed["deriv"][INDEX]


def traded(venue: Simulator, start_us: int, end_us: int) -> Trades:
    """Return what the venue traded in [start, end)."""
    market = market_of(venue)
    return market.slice(market.id_at(start_us), market.id_at(end_us) - 1)


def settings_at(venue: Simulator, folder: Path) -> Conf:
    return Conf(
        bybit_rest_base_url=venue.rest_url,
        bybit_archive_url=venue.rest_url,
        bybit_ws_url=venue.ws_url,
        deriv_rest_url=venue.rest_url,
        deriv_ws_url=venue.ws_url,
        backfill_public_delay_ms=0,
        backfill_retry_base=0.01,
        backfill_cooldown_seconds=0.2,
        backfill_cache_dir=str(folder / "cache"),
    )


def runs_into(writer: Writer, folder: Path) -> Run:
    """Return what runs a job of a venue to its end."""

    def start(
        venue: Simulator,
        *,
        via: str = "auto",
        span: tuple[int, int] = DAY,
        path: str = "",
        inlet: Inlet | None = None,
        now_us: int = NOW_US,
        asked_by: str = "",
    ) -> Outcome:
        (source,) = (room.source for room in venue.rooms.values())
        symbol = BTC if source == "bybit" else INDEX
        request = Request(source, symbol, *span, via, path, 2, asked_by=asked_by)
        job = jobs.opened(jobs.checked(request, now_us), now_us)
        means = means_of(source, settings_at(venue, folder), threading.Event())
        return Runner(job, means, inlet or Inlet(writer), 5.0, lambda: now_us).run()

    return start


def held_by(source: str) -> Instrument:
    found = instruments.find(source, BTC if source == "bybit" else INDEX)
    assert found is not None
    return found


def stored(source: str) -> Trades:
    return Trades.concat(rows.read_ids(held_by(source).id, 0, 1 << 50))


def as_told(trades: Trades) -> list[tuple[int, float, float, bool]]:
    """Return trades as venues tell them: whole milliseconds, in order."""
    ms = (trades.ts_us // 1000).tolist()
    columns = (trades.price.tolist(), trades.qty.tolist(), trades.is_buy.tolist())
    return list(zip(ms, *columns, strict=True))


def proof(source: str, day_us: int = DAY[0], now_us: int = NOW_US) -> dict:
    instrument = held_by(source)
    assert ledger.audit(instrument.id) == []
    return verified(instrument, day_window(day_us), now_us)


def remembered(venue: Simulator, source: str) -> Instrument:
    market = market_of(venue)
    channel = venue_of(source, "linear" if source == "bybit" else "new").channel("")
    symbol = BTC if source == "bybit" else INDEX
    return instruments.remember(source, symbol, market.grid, simulated=True, channel=channel.name)


def hold(writer: Writer, venue: Simulator, source: str, *parts: Trades) -> None:
    """Keep pieces of the tape as a live feed would: each a stretch of its own."""
    instrument, last = remembered(venue, source), -1
    for part in parts:
        told = replace(part, ts_us=part.ts_us // 1000 * 1000)
        told = replace(told, ref=np.array([b"live-%d" % id for id in part.id.tolist()]))
        numbered, _ = begun(told, last)
        last = int(numbered.id[-1])
        writer.put_trades(instrument.id, Batch(numbered, "live"))
    assert writer.flush(10)
