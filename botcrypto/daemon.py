"""`Daemon`: builds board, writer, flow, sources and publisher, and stops them in order."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection, connections

from marketdata import live, telemetry
from marketdata.accounts.table import ACCESS
from marketdata.backfill.auditor import Auditor, Parts
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request
from marketdata.backfill.means import Means, means_of
from marketdata.backfill.service import BackfillService
from marketdata.bridge.config import with_file
from marketdata.bridge.lines import line_of
from marketdata.bridge.recorder import Recorder
from marketdata.conf import Conf
from marketdata.context import DAY
from marketdata.core.coverage import Run, ScopeCoverage
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.feeds.flow import EventTape, Flow, Name
from marketdata.feeds.shared_connection import SharedConnection
from marketdata.feeds.source import Source, wall_us
from marketdata.models import Absence, Restatement
from marketdata.payload import event_payload
from marketdata.publisher import Publisher
from marketdata.store import restatements
from marketdata.store.board import Board
from marketdata.store.lock import DatabaseLock
from marketdata.store.restatements import Cause, What
from marketdata.store.soundness import check_after_crash
from marketdata.store.writer import Writer

log = logging.getLogger(__name__)

# A thread that computes would keep a reader of sockets waiting for the interpreter's default of
# 5 ms at every turn: at 5,000 messages a second that reader falls 2.4 s behind, with this 0.2 ms.
SWITCH_INTERVAL_S = 0.0001
LABELS = {"generated": "simulated", "recorded": "replay"}
OF_JOBS = (Cause.BACKFILL, Cause.ARCHIVE)
ROW_BUCKETS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)


class Daemon:
    """Feeds, pipelines, writer and publisher of one process; used as a context manager.

    Parameters
    ----------
    settings : Conf
        What to run with; becomes the process's settings.
    label : {"", "simulated", "replay"}
        What must be said about the data.
    what : str
        Who holds the database, for others to read.
    """

    def __init__(self, settings: Conf, *, label: str = "", what: str = "manage.py run") -> None:
        settings = with_file(settings)
        use(settings)
        self.settings = settings
        self.label = label
        self.gaps: Counter[str] = Counter()
        self.board = Board()
        self.lag = telemetry.LagHistogram()
        self.write_rows = telemetry.LagHistogram(ROW_BUCKETS)
        self.write_seconds = telemetry.LagHistogram()
        self.writer = Writer(on_flush=self._flushed)
        self.tape = EventTape()
        self.tape.listeners.append(self._happened)
        self.flow = Flow(self.board, settings.max_queue, self._covered)
        self.flow.on_lag = self.lag.add
        self.publisher = Publisher(self.board)
        self._ended = threading.Event()
        self.recorder = Recorder(settings.data_dir / "frames") if settings.record_frames else None
        self.sources = {name: self._source(name) for name in settings.data_source}
        self._days: dict[Name, frozenset[int]] = {}
        inlet = Inlet(
            self.writer,
            self._holds,
            self._deliver,
            lambda: self.flow.ask(_nothing, 60.0),
            self._lacks,
        )
        self.backfill = BackfillService(settings, inlet, make_means=self._means)
        may_fetch = settings.context_backfill_enabled
        self.auditor = Auditor(
            Parts(
                names=lambda: list(self.flow.lanes),
                inlet=inlet,
                submit=self.backfill.submit if may_fetch else None,
                give_up=self._give_up,
            )
        )
        self.writer.on_restated = self._restated
        self._lock = DatabaseLock(settings.database_path, what)
        self._held = ExitStack()

    def _say_idle(self) -> None:
        for source in self.settings.idle_sources:
            log.warning(
                "nobody follows the symbols that SYMBOLS gives %s: DATA_SOURCE does not run it",
                source,
            )

    def _source(self, name: str) -> Source:
        access, recorder = ACCESS.get(name), self.recorder
        folder = recorder.folder if recorder else None
        return Source(
            name,
            self.settings.watched(name),
            self.settings,
            self.flow,
            self.writer,
            self.tape,
            is_replay=self.label == "replay",
            access=access(self.settings, self._ended) if access else None,
            want=self._want,
            tap_of=partial(recorder.tap, name) if recorder else None,
            make_line=line_of(name, self.settings, self._ended, folder),
        )

    def _want(self, source: str, symbol: str, start_us: int, end_us: int) -> None:
        """Queue a job for a time that a feed may have missed a part of."""
        self.backfill.submit(Request(source, symbol, start_us, end_us, asked_by="feed"))

    def __enter__(self) -> Daemon:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        with ExitStack() as held:
            held.enter_context(self._lock)
            check_after_crash(self.settings.database_path)
            call_command("migrate", verbosity=0, interactive=False)
            self._say_idle()
            self._start()
            # Only a start that came this far keeps the lock.
            self._held = held.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _start(self) -> None:
        live.start(self._live())
        if self.recorder is not None:
            self.recorder.start()
        self.writer.start()
        self.flow.start()
        for source in self.sources.values():
            source.start()
        self.backfill.start()
        if self.label != "replay":
            self.auditor.start()

    def _live(self) -> live.Live:
        sources = list(self.sources.values())
        return live.Live(
            board=self.board,
            flow=self.flow,
            writer=self.writer,
            tape=self.tape,
            publisher=self.publisher,
            instruments=self.settings.instruments,
            label=self.label,
            clock=self.clock,
            wall_clock=wall_us,
            gaps=self.gaps.__getitem__,
            lines=[source.line for source in sources],
            book_lines=[source.books.line for source in sources if source.books],
            books={x.name: x.books.keeper for x in sources if x.books},
            tickers={source.name: source.tickers for source in sources},
            repairs={x.name: x.repair for x in sources if x.repair},
            lag=self.lag,
            write_rows=self.write_rows,
            write_seconds=self.write_seconds,
            rejections=self.rejections,
            clients=[source.link.rest for source in sources if source.link.rest],
            backfill=self.backfill,
        )

    def stop(self) -> None:
        """Stop what brings data, then what keeps it; everything handed in is committed."""
        began_s = time.monotonic()
        self.publisher.stop()
        self._ended.set()
        for source in self.sources.values():
            # All of them begin to end before any is waited for.
            source.stopping.set()
        for source in self.sources.values():
            source.stop(2.0)
        if self.recorder is not None:
            self.recorder.stop(2.0)
        self.auditor.stop(1.0)
        self.backfill.stop(2.0)
        self.flow.stop(2.0)
        for source in self.sources.values():
            for symbol, sink in source.sinks.items():
                sink.levels(self.flow.lanes[source.name, symbol].clock, at_once=True)
        complete = self.writer.stop(3.0)
        live.stop()
        connection.close()
        self._held.close()
        log.info(
            "stopped seconds=%.2f rows_written=%s all_committed=%s",
            time.monotonic() - began_s,
            self.writer.rows_written,
            complete,
        )

    def clock(self) -> int:
        """Return the time pages show: the tape's in a replay, else this machine's."""
        if self.label != "replay":
            return wall_us()
        return max((lane.clock() for lane in self.flow.lanes.values()), default=0)

    def rejections(self) -> dict[tuple[str, str], int]:
        """Return refused frames by source and reason."""
        return {
            (source.name, reason): count
            for source in self.sources.values()
            for reason, count in dict(source.rejections).items()
        }

    def summary(self) -> dict[str, Any]:
        """Return what came in, for `ingest`."""
        lanes = self.flow.lanes.values()
        counts = [lane.pipeline.counts for lane in lanes]
        live_trades = sum(source.live_trades for source in self.sources.values())
        return {
            "trades": sum(item.trades for item in counts),
            "live": live_trades,
            "refilled": sum(x.repair.done for x in self.sources.values() if x.repair),
            "duplicates": sum(item.duplicates for item in counts),
            "missing": sum(lane.coverage.missing for lane in lanes if lane.coverage),
            "holes": sum(self.gaps.values()),
            "reconnects": sum(source.line.reconnects for source in self.sources.values()),
            "rejected": sum(self.rejections().values()),
            "dropped": self.flow.dropped,
            "rows_written": self.writer.rows_written,
        }

    # Called in the thread of the backfill.

    def _means(self, source: str, settings: Conf, stop: threading.Event) -> Means:
        """Return what a job fetches with: over the feed's own connection, where there is one."""
        running = self.sources.get(source)
        line = running.line if running else None
        return means_of(
            source, settings, stop, line if isinstance(line, SharedConnection) else None
        )

    def _holds(self, source: str, symbol: str, day_us: int) -> bool:
        """Tell whether a day is in a pipeline's memory, today's from the first moment on."""
        lane = self.flow.lanes.get((source, symbol))
        if lane is None:
            return False
        today_us = open_us(lane.clock(), DAY_US)
        return day_us == today_us or day_us in self._days.get((source, symbol), ())

    def _deliver(self, source: str, symbol: str, batch: Batch) -> None:
        self.flow.put_history(source, symbol, batch)

    def _lacks(self, instrument: Instrument, runs: list[Run], reason: str) -> None:
        self._keep_absent(instrument, runs, Absence.Kind.EXCHANGE_SIDE, reason)

    # Called in the thread of the auditor.

    def _give_up(self, instrument: Instrument, runs: list[Run], reason: str) -> None:
        self._keep_absent(instrument, runs, Absence.Kind.PERMANENT, reason)

    def _keep_absent(self, instrument: Instrument, runs: list[Run], kind: str, reason: str) -> None:
        lane = self.flow.lanes.get((instrument.source, instrument.symbol))
        if lane is None:
            self.writer.put_absence(instrument.id, runs, kind, reason, wall_us())
        else:
            self.sources[instrument.source].lacks(lane.pipeline, runs, kind, reason)

    # Called in the threads of flow and writer.

    def _covered(self, name: Name, coverage: list[ScopeCoverage]) -> None:
        source = self.sources[name[0]]
        source.covered(name[1], coverage)
        scopes = self.flow.lanes[name].pipeline.context.scopes()
        days = {x.window.start_us for x in scopes if x.window.name == DAY}
        # Of a day from before the start a late trade may be in memory, and no more.
        since_us = source.sinks[name[1]].since_us
        self._days[name] = frozenset(day_us for day_us in days if day_us >= since_us)
        if source.client.label and live.is_running() and not live.now().label:
            # A venue that our settings point to says by itself that it is no real one.
            live.now().label = LABELS.get(source.client.label, "simulated")

    def _happened(self, instrument: Instrument, event: Event) -> None:
        if event.kind == "gap":
            self.gaps[instrument.source] += 1
        if event.kind == "day_roll":
            self.auditor.wake()
        name = (instrument.source, instrument.symbol)
        message = {"type": "event", **event_payload(event)}
        self.publisher.tell(lambda key: (key.source, key.symbol) == name, message)

    def _restated(self, rows: list[Restatement]) -> None:
        """Tell of what changed while people look; a backfill's minutes would bury the rest."""
        followed = {lane.pipeline.instrument.id: lane for lane in list(self.flow.lanes.values())}
        for row in rows:
            lane = followed.get(row.instrument_id)
            is_minute_of_job = row.what == What.CANDLE and row.cause in OF_JOBS
            if lane is not None and not is_minute_of_job:
                self.tape.event(lane.pipeline.instrument, restatements.event(row))

    def _flushed(self, rows: int, seconds: float) -> None:
        self.write_rows.add(rows)
        self.write_seconds.add(seconds)


def _nothing() -> None:
    """Ask the flow for nothing: the answer comes when all before it is done."""


def use(settings: Conf) -> None:
    """Make these the process's settings, its database included."""
    django_settings.BOTCRYPTO = settings
    path = Path(settings.database_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if Path(connections.settings["default"]["NAME"]) != path:
        # Connections made so far would go on with the other file.
        connections.close_all()
        connections.settings["default"]["NAME"] = str(path)
