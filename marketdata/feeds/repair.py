"""`Repair`: fetches missing ids by REST, newest hole first, and hands them to the flow."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from marketdata.core.backoff import Backoff
from marketdata.core.coverage import Coverage, Run, runs_of
from marketdata.core.errors import BotCryptoError, FrameError
from marketdata.core.trades import Trades

log = logging.getLogger(__name__)

# A delivered page is in the pipeline well within this; what still misses then is asked for again.
SETTLE_S = 5.0
# A hole that yields nothing is asked for so often, then given up with a reason.
MOST_ATTEMPTS = 8
# Ids that an answer leaves out are asked for once more: only then the venue has said so.
DOUBT_S = 1.0


class Pages(Protocol):
    """Where pages come from: a channel of a venue client, or a list in a test."""

    @property
    def limit(self) -> int:
        """Trades a page holds at most."""

    def page(self, symbol: str, first_id: int, limit: int) -> Trades:
        """Return trades from an id on, ascending. Raises BotCryptoError."""


@dataclass(slots=True)
class _Desk:
    """What one symbol misses.

    Parameters
    ----------
    wanted : list of Run
        Holes as the pipeline sees them now.
    delivered : Coverage
        Ids on their way into the pipeline.
    lacking : Coverage
        Ids the venue itself does not have, or that were given up.
    doubted : Coverage
        Ids that one answer left out.
    """

    wanted: list[Run] = field(default_factory=list)
    delivered: Coverage = field(default_factory=Coverage)
    delivered_s: float = 0.0
    lacking: Coverage = field(default_factory=Coverage)
    doubted: Coverage = field(default_factory=Coverage)
    doubted_s: float = 0.0
    attempts: dict[int, int] = field(default_factory=dict)

    def holes(self) -> list[Run]:
        """Return what should be fetched now, ascending."""
        found = [part for run in self.wanted for part in self.delivered.holes(*run)]
        found = [part for run in found for part in self.lacking.holes(*run)]
        if self.doubted and time.monotonic() - self.doubted_s < DOUBT_S:
            found = [part for run in found for part in self.doubted.holes(*run)]
        return found

    def left_out(self, runs: Iterable[Run]) -> list[Run]:
        """Take the ids that an answer left out; return those that one left out before."""
        again: list[Run] = []
        for run in runs:
            again += self.doubted.within(*run)
            for fresh in list(self.doubted.holes(*run)):
                self.doubted.add(*fresh)
                self.doubted_s = time.monotonic()
        return again


class Repair(threading.Thread):
    """One thread that refills the holes of a source's symbols.

    Parameters
    ----------
    pages : Pages
        Where trades come from.
    deliver : callable
        Takes (symbol, trades); may wait for room.
    lacks : callable
        Told (symbol, ids, reason, whether the venue itself says so) of ids that cannot be had.
    """

    def __init__(
        self,
        pages: Pages,
        deliver: Callable[[str, Trades], None],
        lacks: Callable[[str, list[Run], str, bool], None],
        name: str = "repair",
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.pages = pages
        self.deliver = deliver
        self.lacks = lacks
        self.done = 0
        self.last_error = ""
        self._desks: dict[str, _Desk] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._backoff = Backoff(base_s=0.5, cap_s=30.0)
        self._began_s: float | None = None
        self._began_done = 0

    def want(self, symbol: str, holes: Iterable[Run]) -> None:
        """Replace what is known to miss of a symbol; any thread may say so."""
        found = list(holes)
        with self._lock:
            desk = self._desks.setdefault(symbol, _Desk())
            if found == desk.wanted and not desk.delivered:
                return
            desk.wanted = found
            # What arrived is no longer asked for; what has not arrived in time is asked for again.
            if not found or time.monotonic() - desk.delivered_s > SETTLE_S:
                desk.delivered = Coverage()
        self._news.set()

    def forgo(self, symbol: str, runs: Iterable[Run]) -> None:
        """Do not ask for ids that are known not to be had."""
        with self._lock:
            desk = self._desks.setdefault(symbol, _Desk())
            for run in runs:
                desk.lacking.add(*run)

    @property
    def pending(self) -> int:
        """How many ids are still to be fetched."""
        with self._lock:
            return sum(_size(desk.holes()) for desk in self._desks.values())

    def is_busy(self, symbol: str) -> bool:
        """Tell whether anything of a symbol is still to be fetched or on its way."""
        with self._lock:
            desk = self._desks.get(symbol)
            return desk is not None and any(
                desk.lacking.missing(first, last) for first, last in desk.wanted
            )

    def remaining_s(self) -> float | None:
        """Estimate the seconds until nothing is pending; None before there is a pace."""
        began_s, done = self._began_s, self.done - self._began_done
        if began_s is None or done <= 0:
            return None
        return self.pending * (time.monotonic() - began_s) / done

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the page at hand."""
        self._stopping.set()
        self._news.set()
        if self.is_alive():
            self.join(timeout_s)

    def run(self) -> None:
        """Fetch what is wanted until stopped."""
        while not self._stopping.is_set():
            job = self._next()
            if job is None:
                self._began_s = None
                self._news.wait(1.0)
                self._news.clear()
                continue
            if self._began_s is None:
                self._began_s, self._began_done = time.monotonic(), self.done
            try:
                self._fetch(*job)
            except BotCryptoError as error:
                self._failed(*job, error)
            else:
                self._backoff.reset()

    def _next(self) -> tuple[str, int, int] | None:
        """Return the newest hole, with the older ones that the same page covers."""
        with self._lock:
            found = [(desk.holes(), symbol) for symbol, desk in self._desks.items()]
        limit = self.pages.limit
        jobs = [(symbol, *_reach(holes, limit)) for holes, symbol in found if holes]
        # A hole of the last seconds is smaller than a page and comes before any long history;
        # histories come in the order in which symbols are configured.
        return min(jobs, key=lambda job: job[2] - job[1] + 1 >= limit, default=None)

    def _fetch(self, symbol: str, first: int, last: int) -> None:
        page = self.pages.page(symbol, first, self.pages.limit)
        if not len(page):
            raise FrameError("empty", f"trades from id {first} on expected, the venue sent none")
        inside = page[(page.id >= first) & (page.id <= last)]
        if len(inside):
            self.deliver(symbol, inside)
        with self._lock:
            desk = self._desks[symbol]
            desk.attempts.pop(first, None)
            for low, high in runs_of(inside.id):
                self.done += sum(desk.delivered.missing(*run) for run in _cut(desk, low, high))
                desk.delivered.add(low, high)
            desk.delivered_s = time.monotonic()
            # The venue answered with later ids: those it left out do not exist there.
            reach = first, min(last, int(page.id[-1]))
            lacking = desk.left_out(Coverage(runs_of(page.id)).holes(*reach))
        if lacking:
            self._give_up(symbol, lacking, "the venue does not have them", is_told=True)

    def _failed(self, symbol: str, first: int, last: int, error: BotCryptoError) -> None:
        if str(error) != self.last_error:
            log.warning("not refilled symbol=%s ids=%s..%s error=%s", symbol, first, last, error)
        self.last_error = str(error)
        with self._lock:
            desk = self._desks[symbol]
            attempts = desk.attempts[first] = desk.attempts.get(first, 0) + 1
        if attempts >= MOST_ATTEMPTS and isinstance(error, FrameError):
            reason = f"given up after {attempts} attempts: {error}"
            self._give_up(symbol, [(first, last)], reason, is_told=False)
        self._stopping.wait(self._backoff.next(0.5))

    def _give_up(self, symbol: str, runs: list[Run], reason: str, *, is_told: bool) -> None:
        self.forgo(symbol, runs)
        first, last = runs[0][0], runs[-1][1]
        log.warning("ids lacking symbol=%s ids=%s..%s reason=%s", symbol, first, last, reason)
        self.lacks(symbol, runs, reason, is_told)


def _size(runs: Iterable[Run]) -> int:
    return sum(last - first + 1 for first, last in runs)


def _cut(desk: _Desk, first: int, last: int) -> list[Run]:
    """Return the parts of first..last that were asked for."""
    return list(Coverage(desk.wanted).within(first, last))


def _reach(holes: list[Run], limit: int) -> Run:
    """Return one page's worth of ids that ends with the newest hole and takes older ones along."""
    first, last = holes[-1]
    for low, high in reversed(holes):
        if last - high >= limit:
            break
        first = max(low, last - limit + 1)
    return first, last
