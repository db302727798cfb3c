"""`Writer`: the only thread that writes the hot tables. One transaction per flush.

Trades and the ledger rows that claim them commit together, so what the ledger says is held, is
held, whenever the process is killed.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connection,
    models,
    transaction,
)

from marketdata.core.backoff import Backoff
from marketdata.core.bar import counts_by
from marketdata.core.candles import Candle
from marketdata.core.coverage import Coverage, Run
from marketdata.core.errors import BadTradesError, BotCryptoError
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Grid
from marketdata.core.timeframe import MINUTE_US
from marketdata.core.trades import Refs, Trades
from marketdata.models import ID_BITS, DailyLevel, Restatement, SessionStat
from marketdata.models import Candle as CandleRow
from marketdata.models import Event as EventRow
from marketdata.store import absences, instruments, ledger, omissions, refusals, restatements
from marketdata.store.lock import writing

log = logging.getLogger(__name__)

FLUSH_ROWS = 10_000
FLUSH_S = 0.25
MOST_ROWS = 200_000
# One statement of a hundred rows costs two thirds of a hundred statements of one; more rows gain
# nothing, and SQLite takes at most 32,766 variables.
STATEMENT_ROWS = 100
COLUMNS = 7


def _insert(rows: int) -> str:
    marks = ", ".join(["(%s, %s, %s, %s, %s, %s, %s)"] * rows)
    return (
        "INSERT INTO marketdata_trade (id, instrument_id, trade_id, ts_us, price, qty, is_buy) "
        "VALUES " + marks + " ON CONFLICT (id) DO NOTHING"
    )


INSERT_ONE, INSERT_MANY = _insert(1), _insert(STATEMENT_ROWS)
INSERT_REF = "INSERT INTO marketdata_traderef (id, ref) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING"


class WriterStoppedError(BotCryptoError):
    """Something was handed to a writer that takes no more."""


@dataclass(frozen=True, slots=True)
class _Job:
    rows: int
    run: Callable[[], object] | None = None
    name: tuple[int, str] | None = None
    trades: Trades | None = None
    done: threading.Event | None = None


@dataclass(slots=True)
class Statistics:
    """What the writer has done.

    Parameters
    ----------
    rows, duplicates : int
        Trades inserted, and those that were there already.
    retries : int
        Transactions tried again because the database was busy, full or gone.
    refused : int
        Rows left out because the database will never take them; the ledger claims none of them.
    last_commit_s : float
        Monotonic seconds.
    """

    rows: int = 0
    duplicates: int = 0
    flushes: int = 0
    retries: int = 0
    refused: int = 0
    last_commit_s: float = field(default_factory=time.monotonic)


class Writer(threading.Thread):
    """Writes what it is handed, in batches.

    Parameters
    ----------
    flush_rows, flush_s : int, float
        A flush happens at so many rows or after so many seconds.
    most_rows : int
        Rows waiting before whoever hands in more must wait.
    on_flush : callable
        Told (rows, seconds) of each flush.

    Attributes
    ----------
    restated : Counts
        How many records of restatements each window has.
    on_restated : callable
        Told of records of restatements once they are committed; runs in this thread.
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
        self.restated = restatements.Counts()
        self.on_restated: Callable[[list[Restatement]], None] = lambda rows: None
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

    def put_trades(self, instrument_id: int, batch: Batch, most_rows: int | None = None) -> None:
        """Hand in trades; waits while too many rows wait.

        Parameters
        ----------
        most_rows : int, optional
            Wait at fewer rows than others do, so that live trades never have to.

        Raises
        ------
        BadTradesError
            An id that does not fit a row's key.
        WriterStoppedError
            After `stop`.
        """
        if not len(batch.trades):
            return
        lowest, highest = int(batch.trades.id.min()), int(batch.trades.id.max())
        if lowest < 0 or highest >> ID_BITS:
            raise BadTradesError(f"ids from 0 to 2**{ID_BITS} expected, seen {lowest}..{highest}")
        name = (instrument_id, batch.origin)
        job = _Job(len(batch.trades), name=name, trades=batch.trades)
        self._put(job, most_rows)

    def put_candles(
        self,
        instrument_id: int,
        timeframe: str,
        candles: Sequence[Candle],
        cause: str = "",
        ts_us: int = 0,
    ) -> None:
        """Hand in finished or restated candles.

        Parameters
        ----------
        cause : str
            Why one may differ from that stored, which was published; empty: it was not.
        ts_us : int
            When, microseconds UTC.
        """
        rows = [
            CandleRow(
                instrument_id=instrument_id,
                timeframe=timeframe,
                **{name: getattr(candle, name) for name in Candle.__dataclass_fields__},
            )
            for candle in candles
        ]

        def run() -> None:
            changed = restatements.of_candles(rows, cause, ts_us) if rows and cause else []
            _upsert(CandleRow, rows)
            self._restate(changed)

        self._put(_Job(len(rows), run))

    def put_levels(self, row: DailyLevel | SessionStat, cause: str, ts_us: int) -> None:
        """Hand in levels of a day or session; what they change of final ones is recorded."""

        def run() -> None:
            changed = restatements.of_levels(row, cause, ts_us)
            _upsert(type(row), [row])
            self._restate(changed)

        self._put(_Job(1, run))

    def put_restatement(self, row: Restatement) -> None:
        """Hand in the record of a number that changed without its row being final."""
        self._put(_Job(1, lambda: self._restate([row])))

    def _restate(self, changed: list[Restatement]) -> None:
        if changed:
            Restatement.objects.bulk_create(changed)
            transaction.on_commit(lambda: self._tell_restated(changed), robust=True)

    def _tell_restated(self, changed: list[Restatement]) -> None:
        self.restated.add(changed)
        self.on_restated(changed)

    def put_absence(
        self, instrument_id: int, runs: Sequence[Run], kind: str, reason: str, now_us: int
    ) -> None:
        """Hand in ids that cannot be had."""
        lacking = Coverage(runs)

        def run() -> None:
            if lacking.first is not None and lacking.last is not None:
                held = ledger.coverage(instrument_id, lacking.first, lacking.last)
                absences.note(instrument_id, lacking, held, kind, reason, now_us)

        self._put(_Job(len(lacking), run))

    def put_refusals(self, instrument_id: int, minutes: dict[int, int]) -> None:
        """Hand in how many trades of each minute came again."""
        self._put(_Job(len(minutes), lambda: refusals.add(instrument_id, minutes)))

    def put_omissions(self, instrument_id: int, trades: Trades) -> None:
        """Hand in trades that the feed did not bring."""
        self._put(_Job(len(trades), lambda: omissions.add(instrument_id, trades)))

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

    def put_grid(self, instrument_id: int, grid: Grid) -> None:
        """Hand in the finer grid an instrument is counted on now."""
        self._put(_Job(1, lambda: instruments.refine(instrument_id, grid)))

    def _put(self, job: _Job, most_rows: int | None = None) -> None:
        most_rows = self.most_rows if most_rows is None else most_rows
        with self._room:
            while self._waiting >= most_rows and not self._stopping.is_set():
                self._room.wait(0.2)
            if self._stopping.is_set():
                raise WriterStoppedError("the writer has stopped; hand rows in before stop()")
            self._waiting += job.rows
            self._jobs.put(job)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything handed in before is committed. Returns False where it is not."""
        done = threading.Event()
        self._jobs.put(_Job(0, done=done))
        return done.wait(timeout_s)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Write what waits, truncate the WAL, end. Returns False where rows had to be left."""
        with self._room:
            self._stopping.set()
            self._jobs.put(_Job(0))
            self._room.notify_all()
        if self.is_alive():
            self.join(timeout_s)
        if self.is_alive():
            self._abandoned.set()
            self.join(1.0)
        return self._waiting == 0

    def run(self) -> None:
        """Collect, write, repeat."""
        try:
            while not self._is_over():
                self._write(self._collect())
            if connection.vendor == "sqlite" and not self._abandoned.is_set():
                # A reader may keep the file busy; whoever opens the database next tries again.
                with suppress(DatabaseError), connection.cursor() as cursor:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    def _is_over(self) -> bool:
        return self._abandoned.is_set() or (self._stopping.is_set() and self._jobs.empty())

    def _collect(self) -> list[_Job]:
        """Take jobs until there are enough rows or the first has waited long enough."""
        jobs, deadline = [self._jobs.get()], time.monotonic() + self.flush_s
        rows = jobs[0].rows
        while rows < self.flush_rows and jobs[-1].done is None:
            left = 0.0 if self._stopping.is_set() else max(0.0, deadline - time.monotonic())
            try:
                jobs.append(self._jobs.get(block=left > 0, timeout=left or None))
            except queue.Empty:
                break
            rows += jobs[-1].rows
        return jobs

    def _write(self, jobs: list[_Job]) -> None:
        """Write jobs in one transaction, or one by one where some can never be written."""
        rows = [job for job in jobs if job.rows]
        if rows and not self._commit(rows):
            for job in rows:
                if not self._abandoned.is_set() and not self._commit([job]):
                    self._refuse(job)
        if self._abandoned.is_set():
            return
        with self._room:
            self._waiting -= sum(job.rows for job in rows)
            self._room.notify_all()
        for job in jobs:
            if job.done:
                job.done.set()

    def _commit(self, jobs: list[_Job]) -> bool:
        """Commit jobs, however often it takes; False where they are refused or time is up."""
        backoff = Backoff(base_s=0.05, cap_s=2.0)
        began = time.perf_counter()
        while True:
            try:
                with writing():
                    inserted, offered = _write_all(jobs)
            except Exception as error:  # noqa: BLE001  (a writer that dies loses all that follows)
                connection.close()
                self._complain(error)
                if not _may_pass(error):
                    return False
                self.statistics.retries += 1
                if self._abandoned.wait(backoff.next(random.random())):
                    return False
            else:
                self._note(inserted, offered, time.perf_counter() - began)
                return True

    def _complain(self, error: Exception) -> None:
        if str(error) != self.last_error:
            log.error("rows not written error=%s: %s", type(error).__name__, error)
        self.last_error = str(error)

    def _refuse(self, job: _Job) -> None:
        self.statistics.refused += job.rows
        log.error("rows left out for good rows=%s error=%s", job.rows, self.last_error)

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


def _may_pass(error: Exception) -> bool:
    """Tell whether the database may take the same rows later: it is locked, full, damaged, gone."""
    return isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError


def _write_all(jobs: Sequence[_Job]) -> tuple[int, int]:
    """Write jobs: trades of one instrument and origin together, then the rest in order."""
    parts: dict[tuple[int, str], list[Trades]] = {}
    for job in jobs:
        if job.name is not None and job.trades is not None:
            parts.setdefault(job.name, []).append(job.trades)
    inserted = offered = 0
    for (instrument_id, origin), batches in parts.items():
        trades = Trades.concat(batches)
        offered += len(trades)
        trades = _distinct(trades.sorted())
        new = insert_trades(instrument_id, trades)
        if new < len(trades):
            _count_refused(instrument_id, trades)
        if trades.ref is not None:
            insert_refs(instrument_id, trades, trades.ref)
        inserted += new
        ledger.claim(instrument_id, trades, origin)
    for job in jobs:
        if job.run is not None:
            job.run()
    return inserted, offered


def _count_refused(instrument_id: int, trades: Trades) -> None:
    """Count the trades of a batch that were stored before it; what is stored is claimed."""
    ids, again = trades.id, np.zeros(len(trades), dtype=np.bool_)
    for first, last in ledger.coverage(instrument_id, int(ids[0]), int(ids[-1])):
        again |= (ids >= first) & (ids <= last)
    refusals.add(instrument_id, counts_by(trades.ts_us[again], MINUTE_US))


def _distinct(trades: Trades) -> Trades:
    """Return sorted trades without those that repeat the id before."""
    is_repeated = trades.id[1:] == trades.id[:-1]
    if not is_repeated.any():
        return trades
    return trades[[True, *(~is_repeated).tolist()]]


def insert_trades(instrument_id: int, trades: Trades) -> int:
    """Insert trades that are not there yet, and return how many were."""
    columns: tuple[list[Any], ...] = (
        (trades.id + (instrument_id << ID_BITS)).tolist(),
        [instrument_id] * len(trades),
        trades.id.tolist(),
        trades.ts_us.tolist(),
        trades.price.tolist(),
        trades.qty.tolist(),
        # Binding int is 1.5 times quicker than binding bool.
        trades.is_buy.astype("i8").tolist(),
    )
    flat: list[Any] = [None] * (COLUMNS * len(trades))
    for at, column in enumerate(columns):
        flat[at::COLUMNS] = column
    even = len(flat) - len(flat) % (COLUMNS * STATEMENT_ROWS)
    return _execute(INSERT_MANY, flat[:even], COLUMNS * STATEMENT_ROWS) + _execute(
        INSERT_ONE, flat[even:], COLUMNS
    )


def insert_refs(instrument_id: int, trades: Trades, refs: Refs) -> None:
    """Insert the venue's own ids of trades that it does not number."""
    keys = (trades.id + (instrument_id << ID_BITS)).tolist()
    pairs = [(key, ref.decode()) for key, ref in zip(keys, refs.tolist(), strict=True) if ref]
    with connection.cursor() as cursor:
        cursor.executemany(INSERT_REF, pairs)


def _execute(statement: str, values: list[Any], width: int) -> int:
    if not values:
        return 0
    parts = [values[at : at + width] for at in range(0, len(values), width)]
    with connection.cursor() as cursor:
        cursor.executemany(statement, parts)
        return int(cursor.rowcount)


def _upsert(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Insert rows, replacing those with the same unique columns."""
    unique = list(model._meta.constraints[0].fields)  # type: ignore[attr-defined]
    keys = {"id", *unique}
    changed = [f.name for f in model._meta.concrete_fields if f.name not in keys]
    manager: Any = model._default_manager
    manager.bulk_create(rows, update_conflicts=True, unique_fields=unique, update_fields=changed)
