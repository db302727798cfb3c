"""`Runner`: one job, from plan to proof.

What is left to fetch is always what the ledger lacks, so a job that was killed, banned or cut off
goes on by being run again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from marketdata.backfill import jobs
from marketdata.backfill.archive import Span
from marketdata.backfill.crew import Crew, wait_of
from marketdata.backfill.fetch import Fetcher, Gate
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.means import Means
from marketdata.backfill.outcome import Evidence, Outcome, outcome_of
from marketdata.backfill.plan import Chunk, Part, Rules, parts_of, plan, stretches
from marketdata.backfill.progress import Progress
from marketdata.backfill.restate import READ_ROWS
from marketdata.backfill.target import Target
from marketdata.backfill.watch import Watch
from marketdata.core.backoff import Backoff
from marketdata.core.coverage import Coverage
from marketdata.core.errors import BotCryptoError, StoppedError
from marketdata.core.events import Batch
from marketdata.core.numbering import day_numbers, number_at, time_at
from marketdata.core.timeframe import DAY_US, MINUTE_US, open_us
from marketdata.core.trades import Trades
from marketdata.models import BackfillChunk, BackfillJob
from marketdata.store import absences, ledger, rows
from marketdata.store.absences import Kind
from marketdata.store.writer import WriterStoppedError

log = logging.getLogger(__name__)

WORKERS = 3
# After the first round only what a file lacked or a page did not bring is left.
MOST_ROUNDS = 5
# So long after a day a feed may still bring trades of it.
SETTLED_US = 10 * MINUTE_US
T = TypeVar("T")


class Runner:
    """Runs one job in the calling thread, with workers beside it.

    Parameters
    ----------
    job : BackfillJob
    means : Means
        What to fetch with; closed at the end.
    inlet : Inlet
        Where trades go.
    patience_s : float
        How long to go on without any trade while the venue rests, bans or is not reached.
    clock : callable
        Microseconds UTC.
    """

    def __init__(
        self,
        job: BackfillJob,
        means: Means,
        inlet: Inlet,
        patience_s: float,
        clock: Callable[[], int] = jobs.wall_us,
    ) -> None:
        self.job = job
        self.means = means
        self.inlet = inlet
        self.clock = clock
        self.progress = Progress()
        self.target = Target(job, means)
        self.is_cancelled = False
        self._touched: set[int] = set()
        self._held = Coverage()
        most = job.workers or WORKERS
        gate = Gate(most, means.stop)
        fetcher = Fetcher(
            means,
            job.symbol,
            job.via,
            job.path,
            self._put,
            gate,
            self.progress,
            clock,
            self._beside,
        )
        self._crew = Crew(job, fetcher, inlet, most, patience_s)

    def stop(self) -> None:
        """End after the page at hand; any thread may say so."""
        self.means.stop.set()
        self.means.reader.close()

    def cancel(self) -> None:
        """End for good."""
        self.is_cancelled = True
        self.stop()

    def run(self) -> Outcome:
        """Fetch what is missing; return what it came to. Never raises BotCryptoError."""
        began_s = time.monotonic()
        jobs.begin(self.job, self.clock())
        log.info("backfill began job=%s %s", self.job.pk, self._what())
        with Watch(self.job, self.means, self.progress, self.cancel):
            found = self._fetched()
            outcome = self._outcome(found)
            if outcome.status == BackfillJob.Status.COMPLETED:
                self._keep_days(found.parts)
        self.means.close()
        outcome.seconds = round(time.monotonic() - began_s, 3)
        self.progress.say(outcome.status)
        jobs.keep(self.job, finished_us=self.clock(), **outcome.columns())
        log.info("backfill ended %s", outcome.line())
        return outcome

    def _fetched(self) -> Evidence:
        """Fetch until nothing is left, or nothing more can be had."""
        found = Evidence()
        if self.job.via != "rest" and self.job.start_us + DAY_US <= self.clock():
            # It takes a third of a second to start; the venue is asked meanwhile.
            self.means.reader.warm()
        try:
            self._patiently(self.target.open)
            if self.means.by_time:
                # What a feed holds and has not stored yet would come twice.
                self.inlet.settle()
            found = replace(found, before=self._coverage())
            found = replace(found, parts=tuple(self._parts()))
            self._rounds(found.parts)
        except (StoppedError, WriterStoppedError):
            self.means.stop.set()
        except BotCryptoError as error:
            found = replace(found, error=str(error))
        return found

    def _keep_days(self, parts: Sequence[Part]) -> None:
        """Leave finished days in the cache that came by pages."""
        instrument = self.target.instrument
        for part in parts if not self.means.by_time else ():
            is_over = part.end_us - part.start_us == DAY_US and part.end_us <= self.clock()
            if instrument is None or not (
                is_over and part.is_told and part.day_us in self._touched
            ):
                continue
            span = Span(self.job.symbol, part.day_us, part.start_us, part.end_us)
            try:
                self.means.archive.keep(span, self._stored(instrument.id, part))
            except BotCryptoError as error:
                log.warning("day not kept in the cache job=%s error=%s", self.job.pk, error)

    def _stored(self, instrument_id: int, part: Part) -> Iterator[Trades]:
        for trades in rows.read_trades(instrument_id, part.start_us, part.end_us, READ_ROWS):
            self._check()
            yield trades

    def _what(self) -> str:
        job = self.job
        return (
            f"symbol={job.symbol} source={job.source} via={job.via} "
            f"range_us={job.start_us}..{job.end_us}"
        )

    def _outcome(self, found: Evidence) -> Outcome:
        found = replace(
            found,
            instrument=self.target.instrument,
            works=tuple(self._crew.works),
            by_time=self.means.by_time,
            why=self._why(),
            touched=frozenset(self._touched),
            is_sample=self.means.conf.context_backfill_test_mode,
            is_stopped=self.means.stop.is_set() and not found.error,
            is_cancelled=self.is_cancelled,
        )
        return outcome_of(
            self.job.pk, found, self.inlet, self.progress.say, self.clock, self._check
        )

    def _why(self) -> str:
        """Say what is missing that cannot be had yet; empty where that is not the reason."""
        published_s = self.means.published_s
        if not self.means.by_time or self.means.between is not None or published_s is None:
            return ""
        return (
            f"{self.means.venue.title} has no pages of the past: what is missing comes by the file "
            f"of its day, about {published_s / 3600:g} h after that has ended"
        )

    def _check(self) -> None:
        if self.means.stop.is_set():
            raise StoppedError("stopped while candles and levels were being written")

    # The plan.

    def _parts(self) -> list[Part]:
        job = self.job
        if self.means.by_time:
            return self._numbered_parts()
        if job.via == "file":
            return parts_of(job.start_us, job.end_us, {}, None)
        self.progress.say("asking the venue for the first and last id")
        try:
            return self._patiently(self._told_parts)
        except StoppedError:
            raise
        except BotCryptoError as error:
            if not self._can_do_without_ids():
                raise
            log.warning("files alone tell what there is symbol=%s error=%s", job.symbol, error)
            return parts_of(job.start_us, job.end_us, {}, None)

    def _told_parts(self) -> list[Part]:
        """Ask for the first id of each day, and the last one before the end."""
        job, means, rules = self.job, self.means, self._rules()
        spans = stretches(job.start_us, job.end_us)
        # Beyond their reach pages begin with the oldest trade they have, whatever is asked for.
        beyond = [Part(*span) for span in spans if not rules.is_reached(span[0])]
        starts = [start_us for start_us, _ in spans[len(beyond) :]]
        if not starts:
            return beyond
        last_id = means.last_id(job.symbol, starts[0], job.end_us)
        first_ids = {start_us: means.first_id(job.symbol, start_us) for start_us in starts}
        first_id = first_ids[starts[0]]
        is_proven = first_id is None or job.via == "rest" or self._is_begin(first_id)
        told = parts_of(starts[0], job.end_us, first_ids, last_id, is_proven=is_proven)
        return beyond + told

    def _numbered_parts(self) -> list[Part]:
        """Return the days with the numbers they have by our own count."""
        held = self._coverage()
        return [
            Part(start_us, end_us, number_at(start_us), self._last_number(start_us, end_us, held))
            for start_us, end_us in stretches(self.job.start_us, self.job.end_us)
        ]

    def _last_number(self, start_us: int, end_us: int, held: Coverage) -> int:
        """Return the last number before a time, or before what a feed is about to bring."""
        last, day_us = number_at(end_us) - 1, open_us(start_us, DAY_US)
        is_open = self.clock() < day_us + DAY_US + SETTLED_US
        is_followed = is_open and self.inlet.holds(self.job.source, self.job.symbol, day_us)
        if not is_followed or held.after(last) is not None:
            return last
        before = held.before(last + 1)
        return max(number_at(start_us) - 1, -1 if before is None else before)

    def _beside(self, first: int, last: int) -> tuple[Trades, Trades]:
        """Return the trades that are held next to a hole, of one time on each side at least."""
        instrument = self.target.instrument
        if instrument is None:
            return Trades.empty(), Trades.empty()
        day_us = open_us(time_at(first), DAY_US)
        low, high = day_numbers(day_us)
        return rows.beside(instrument.id, first, last, low, high)

    def _is_begin(self, first_id: int) -> bool:
        """Tell whether a range begins with an id, and not just what the venue's pages reach."""
        instrument = self.target.instrument
        origins = ledger.origins(instrument.id, first_id, first_id) if instrument else {}
        if first_id - 1 in self._coverage() or not origins.keys().isdisjoint({"archive", "file"}):
            return True
        return self.means.has_before(self.job.symbol, first_id)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask until it is well, refused for good, or too long."""
        backoff, began_s = Backoff(base_s=0.5, cap_s=30.0), time.monotonic()
        while True:
            try:
                return ask()
            except BotCryptoError as error:
                left_s = self._crew.patience_s - (time.monotonic() - began_s)
                wait_s = None if self._has_other_ways() else wait_of(error, backoff, left_s)
                if wait_s is None or self.means.stop.is_set():
                    raise
                self.progress.say(f"waiting {wait_s:.0f} s: {error}")
                log.warning("asked again job=%s in_s=%.1f error=%s", self.job.pk, wait_s, error)
                self.means.stop.wait(wait_s)

    def _has_other_ways(self) -> bool:
        return self.job.via == "archive"

    def _can_do_without_ids(self) -> bool:
        is_whole_days = self.job.start_us % DAY_US == 0 == self.job.end_us % DAY_US
        has_files = self._rules().published_s is not None
        return has_files and (self.job.via == "archive" or is_whole_days)

    def _rules(self) -> Rules:
        """Return how to fetch now: a file that was read, or is not there, is not tried again."""
        tried = frozenset(
            work.chunk.day_us
            for work in self._crew.works
            if work.chunk.origin == "archive" and work.status != BackfillChunk.Status.RUNNING
        )
        return Rules(
            via=self.job.via,
            now_us=self.clock(),
            page_limit=self.means.page_limit,
            published_s=None if self.job.via == "rest" else self.means.published_s,
            tried=tried,
            newest_only=self.means.conf.context_backfill_test_mode,
            reach_us=self.means.reach_us,
            by_time=self.means.by_time,
            has_pages=self.means.between is not None or not self.means.by_time,
        )

    def _rounds(self, parts: Sequence[Part]) -> None:
        before: list[Chunk] = []
        for _ in range(MOST_ROUNDS):
            self._held = self._coverage()
            chunks = plan(parts, self._accounted(), self._rules())
            if not chunks or chunks == before:
                return
            before = chunks
            self._crew.work(chunks)
            self.inlet.settle()
            if self.job.via == "file" or self.means.conf.context_backfill_test_mode:
                return

    def _coverage(self) -> Coverage:
        instrument = self.target.instrument
        return ledger.coverage(instrument.id) if instrument else Coverage()

    def _accounted(self) -> Coverage:
        """Return the ids held, and those that the venue does not have."""
        found = self._held.copy()
        instrument = self.target.instrument
        if self.means.by_time and instrument is not None:
            # That no trade has some of our numbers, an earlier job found out.
            for run in absences.coverage(instrument.id, Kind.EXCHANGE_SIDE):
                found.add(*run)
        for work in self._crew.works:
            for run in work.lacking:
                found.add(*run)
        return found

    def _put(self, trades: Trades, origin: str) -> int:
        """Hand in what was missing when the round began; return how much that was."""
        if self.means.stop.is_set():
            raise StoppedError("stopped before a page was handed in")
        instrument = self.target.of(trades)
        fresh = without(trades, self._held)
        if len(fresh):
            self.inlet.put(instrument, Batch(fresh, origin))
            self._touched.update((np.unique(fresh.ts_us // DAY_US) * DAY_US).tolist())
            self.progress.add(len(fresh))
        return len(fresh)


def without(trades: Trades, held: Coverage) -> Trades:
    """Return the trades whose ids are not held."""
    is_new = np.ones(len(trades), dtype=np.bool_)
    for first, last in held.within(int(trades.id.min()), int(trades.id.max())):
        is_new &= (trades.id < first) | (trades.id > last)
    return trades if is_new.all() else trades[is_new]
