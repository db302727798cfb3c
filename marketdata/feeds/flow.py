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
from dataclasses import dataclass, field, replace
from typing import TypeVar

from django.db import connections

from marketdata.context import DAY, Scope
from marketdata.core.bar import Bars
from marketdata.core.coverage import ScopeCoverage
from marketdata.core.errors import OffGridError
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import SECOND_US
from marketdata.metrics.lead import Track
from marketdata.pipeline import BASE, Pipeline
from marketdata.store.board import REFRESH_S, Board, Key

log = logging.getLogger(__name__)
T = TypeVar("T")
A = TypeVar("A")
Name = tuple[str, str]

# History batches in the queue at a time; each is a page of a thousand trades or a stored chunk.
HISTORY_AHEAD = 4
# How long the thread sleeps at most: session clocks and candle grace need it awake.
IDLE_S = 0.05
LATENCIES = 4096
PUSHED_MINUTES = 120
# A hole must be known within seconds; computing it costs microseconds.
COVERAGE_EVERY_S = 0.25
# Trades kept of an instrument whose tick is not known yet: 33 bytes each.
EARLY_TRADES = 200_000
# A price that no trade has confirmed for so long counts as unknown, not as still.
CONFIRMED_US = 10 * SECOND_US
# The same error again is logged this often at most.
COMPLAIN_S = 60.0


@dataclass(slots=True)
class Lane:
    """A pipeline and what surrounds it.

    Parameters
    ----------
    damage : str
        The unexpected error after which state and store may disagree; empty is none.
    track : Track
        The last price of each second.
    """

    pipeline: Pipeline
    clock: Callable[[], int]
    version: int = 0
    coverage: ScopeCoverage | None = None
    posted: dict[str, int] = field(default_factory=dict)
    is_backfilling: bool = False
    damage: str = ""
    track: Track = field(default_factory=Track)


@dataclass(frozen=True, slots=True)
class _Arrival:
    name: Name
    batch: Batch
    is_history: bool = False
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
        self.dropped = 0
        self.refused: deque[str] = deque(maxlen=100)
        self.refused_batches = 0
        self.errors = 0
        self.last_error = ""
        self.live_trades = 0
        self.lag_us: deque[int] = deque(maxlen=LATENCIES)
        self.on_lag: Callable[[float], None] = lambda seconds: None
        self._coverage_at_s = 0.0
        self._complained_s = 0.0
        # (monotonic seconds, live trades so far), four times a second over the last ten seconds.
        self._pulse: deque[tuple[float, int]] = deque(maxlen=41)
        self._failed_s: dict[Key, float] = {}
        self._early: dict[Name, deque[_Arrival]] = {}
        # For what feed threads and bootstraps touch besides the queue: early batches and drops.
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[_Arrival | _Question | None] = queue.SimpleQueue()
        self._history = threading.BoundedSemaphore(HISTORY_AHEAD)
        self._stopping = threading.Event()

    @property
    def depth(self) -> int:
        """How many batches and questions wait."""
        return self._inbox.qsize()

    @property
    def trades_per_s(self) -> float:
        """Live trades per second over the last ten seconds."""
        pulse = list(self._pulse)
        if len(pulse) < 2:
            return 0.0
        return (pulse[-1][1] - pulse[0][1]) / (pulse[-1][0] - pulse[0][0])

    def put(self, source: str, symbol: str, batch: Batch) -> bool:
        """Hand in live trades; never waits. Returns False where they were dropped."""
        if self._inbox.qsize() >= self.max_queue or self._stopping.is_set():
            with self._lock:
                self.dropped += len(batch.trades)
            return False
        self._inbox.put(_Arrival((source, symbol), batch))
        return True

    def put_history(
        self, source: str, symbol: str, batch: Batch, *, is_stored: bool = False
    ) -> bool:
        """Hand in older trades; waits for room, so that live ones come first.

        Returns False where the thread stopped meanwhile.
        """
        while not self._history.acquire(timeout=0.2):
            if self._stopping.is_set():
                return False
        self._inbox.put(_Arrival((source, symbol), batch, is_history=True, is_stored=is_stored))
        return True

    def ask(self, question: Callable[[], T], timeout_s: float = 5.0) -> T:
        """Run `question` in the owning thread and return its answer.

        Raises
        ------
        TimeoutError
            The thread did not come to it in time; it will not be run later.
        """
        if threading.current_thread() is self:
            return question()
        if self._stopping.is_set():
            raise TimeoutError("the flow has stopped")
        answer: Future[object] = Future()
        self._inbox.put(_Question(question, answer))
        try:
            return answer.result(timeout_s)  # type: ignore[return-value]  # the future is T's
        except TimeoutError:
            answer.cancel()
            raise

    def tell(self, work: Callable[[], object]) -> None:
        """Run `work` in the owning thread, soon; nobody waits for it."""
        self._inbox.put(_Question(work, Future()))

    def add(self, pipeline: Pipeline, clock: Callable[[], int]) -> None:
        """Take over a pipeline."""
        instrument = pipeline.instrument
        name = (instrument.source, instrument.symbol)
        with self._lock:
            self.lanes[name] = Lane(pipeline, clock)
            early = self._early.pop(name, ())
        # The socket may be quicker than the answer that tells tick and lot.
        for item in early:
            self._inbox.put(item)

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
        """Serve the queue until stopped and empty, whatever a batch does."""
        try:
            while not (self._stopping.is_set() and self._inbox.empty()):
                self._turn()
        finally:
            connections.close_all()

    def _turn(self) -> None:
        try:
            item = self._inbox.get(timeout=self._wait_s())
        except queue.Empty:
            item = None
        if isinstance(item, _Arrival):
            self._arrive(item)
        elif isinstance(item, _Question):
            _answer(item)
        self._tick()

    def _wait_s(self) -> float:
        """Return how long nothing needs this thread: a change on screen must not wait for more."""
        return max(0.0, min([IDLE_S, *(self._due_in(key) for key in self.board.wanted())]))

    def _due_in(self, key: Key) -> float:
        lane = self.lanes.get((key.source, key.symbol))
        # A tape's clock stands at zero until its first trade: there is nothing to show yet.
        if lane is None or not lane.clock():
            return IDLE_S
        due_s = self.board.due_in(key, has_changed=lane.posted.get(key.scope, 0) != lane.version)
        if key in self._failed_s:
            return max(due_s, self._failed_s[key] + REFRESH_S - time.monotonic())
        return due_s

    def _arrive(self, item: _Arrival) -> None:
        if item.is_history:
            self._history.release()
        lane = self._lane(item)
        if lane is None:
            return
        try:
            self._feed(lane, item)
        except OffGridError as error:
            self.refused_batches += 1
            self.refused.append(str(error))
            log.error("trades refused source=%s symbol=%s error=%s", *item.name, error)
        except Exception as error:  # noqa: BLE001  (one batch must not end all instruments)
            # Ids may be claimed whose trades were not counted, or counted and not stored.
            lane.damage = f"{type(error).__name__}: {error}"
            lane.version += 1
            self._complain(error, f"batch source={item.name[0]} symbol={item.name[1]}")

    def _lane(self, item: _Arrival) -> Lane | None:
        lane = self.lanes.get(item.name)
        if lane is not None:
            return lane
        with self._lock:
            if item.name not in self.lanes:
                self._keep_early(item)
        return self.lanes.get(item.name)

    def _keep_early(self, item: _Arrival) -> None:
        early = self._early.setdefault(item.name, deque())
        early.append(replace(item, is_history=False))
        while sum(len(kept.batch.trades) for kept in early) > EARLY_TRADES:
            self.dropped += len(early.popleft().batch.trades)

    def _feed(self, lane: Lane, item: _Arrival) -> None:
        fresh = lane.pipeline.feed(item.batch, is_stored=item.is_stored)
        if fresh:
            lane.version += 1
        if item.is_history:
            return
        self.live_trades += fresh
        if item.batch.recv_us and len(item.batch.trades):
            lag_us = lane.clock() - int(item.batch.trades.ts_us[-1])
            self.lag_us.append(lag_us)
            self.on_lag(lag_us / SECOND_US)

    def _complain(self, error: Exception, what: str) -> None:
        """Count an error nobody expected; log it with its traceback, the same one now and then."""
        text, now_s = f"{type(error).__name__}: {error}", time.monotonic()
        self.errors += 1
        if text != self.last_error or now_s - self._complained_s >= COMPLAIN_S:
            self._complained_s = now_s
            log.error("flow goes on after an error in %s", what, exc_info=error)
        self.last_error = text

    def _tick(self) -> None:
        for name in list(self.lanes):
            self._safely(self._advance, name)
        for key in self.board.wanted():
            if (key.source, key.symbol) in self.lanes and self._due_in(key) <= 0:
                self._failed_s[key] = time.monotonic()
                if self._safely(self._post, key):
                    del self._failed_s[key]
        now_s = time.monotonic()
        if now_s - self._coverage_at_s >= COVERAGE_EVERY_S:
            self._coverage_at_s = now_s
            self._pulse.append((now_s, self.live_trades))
            for name in list(self.lanes):
                self._safely(self._check_coverage, name)

    def _safely(self, work: Callable[[A], object], about: A) -> bool:
        try:
            work(about)
        except Exception as error:  # noqa: BLE001  (the thread that owns all state must go on)
            self._complain(error, f"{work.__name__} of {about}")
            return False
        return True

    def _advance(self, name: Name) -> None:
        lane = self.lanes[name]
        lane.pipeline.advance(lane.clock())

    def _check_coverage(self, name: Name) -> None:
        """Say what each day in memory lacks, the newest day last."""
        lane = self.lanes[name]
        context = lane.pipeline.context
        days = [context.coverage(x) for x in context.scopes() if x.window.name == DAY]
        now_us = lane.clock()
        today = context.scope(DAY, now_us)
        lane.coverage = context.coverage(today)
        _sample(lane, today, now_us)
        self.on_coverage(name, days)

    def _post(self, key: Key) -> None:
        lane = self.lanes[key.source, key.symbol]
        has_changed = lane.posted.get(key.scope, 0) != lane.version
        lane.posted[key.scope] = lane.version
        began_s = time.monotonic()
        snapshot = lane.pipeline.context.snapshot(key.scope, lane.clock())
        minutes = copies(lane.pipeline.bars(BASE, PUSHED_MINUTES))
        self.board.post(
            key,
            snapshot,
            minutes,
            is_backfilling=lane.is_backfilling,
            has_changed=has_changed,
            damage=lane.damage,
            cost_s=time.monotonic() - began_s,
        )


def _sample(lane: Lane, today: Scope, now_us: int) -> None:
    """Note the last price, once a second."""
    second, bar = now_us // SECOND_US, today.bar
    if second <= lane.track.newest_s:
        return
    is_known = bar is not None and now_us - today.last_ts_us <= CONFIRMED_US
    price = lane.pipeline.instrument.grid.price
    lane.track.put(second, price(bar.close) if bar and is_known else None)


def _answer(item: _Question) -> None:
    if not item.answer.set_running_or_notify_cancel():
        return
    try:
        item.answer.set_result(item.ask())
    except Exception as error:  # noqa: BLE001  (handed to the asker, who sees it raised)
        item.answer.set_exception(error)


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
