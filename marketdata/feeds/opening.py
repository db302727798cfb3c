"""`Opener`: what a symbol needs before its trades mean anything: tick and lot, the stored day.

A thread for each symbol, so that nothing waits for the venue.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.db import connection

from marketdata import rebuild
from marketdata.context import PreviousDay
from marketdata.core.backoff import Backoff
from marketdata.core.errors import BotCryptoError, StoppedError, VenueError
from marketdata.core.instrument import Instrument
from marketdata.core.numbering import number_at, time_at
from marketdata.core.splice import REMEMBERED, Splice
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.models import DailyLevel, Edge
from marketdata.pipeline import Pipeline
from marketdata.store import absences, instruments, ledger, omissions, restatements, rows
from marketdata.store.sink import StoreSink

if TYPE_CHECKING:
    from marketdata.feeds.source import Source

log = logging.getLogger(__name__)

# How a simulated venue labels trades that it made up; recorded ones are real.
INVENTED = "generated"
# A flow that is asked may have a day of stored trades before it.
PATIENCE_S, BREATH_S = 60.0, 1.0


class Opener(threading.Thread):
    """Opens one symbol of a source, and tells it what the venue says of the day.

    Parameters
    ----------
    source : Source
    symbol : str
    """

    def __init__(self, source: Source, symbol: str) -> None:
        super().__init__(name=f"open-{source.name}-{symbol}", daemon=True)
        self.source = source
        self.symbol = symbol

    def run(self) -> None:
        """Open it; errors are told in the log."""
        try:
            instrument = self._instrument()
            if instrument is None:
                return
            pipeline = self._pipeline(instrument)
            clock = self.source.clock
            if self.source.is_replay:
                clock = lambda: pipeline.watermark_us  # noqa: E731  (a tape's clock is its own)
            sink = self.source.sinks[self.symbol]
            sink.clock, sink.since_us = clock, self._since_us(pipeline, clock())
            self.source.flow.add(pipeline, clock)
            if self.source.repair is not None:
                self.source.repair.forgo(self.symbol, absences.coverage(instrument.id))
            self.source.writer.restated.load(instrument.id, sink.since_us)
            if not self.source.is_replay:
                self._restore(pipeline, sink.since_us, clock())
            self.source.restored.add(self.symbol)
            self._go_on(instrument)
            self._ask_venue(pipeline, clock)
        except BotCryptoError as error:
            if not self.source.stopping.is_set():
                log.error(
                    "instrument not opened source=%s symbol=%s error=%s",
                    self.source.name,
                    self.symbol,
                    error,
                )
        finally:
            connection.close()

    def _instrument(self) -> Instrument | None:
        """Return tick and lot from the venue, or from the store while the venue is silent."""
        backoff = Backoff(base_s=0.5, cap_s=30.0)
        while not self.source.stopping.is_set():
            try:
                listing = self.source.client.listing(self.symbol)
            except BotCryptoError as error:
                stored = instruments.find(self.source.name, self.symbol)
                if stored is not None:
                    return stored
                if isinstance(error, VenueError) and not error.retryable:
                    raise
                log.warning(
                    "venue does not tell the tick yet symbol=%s error=%s", self.symbol, error
                )
            else:
                return instruments.remember(
                    self.source.name,
                    self.symbol,
                    listing.grid,
                    simulated=self.source.client.label == INVENTED,
                    channel=self.source.channel.name,
                )
            self.source.stopping.wait(backoff.next(random.random()))
        return None

    def _pipeline(self, instrument: Instrument) -> Pipeline:
        pipeline = rebuild.new_pipeline(instrument)
        sink = StoreSink(self.source.writer)
        sink.pipeline = pipeline
        pipeline.sinks = (sink, self.source.tape)
        self.source.sinks[instrument.symbol] = sink
        return pipeline

    def _since_us(self, pipeline: Pipeline, now_us: int) -> int:
        """Return when the day or, if that is earlier, a session that runs began."""
        if self.source.is_replay:
            return 0
        running = pipeline.context.calendar.at(now_us)
        return min([open_us(now_us, DAY_US), *(window.start_us for window in running)])

    def _restore(self, pipeline: Pipeline, since_us: int, now_us: int) -> None:
        """Read what is stored since a time back into the pipeline."""
        instrument, sink = pipeline.instrument, self.source.sinks[self.symbol]
        day_us = open_us(now_us, DAY_US)
        count = 0
        for trades in rows.read_trades(instrument.id, since_us, day_us + DAY_US):
            for batch in rebuild.by_origin(instrument.id, trades):
                self.source.flow.put_history(
                    self.source.name, instrument.symbol, batch, is_stored=True
                )
                count += len(batch.trades)
            if self.source.stopping.is_set():
                return
        self._ask(lambda: None)
        others = rebuild.earlier(instrument.id, since_us)
        minutes = restatements.minutes(instrument.id, since_us, day_us + DAY_US)
        self._ask(lambda: others.tell(pipeline.context))
        self._ask(lambda: sink.reconcile(minutes))
        if count:
            log.info("stored day read back symbol=%s trades=%s", instrument.symbol, count)

    def _ask(self, question: Callable[[], object]) -> None:
        """Have the flow do something, however busy it is. Raises StoppedError."""
        while True:
            try:
                self.source.flow.ask(question, PATIENCE_S)
            except TimeoutError as error:
                log.warning("the flow is busy source=%s symbol=%s", self.source.name, self.symbol)
                if self.source.stopping.wait(BREATH_S):
                    raise StoppedError("stopped while the flow was busy") from error
            else:
                return

    def _ask_venue(self, pipeline: Pipeline, clock: Callable[[], int]) -> None:
        """Learn the day's first trade and the previous day's levels, however long it takes."""
        wanted = [self._ask_start] if self.source.settings.context_backfill_enabled else []
        if self.source.settings.context_bootstrap_prev_day:
            wanted.append(self._ask_previous)
        backoff = Backoff(base_s=0.5, cap_s=30.0)
        while wanted and not self.source.stopping.is_set():
            try:
                if clock() and wanted[0](pipeline, open_us(clock(), DAY_US)):
                    wanted.pop(0)
                    backoff.reset()
                    continue
            except BotCryptoError as error:
                if self.source.stopping.is_set():
                    return
                log.warning("venue does not tell yet what=%s error=%s", wanted[0].__name__, error)
                wanted.append(wanted.pop(0))
            self.source.stopping.wait(backoff.next(random.random()))

    def _go_on(self, instrument: Instrument) -> None:
        """Let trades that we number follow on what is stored."""
        if self.source.splicer is None:
            return
        if self.source.is_replay:
            # A tape played again gets the numbers that it had.
            told = omissions.newest_refs(instrument.id, REMEMBERED)
            self.source.splicer.ready(self.symbol, Splice(told=told))
            return
        last = rows.latest(instrument.id, 1)
        number, ts_us = (int(last.id[0]), int(last.ts_us[0])) if len(last) else (-1, 0)
        self.source.follows(self.symbol, last)
        refs = rows.newest_refs(instrument.id, REMEMBERED)
        splice = Splice(
            number,
            ts_us,
            refs,
            instrument.cadence_us,
            since_us=self._begun_us(instrument, number),
            told=omissions.newest_refs(instrument.id, REMEMBERED),
        )
        self.source.splicer.ready(self.symbol, splice)

    def _begun_us(self, instrument: Instrument, number: int) -> int:
        """Return when the stretch that ends with a number began: its first number says so."""
        first = number
        for run_first, run_last in ledger.coverage(instrument.id, last=number):
            if run_first <= number <= run_last:
                first = run_first
        return time_at(first)

    def _ask_start(self, pipeline: Pipeline, day_us: int) -> bool:
        first = self._first_id(day_us)
        if first is None:
            return False
        self._ask(lambda: pipeline.context.set_edge(day_us, first))
        self.source.writer.put_row(
            Edge(instrument_id=pipeline.instrument.id, start_us=day_us, first_id=first)
        )
        self.source.known_starts.add(self.symbol)
        return True

    def _first_id(self, day_us: int) -> int | None:
        if not self.source.venue.is_numbered:
            # Our own numbers say where a day begins.
            return number_at(day_us)
        return self.source.first_id(self.symbol, day_us)

    def _ask_previous(self, pipeline: Pipeline, day_us: int) -> bool:
        instrument = pipeline.instrument
        before_us = day_us - DAY_US
        told = self.source.client.day(instrument.symbol, before_us)
        if told is not None:
            levels = PreviousDay(told.high, told.low, told.close, "klines")
            self._ask(lambda: pipeline.context.set_previous(before_us, levels))
            self.source.writer.put_row(
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
