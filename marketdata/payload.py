"""Values as the JSON that contracts name: contexts, candles, trades. No NaN, times with Z."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from marketdata.context import ScopeCoverage, Snapshot
from marketdata.core.candles import Candle
from marketdata.core.events import Event
from marketdata.core.instrument import Grid
from marketdata.core.sessions import OFF, Window
from marketdata.core.trades import Trades
from marketdata.metrics.profile import Rows

encode = msgspec.json.Encoder(decimal_format="number").encode


def iso(ts_us: int) -> str:
    """Return microseconds since the epoch as ISO 8601 UTC with milliseconds and Z."""
    # Whole seconds first: a float of microseconds would round the last digit.
    whole, rest = divmod(ts_us, 1_000_000)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest // 1000:03d}Z"


def session_payload(window: Window, message: str) -> dict[str, Any]:
    """Return the current session for people and programs."""
    return {
        "name": window.name,
        "start": iso(window.start_us),
        "end": iso(window.end_us),
        "active": window.name != OFF,
        "message": message,
    }


def coverage_payload(coverage: ScopeCoverage, proof: str) -> dict[str, Any]:
    """Return what is held of what there is."""
    return {
        "expected": coverage.expected,
        "held": coverage.held,
        "missing": coverage.missing,
        "ratio": coverage.ratio,
        "proof": proof,
        "edges": coverage.edges,
        "ranges": [list(run) for run in coverage.ranges[:100]],
        "sources": coverage.sources,
    }


def profile_payload(snapshot: Snapshot, limit: int | None) -> tuple[list[dict[str, float]], float]:
    """Return the rows that traded, lowest first, and the height of a row.

    Parameters
    ----------
    limit : int or None
        Regroup into whole multiples of the row height until at most this many rows remain.
    """
    grid, size = snapshot.instrument.grid, snapshot.definition.profile_tick_size
    rows = snapshot.rows
    if limit and len(rows.sell) > limit:
        factor = -(-(len(rows.sell) + 1) // limit)
        rows = rows.binned(rows.row_ticks * factor)
        while len(rows.sell) > limit:
            factor += 1
            rows = snapshot.rows.binned(snapshot.rows.row_ticks * factor)
        size = size * factor
    return _rows(rows, size, grid), float(size)


def _rows(rows: Rows, size: Decimal, grid: Grid) -> list[dict[str, float]]:
    places, lot_places = _places(size), _places(grid.lot)
    lot = grid.lot_size
    found = []
    for at in rows.volume.nonzero()[0].tolist():
        sold, bought = int(rows.sell[at]), int(rows.buy[at])
        found.append(
            {
                "price": round((rows.first + at) * float(size), places),
                "volume": round((sold + bought) * lot, lot_places),
                "buy_vol": round(bought * lot, lot_places),
                "sell_vol": round(sold * lot, lot_places),
            }
        )
    return found


def _places(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))


def precision(coverage: ScopeCoverage, *, is_backfilling: bool) -> str:
    """Say how far a context can be trusted: `exact`, `backfilling` or `degraded`."""
    if is_backfilling:
        return "backfilling"
    return "degraded" if coverage.missing else "exact"


def context_payload(
    snapshot: Snapshot, *, proof: str, is_backfilling: bool = False, limit: int | None = None
) -> dict[str, Any]:
    """Return the object of /api/context."""
    profile, size = profile_payload(snapshot, limit)
    definition = snapshot.definition
    return {
        "symbol": snapshot.instrument.symbol,
        "source": snapshot.instrument.source,
        "scope": snapshot.scope,
        "as_of": iso(snapshot.as_of_us),
        "start": iso(snapshot.window.start_us),
        "end": iso(snapshot.window.end_us),
        "session": session_payload(snapshot.session, snapshot.session_message),
        "levels": snapshot.levels,
        "volume_profile": profile,
        "volume": snapshot.volume,
        "buy_volume": snapshot.buy_volume,
        "sell_volume": snapshot.sell_volume,
        "cumulative_delta": snapshot.delta,
        "delta_min": snapshot.delta_min,
        "delta_max": snapshot.delta_max,
        "trades": snapshot.trades,
        "last_trade_at": iso(snapshot.last_ts_us) if snapshot.trades else None,
        "coverage": coverage_payload(snapshot.coverage, proof),
        "definition": {
            "value_area_rule": definition.value_area_rule,
            "value_area_pct": definition.value_area_pct,
            "value_area_tie": "up",
            "poc_tie": "nearest the middle, then lower",
            "poc_is_tied": snapshot.poc_is_tied,
            "profile_tick_size": size,
            "anchor": iso(snapshot.window.start_us),
            "previous_day": snapshot.previous_day.origin if snapshot.previous_day else None,
            "tick_size": snapshot.instrument.grid.tick_size,
            "lot_size": snapshot.instrument.grid.lot_size,
        },
        "precision": precision(snapshot.coverage, is_backfilling=is_backfilling),
    }


def candle_payload(candle: Candle, *, is_closed: bool, coverage: float | None) -> dict[str, Any]:
    """Return one candle of /api/strategy/candles."""
    sold = candle.volume - candle.buy_volume
    return {
        "time": iso(candle.open_us),
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
        "buy_volume": candle.buy_volume,
        "sell_volume": round(sold, 12),
        "delta": round(candle.buy_volume - sold, 12),
        "trades": candle.trades,
        "vwap": candle.quote_volume / candle.volume,
        "coverage": coverage,
        "closed": is_closed,
    }


def trades_payload(trades: Trades) -> list[dict[str, Any]]:
    """Return trades as /api/trades lists them."""
    columns = (trades.id, trades.ts_us, trades.price, trades.qty, trades.is_buy)
    return [
        {"trade_id": id, "time": iso(ts_us), "price": price, "qty": qty, "is_buy": is_buy}
        for id, ts_us, price, qty, is_buy in zip(*(c.tolist() for c in columns), strict=True)
    ]


def event_payload(event: Event) -> dict[str, Any]:
    """Return an event as the page and the API see it."""
    return {"kind": event.kind, "ts": iso(event.ts_us), "detail": event.detail}


def counts(kinds: Iterable[str]) -> dict[str, int]:
    """Count words, in alphabetical order."""
    found: dict[str, int] = {}
    for kind in kinds:
        found[kind] = found.get(kind, 0) + 1
    return dict(sorted(found.items()))
