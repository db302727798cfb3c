"""What the pipelines tell the store: new trades, finished minutes, what happened, levels so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from marketdata.context import DAY, Snapshot
from marketdata.core.candles import candle
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Instrument
from marketdata.core.lacking import within
from marketdata.core.sessions import OFF, Window
from marketdata.core.timeframe import MINUTE_US
from marketdata.models import DailyLevel, SessionStat
from marketdata.pipeline import BASE, GRACE_US, Pipeline
from marketdata.store.refills import Key, Refills
from marketdata.store.restatements import CAUSES, Cause
from marketdata.store.writer import Writer

# Minutes have a table of their own; telling of each again would bury the rest.
CANDLE_EVENTS = {"candle_complete", "candle_restated"}
# Levels of a running day are for whoever reads the database; a restart recomputes them.
LEVELS_EVERY_S = 15.0
# How often to look whether what is being filled in has become whole.
MINUTES_EVERY_S = 1.0


def wall_us() -> int:
    """Return this machine's time, microseconds UTC."""
    return time.time_ns() // 1000


class StoreSink:
    """Hands what comes out of one pipeline to the writer. Runs in the pipeline's thread.

    Parameters
    ----------
    writer : Writer
    clock : callable
        Microseconds UTC, for what is restated.

    Attributes
    ----------
    since_us : int
        From when on the pipeline holds all that is stored. Of minutes and windows that begin
        earlier it may hold a part only, which must not replace the whole.

    Notes
    -----
    A stored minute is a claim: it was published as closed. So minutes that are being filled in,
    because they lie before the first live trade or are restated, are stored once they are whole or
    nothing more is coming.
    """

    def __init__(self, writer: Writer, clock: Callable[[], int] = wall_us) -> None:
        self.writer = writer
        self.clock = clock
        self.pipeline: Pipeline | None = None
        self.since_us = 0
        self.live_since_us = 0
        self._levels_at_s = self._minutes_at_s = time.monotonic()
        self._written: dict[Key, tuple[int, int, bool]] = {}
        self._pending: dict[int, str] = {}
        self._brought: list[tuple[int, int, str]] = []
        self._refills = Refills()

    def trades(self, instrument: Instrument, batch: Batch) -> None:
        """Store new trades."""
        self.writer.put_trades(instrument.id, batch)
        if batch.origin == "live":
            self.live_since_us = self.live_since_us or int(batch.trades.ts_us[0])
            return
        ts_us = batch.trades.ts_us
        self._brought.append((int(ts_us.min()), int(ts_us.max()), CAUSES[batch.origin]))
        if self.live_since_us and self.pipeline is not None:
            # Levels were shown without these; what lies before the feed was never shown.
            late = batch.trades[ts_us >= self.live_since_us]
            final = {key for key, (_, _, is_final) in self._written.items() if is_final}
            self._refills.add(self.pipeline.context, late, final)

    def event(self, instrument: Instrument, event: Event) -> None:
        """Store a finished or restated minute, or what happened."""
        if event.kind not in CANDLE_EVENTS:
            self.writer.put_events(instrument.id, [event])
            if event.kind == "grid_refined" and self.pipeline is not None:
                self.writer.put_grid(instrument.id, self.pipeline.instrument.grid)
        elif event.detail["timeframe"] == BASE:
            self._minute(event)

    def _minute(self, event: Event) -> None:
        start_us, cause = event.detail["open_us"], Cause.LATE
        if start_us < self.since_us:
            return
        if event.kind == "candle_restated":
            cause = CAUSES[event.detail["origin"]]
        elif 0 < self.live_since_us <= start_us:
            self._store_minute(start_us, cause)
            return
        self._pending[start_us] = cause
        self._store_pending([start_us], is_filling=True)

    def _store_pending(self, starts: Iterable[int], *, is_filling: bool) -> None:
        for start_us in starts:
            if not is_filling or self._is_whole(start_us):
                self._store_minute(start_us, self._pending.pop(start_us))

    def _is_whole(self, start_us: int) -> bool:
        bar = self.pipeline.series[BASE].bar(start_us) if self.pipeline else None
        if self.pipeline is None or bar is None:
            return True
        saw_start = 0 < self.live_since_us <= start_us
        return self.pipeline.context.is_whole(
            bar, start_us, start_us + MINUTE_US, saw_start=saw_start
        )

    def _store_minute(self, start_us: int, cause: str) -> None:
        bar = self.pipeline.series[BASE].bar(start_us) if self.pipeline else None
        if self.pipeline is not None and bar is not None:
            instrument = self.pipeline.instrument
            row = candle(start_us, bar, instrument.grid)
            self.writer.put_candles(instrument.id, BASE, [row], cause, self.clock())

    def reconcile(self, stored: Mapping[int, int]) -> None:
        """Store the closed minutes whose rows are not what their trades come to.

        Parameters
        ----------
        stored : mapping
            Trades of each stored minute, by its start. A process that was killed may have left the
            trades of a minute without its row.
        """
        if self.pipeline is None:
            return
        series = self.pipeline.series[BASE]
        for start_us, bar in series.bars():
            if start_us < self.since_us or not series.is_closed(start_us):
                continue
            if stored.get(start_us) != bar.trades:
                self._pending.setdefault(start_us, Cause.REFILL)

    def levels(
        self, clock: Callable[[], int], *, is_filling: bool = False, at_once: bool = False
    ) -> None:
        """Store what is due: minutes that are whole now, and the levels that have changed.

        Parameters
        ----------
        is_filling : bool
            Missing trades are being fetched now.
        at_once : bool
            The process ends.
        """
        if self.pipeline is None:
            return
        now_s, now_us = time.monotonic(), clock()
        if at_once or now_s - self._minutes_at_s >= MINUTES_EVERY_S:
            self._minutes_at_s = now_s
            self._settle(now_us, is_filling=is_filling, at_once=at_once)
        if at_once or now_s - self._levels_at_s >= LEVELS_EVERY_S:
            self._levels_at_s = now_s
            self._store_levels(now_us, is_filling=is_filling, at_once=at_once)

    def _settle(self, now_us: int, *, is_filling: bool, at_once: bool) -> None:
        if self.pipeline is None:
            return
        context, refused = self.pipeline.context, self.pipeline.refused
        self._store_pending(list(self._pending), is_filling=is_filling)
        if at_once:
            shown = [start for start in self._pending if 0 < self.live_since_us <= start]
            self._store_pending(shown, is_filling=False)
        if self._refills and (at_once or not is_filling):
            for row in self._refills.take(context, Cause.REFILL, now_us):
                self.writer.put_restatement(row)
        if refused:
            self.writer.put_refusals(context.instrument.id, {k: v for k, v in refused.items() if v})
            refused.clear()

    def _store_levels(self, now_us: int, *, is_filling: bool, at_once: bool) -> None:
        if self.pipeline is None:
            return
        context = self.pipeline.context
        for scope in context.scopes():
            window, key = scope.window, (scope.window.name, scope.window.start_us)
            is_over = window.end_us + GRACE_US <= now_us
            left_out = within(context.left_out, window.start_us, window.end_us)
            is_final = is_over and not is_filling
            state = (scope.trades, left_out, is_final)
            if window.name == OFF or window.start_us < self.since_us:
                continue
            if self._written.get(key) == state:
                continue
            if is_over and is_filling and not at_once:
                continue
            self._written[key] = state
            # The venue's clock may be ahead of ours: its day begins while ours ends.
            as_of_us = max(window.start_us, min(now_us, window.end_us - 1))
            snapshot = context.snapshot_of(scope, window.name, as_of_us)
            row = level_row(snapshot, scope.hash(context.instrument.grid), is_final=is_final)
            self.writer.put_levels(row, self._cause(window), now_us)
        self._brought.clear()

    def _cause(self, window: Window) -> str:
        """Return how the trades came that changed a window since it was stored."""
        causes = [
            cause
            for first_us, last_us, cause in self._brought
            if first_us < window.end_us and last_us >= window.start_us
        ]
        return causes[-1] if causes else Cause.LATE


def level_row(
    snapshot: Snapshot, state_hash: str, *, is_final: bool = False
) -> DailyLevel | SessionStat:
    """Return the row of a day's or a session's levels.

    Parameters
    ----------
    is_final : bool
        The window is over and nothing of it is being fetched: the numbers are published for good.
    """
    fields = {**_fields(snapshot, state_hash), "is_final": is_final}
    window, instrument_id = snapshot.window, snapshot.instrument.id
    if snapshot.scope == DAY:
        return DailyLevel(
            instrument_id=instrument_id, day_us=window.start_us, origin="trades", **fields
        )
    return SessionStat(
        instrument_id=instrument_id,
        name=window.name,
        start_us=window.start_us,
        end_us=window.end_us,
        **fields,
    )


def _fields(snapshot: Snapshot, state_hash: str) -> dict[str, object]:
    levels, definition = snapshot.levels, snapshot.definition
    return {
        "open": levels["OPEN"],
        "high": levels["HIGH"],
        "low": levels["LOW"],
        "close": levels["LAST"],
        "vwap": levels["VWAP"],
        "poc": levels["POC"],
        "vah": levels["VAH"],
        "val": levels["VAL"],
        "volume": snapshot.volume,
        "buy_volume": snapshot.buy_volume,
        "sell_volume": snapshot.sell_volume,
        "delta": snapshot.delta,
        "delta_min": snapshot.delta_min,
        "delta_max": snapshot.delta_max,
        "trades": snapshot.trades,
        "expected": snapshot.coverage.expected,
        "held": snapshot.coverage.held,
        "definition": {
            "value_area_rule": definition.value_area_rule,
            "value_area_pct": definition.value_area_pct,
            "profile_tick_size": str(definition.profile_tick_size),
        },
        "state_hash": state_hash,
    }
