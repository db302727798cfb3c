"""Values as the JSON that contracts name: contexts, candles, trades. No NaN, times with Z."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from marketdata.context import Snapshot
from marketdata.core.bar import Bars
from marketdata.core.coverage import ScopeCoverage
from marketdata.core.events import Event
from marketdata.core.instrument import Grid
from marketdata.core.sessions import OFF, Window
from marketdata.core.trades import Ints, Trades
from marketdata.metrics.profile import Rows

# What a feed without sizes and sides leaves unknown, and what it lets one estimate.
SIZED = ("volume", "buy_volume", "sell_volume", "cumulative_delta", "delta_min", "delta_max")
BAR_SIZES = ("volume", "buy_volume", "sell_volume", "delta", "vwap")
ESTIMATED = ("POC", "VAH", "VAL", "volume_profile", "ticks.delta")
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
    """Return what is held of what there is; how much is missing is null where nobody knows."""
    return {
        "expected": coverage.expected if coverage.is_known else None,
        "held": coverage.held,
        "missing": coverage.missing if coverage.is_known else None,
        "holes": len(coverage.ranges),
        "left_out": coverage.left_out,
        "ratio": coverage.ratio,
        "proof": proof,
        "edges": coverage.edges,
        "has_first": coverage.has_first,
        "ranges": [list(run) for run in coverage.ranges[:100]],
        "exchange_side": [list(run) for run in coverage.exchange_side[:100]],
        "sources": coverage.sources,
    }


def profile_payload(snapshot: Snapshot, limit: int | None) -> tuple[list[dict[str, float]], float]:
    """Return the rows that traded, lowest first, and the height of a row.

    Parameters
    ----------
    limit : int or None
        Regroup into whole multiples of the row height until at most this many rows remain.
    """
    rows, size = snapshot.rows, snapshot.definition.profile_tick_size
    if limit and len(rows.sell) > limit:
        factor = regrouping(rows.first, rows.first + len(rows.sell) - 1, limit)
        rows, size = rows.binned(rows.row_ticks * factor), size * factor
    return _rows(rows, size, snapshot.instrument.grid.lot), float(size)


def regrouping(first: int, last: int, limit: int) -> int:
    """Return the least factor by which rows first..last fall into at most `limit` groups.

    Examples
    --------
    >>> regrouping(7, 12, 2)
    5
    """
    factor = -(-(last - first + 1) // limit)
    while last // factor - first // factor + 1 > limit:
        # As long as the last group's number stays, more height only lowers the first one's.
        factor = last // (last // factor) + 1
    return factor


def _rows(rows: Rows, size: Decimal, lot: Decimal) -> list[dict[str, float]]:
    at = rows.volume.nonzero()[0]
    sold, bought = rows.sell[at], rows.buy[at]
    columns = (
        _times(at + rows.first, size),
        _times(sold + bought, lot),
        _times(bought, lot),
        _times(sold, lot),
    )
    # A day has tens of thousands of rows; anything else in this loop would cost milliseconds.
    return [
        {"price": price, "volume": volume, "buy_vol": buy, "sell_vol": sell}
        for price, volume, buy, sell in zip(*columns, strict=True)
    ]


def _times(counts: Ints, step: Decimal) -> list[float]:
    """Return counts of steps as the float64 nearest to each exact decimal.

    Notes
    -----
    Both sides of the division are whole numbers below 2**53, so that it rounds once.
    """
    numerator, denominator = _ratio(step)
    numbers: list[float] = (counts * numerator / denominator).tolist()
    return numbers


def _ratio(step: Decimal) -> tuple[int, int]:
    places = max(0, -int(step.normalize().as_tuple().exponent))
    return int(step.scaleb(places)), 10**places


def precision(
    coverage: ScopeCoverage,
    *,
    is_live: bool = False,
    is_backfilling: bool = False,
    is_doubtful: bool = False,
) -> str:
    """Say how far numbers can be trusted.

    Parameters
    ----------
    is_live : bool
        The scope runs: unless its start is known, trades before the first one held may be missing.
    is_backfilling : bool
        Missing trades are being fetched now.
    is_doubtful : bool
        Trades may be missing that nobody can name: nothing is received, or an error came between.

    Returns
    -------
    str
        `exact`: every trade of the scope is held. `backfilling`: some are being fetched.
        `degraded`: some are missing, or may be.
    """
    if is_doubtful:
        return "degraded"
    if is_backfilling:
        return "backfilling"
    has_unknown_start = is_live and coverage.held > 0 and coverage.edges == "held"
    return "degraded" if coverage.missing or has_unknown_start else "exact"


def context_payload(
    snapshot: Snapshot,
    *,
    proof: str,
    is_backfilling: bool = False,
    is_doubtful: bool = False,
    limit: int | None = None,
) -> dict[str, Any]:
    """Return the object of /api/context."""
    profile, size = profile_payload(snapshot, limit)
    definition = snapshot.definition
    payload = {
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
            "basis": "volume",
        },
        "estimated": [],
        "precision": precision(
            snapshot.coverage, is_backfilling=is_backfilling, is_doubtful=is_doubtful
        ),
    }
    return payload if snapshot.instrument.is_sized else payload | _of_ticks(payload)


def _of_ticks(payload: dict[str, Any]) -> dict[str, Any]:
    """Return what a quote feed tells: where its ticks were; sizes and sides it does not know."""
    rows = [{**row, "buy_vol": None, "sell_vol": None} for row in payload["volume_profile"]]
    ticks = {"count": payload["trades"], "delta": payload["cumulative_delta"]}
    return {
        **dict.fromkeys(SIZED),
        "levels": {**payload["levels"], "VWAP": None, "VWAP_SD": None},
        "volume_profile": rows,
        "definition": {**payload["definition"], "basis": "ticks"},
        "ticks": ticks,
        "estimated": [*ESTIMATED],
    }


def bars_payload(
    bars: Bars,
    grid: Grid,
    *,
    closed_us: int,
    length_us: int,
    ratios: Sequence[float | None],
    is_sized: bool = True,
) -> list[dict[str, Any]]:
    """Return bars as /api/strategy/candles lists them.

    Parameters
    ----------
    closed_us : int
        What ends at or before this time is complete.
    ratios : sequence of float or None
        Held over expected trades of each bar.
    is_sized : bool
        Whether the feed tells sizes and sides; else they are null.
    """
    tick, per_tick = _ratio(grid.tick)
    lot, per_lot = _ratio(grid.lot)
    made = [
        {
            "time": iso(start),
            # Whole numbers divided once: each value is the float64 nearest to its exact decimal.
            "open": bar.open * tick / per_tick,
            "high": bar.high * tick / per_tick,
            "low": bar.low * tick / per_tick,
            "close": bar.close * tick / per_tick,
            "volume": bar.lots * lot / per_lot,
            "buy_volume": bar.buy_lots * lot / per_lot,
            "sell_volume": (bar.lots - bar.buy_lots) * lot / per_lot,
            "delta": (2 * bar.buy_lots - bar.lots) * lot / per_lot,
            "trades": bar.trades,
            "vwap": bar.notional * tick / (bar.lots * per_tick) if bar.lots else None,
            "coverage": ratio,
            "closed": start + length_us <= closed_us,
        }
        for (start, bar), ratio in zip(bars, ratios, strict=True)
    ]
    return made if is_sized else [row | dict.fromkeys(BAR_SIZES) for row in made]


def trades_payload(
    trades: Trades, refs: Mapping[int, str] | None = None, *, is_sized: bool = True
) -> list[dict[str, Any]]:
    """Return trades as /api/trades lists them.

    Parameters
    ----------
    refs : mapping, optional
        The venue's own id by ours, where trades are numbered by us.
    is_sized : bool
        Whether the feed tells sizes and sides; else they are null.
    """
    told = refs or {}
    columns = (trades.id, trades.ts_us, trades.price, trades.qty, trades.is_buy)
    return [
        {
            "trade_id": id,
            "time": iso(ts_us),
            "price": price,
            "qty": qty if is_sized else None,
            "is_buy": is_buy if is_sized else None,
            "venue_id": told.get(id),
        }
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
