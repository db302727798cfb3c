"""What the pipelines tell the store: new trades, finished minutes, what happened, levels so far."""

from __future__ import annotations

import time
from collections.abc import Callable

from marketdata.context import DAY, Snapshot
from marketdata.core.candles import candle
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Instrument
from marketdata.core.sessions import OFF
from marketdata.models import DailyLevel, SessionStat
from marketdata.pipeline import BASE, Pipeline
from marketdata.store.writer import Writer

# Minutes have a table of their own; telling of each again would bury the rest.
CANDLE_EVENTS = {"candle_complete", "candle_restated"}
# Levels of a running day are for whoever reads the database; a restart recomputes them.
LEVELS_EVERY_S = 15.0


class StoreSink:
    """Hands what comes out of one pipeline to the writer. Runs in the pipeline's thread."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.pipeline: Pipeline | None = None
        self._levels_at_s = time.monotonic()
        self._written: dict[tuple[str, int], int] = {}

    def trades(self, instrument: Instrument, batch: Batch) -> None:
        """Store new trades."""
        self.writer.put_trades(instrument.id, batch)

    def event(self, instrument: Instrument, event: Event) -> None:
        """Store a finished or restated minute, or what happened."""
        if event.kind not in CANDLE_EVENTS:
            self.writer.put_events(instrument.id, [event])
            if event.kind == "grid_refined" and self.pipeline is not None:
                self.writer.put_grid(instrument.id, self.pipeline.instrument.grid)
        elif event.detail["timeframe"] == BASE and self.pipeline is not None:
            start = event.detail["open_us"]
            bar = self.pipeline.series[BASE].bar(start)
            if bar is not None:
                row = candle(start, bar, self.pipeline.instrument.grid)
                self.writer.put_candles(instrument.id, BASE, [row])

    def levels(self, clock: Callable[[], int], *, at_once: bool = False) -> None:
        """Store the levels of each day and session that has changed, now and then."""
        if self.pipeline is None:
            return
        now_s = time.monotonic()
        if not at_once and now_s - self._levels_at_s < LEVELS_EVERY_S:
            return
        self._levels_at_s = now_s
        context = self.pipeline.context
        for scope in context.scopes():
            key = (scope.window.name, scope.window.start_us)
            if scope.window.name == OFF or self._written.get(key) == scope.trades:
                continue
            self._written[key] = scope.trades
            # The venue's clock may be ahead of ours: its day begins while ours ends.
            as_of_us = max(scope.window.start_us, min(clock(), scope.window.end_us - 1))
            snapshot = context.snapshot_of(scope, scope.window.name, as_of_us)
            self.writer.put_row(level_row(snapshot, scope.hash(context.instrument.grid)))


def level_row(snapshot: Snapshot, state_hash: str) -> DailyLevel | SessionStat:
    """Return the row of a day's or a session's levels."""
    fields = _fields(snapshot, state_hash)
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
