"""`Source`: everything that runs for one feed name: bootstrap, sockets, repair."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from django.db import DatabaseError, connection

from marketdata.conf import Conf
from marketdata.core.coverage import Run, ScopeCoverage
from marketdata.core.errors import BotCryptoError, FrameError
from marketdata.core.events import Batch, Event
from marketdata.core.facts import Fact
from marketdata.core.ticks import tick_rule
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.core.trades import Trades
from marketdata.feeds.book_line import BookLine
from marketdata.feeds.flow import EventTape, Flow
from marketdata.feeds.ingestor import FeedStatus, TapOf
from marketdata.feeds.link import Access, MakeLine, link_of
from marketdata.feeds.opening import Opener
from marketdata.feeds.readings import Readings
from marketdata.feeds.repair import Repair
from marketdata.feeds.splicer import Splicer
from marketdata.feeds.tickers import Tickers
from marketdata.models import Absence, FeedState
from marketdata.pipeline import Pipeline
from marketdata.rest.client import VenueClient
from marketdata.rest.limiter import Priority
from marketdata.store import omissions
from marketdata.store.sink import StoreSink
from marketdata.store.writer import Writer
from marketdata.venues import venue_of
from marketdata.venues.base import Channel

log = logging.getLogger(__name__)

# Refused frames are kept in full, but a venue gone mad must not fill the disk.
KEPT_REJECTIONS = 100
# A venue that skips ids by habit must not bury what else has happened.
MOST_TOLD = 20
UNUSED = "a day ended: no trade has these numbers"


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
    tap_of : callable, optional
        Name of a stream → what is given its frames as they came.
    access : Access, optional
        How to connect as an account, where the venue wants one connection for everything.
    make_line : callable, optional
        Makes what carries the trades, in place of sockets in this process.
    want : callable
        (source, symbol, start_us, end_us) → has a time fetched by a job.
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
        tap_of: TapOf | None = None,
        access: Access | None = None,
        make_line: MakeLine | None = None,
        want: Callable[[str, str, int, int], object] = lambda *about: None,
    ) -> None:
        self.name = name
        self.want = want
        self.symbols = symbols
        self.settings = settings
        hosts = settings.hosts(name)
        self.venue = venue_of(name, hosts.variant)
        self.channel = self.venue.channel(hosts.channel)
        self.flow = flow
        self.writer = writer
        self.tape = tape
        self.is_replay = is_replay
        self.clock = wall_us
        self.rejections: Counter[str] = Counter()
        self.live_trades = 0
        self.sinks: dict[str, StoreSink] = {}
        self.known_starts: set[str] = set()
        self.restored: set[str] = set()
        self.stopping = threading.Event()
        self.tickers = Tickers(writer, self.instrument_id)
        self._reasons_told: set[str] = set()
        self._last: dict[str, Trades] = {}
        self.link = link_of(
            self.venue,
            self.channel,
            symbols,
            self,
            settings,
            self.stopping,
            wall_us,
            tap=tap_of(self.channel.name) if tap_of else None,
            access=access,
            make_line=make_line,
        )
        self.line, self.client = self.link.line, self.link.client
        self.splicer = None if self.venue.is_numbered else self._splicer()
        self.repair = self._repair()
        self._openers = [Opener(self, symbol) for symbol in symbols]
        self._readings = self._new_readings()
        self.books = self._new_books(tap_of)

    def _splicer(self) -> Splicer:
        return Splicer(
            self.symbols,
            self.link.newest,
            self._spliced,
            self._left_out,
            self._begun,
            f"splicer-{self.name}",
        )

    def _repair(self) -> Repair | None:
        """Return what refills holes by id, where ids say what is missing."""
        if self.link.rest is None or not self.venue.is_numbered:
            return None
        pages = ChannelPages(self.link.rest, self.channel)
        return Repair(pages, self._deliver, self._lacks, f"repair-{self.name}")

    def _new_readings(self) -> Readings | None:
        if self.link.rest is None or not self.venue.series:
            return None
        return Readings(
            self.link.rest,
            self.writer,
            self._opened_symbols,
            self.stopping,
            wall_us,
            f"readings-{self.name}",
        )

    def _new_books(self, tap_of: TapOf | None) -> BookLine | None:
        depth, rest = self.venue.depth, self.link.rest
        if depth is None or rest is None or not self.settings.depth_interval_ms or self.is_replay:
            return None
        return BookLine(
            self.venue, depth, self.symbols, self.settings, rest, self, wall_us, tap_of=tap_of
        )

    def start(self) -> None:
        """Start sockets at once; bootstrap and repair follow as the venue answers."""
        self.line.start()
        for thread in (self.books, self.splicer, self.repair, self._readings, *self._openers):
            if thread is not None:
                thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop sockets first, so that nothing new comes in, then the rest."""
        self.stopping.set()
        self.line.stop(timeout_s)
        for thread in (self.books, self.splicer, self.repair):
            if thread is not None:
                thread.stop(timeout_s)
        for opener in (*self._openers, self._readings):
            if opener is not None:
                opener.join(timeout_s)
        self.client.close()

    def first_id(self, symbol: str, ts_us: int) -> int | None:
        """Return the venue's first id at or after a time, or None. Raises BotCryptoError."""
        if self.link.rest is None:
            return None
        return self.link.rest.first_id(self.channel.name, symbol, ts_us)

    def instrument_id(self, symbol: str) -> int | None:
        """Return the row id of a symbol that is open."""
        lane = self.flow.lanes.get((self.name, symbol))
        return lane.pipeline.instrument.id if lane else None

    def _opened_symbols(self) -> list[tuple[str, int]]:
        found = [(symbol, self.instrument_id(symbol)) for symbol in self.symbols]
        return [(symbol, id) for symbol, id in found if id is not None]

    # What the sockets say; called in their threads.

    def opened(self, symbols: Sequence[str]) -> None:
        """Learn of a new connection: where trades carry ids, these tell what was missed."""
        if self.splicer is not None:
            self.splicer.opened(symbols)

    def closed(self, symbols: Sequence[str]) -> None:
        """Learn that a connection ended: where trades carry ids, these tell what was missed."""
        if self.splicer is not None:
            self.splicer.closed(symbols)

    def trades(self, symbol: str, batch: Batch) -> None:
        """Hand live trades to the flow, or have them numbered before."""
        self.live_trades += len(batch.trades)
        if self.splicer is None:
            self.flow.put(self.name, symbol, batch)
        else:
            self.splicer.live(symbol, batch)

    def facts(self, facts: Sequence[tuple[str, Fact]]) -> None:
        """Keep what is no trade."""
        self.tickers.take(facts)

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
        if not self.stopping.is_set():
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
        is_restored = symbol in self.restored
        if self.repair is not None and self.settings.context_backfill_enabled and is_restored:
            self.repair.want(symbol, [run for day in days for run in day.ranges])
            is_searching = symbol not in self.known_starts
            lane.is_backfilling = is_searching or self.repair.is_busy(symbol)
        is_filling = lane.is_backfilling or not is_restored
        self.sinks[symbol].levels(lane.clock, is_filling=is_filling)

    def follows(self, symbol: str, last: Trades) -> None:
        """Learn of the newest trade stored: by it the side of the next tick is told."""
        if len(last):
            self._last[symbol] = last

    # What the splicer says; called in its thread or a connection's, in order.

    def _spliced(self, symbol: str, batch: Batch, unused: Sequence[Run]) -> None:
        """Hand numbered trades to the flow; before them, that some numbers will have none."""
        pipeline = self.flow.lanes[self.name, symbol].pipeline
        if unused:
            self.flow.tell(lambda: pipeline.lack(unused))
            self.writer.put_absence(
                pipeline.instrument.id, unused, Absence.Kind.EXCHANGE_SIDE, UNUSED, wall_us()
            )
        if not self.venue.is_sized:
            # Up to a tick that is held, what a batch brings tells no side by itself.
            sides = tick_rule(batch.trades.price, self._last.get(symbol))
            batch = replace(batch, trades=replace(batch.trades, is_buy=sides))
            self._last[symbol] = batch.trades[-1:]
        self.flow.put(self.name, symbol, batch)

    def _begun(self, symbol: str) -> None:
        """Have the day fetched by time, where the venue answers that."""
        lane = self.flow.lanes[self.name, symbol]
        may_fetch = self.link.has_past and self.settings.context_backfill_enabled
        if may_fetch and not self.is_replay:
            now_us = lane.clock()
            try:
                self.want(self.name, symbol, open_us(now_us, DAY_US), now_us)
            except (BotCryptoError, DatabaseError) as error:
                # Nobody else joins trades: this thread must go on.
                log.warning("day not asked for symbol=%s error=%s", symbol, error)
            finally:
                connection.close()

    def _left_out(self, symbol: str, trades: Trades) -> None:
        """State that the feed left trades out: between dense numbers nothing can add them."""
        pipeline = self.flow.lanes[self.name, symbol].pipeline
        event = omissions.event(trades, wall_us())
        self.writer.put_omissions(pipeline.instrument.id, trades)
        self.writer.put_events(pipeline.instrument.id, [event])
        self.flow.tell(lambda: pipeline.leave_out(trades.ts_us.tolist()))
        self.tape.event(pipeline.instrument, event)

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
        if self.repair is not None:
            self.repair.forgo(instrument.symbol, runs)
        if kind == Absence.Kind.EXCHANGE_SIDE:
            self.flow.tell(lambda: pipeline.lack(runs))
        # Numbers of ours that no trade has say nothing about the venue.
        is_news = instrument.is_numbered or kind != Absence.Kind.EXCHANGE_SIDE
        for first, last in runs[: MOST_TOLD * is_news]:
            detail = {"first_id": first, "last_id": last, "reason": reason}
            event = Event(f"hole_{kind}", now_us, detail)
            self.writer.put_events(instrument.id, [event])
            self.tape.event(instrument, event)
