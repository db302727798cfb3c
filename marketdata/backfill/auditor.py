"""`Auditor`: looks after what is stored of past days, in a thread of its own.

Holes of days that no live pipeline holds become jobs, a few times, then they are given up for a
reason. Windows that are over get their certificate anew when their ledger has changed, and days
whose stored levels are not those of their trades are stated again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django.db import DatabaseError, connections
from django.db.models import Max, Sum

from marketdata.backfill import jobs
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request, wall_us
from marketdata.backfill.plan import stretches
from marketdata.backfill.restate import READ_ROWS, Claim, is_stated, restate
from marketdata.context import DAY
from marketdata.core.coverage import Run, missing_of
from marketdata.core.errors import BotCryptoError, StoppedError
from marketdata.core.instrument import Instrument
from marketdata.core.numbering import time_at
from marketdata.core.sessions import Window
from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US, SECOND_US, open_us
from marketdata.models import BackfillJob
from marketdata.store import (
    absences,
    certificates,
    edges,
    instruments,
    ledger,
    restatements,
)
from marketdata.store.ledger import Hole
from marketdata.store.restatements import Cause
from marketdata.venues import VENUES
from marketdata.venues.dialog import SocketVenue
from marketdata.verify import certified, windows_of

log = logging.getLogger(__name__)

ASKED_BY = "ledger"
# How far back holes are looked after and certificates kept ready without being asked for.
REACH_DAYS = 30
# A hole that began so long ago is no business of live repair alone any more.
SETTLED_US = 10 * MINUTE_US
# A day is asked for so often; then what it still lacks is given up.
MOST_ATTEMPTS = 3
EVERY_S = 60.0
# How long after a look at everything the next one is due.
ALL_EVERY_US = HOUR_US
# After each page of rows, so that live work never waits long for the interpreter.
PAUSE_S = 0.002
Name = tuple[str, str]
GiveUp = Callable[[Instrument, list[Run], str], object]


@dataclass(frozen=True, slots=True)
class Parts:
    """What an auditor works with.

    Parameters
    ----------
    names : callable
        The (source, symbol) to look after.
    inlet : Inlet
        The way into the store.
    submit : callable or None
        Queues a backfill; None where none may run.
    give_up : callable
        (instrument, ids, reason) → keeps that they cannot be had.
    clock : callable
        Microseconds UTC.
    """

    names: Callable[[], Iterable[Name]]
    inlet: Inlet
    submit: Callable[[Request], object] | None
    give_up: GiveUp
    clock: Callable[[], int] = wall_us


class Auditor(threading.Thread):
    """Looks at the ledger at the start, after each day and each minute, until stopped."""

    def __init__(self, parts: Parts, every_s: float = EVERY_S) -> None:
        super().__init__(name="auditor", daemon=True)
        self.parts = parts
        self.every_s = every_s
        self.last_error = ""
        self._looked_us: dict[int, int] = {}
        self._ended_us = 0
        self._news = threading.Event()
        self._stopping = threading.Event()

    def wake(self) -> None:
        """Look at everything soon: a day has begun."""
        self._looked_us.clear()
        self._news.set()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """End after the page at hand. Returns False where it hangs."""
        self._stopping.set()
        self._news.set()
        if self.is_alive():
            self.join(timeout_s)
        return not self.is_alive()

    def run(self) -> None:
        """Look, wait, and look again."""
        try:
            while not self._stopping.is_set():
                self._turn()
                self._news.wait(self.every_s)
                self._news.clear()
        finally:
            connections.close_all()

    def _turn(self) -> None:
        ended_us = jobs.newest_end_us()
        if ended_us != self._ended_us:
            # What a job brought shows at once, not an hour later.
            self._ended_us = ended_us
            self._looked_us.clear()
        for name in list(self.parts.names()):
            try:
                instrument = instruments.find(*name)
                if instrument is not None:
                    self.look(instrument)
            except StoppedError:
                return
            except (BotCryptoError, DatabaseError) as error:
                if str(error) != self.last_error:
                    log.warning("not audited symbol=%s error=%s", name[1], error)
                self.last_error = str(error)

    def look(self, instrument: Instrument) -> None:
        """Look after one instrument's holes and certificates."""
        now_us = self.parts.clock()
        is_due = now_us - self._looked_us.get(instrument.id, 0) >= ALL_EVERY_US
        days = REACH_DAYS if is_due else 1
        for shift in range(days + 1):
            self._certify(instrument, open_us(now_us, DAY_US) - shift * DAY_US, now_us)
        if is_due:
            self._ask_for(instrument, now_us)
            self._looked_us[instrument.id] = now_us

    # Holes.

    def _ask_for(self, instrument: Instrument, now_us: int) -> None:
        """Queue a job for each day with holes; give up what is too old or was asked for enough."""
        if self.parts.submit is None:
            return
        oldest_us = open_us(now_us, DAY_US) - REACH_DAYS * DAY_US
        asked = _asked(instrument)
        known = absences.coverage(instrument.id)
        wanted: set[int] = set()
        for hole in ledger.holes(instrument.id):
            left = list(known.holes(hole.first_id, hole.last_id))
            if not left or not _is_work(hole, asked, now_us):
                continue
            if hole.before_us <= oldest_us:
                reason = f"older than {REACH_DAYS} days when it was found"
                self.parts.give_up(instrument, left, reason)
                continue
            wanted.update(_days(*_span(instrument, hole, left), oldest_us, now_us))
        for day_us in sorted(wanted, reverse=True):
            attempts, error = asked.get(day_us, (0, ""))
            if _is_due(instrument, day_us, attempts, now_us):
                self._ask_for_day(instrument, day_us, (attempts, error), now_us)

    def _ask_for_day(
        self, instrument: Instrument, day_us: int, asked: tuple[int, str], now_us: int
    ) -> None:
        attempts, error = asked
        if attempts >= MOST_ATTEMPTS:
            self._give_up(instrument, day_us, f"asked for {attempts} times: {error or 'in vain'}")
        elif self.parts.submit is not None:
            log.info(
                "hole found symbol=%s day_us=%s attempt=%s", instrument.symbol, day_us, attempts
            )
            self.parts.submit(
                Request(
                    instrument.source,
                    instrument.symbol,
                    day_us,
                    min(day_us + DAY_US, now_us),
                    asked_by=ASKED_BY,
                )
            )

    def _give_up(self, instrument: Instrument, day_us: int, reason: str) -> None:
        """Give up the ids of a day that are missing, where the venue told which are its own."""
        first, after = (edges.first_id(instrument.id, at) for at in (day_us, day_us + DAY_US))
        if first is None or after is None or after <= first:
            return
        held = ledger.coverage(instrument.id, first, after - 1)
        known = absences.coverage(instrument.id)
        left = missing_of(held, known, first, after - 1)
        if left:
            self.parts.give_up(instrument, left, reason)

    # Certificates.

    def _certify(self, instrument: Instrument, day_us: int, now_us: int) -> None:
        has_any = ledger.segments_at(instrument.id, day_us, day_us + DAY_US)
        # What a job is filling is looked at when it has ended.
        if not has_any or jobs.is_open(instrument.source, instrument.symbol, day_us):
            return
        for window in windows_of(day_us):
            if window.end_us + MINUTE_US > now_us:
                continue
            self._check()
            version = certificates.version(instrument.id, window.start_us, window.end_us)
            known = certificates.stored(instrument.id, window)
            if known is None or known.ledger_version != version:
                self._count(instrument, window, now_us)

    def _count(self, instrument: Instrument, window: Window, now_us: int) -> None:
        answer = certified(instrument, window, now_us, READ_ROWS, self._check)
        if window.name != DAY or not answer["held"] or self._is_live(instrument, window, now_us):
            return
        minutes = restatements.minutes(instrument.id, window.start_us, window.end_us)
        is_right = is_stated(instrument, window.start_us, answer["held"])
        if not is_right or sum(minutes.values()) != answer["held"]:
            is_known = answer["edges"] != "held"
            claim = Claim(Cause.LATE, is_final=is_known and not answer["missing"])
            writer = self.parts.inlet.writer
            restate(instrument, window.start_us, now_us, writer, check=self._check, claim=claim)

    def _is_live(self, instrument: Instrument, window: Window, now_us: int) -> bool:
        """Tell whether a live pipeline states a day; of older ones it keeps no minutes."""
        is_recent = window.start_us >= open_us(now_us, DAY_US) - DAY_US
        holds = self.parts.inlet.holds(instrument.source, instrument.symbol, window.start_us)
        return is_recent and holds

    def _check(self) -> None:
        """Let others work. Raises StoppedError at the end."""
        if self._stopping.wait(PAUSE_S):
            raise StoppedError("stopped while looking at past days")


def _asked(instrument: Instrument) -> dict[int, tuple[int, str]]:
    """Return how often each day was asked for because of a hole, and the last error."""
    mine = BackfillJob.objects.filter(
        source=instrument.source, symbol=instrument.symbol, asked_by=ASKED_BY
    )
    days = mine.values("start_us").annotate(total=Sum("attempts"), newest=Max("id"))
    errors = dict(mine.values_list("id", "error"))
    return {row["start_us"]: (row["total"], errors[row["newest"]]) for row in days}


def _is_work(hole: Hole, asked: dict[int, tuple[int, str]], now_us: int) -> bool:
    """Tell whether a hole is a loss, not history that nobody asked for."""
    first_day = open_us(hole.after_us, DAY_US)
    is_inside_day = first_day == open_us(hole.before_us, DAY_US)
    is_loss = is_inside_day or hole.origin == "live" or first_day in asked
    return is_loss and hole.after_us < now_us - SETTLED_US


def _span(instrument: Instrument, hole: Hole, left: Sequence[Run]) -> tuple[int, int]:
    """Return the first and the last time that a hole may have trades of, microseconds UTC."""
    if instrument.is_numbered:
        return hole.after_us, hole.before_us
    # Our numbers tell the day; of the others that the hole touches nothing is left.
    return time_at(left[0][0]), time_at(left[-1][1])


def _is_due(instrument: Instrument, day_us: int, attempts: int, now_us: int) -> bool:
    """Tell whether a day is worth asking for: where files alone tell of the past, it comes late."""
    venue = VENUES.get(instrument.source)
    if venue is None or venue.is_numbered or isinstance(venue, SocketVenue):
        return True
    published = venue.channel("").archive
    if published is None:
        return False
    # A file that is not there in time may be there as much later.
    late_us = int(published.published_s * SECOND_US) * (attempts + 1)
    return now_us >= day_us + DAY_US + late_us


def _days(first_us: int, last_us: int, oldest_us: int, now_us: int) -> list[int]:
    """Return the past UTC days of a stretch of time."""
    start_us = max(open_us(first_us, DAY_US), oldest_us)
    end_us = min(last_us + 1, open_us(now_us, DAY_US))
    return [day_us for day_us, _ in stretches(start_us, end_us)] if start_us < end_us else []
