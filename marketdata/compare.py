"""Several instruments side by side: their day so far, the basis between them, and who leads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from marketdata import answers, live, rebuilt
from marketdata.conf import conf
from marketdata.context import DAY
from marketdata.core.coverage import ScopeCoverage
from marketdata.core.instrument import Instrument
from marketdata.core.pair import base_of, parts_of
from marketdata.core.timeframe import SECOND_US
from marketdata.core.trades import Floats
from marketdata.feeds.flow import CONFIRMED_US, Flow, Name
from marketdata.feeds.ingestor import FeedStatus
from marketdata.metrics import lead as leading
from marketdata.metrics.lead import lead
from marketdata.metrics.vwap import vwap
from marketdata.payload import iso, precision
from marketdata.pipeline import Pipeline
from marketdata.venues import VENUES, venue_of
from marketdata.venues.base import Venue

# So many columns fit a screen, and so many pairs a moment's work.
MOST = 12
# The worst of a source's connections is the state of its feed.
WORST_FIRST = ("stopped", "backoff", "connecting", "stale", "live")
STORED = "stored"


@dataclass(frozen=True, slots=True)
class Day:
    """An instrument's UTC day so far, as far as its feed tells; None is not known."""

    instrument: Instrument
    as_of_us: int
    last_us: int
    trades: int
    open: float | None
    last: float | None
    vwap: float | None
    volume: float | None
    delta: float | None
    coverage: ScopeCoverage


@dataclass(frozen=True, slots=True)
class Row:
    """A day, and what feeds it."""

    name: Name
    day: Day | None
    state: str
    data_age_ms: int | None
    precision: str | None

    @property
    def is_fresh(self) -> bool:
        """Whether its price holds now."""
        return self.state == "live" and self.day is not None and self.day.last is not None


def compare_answer(symbols: Sequence[str] = ()) -> dict[str, Any]:
    """Return the object of /api/compare.

    Parameters
    ----------
    symbols : sequence of str
        `source:symbol`, or a symbol for every source that has it; none: all instruments of what
        the first one trades.

    Raises
    ------
    UnknownNameError
    NotReadyError
        There is no instrument at all.
    TimeoutError
        The flow did not answer in time.
    """
    asked = chosen(symbols)
    names = asked[:MOST]
    days = _days(names)
    rows = [_row(name, days.get(name)) for name in names]
    spots = _spots(rows)
    second = live.now().clock() // SECOND_US if live.is_running() else 0
    return {
        "as_of": iso(second * SECOND_US) if second else None,
        "instruments": [_payload(row, spots.get(base_of(row.name[1]))) for row in rows],
        "left_out": len(asked) - len(names),
        "leads": _kept.leads(names, second),
        "definition": {
            "step_s": 1,
            "window_s": leading.KEEP_S,
            "most_lag_s": leading.MOST_LAG_S,
            "least_seconds": leading.LEAST_SECONDS,
            "least_correlation": leading.LEAST_CORRELATION,
            "chance": leading.CHANCE,
            "clear": leading.CLEAR,
            "confirmed_s": CONFIRMED_US // SECOND_US,
        },
    }


def chosen(symbols: Sequence[str]) -> list[Name]:
    """Return the instruments asked for, each once, in the order of the question."""
    known = answers.names()
    if not known:
        raise answers.NotReadyError("no instrument is configured, and none is stored")
    if not symbols:
        return of_base(base_of(known[0][1]))
    return list(dict.fromkeys(name for text in symbols for name in _named(text, known)))


def listed(texts: Sequence[str]) -> list[str]:
    """Return the names in texts that may hold several, comma separated."""
    return [name for text in texts for part in text.split(",") if (name := part.strip())]


def of_base(base: str) -> list[Name]:
    """Return what trades one thing: what is followed, else what is stored."""
    known = answers.configured() or answers.names()
    return [name for name in known if base_of(name[1]) == base]


def bases() -> list[str]:
    """Return everything that is traded, in the order of the instruments."""
    known = answers.configured() or answers.names()
    return list(dict.fromkeys(base_of(symbol) for _, symbol in known))


def _named(text: str, known: Sequence[Name]) -> list[Name]:
    source, colon, symbol = text.partition(":")
    if colon and source in VENUES:
        return [answers.resolve(source, symbol)]
    return [name for name in known if name[1] == text] or [answers.resolve(None, text)]


def _days(names: Sequence[Name]) -> dict[Name, Day]:
    """Return the days of those that are known: of the flow in one question, else as stored."""
    lanes = live.now().flow.lanes if live.is_running() else {}
    found: dict[Name, Day] = {}
    mine = [name for name in names if name in lanes]
    if mine:
        found |= live.now().flow.ask(
            lambda: {name: day_of(lanes[name].pipeline, lanes[name].clock()) for name in mine},
            answers.ASK_S,
        )
    followed = answers.configured()
    for name in (name for name in names if name not in lanes and name not in followed):
        pipeline = rebuilt.newest_day(*name)
        if pipeline is not None:
            found[name] = day_of(pipeline, pipeline.watermark_us)
    return found


def day_of(pipeline: Pipeline, now_us: int) -> Day:
    """Return the day so far, in the thread that owns the pipeline; no profile is gone through."""
    scope, instrument = pipeline.context.scope(DAY, now_us), pipeline.instrument
    grid, bar, is_sized = instrument.grid, scope.bar, instrument.is_sized
    coverage = pipeline.context.coverage(scope)
    return Day(
        instrument=instrument,
        as_of_us=now_us,
        last_us=scope.last_ts_us,
        trades=scope.trades,
        open=grid.price(bar.open) if bar and coverage.has_first else None,
        last=grid.price(bar.close) if bar else None,
        vwap=vwap(bar.notional, bar.lots, grid) if bar and is_sized else None,
        volume=grid.qty(bar.lots if bar else 0) if is_sized else None,
        delta=grid.qty(scope.delta.value().total) if is_sized else None,
        coverage=coverage,
    )


def _row(name: Name, day: Day | None) -> Row:
    status = _newest_status(name)
    lane = live.now().flow.lanes.get(name) if live.is_running() else None
    told = None
    if day is not None:
        told = precision(
            day.coverage,
            is_live=lane is not None,
            is_backfilling=lane is not None and lane.is_backfilling,
            is_doubtful=lane is not None and (bool(lane.damage) or answers.is_deaf(name)),
        )
    if status is None:
        return Row(name, day, STORED, None, told)
    message_us, now_us = status.last_message_us, live.now().wall_clock()
    age_ms = None if message_us is None else max(0, now_us - message_us) // 1000
    return Row(name, day, status.state, age_ms, told)


def _statuses() -> list[FeedStatus]:
    """Return the state of every connection that brings trades."""
    lines = live.now().lines if live.is_running() else []
    return [status for line in lines for status in line.statuses()]


def _newest_status(name: Name) -> FeedStatus | None:
    """Return the freshest connection that feeds an instrument."""
    mine = [x for x in _statuses() if x.source == name[0] and name[1] in x.symbol.split(",")]
    return max(mine, key=lambda status: status.last_message_us or 0, default=None)


def source_states() -> dict[str, str]:
    """Return the state of each source's feed: that of the worst of its connections."""
    found = {source: STORED for source, _ in answers.names()}
    for told in answers.health_answer()["connections"]:
        before = found.get(told["source"], STORED)
        if before == STORED or _rank(told["state"]) < _rank(before):
            found[told["source"]] = told["state"]
    return found


def _rank(state: str) -> int:
    return WORST_FIRST.index(state)


def _spots(rows: Sequence[Row]) -> dict[str, Row]:
    """Return what the others of the same base are measured against: spot, proved by id."""
    found: dict[str, Row] = {}
    for row in rows:
        if _is_spot(row.name[0]):
            found.setdefault(base_of(row.name[1]), row)
    return found


def venue_now(source: str) -> Venue:
    """Return the venue of a feed, in the kind that the settings choose."""
    return venue_of(source, conf().hosts(source).variant)


def _is_spot(source: str) -> bool:
    venue = venue_now(source)
    return venue.proof == "id_exact" and "funding" not in venue.series


def _payload(row: Row, spot: Row | None) -> dict[str, Any]:
    source, symbol = row.name
    base, quote = parts_of(symbol)
    return {
        "symbol": symbol,
        "source": source,
        "venue": venue_now(source).title,
        "base": base,
        "quote": quote,
        "state": row.state,
        "data_age_ms": row.data_age_ms,
        **_figures(row.day),
        "basis": _basis(row, spot),
        "reference": None if spot is None or spot is row else ":".join(spot.name),
        "is_reference": spot is row,
        "proof": VENUES[source].proof,
        "precision": row.precision,
    }


UNKNOWN = (
    "price", "last_trade_at", "open", "change", "change_pct", "vwap", "vwap_distance",
    "vwap_distance_pct", "cumulative_delta", "volume", "trades", "coverage", "missing", "holes",
    "is_sized", "tick_size", "lot_size",
)  # fmt: skip


def _figures(day: Day | None) -> dict[str, Any]:
    if day is None:
        return dict.fromkeys(UNKNOWN)
    covered, grid = day.coverage, day.instrument.grid
    return {
        "price": day.last,
        "last_trade_at": iso(day.last_us) if day.trades else None,
        "open": day.open,
        **_away("change", day.last, day.open),
        "vwap": day.vwap,
        **_away("vwap_distance", day.last, day.vwap),
        "cumulative_delta": day.delta,
        "volume": day.volume,
        "trades": day.trades,
        "coverage": covered.ratio,
        "missing": covered.missing if covered.is_known else None,
        "holes": len(covered.ranges),
        "is_sized": day.instrument.is_sized,
        "tick_size": grid.tick_size,
        "lot_size": grid.lot_size,
    }


def _away(what: str, price: float | None, origin: float | None) -> dict[str, float | None]:
    """Return how far a price is from another, and in percent of that."""
    if price is None or not origin:
        return {what: None, f"{what}_pct": None}
    return {what: price - origin, f"{what}_pct": 100 * (price - origin) / origin}


def _basis(row: Row, spot: Row | None) -> float | None:
    """Return a price over that of spot, less one, while both hold now."""
    if spot is None or spot is row or not (row.is_fresh and spot.is_fresh):
        return None
    price, other = (item.day.last if item.day else None for item in (row, spot))
    return price / other - 1 if price and other else None


class _Leads:
    """Who leads, found once a second for all who ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[Flow | None, tuple[Name, ...], int] = (None, (), 0)
        self._found: list[dict[str, Any]] = []

    def leads(self, names: Sequence[Name], second: int) -> list[dict[str, Any]]:
        """Return what each pair of instruments says of each other."""
        key = live.now().flow if live.is_running() else None, tuple(names), second
        with self._lock:
            if self._key != key:
                self._found = _leads(_series(names, second))
                self._key = key
            return self._found


_kept = _Leads()


def _series(names: Sequence[Name], second: int) -> dict[Name, Floats]:
    """Return the last prices of each instrument, second by second."""
    if not live.is_running():
        return {name: leading.Track().series(0) for name in names}
    lanes = live.now().flow.lanes
    tracks = {name: lanes[name].track if name in lanes else leading.Track() for name in names}
    return live.now().flow.ask(
        lambda: {name: track.series(second) for name, track in tracks.items()}, answers.ASK_S
    )


def _leads(series: dict[Name, Floats]) -> list[dict[str, Any]]:
    found = []
    for pair in combinations(series, 2):
        said = lead(series[pair[0]], series[pair[1]])
        found.append(
            {
                "pair": [":".join(name) for name in pair],
                "leader": None if said.leader is None else ":".join(pair[said.leader]),
                "lag_s": said.lag_s,
                "correlation": said.correlation,
                "seconds": said.seconds,
                "reason": said.reason or None,
            }
        )
    return found
