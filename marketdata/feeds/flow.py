"""`Flow`: the one thread that owns every pipeline. Batches and questions come in by one queue.

Feeds put live batches and never wait: when the queue is full a batch is dropped and counted, the
jump in ids shows as a gap, and repair refills it. History waits for its turn instead.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from marketdata.context import DAY, ScopeCoverage
from marketdata.core.bar import Bars
from marketdata.core.errors import OffGridError
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import SECOND_US
from marketdata.pipeline import BASE, Pipeline
from marketdata.store.board import Board, Key

log = logging.getLogger(__name__)
T = TypeVar("T")
Name = tuple[str, str]

# History batches in the queue at a time; each is a page of a thousand trades or a stored chunk.
HISTORY_AHEAD = 4
# How long the thread sleeps at most: session clocks, candle grace and postings need it awake.
IDLE_S = 0.05
LATENCIES = 4096
PUSHED_MINUTES = 120
# A hole must be known within seconds; computing it costs microseconds.
COVERAGE_EVERY_S = 0.25


@dataclass(slots=True)
class Lane:
    """A pipeline and what surrounds it."""

    pipeline: Pipeline
    clock: Callable[[], int]
    version: int = 0
    coverage: ScopeCoverage | None = None
    posted: dict[str, int] = field(default_factory=dict)
    is_backfilling: bool = False


@dataclass(frozen=True, slots=True)
class _Arrival:
    name: Name
    batch: Batch
    is_stored: bool = False


@dataclass(frozen=True, slots=True)
class _Question:
    ask: Callable[[], object]
    answer: Future[object]


class Flow(threading.Thread):
    """Runs pipelines in one thread.

    Parameters
    ----------
    board : Board
        Where snapshots go.
    max_queue : int
        Batches waiting before live data is dropped.
    on_coverage : callable
        Called in this thread with (name, coverage of each day in memory), some times a second.
    """

    def __init__(
        self,
        board: Board,
        max_queue: int = 5000,
        on_coverage: Callable[[Name, list[ScopeCoverage]], None] = lambda name, days: None,
    ) -> None:
        super().__init__(name="flow", daemon=True)
        self.board = board
        self.board.nudge = self.nudge
        self.lanes: dict[Name, Lane] = {}
        self.max_queue = max_queue
        self.on_coverage = on_coverage
        self._coverage_at_s = 0.0
        self._early: dict[Name, deque[Batch]] = {}
        self.dropped = 0
        self.refused: deque[str] = deque(maxlen=100)
        self.lag_us: deque[int] = deque(maxlen=LATENCIES)
        self.on_lag: Callable[[float], None] = lambda seconds: None
        self._inbox: queue.SimpleQueue[_Arrival | _Question | None] = queue.SimpleQueue()
        self._history = threading.BoundedSemaphore(HISTORY_AHEAD)
        self._stopping = threading.Event()

    @property
    def depth(self) -> int:
        """How many batches and questions wait."""
        return self._inbox.qsize()

    def put(self, source: str, symbol: str, batch: Batch) -> bool:
        """Hand in live trades; never waits. Returns False where the queue was full."""
        if self._inbox.qsize() >= self.max_queue:
            self.dropped += len(batch.trades)
            return False
        self._inbox.put(_Arrival((source, symbol), batch))
        return True

    def put_history(
        self, source: str, symbol: str, batch: Batch, *, is_stored: bool = False
    ) -> None:
        """Hand in older trades; waits for room, so that live ones come first."""
        while not self._history.acquire(timeout=0.2):
            if self._stopping.is_set():
                return
        self._inbox.put(_Arrival((source, symbol), batch, is_stored))

    def ask(self, question: Callable[[], T], timeout_s: float = 5.0) -> T:
        """Run `question` in the owning thread and return its answer.

        Raises
        ------
        TimeoutError
            The thread did not come to it in time.
        """
        if threading.current_thread() is self:
            return question()
        answer: Future[object] = Future()
        self._inbox.put(_Question(question, answer))
        return answer.result(timeout_s)  # type: ignore[return-value]  # the future is T's

    def add(self, pipeline: Pipeline, clock: Callable[[], int]) -> None:
        """Take over a pipeline."""
        instrument = pipeline.instrument
        name = (instrument.source, instrument.symbol)
        self.lanes[name] = Lane(pipeline, clock)
        # The socket may be quicker than the answer that tells tick and lot.
        for batch in self._early.pop(name, ()):
            self._inbox.put(_Arrival(name, batch))

    def nudge(self) -> None:
        """Wake the thread."""
        self._inbox.put(None)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Finish what waits in the queue, then end."""
        self._stopping.set()
        self.nudge()
        if self.is_alive():
            self.join(timeout_s)

    def run(self) -> None:
        """Serve the queue until stopped and empty."""
        while not (self._stopping.is_set() and self._inbox.empty()):
            try:
                item = self._inbox.get(timeout=IDLE_S)
            except queue.Empty:
                item = None
            if isinstance(item, _Arrival):
                self._arrive(item)
            elif isinstance(item, _Question):
                self._answer(item)
            self._tick()

    def _arrive(self, item: _Arrival) -> None:
        if item.is_stored or item.batch.origin != "live":
            self._history.release()
        lane = self.lanes.get(item.name)
        if lane is None:
            self._early.setdefault(item.name, deque(maxlen=self.max_queue)).append(item.batch)
            return
        try:
            if lane.pipeline.feed(item.batch, is_stored=item.is_stored):
                lane.version += 1
        except OffGridError as error:
            self.refused.append(str(error))
            log.error("trades refused source=%s symbol=%s error=%s", *item.name, error)
            return
        if item.batch.recv_us and not item.is_stored:
            lag_us = lane.clock() - int(item.batch.trades.ts_us[-1])
            self.lag_us.append(lag_us)
            self.on_lag(lag_us / SECOND_US)

    def _answer(self, item: _Question) -> None:
        try:
            item.answer.set_result(item.ask())
        except Exception as error:  # noqa: BLE001  (handed to the asker, who sees it raised)
            item.answer.set_exception(error)

    def _tick(self) -> None:
        for lane in self.lanes.values():
            lane.pipeline.advance(lane.clock())
        for key in self.board.wanted():
            lane_or_none = self.lanes.get((key.source, key.symbol))
            if lane_or_none is not None:
                self._post(key, lane_or_none)
        if time.monotonic() - self._coverage_at_s >= COVERAGE_EVERY_S:
            self._coverage_at_s = time.monotonic()
            self._check_coverage()

    def _check_coverage(self) -> None:
        """Say what each day in memory lacks, the newest day last."""
        for name, lane in self.lanes.items():
            context = lane.pipeline.context
            days = [context.coverage(x) for x in context.scopes() if x.window.name == DAY]
            lane.coverage = context.coverage(context.scope(DAY, lane.clock()))
            self.on_coverage(name, days)

    def _post(self, key: Key, lane: Lane) -> None:
        has_changed = lane.posted.get(key.scope) != lane.version
        if not self.board.is_due(key, has_changed=has_changed):
            return
        lane.posted[key.scope] = lane.version
        snapshot = lane.pipeline.context.snapshot(key.scope, lane.clock())
        minutes = copies(lane.pipeline.bars(BASE, PUSHED_MINUTES))
        self.board.post(key, snapshot, minutes, is_backfilling=lane.is_backfilling)


def copies(bars: Bars) -> Bars:
    """Return bars that the pipeline will not change any more."""
    return [(start, bar.copy()) for start, bar in bars]


# Candles are shown as candles; their events would bury the rest.
SHOWN_AS_CANDLES = {"candle_complete", "candle_restated"}


class EventTape:
    """A sink that keeps the newest events for the page and tells a listener."""

    def __init__(self, keep: int = 500) -> None:
        self.events: deque[tuple[Instrument, Event]] = deque(maxlen=keep)
        self.listeners: list[Callable[[Instrument, Event], None]] = []

    def trades(self, instrument: Instrument, batch: Batch) -> None:
        """Trades are no events."""

    def event(self, instrument: Instrument, event: Event) -> None:
        """Keep the event and tell of it."""
        if event.kind in SHOWN_AS_CANDLES:
            return
        self.events.append((instrument, event))
        for listener in self.listeners:
            listener(instrument, event)
