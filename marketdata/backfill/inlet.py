"""`Inlet`: where backfilled trades go in, live pipelines or straight to the writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from marketdata.core.coverage import Run
from marketdata.core.events import Batch
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import DAY_US
from marketdata.store.absences import Kind
from marketdata.store.writer import Writer

FLUSH_S = 60.0
# Two flushes ahead keep the writer busy. More would fill its queue, and then live trades wait too.
BACKLOG_ROWS = 20_000
ABSENT = "the venue does not have them"
UNUSED = "nothing else was traded then: no trade has these numbers"


def _nothing(source: str, symbol: str, day_us: int) -> bool:
    return False


def _nowhere(source: str, symbol: str, batch: Batch) -> object:
    raise RuntimeError("a deliver that goes with holds expected, seen none")


@dataclass(frozen=True)
class Inlet:
    """The way into the store.

    Parameters
    ----------
    writer : Writer
        Takes the trades of days that no live pipeline holds; makes whoever is too quick wait.
    holds : callable
        (source, symbol, start of a UTC day) → whether a live pipeline holds that day in memory.
    deliver : callable
        (source, symbol, batch) → hands trades of such a day to the pipeline, which hands on to the
        writer what is new to it.
    drain : callable
        Returns when all that was delivered has reached the writer, or raises TimeoutError.
    lacks : callable or None
        (instrument, ids, reason) → keeps that the venue does not have them, and tells whoever
        runs; None where nothing runs.
    """

    writer: Writer
    holds: Callable[[str, str, int], bool] = _nothing
    deliver: Callable[[str, str, Batch], object] = _nowhere
    drain: Callable[[], object] = lambda: None
    lacks: Callable[[Instrument, list[Run], str], object] | None = None

    def put(self, instrument: Instrument, batch: Batch) -> None:
        """Hand in trades; waits for room. Raises WriterStoppedError."""
        for day_us, part in by_day(batch):
            if self.holds(instrument.source, instrument.symbol, day_us):
                self.deliver(instrument.source, instrument.symbol, part)
            else:
                self.writer.put_trades(instrument.id, part, BACKLOG_ROWS)

    def lack(self, instrument: Instrument, runs: list[Run], now_us: int) -> None:
        """Keep that the venue does not have some ids, or that no trade has some of our numbers."""
        reason = ABSENT if instrument.is_numbered else UNUSED
        if self.lacks is not None and runs:
            self.lacks(instrument, runs, reason)
        else:
            self.writer.put_absence(instrument.id, runs, Kind.EXCHANGE_SIDE, reason, now_us)

    def drained(self) -> bool:
        """Wait until what was delivered has reached the writer. Returns False where it has not."""
        try:
            self.drain()
        except TimeoutError:
            # The pipelines are busy, or stopped; the ledger will tell what arrived.
            return False
        return True

    def settle(self) -> bool:
        """Wait until everything handed in is committed. Returns False where it is not."""
        return self.drained() and self.writer.flush(FLUSH_S)


def by_day(batch: Batch) -> Iterator[tuple[int, Batch]]:
    """Cut a batch by the UTC day of its trades, which need not be in order of time."""
    days = batch.trades.ts_us // DAY_US
    for day in np.unique(days).tolist():
        mine = days == day
        part = batch.trades if mine.all() else batch.trades[mine]
        yield day * DAY_US, Batch(part, batch.origin, batch.recv_us)
