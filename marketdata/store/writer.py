"""`Writer`: the only thread that writes the hot tables. One transaction per flush.

Trades and the ledger rows that claim them commit together, so what the ledger says is held, is
held, whenever the process is killed.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, connection, models

from marketdata.core.backoff import Backoff
from marketdata.core.candles import Candle
from marketdata.core.errors import BotCryptoError
from marketdata.core.events import Batch, Event
from marketdata.core.trades import Trades
from marketdata.models import ID_BITS
from marketdata.models import Candle as CandleRow
from marketdata.models import Event as EventRow
from marketdata.store import ledger
from marketdata.store.lock import writing

log = logging.getLogger(__name__)

FLUSH_ROWS = 10_000
FLUSH_S = 0.25
MOST_ROWS = 200_000
# Multi-row VALUES bind seven columns a row; SQLite takes 32,766 variables a statement.
INSERT = (
    "INSERT INTO marketdata_trade (id, instrument_id, trade_id, ts_us, price, qty, is_buy) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING"
)


class WriterStoppedError(BotCryptoError):
    """Something was handed to a writer that takes no more."""


@dataclass(frozen=True, slots=True)
class _Job:
    rows: int
    run: Callable[[], object] | None
    name: tuple[int, str] | None = None
    trades: Trades | None = None
    done: threading.Event | None = None


@dataclass(slots=True)
class Statistics:
    """What the writer has done."""

    rows: int = 0
    duplicates: int = 0
    flushes: int = 0
    retries: int = 0
    last_commit_s: float = field(default_factory=time.monotonic)


class Writer(threading.Thread):
    """Writes what it is handed, in order, in batches.

    Parameters
    ----------
    flush_rows, flush_s : int, float
        A flush happens at so many rows or after so many seconds.
    most_rows : int
        Rows waiting before whoever hands in more must wait.
    on_flush : callable
        Told (rows, seconds) of each flush.
    """

    def __init__(
        self,
        flush_rows: int = FLUSH_ROWS,
        flush_s: float = FLUSH_S,
        most_rows: int = MOST_ROWS,
        on_flush: Callable[[int, float], None] = lambda rows, seconds: None,
    ) -> None:
        super().__init__(name="writer", daemon=True)
        self.flush_rows = flush_rows
        self.flush_s = flush_s
        self.most_rows = most_rows
        self.on_flush = on_flush
        self.statistics = Statistics()
        self.last_error = ""
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._waiting = 0
        self._stopping = threading.Event()
        self._abandoned = threading.Event()

    @property
    def depth_rows(self) -> int:
        """How many rows wait."""
        return self._waiting

    @property
    def rows_written(self) -> int:
        """How many trades were inserted."""
        return self.statistics.rows

    def put_trades(self, instrument_id: int, batch: Batch) -> None:
        """Hand in ascending trades; waits while too many rows wait."""
        if len(batch.trades):
            name = (instrument_id, batch.origin)
            self._put(_Job(len(batch.trades), None, name, batch.trades))

    def put_candles(self, instrument_id: int, timeframe: str, candles: Sequence[Candle]) -> None:
        """Hand in finished or restated candles."""
        rows = [
            CandleRow(
                instrument_id=instrument_id,
                timeframe=timeframe,
                **{name: getattr(candle, name) for name in Candle.__dataclass_fields__},
            )
            for candle in candles
        ]
        self._put(_Job(len(rows), lambda: _upsert(CandleRow, rows)))

    def put_events(self, instrument_id: int | None, events: Sequence[Event]) -> None:
        """Hand in what happened."""
        rows = [
            EventRow(instrument_id=instrument_id, kind=e.kind, ts_us=e.ts_us, detail=e.detail)
            for e in events
        ]
        self._put(_Job(len(rows), lambda: EventRow.objects.bulk_create(rows)))

    def put_row(self, row: models.Model) -> None:
        """Hand in a row that replaces the one with the same unique columns."""
        self._put(_Job(1, lambda: _upsert(type(row), [row])))

    def _put(self, job: _Job) -> None:
        with self._room:
            while self._waiting >= self.most_rows and not self._stopping.is_set():
                self._room.wait(0.2)
            if self._stopping.is_set():
                raise WriterStoppedError("the writer has stopped; hand rows in before stop()")
            self._waiting += job.rows
        self._jobs.put(job)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything handed in before is committed."""
        done = threading.Event()
        self._jobs.put(_Job(0, None, done=done))
        return done.wait(timeout_s)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Write what waits, truncate the WAL, end. Returns False where rows had to be left."""
        self._stopping.set()
        self._jobs.put(_Job(0, None))
        self.join(timeout_s)
        if self.is_alive():
            self._abandoned.set()
            self.join(1.0)
        return self._waiting == 0

    def run(self) -> None:
        """Collect, write, repeat."""
        try:
            while not (self._stopping.is_set() and self._jobs.empty()):
                self._write(self._collect())
            if connection.vendor == "sqlite" and not self._abandoned.is_set():
                with connection.cursor() as cursor:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    def _collect(self) -> list[_Job]:
        """Take jobs until there are enough rows or the first has waited long enough."""
        jobs, rows, deadline = [self._jobs.get()], 0, time.monotonic() + self.flush_s
        while True:
            rows += jobs[-1].rows
            left = deadline - time.monotonic()
            if rows >= self.flush_rows or jobs[-1].done or self._stopping.is_set() or left <= 0:
                return jobs
            try:
                jobs.append(self._jobs.get(timeout=left))
            except queue.Empty:
                return jobs

    def _write(self, jobs: list[_Job]) -> None:
        """Write jobs in one transaction; on an error of the database, try the same again."""
        backoff = Backoff(base_s=0.05, cap_s=2.0)
        began = time.perf_counter()
        while any(job.rows for job in jobs) and not self._abandoned.is_set():
            try:
                with writing():
                    inserted, offered = _write_all(jobs)
            except DatabaseError as error:
                if str(error) != self.last_error:
                    log.error("rows not written, trying again error=%s", error)
                self.last_error = str(error)
                self.statistics.retries += 1
                connection.close()
                self._abandoned.wait(backoff.next(0.5))
            else:
                self._note(inserted, offered, time.perf_counter() - began)
                break
        with self._room:
            self._waiting -= sum(job.rows for job in jobs)
            self._room.notify_all()
        for job in jobs:
            if job.done:
                job.done.set()

    def _note(self, inserted: int, offered: int, seconds: float) -> None:
        now = self.statistics
        now.rows += inserted
        now.duplicates += offered - inserted
        now.flushes += 1
        now.last_commit_s = time.monotonic()
        if self.last_error:
            log.info("rows are written again")
            self.last_error = ""
        self.on_flush(offered, seconds)


def _write_all(jobs: list[_Job]) -> tuple[int, int]:
    """Write jobs in order, trades of one instrument and origin together."""
    inserted = offered = 0
    for name, group in itertools.groupby(jobs, key=lambda job: job.name):
        if name is None:
            for job in group:
                if job.run is not None:
                    job.run()
            continue
        trades = Trades.concat(job.trades for job in group if job.trades is not None).sorted()
        inserted += insert_trades(name[0], trades)
        offered += len(trades)
        ledger.claim(name[0], trades, name[1])
    return inserted, offered


def insert_trades(instrument_id: int, trades: Trades) -> int:
    """Insert trades that are not there yet, and return how many were."""
    base = instrument_id << ID_BITS
    columns = (
        (trades.id + base).tolist(),
        itertools.repeat(instrument_id, len(trades)),
        trades.id.tolist(),
        trades.ts_us.tolist(),
        trades.price.tolist(),
        trades.qty.tolist(),
        # Binding int is 1.5 times quicker than binding bool.
        trades.is_buy.astype("i8").tolist(),
    )
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, list(zip(*columns, strict=True)))
        return int(cursor.rowcount)


def _upsert(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Insert rows, replacing those with the same unique columns."""
    unique = list(model._meta.constraints[0].fields)  # type: ignore[attr-defined]
    keys = {"id", *unique}
    changed = [f.name for f in model._meta.concrete_fields if f.name not in keys]
    manager: Any = model._default_manager
    manager.bulk_create(rows, update_conflicts=True, unique_fields=unique, update_fields=changed)
