"""`Source`: everything that runs for one feed name: bootstrap, sockets, repair."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.db import connection

from marketdata import rebuild
from marketdata.conf import Conf
from marketdata.context import PreviousDay
from marketdata.core.backoff import Backoff
from marketdata.core.coverage import Run, ScopeCoverage
from marketdata.core.errors import BotCryptoError, FrameError, VenueError
from marketdata.core.events import Batch, Event
from marketdata.core.facts import Fact
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.core.trades import Trades
from marketdata.feeds.flow import EventTape, Flow
from marketdata.feeds.ingestor import FeedStatus
from marketdata.feeds.repair import Repair
from marketdata.feeds.supervisor import Policy, Supervisor
from marketdata.models import Absence, DailyLevel, Edge, FeedState
from marketdata.pipeline import Pipeline
from marketdata.rest.client import VenueClient
from marketdata.rest.limiter import Priority
from marketdata.store import absences, instruments, restatements, rows
from marketdata.store.sink import StoreSink
from marketdata.store.writer import Writer
from marketdata.venues import venue_of
from marketdata.venues.base import Channel

log = logging.getLogger(__name__)

# Refused frames are kept in full, but a venue gone mad must not fill the disk.
KEPT_REJECTIONS = 100
# A venue that skips ids by habit must not bury what else has happened.
MOST_TOLD = 20
# How a simulated venue labels trades that it made up; recorded ones are real.
INVENTED = "generated"


def wall_us() -> int:
    """Return this machine's time, microseconds UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class ChannelPages:
    """The past of one channel, for repair."""

    client: VenueClient
    channel: Channel

    @property
    def limit(self) -> int:
        """Trades a page holds at most."""
        return self.client.venue.page_limit

    def page(self, symbol: str, first_id: int, limit: int) -> Trades:
        """Return trades from an id on, ascending."""
        return self.client.page(self.channel.name, symbol, first_id, limit, Priority.LIVE)


class Source:
    """Runs one feed name for several symbols.

    Parameters
    ----------
    name : str
        Feed name, for example `binance_ws`.
    symbols : sequence of str
        What to follow.
    settings : Conf
    flow, writer, tape
        Where trades, rows and events go.
    is_replay : bool
        The venue plays a tape: its own clock decides day and session.
    """

    def __init__(
        self,
        name: str,
        symbols: tuple[str, ...],
        settings: Conf,
        flow: Flow,
        writer: Writer,
        tape: EventTape,
        *,
        is_replay: bool = False,
    ) -> None:
        self.name = name
        self.symbols = symbols
        self.settings = settings
        hosts = settings.hosts(name)
        self.venue = venue_of(name, hosts.variant)
        self.channel = self.venue.channel(hosts.channel)
        self.flow = flow
        self.writer = writer
        self.tape = tape
        self.is_replay = is_replay
        self.rejections: Counter[str] = Counter()
        self.live_trades = 0
        self.sinks: dict[str, StoreSink] = {}
        self._reasons_told: set[str] = set()
        self._known_starts: set[str] = set()
        self._restored: set[str] = set()
        self._stopping = threading.Event()
        self.client = VenueClient(self.venue, hosts.rest, settings, self._stopping)
        self.repair = Repair(
            ChannelPages(self.client, self.channel), self._deliver, self._lacks, f"repair-{name}"
        )
        policy = Policy(
            settings.feed_stale_after_s, settings.feed_dead_after_s, settings.feed_roll_after_s
        )
        self.supervisor = Supervisor(
            self.venue, self.channel, hosts.ws, symbols, self, policy, wall_us
        )
        self._openers = [
            threading.Thread(target=self._open, args=(symbol,), name=f"open-{symbol}", daemon=True)
            for symbol in symbols
        ]

    def start(self) -> None:
        """Start sockets at once; bootstrap and repair follow as the venue answers."""
        self.supervisor.start()
        self.repair.start()
        for opener in self._openers:
            opener.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop sockets first, so that nothing new comes in, then the rest."""
        self._stopping.set()
        self.supervisor.stop(timeout_s)
        self.repair.stop(timeout_s)
        for opener in self._openers:
            opener.join(timeout_s)
        self.client.close()

    # What the sockets say; called in their threads.

    def trades(self, symbol: str, batch: Batch) -> None:
        """Hand live trades to the flow."""
        self.live_trades += len(batch.trades)
        self.flow.put(self.name, symbol, batch)

    def opened(self, symbols: Sequence[str]) -> None:
        """Do nothing: ids tell what was missed between two connections."""

    def closed(self, symbols: Sequence[str]) -> None:
        """Do nothing: the status says so."""

    def facts(self, facts: Sequence[tuple[str, Fact]]) -> None:
        """Pass over what is no trade."""

    def replies(self, replies: Mapping[int, bytes]) -> None:
        """Pass over answers: nothing is asked over this line."""

    def rejected(self, error: FrameError) -> None:
        """Count a refused frame and keep it."""
        self.rejections[error.reason] += 1
        if self.rejections.total() > KEPT_REJECTIONS:
            return
        raw = error.raw.decode("utf-8", "replace")
        detail = {"source": self.name, "reason": error.reason, "detail": error.detail, "raw": raw}
        self.writer.put_events(None, [Event("frame_rejected", wall_us(), detail)])
        if error.reason not in self._reasons_told:
            self._reasons_told.add(error.reason)
            log.warning("frame refused source=%s error=%s raw=%.200s", self.name, error, raw)

    def status(self, status: FeedStatus) -> None:
        """Log and store a change of state."""
        log.info(
            "feed source=%s channel=%s symbol=%s state=%s reconnects=%s %s",
            status.source,
            status.channel,
            status.symbol,
            status.state,
            status.reconnects,
            status.last_error,
        )
        if not self._stopping.is_set():
            self.writer.put_row(
                FeedState(
                    source=status.source,
                    channel=status.channel,
                    symbol=status.symbol[:255],
                    state=status.state,
                    since_us=wall_us(),
                    reconnects=status.reconnects,
                    last_error=status.last_error,
                )
            )

    # What the flow says; called in its thread, some times a second.

    def covered(self, symbol: str, days: list[ScopeCoverage]) -> None:
        """Hand what is missing to repair, once the stored day has been read back."""
        lane = self.flow.lanes[self.name, symbol]
        if self.settings.context_backfill_enabled and symbol in self._restored:
            self.repair.want(symbol, [run for day in days for run in day.ranges])
            is_searching = symbol not in self._known_starts
            lane.is_backfilling = is_searching or self.repair.is_busy(symbol)
        is_filling = lane.is_backfilling or symbol not in self._restored
        self.sinks[symbol].levels(lane.clock, is_filling=is_filling)

    # What repair says; called in its thread.

    def _deliver(self, symbol: str, trades: Trades) -> None:
        self.flow.put_history(self.name, symbol, Batch(trades, "rest"))

    def _lacks(self, symbol: str, runs: list[Run], reason: str, is_told: bool) -> None:
        pipeline = self.flow.lanes[self.name, symbol].pipeline
        kind = Absence.Kind.EXCHANGE_SIDE if is_told else Absence.Kind.PERMANENT
        self.lacks(pipeline, runs, kind, reason)

    def lacks(self, pipeline: Pipeline, runs: list[Run], kind: str, reason: str) -> None:
        """Keep that ids cannot be had, and why; repair, backfill and audit say so."""
        instrument, now_us = pipeline.instrument, wall_us()
        self.writer.put_absence(instrument.id, runs, kind, reason, now_us)
        self.repair.forgo(instrument.symbol, runs)
        if kind == Absence.Kind.EXCHANGE_SIDE:
            self.flow.tell(lambda: pipeline.lack(runs))
        for first, last in runs[:MOST_TOLD]:
            detail = {"first_id": first, "last_id": last, "reason": reason}
            event = Event(f"hole_{kind}", now_us, detail)
            self.writer.put_events(instrument.id, [event])
            self.tape.event(instrument, event)

    # Bootstrap: a thread for each symbol, so that nothing waits for the venue.

    def _open(self, symbol: str) -> None:
        try:
            instrument = self._instrument(symbol)
            if instrument is None:
                return
            pipeline = self._pipeline(instrument)
            clock: Callable[[], int] = wall_us
            if self.is_replay:
                clock = lambda: pipeline.watermark_us  # noqa: E731  (a tape's clock is its own)
            sink = self.sinks[symbol]
            sink.clock, sink.since_us = clock, self._since_us(pipeline, clock())
            self.flow.add(pipeline, clock)
            self.repair.forgo(symbol, absences.coverage(instrument.id))
            self.writer.restated.load(instrument.id, sink.since_us)
            if not self.is_replay:
                self._restore(pipeline, sink.since_us, clock())
            self._restored.add(symbol)
            self._ask_venue(pipeline, clock)
        except BotCryptoError as error:
            if not self._stopping.is_set():
                log.error(
                    "instrument not opened source=%s symbol=%s error=%s", self.name, symbol, error
                )
        finally:
            connection.close()

    def _instrument(self, symbol: str) -> Instrument | None:
        """Return tick and lot from the venue, or from the store while the venue is silent."""
        backoff = Backoff(base_s=0.5, cap_s=30.0)
        while not self._stopping.is_set():
            try:
                listing = self.client.listing(symbol)
            except BotCryptoError as error:
                stored = instruments.find(self.name, symbol)
                if stored is not None:
                    return stored
                if isinstance(error, VenueError) and not error.retryable:
                    raise
                log.warning("venue does not tell the tick yet symbol=%s error=%s", symbol, error)
            else:
                return instruments.remember(
                    self.name,
                    symbol,
                    listing.grid,
                    simulated=self.client.label == INVENTED,
                    channel=self.channel.name,
                )
            self._stopping.wait(backoff.next(random.random()))
        return None

    def _pipeline(self, instrument: Instrument) -> Pipeline:
        pipeline = rebuild.new_pipeline(instrument)
        sink = StoreSink(self.writer)
        sink.pipeline = pipeline
        pipeline.sinks = (sink, self.tape)
        self.sinks[instrument.symbol] = sink
        return pipeline

    def _since_us(self, pipeline: Pipeline, now_us: int) -> int:
        """Return when the day or, if that is earlier, a session that runs began."""
        if self.is_replay:
            return 0
        running = pipeline.context.calendar.at(now_us)
        return min([open_us(now_us, DAY_US), *(window.start_us for window in running)])

    def _restore(self, pipeline: Pipeline, since_us: int, now_us: int) -> None:
        """Read what is stored since a time back into the pipeline."""
        instrument, sink = pipeline.instrument, self.sinks[pipeline.instrument.symbol]
        day_us = open_us(now_us, DAY_US)
        count = 0
        for trades in rows.read_trades(instrument.id, since_us, day_us + DAY_US):
            for batch in rebuild.by_origin(instrument.id, trades):
                self.flow.put_history(self.name, instrument.symbol, batch, is_stored=True)
                count += len(batch.trades)
            if self._stopping.is_set():
                return
        self.flow.ask(lambda: None, timeout_s=60.0)
        others = rebuild.earlier(instrument.id, since_us)
        minutes = restatements.minutes(instrument.id, since_us, day_us + DAY_US)
        self.flow.ask(lambda: others.tell(pipeline.context))
        self.flow.ask(lambda: sink.reconcile(minutes))
        if count:
            log.info("stored day read back symbol=%s trades=%s", instrument.symbol, count)

    def _ask_venue(self, pipeline: Pipeline, clock: Callable[[], int]) -> None:
        """Learn the day's first trade and the previous day's levels, however long it takes."""
        wanted = [self._ask_start] if self.settings.context_backfill_enabled else []
        if self.settings.context_bootstrap_prev_day:
            wanted.append(self._ask_previous)
        backoff = Backoff(base_s=0.5, cap_s=30.0)
        while wanted and not self._stopping.is_set():
            try:
                if clock() and wanted[0](pipeline, open_us(clock(), DAY_US)):
                    wanted.pop(0)
                    backoff.reset()
                    continue
            except BotCryptoError as error:
                if self._stopping.is_set():
                    return
                log.warning("venue does not tell yet what=%s error=%s", wanted[0].__name__, error)
                wanted.append(wanted.pop(0))
            self._stopping.wait(backoff.next(random.random()))

    def _ask_start(self, pipeline: Pipeline, day_us: int) -> bool:
        symbol = pipeline.instrument.symbol
        first = self.client.first_id(self.channel.name, symbol, day_us)
        if first is None:
            return False
        self.flow.ask(lambda: pipeline.context.set_edge(day_us, first))
        self.writer.put_row(
            Edge(instrument_id=pipeline.instrument.id, start_us=day_us, first_id=first)
        )
        self._known_starts.add(symbol)
        return True

    def _ask_previous(self, pipeline: Pipeline, day_us: int) -> bool:
        instrument = pipeline.instrument
        before_us = day_us - DAY_US
        told = self.client.day(instrument.symbol, before_us)
        if told is not None:
            levels = PreviousDay(told.high, told.low, told.close, "klines")
            self.flow.ask(lambda: pipeline.context.set_previous(before_us, levels))
            self.writer.put_row(
                DailyLevel(
                    instrument_id=instrument.id,
                    day_us=before_us,
                    origin="klines",
                    high=told.high,
                    low=told.low,
                    close=told.close,
                )
            )
        return True
