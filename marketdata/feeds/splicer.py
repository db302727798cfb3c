"""`Splicer`: joins what connections bring to one tape, for venues that number no trades."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from marketdata.core.backoff import Backoff
from marketdata.core.coverage import Run
from marketdata.core.errors import BotCryptoError
from marketdata.core.events import Batch
from marketdata.core.splice import Joint, Piece, Splice
from marketdata.core.timeframe import SECOND_US
from marketdata.core.trades import Trades

log = logging.getLogger(__name__)

# What waits is shown so late at most when no page can be had that proves more.
PATIENCE_S = 12.0
# Trades of one symbol that wait at most: 70 bytes each.
MOST_WAITING = 100_000
# How often a quiet line looks for news.
QUIET_S = 30.0
# A running line is compared with the venue's own page, so often that pages overlap, within these.
SOONEST_S, LATEST_S = 2.0, 60.0
LOOK_S = 0.05
# What one page has and the feed does not may be on its way: the next one tells.
DOUBT_S = 1.0
# Takes (symbol, batch, numbers that no trade will have); called in order, never at the same time.
Deliver = Callable[[str, Batch, Sequence[Run]], None]


@dataclass(slots=True)
class _Desk:
    """One symbol's splice, and when to try to join it."""

    splice: Splice | None = None
    # Trades before the splice is there, None where a connection began.
    early: deque[Trades | None] = field(default_factory=deque)
    early_trades: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=0.1, cap_s=2.0))
    due_s: float = 0.0
    waits_since_s: float | None = None
    recv_us: int = 0
    is_begun: bool = False
    # Two while one replaces the other.
    connections: int = 0

    def keep_early(self, trades: Trades) -> None:
        """Keep trades until the splice is there; of too many the newest: a hole comes before."""
        self.early.append(trades)
        self.early_trades += len(trades)
        while self.early_trades > MOST_WAITING:
            self.early_trades -= len(self.early.popleft() or ())

    def part(self) -> None:
        """Let what comes now follow on nothing until it is joined."""
        if self.splice is None:
            self.early.append(None)
        else:
            self.splice.opened()

    @property
    def is_joined(self) -> bool:
        return self.splice is not None and self.splice.is_joined


class Splicer(threading.Thread):
    """Numbers and joins the trades of a source's symbols.

    Parameters
    ----------
    newest : callable
        Symbol → the venue's newest trades, in match order. Raises BotCryptoError.
    deliver : callable
    left_out : callable
        Told (symbol, trades): what the venue has and its feed did not bring.
    begun : callable
        Told of a symbol whose trades begin a new stretch: some may be missing before it.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        newest: Callable[[str], Trades],
        deliver: Deliver,
        left_out: Callable[[str, Trades], None],
        begun: Callable[[str], None] = lambda symbol: None,
        name: str = "splicer",
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.newest = newest
        self.deliver = deliver
        self.left_out = left_out
        self.begun = begun
        self.joints: dict[Joint, int] = dict.fromkeys(Joint, 0)
        self._desks = {symbol: _Desk() for symbol in symbols}
        self._news = threading.Event()
        self._stopping = threading.Event()

    def ready(self, symbol: str, splice: Splice) -> None:
        """Learn what is held of a symbol; from then on its trades are joined to that."""
        desk = self._desks[symbol]
        with desk.lock:
            desk.splice = splice
            for trades in desk.early:
                if trades is None:
                    splice.opened()
                else:
                    splice.live(trades)
            desk.early.clear()
            if splice.waiting:
                desk.waits_since_s, desk.due_s = time.monotonic(), 0.0
        self._news.set()

    def opened(self, symbols: Sequence[str]) -> None:
        """Learn of a new connection; called in its thread, before it brings anything."""
        for symbol in symbols:
            desk = self._desks[symbol]
            with desk.lock:
                desk.connections += 1
                desk.due_s = 0.0
                desk.backoff.reset()
                desk.part()
        self._news.set()

    def closed(self, symbols: Sequence[str]) -> None:
        """Learn that a connection ended: one that goes on may bring its first trade only later."""
        for symbol in symbols:
            desk = self._desks[symbol]
            with desk.lock:
                desk.connections -= 1
                if desk.connections > 0:
                    desk.part()

    def live(self, symbol: str, batch: Batch) -> None:
        """Take live trades; called in the threads of connections, never waits for the venue."""
        desk = self._desks[symbol]
        with desk.lock:
            desk.recv_us = batch.recv_us
            if desk.splice is None:
                desk.keep_early(batch.trades)
                return
            piece = desk.splice.live(batch.trades)
            if desk.splice.is_joined:
                self._hand_on(symbol, desk, piece)
            elif desk.waits_since_s is None:
                desk.waits_since_s, desk.due_s = time.monotonic(), 0.0
                self._news.set()
            elif self._is_over(desk, desk.splice, time.monotonic()):
                # Whoever asks for the page may wait for the venue for minutes.
                self._give_up(symbol, desk, desk.splice)

    def is_joined(self, symbol: str) -> bool:
        """Tell whether what comes of a symbol follows on what is held."""
        return self._desks[symbol].is_joined

    def stop(self, timeout_s: float = 5.0) -> None:
        """End; what waits to be joined is handed on as a stretch of its own."""
        self._stopping.set()
        self._news.set()
        if self.is_alive():
            self.join(timeout_s)
        for symbol, desk in self._desks.items():
            with desk.lock:
                if desk.splice is not None and desk.splice.waiting:
                    self._hand_on(symbol, desk, desk.splice.give_up())

    def run(self) -> None:
        """Join and compare until stopped."""
        while not self._stopping.is_set():
            self._news.clear()
            for symbol, desk in self._desks.items():
                if desk.splice is not None and time.monotonic() >= desk.due_s:
                    self._tend(symbol, desk)
            self._news.wait(LOOK_S)

    def _tend(self, symbol: str, desk: _Desk) -> None:
        page: Trades | None = None
        try:
            page = self.newest(symbol)
        except BotCryptoError as error:
            if self._stopping.is_set():
                return
            log.warning("newest trades not told symbol=%s error=%s", symbol, error)
        with desk.lock:
            missed = self._joined(symbol, desk, page)
            is_begun, desk.is_begun = desk.is_begun, False
        if len(missed):
            self.left_out(symbol, missed)
        if is_begun:
            self.begun(symbol)

    def _joined(self, symbol: str, desk: _Desk, page: Trades | None) -> Trades:
        """Join by a page, or compare with it; say when to look again."""
        if page is None and desk.is_joined:
            # Soon: what a page does not reach any more is never compared.
            desk.due_s = time.monotonic() + SOONEST_S
            return Trades.empty()
        page = Trades.empty() if page is None else page
        splice, now_s = desk.splice, time.monotonic()
        if splice is None:
            return Trades.empty()
        if splice.is_joined:
            missed = splice.left_out(page)
            desk.due_s = now_s + (DOUBT_S if splice.is_in_doubt else _pause_s(page))
            return missed
        joint, piece = splice.join(page)
        if joint is Joint.AGAIN and self._is_over(desk, splice, now_s):
            self._give_up(symbol, desk, splice)
            return Trades.empty()
        self._note(desk, joint, now_s)
        self._hand_on(symbol, desk, piece)
        return Trades.empty()

    def _give_up(self, symbol: str, desk: _Desk, splice: Splice) -> None:
        """Show what waits as a stretch of its own."""
        log.warning("no page joins what came symbol=%s trades=%s", symbol, splice.waiting)
        piece = splice.give_up()
        self._note(desk, Joint.BEGUN, time.monotonic())
        self._hand_on(symbol, desk, piece)

    def _is_over(self, desk: _Desk, splice: Splice, now_s: float) -> bool:
        since_s = now_s if desk.waits_since_s is None else desk.waits_since_s
        return now_s - since_s > PATIENCE_S or splice.waiting > MOST_WAITING

    def _note(self, desk: _Desk, joint: Joint, now_s: float) -> None:
        self.joints[joint] += 1
        if joint is Joint.AGAIN:
            desk.due_s = now_s + desk.backoff.next(random.random())
            return
        desk.due_s = now_s + (QUIET_S if joint is Joint.EARLY else SOONEST_S)
        desk.waits_since_s = None

    def _hand_on(self, symbol: str, desk: _Desk, piece: Piece) -> None:
        """Hand on trades in order, those of the page and those that came apart."""
        desk.is_begun |= piece.is_begun
        trades, unused = piece.trades, piece.unused
        came = np.ones(len(trades), dtype=np.bool_) if piece.came is None else piece.came
        edges = [0, *(np.flatnonzero(np.diff(came)) + 1).tolist(), len(trades)]
        for start, end in pairwise(edges if len(trades) else []):
            part = trades[start:end]
            batch = Batch(part, "live", desk.recv_us) if came[start] else Batch(part, "rest")
            self.deliver(symbol, batch, unused)
            unused = []


def _pause_s(page: Trades) -> float:
    """Return half the time that a page of trades spans, within bounds."""
    if len(page) < 2:
        return LATEST_S
    span_s = (int(page.ts_us[-1]) - int(page.ts_us[0])) / SECOND_US
    return min(max(span_s / 2, SOONEST_S), LATEST_S)
