"""`MarketContext`: the metrics of one instrument for each scope, and the `Snapshot` of one of them.

A scope is a window of time that owns its metrics: the UTC day, each trading session, the pauses
between them. Trades may come in any order and split; the state is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from marketdata.core.bar import Bar
from marketdata.core.counted import Counted
from marketdata.core.coverage import (
    Coverage,
    Reach,
    ScopeCoverage,
    missing_of,
    reach,
)
from marketdata.core.errors import BadInputError, OffGridError
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.lacking import lacking, within
from marketdata.core.sessions import SessionCalendar, Window
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.core.trades import Ints
from marketdata.metrics.canonical import state_hash
from marketdata.metrics.delta import CumulativeDelta
from marketdata.metrics.profile import Levels, Rows, VolumeProfile, row_ticks, rows_of
from marketdata.metrics.value_area import RULES, value_area
from marketdata.metrics.vwap import deviation, vwap

DAY = "day"
CURRENT = "current"
# How many windows of each name stay in memory: the present one, the one before, whose levels are
# wanted, and the next one, because the venue's clock may be ahead of ours.
KEEP = 3
# Of how many windows the ids are remembered: three numbers each, some days' worth.
KEEP_ENDS = 64
# A price so far from the others that more rows would lie between is no price: the profile would
# take hundreds of megabytes and every snapshot a second.
MOST_ROWS = 1 << 22


@dataclass(frozen=True, slots=True)
class Definition:
    """How levels are computed; it travels with the numbers.

    Parameters
    ----------
    value_area_rule : {"two_row", "one_row"}
    value_area_pct : float
        Share of volume, 0 < pct <= 1.
    profile_tick_size : Decimal
        Height of a profile row, quote per base.
    """

    value_area_rule: str = "two_row"
    value_area_pct: float = 0.70
    profile_tick_size: Decimal = Decimal("0.1")

    def __post_init__(self) -> None:
        if self.value_area_rule not in RULES or not 0 < self.value_area_pct <= 1:
            raise BadInputError(
                f"a rule of {', '.join(RULES)} and a share above 0 and at most 1 expected, "
                f"seen {self.value_area_rule!r} and {self.value_area_pct}"
            )


@dataclass(frozen=True, slots=True)
class PreviousDay:
    """High, low and close of the UTC day before, and where they came from (`trades`, `klines`)."""

    high: float
    low: float
    close: float
    origin: str


@dataclass(slots=True)
class Scope:
    """The metrics of one window, in whole ticks and lots."""

    window: Window
    bar: Bar | None = None
    first_ts_us: int = 0
    last_ts_us: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    profile: VolumeProfile = field(default_factory=VolumeProfile)
    delta: CumulativeDelta = field(default_factory=CumulativeDelta)

    @property
    def trades(self) -> int:
        """How many trades were taken in."""
        return self.bar.trades if self.bar else 0

    def update(self, batch: Counted, origin: str) -> None:
        """Take in trades of this window, not taken in before."""
        self.profile.update(batch)
        self.delta.update(batch)
        if self.bar is None:
            self.bar = batch.bar.copy()
        else:
            self.bar.merge(batch.bar)
        low, high = int(batch.ts_us.min()), int(batch.ts_us.max())
        self.first_ts_us = min(self.first_ts_us or low, low)
        self.last_ts_us = max(self.last_ts_us, high)
        self.sources[origin] = self.sources.get(origin, 0) + len(batch)

    def scale(self, ticks: int, lots: int) -> None:
        """Recount on a grid that is `ticks` and `lots` times finer."""
        self.bar = self.bar and self.bar.scaled(ticks, lots)
        self.profile.scale(ticks, lots)
        self.delta.scale(lots)

    def hash(self, grid: Grid) -> str:
        """Return the SHA-256 of everything counted here, the same on any grid that holds it."""
        ticks, sell, buy = self.profile.levels()
        path = self.delta.value()
        return state_hash(
            {"scope": self.window.name, "start_us": self.window.start_us, "trades": self.trades},
            {
                "prices": (np.concatenate([ticks, self._prices()]), grid.tick),
                "lots": (np.concatenate([sell, buy, [path.total, path.low, path.high]]), grid.lot),
                "ids": (np.array(self.delta.runs(), dtype=np.int64).reshape(-1), None),
            },
        )

    def _prices(self) -> Ints:
        bar = self.bar
        prices = [bar.open, bar.high, bar.low, bar.close] if bar else []
        return np.array(prices, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One scope at one moment: immutable, complete, ready to be shown.

    Parameters
    ----------
    levels : dict
        `VWAP, VWAP_SD, POC, VAH, VAL, PDH, PDL, PDC, OPEN, HIGH, LOW, LAST`, quote per base;
        None where unknown.
    rows : Rows
        Profile in rows of `definition.profile_tick_size`.
    volume, buy_volume, sell_volume, delta, delta_min, delta_max : float
        Base units.
    """

    instrument: Instrument
    scope: str
    window: Window
    as_of_us: int
    session: Window
    session_message: str
    levels: dict[str, float | None]
    poc_is_tied: bool
    rows: Rows
    volume: float
    buy_volume: float
    sell_volume: float
    delta: float
    delta_min: float
    delta_max: float
    trades: int
    last_ts_us: int
    coverage: ScopeCoverage
    definition: Definition
    previous_day: PreviousDay | None


class MarketContext:
    """All scopes of one instrument.

    Parameters
    ----------
    instrument : Instrument
        With the grid to count on.
    calendar : SessionCalendar
        Which sessions there are.
    definition : Definition
        How levels are computed.

    Raises
    ------
    BadInputError
        The profile's row height is no multiple of the tick.
    """

    def __init__(
        self,
        instrument: Instrument,
        calendar: SessionCalendar | None = None,
        definition: Definition | None = None,
    ) -> None:
        self.instrument = instrument
        self.calendar = calendar or SessionCalendar()
        self.definition = definition or Definition()
        self._row = row_ticks(self.definition.profile_tick_size, instrument.grid.tick)
        self.held = Coverage()
        self.absent = Coverage()
        self.previous: dict[int, PreviousDay] = {}
        self.left_out: tuple[int, ...] = ()
        self._edges: dict[int, int] = {}
        self._ends: dict[tuple[str, int], tuple[Window, int, int]] = {}
        self._beside: tuple[list[int], ...] = ([], [])
        self._scopes: dict[tuple[str, int], Scope] = {}
        self._span: tuple[int, int, tuple[Window, ...]] = (0, 0, ())

    def check(self, batch: Counted) -> None:
        """Raise OffGridError where a price is too far from the others to be one."""
        bars = [batch.bar, *(scope.bar for scope in self._scopes.values() if scope.bar)]
        low, high = min(bar.low for bar in bars), max(bar.high for bar in bars)
        if (high - low) // self._row >= MOST_ROWS:
            price = self.instrument.grid.price
            raise OffGridError(
                f"prices at most {MOST_ROWS} rows of {self.definition.profile_tick_size} apart "
                f"expected, seen from {price(low)} to {price(high)}"
            )

    def update(self, batch: Counted, origin: str) -> None:
        """Take in trades not taken in before, checked, ascending ids, any times."""
        for windows, part in self._segments(batch):
            for window in windows:
                self._scope(window).update(part, origin)
                self._note(window, int(part.id[0]), int(part.id[-1]))

    def _note(self, window: Window, first: int, last: int) -> None:
        """Remember which ids a window has: longer than its metrics, which are megabytes."""
        key = (window.name, window.start_us)
        _, lowest, highest = self._ends.get(key, (window, first, last))
        self._ends[key] = window, min(lowest, first), max(highest, last)
        if len(self._ends) > KEEP_ENDS:
            del self._ends[min(self._ends, key=lambda known: known[1])]

    def _segments(self, batch: Counted) -> Iterator[tuple[tuple[Window, ...], Counted]]:
        """Cut a batch where days and sessions begin or end."""
        low, high = int(batch.ts_us.min()), int(batch.ts_us.max())
        if not self._span[0] <= low:
            self._span = self._span_at(low)
        if high < self._span[1]:
            yield self._span[2], batch
            return
        edges = self.calendar.edges(low, high)
        index = np.searchsorted(edges, batch.ts_us, side="right")
        for number in np.unique(index).tolist():
            part = batch[index == number]
            self._span = self._span_at(int(part.ts_us[0]))
            yield self._span[2], part

    def _span_at(self, ts_us: int) -> tuple[int, int, tuple[Window, ...]]:
        """Return the stretch around a time in which the same windows are open."""
        start = self.calendar.edges(ts_us - DAY_US, ts_us)[-1]
        end = self.calendar.edges(ts_us, ts_us + DAY_US)[0]
        sessions = self.calendar.at(ts_us) or (self.calendar.current(ts_us),)
        return start, end, (day_window(ts_us), *sessions)

    def _scope(self, window: Window) -> Scope:
        key = (window.name, window.start_us)
        scope = self._scopes.get(key)
        if scope is None:
            scope = self._scopes[key] = Scope(window)
            self._prune(window.name)
        return scope

    def _prune(self, name: str) -> None:
        starts = sorted(start for kind, start in self._scopes if kind == name)
        for start in starts[:-KEEP]:
            # The scope just made may be the one that goes: its trades are in the store.
            del self._scopes[name, start]

    def scopes(self) -> list[Scope]:
        """Return every scope in memory, by start."""
        return sorted(self._scopes.values(), key=lambda scope: scope.window.start_us)

    def names(self) -> list[str]:
        """Return the scope names that can be asked for."""
        return [DAY, CURRENT, *(item.name for item in self.calendar.definitions)]

    def hold(self, first: int, last: int) -> None:
        """Note ids as held; what was said to be absent has turned up."""
        self.held.add(first, last)
        if self.absent:
            self.absent.remove(first, last)

    def lack(self, first: int, last: int) -> None:
        """Note ids that the venue itself does not have; those that are held count as held."""
        for run in list(self.held.holes(first, last)):
            self.absent.add(*run)

    def leave_out(self, times: Iterable[int]) -> None:
        """Note when trades were made that the feed did not bring, as the venue told."""
        self.left_out = tuple(sorted((*self.left_out, *times)))

    def set_beside(self, before: int | None, after: int | None) -> None:
        """Tell the nearest ids that are held from before and after the windows in memory."""
        self._beside = tuple([] if id is None else [id] for id in (before, after))

    def set_edge(self, start_us: int, first_id: int) -> None:
        """Tell the venue's first trade id at or after `start_us`, the start of a window."""
        self._edges[start_us] = first_id

    def set_previous(self, day_us: int, levels: PreviousDay) -> None:
        """Tell the levels of the UTC day that starts at `day_us`."""
        self.previous[day_us] = levels

    def scope(self, name: str, as_of_us: int) -> Scope:
        """Return the scope of a name at a time; an empty one where it has no trades yet.

        Raises
        ------
        KeyError
            The name is none of `names`.
        """
        window = self._window(name, as_of_us)
        return self._scopes.get((window.name, window.start_us)) or Scope(window)

    def _window(self, name: str, as_of_us: int) -> Window:
        if name == DAY:
            return day_window(as_of_us)
        if name == CURRENT:
            return self.calendar.current(as_of_us)
        if name not in self.names():
            raise KeyError(name)
        day = open_us(as_of_us, DAY_US)
        near = [
            window
            for shift in range(-7, 8)
            for window in self.calendar.windows(day + shift * DAY_US)
            if window.name == name
        ]
        begun = [window for window in near if window.start_us <= as_of_us]
        # In 15 days every weekday comes twice, and clocks leave an hour out once.
        return begun[-1] if begun else near[0]

    def coverage(self, scope: Scope) -> ScopeCoverage:
        """Return what a scope should hold, from the edges that are known, and what it does."""
        window, bar = scope.window, scope.bar
        begin_id, after_id = self._edges.get(window.start_us), self._edges.get(window.end_us)
        if bar is None:
            at = self._silence(window, begin_id, after_id)
        else:
            at = reach(self.held, bar.first_id, bar.last_id, begin_id, after_id)
        ranges = tuple(missing_of(self.held, self.absent, at.first, at.last))
        instrument = self.instrument
        left_out = within(self.left_out, window.start_us, window.end_us)
        missing = lacking(
            instrument,
            ranges,
            scope.trades,
            (bar.first_id, bar.last_id) if bar else None,
            (scope.first_ts_us, scope.last_ts_us),
            window.start_us,
            left_out,
        )
        return ScopeCoverage(
            expected=scope.trades + missing,
            held=scope.trades,
            missing=missing,
            ranges=ranges,
            edges=at.begin if bar or ranges else "held",
            sources=dict(scope.sources),
            # Numbers of ours that no trade has say nothing about the venue.
            exchange_side=tuple(self.absent.within(at.first, at.last)) * instrument.is_numbered,
            is_counted=instrument.is_numbered or instrument.cadence_us is not None,
            left_out=left_out,
            first_id=bar.first_id if bar else None,
        )

    def is_whole(self, bar: Bar, start_us: int, end_us: int, *, saw_start: bool = False) -> bool:
        """Tell whether a bar of [start_us, end_us) holds every trade there is, as far as known.

        Parameters
        ----------
        saw_start : bool
            Whoever asks listened when it began: nothing can be missing before the first ever held.
        """
        begin_id, after_id = self._edges.get(start_us), self._edges.get(end_us)
        at = reach(self.held, bar.first_id, bar.last_id, begin_id, after_id)
        is_begun = saw_start or at.begin != "held"
        has_hole = missing_of(self.held, self.absent, at.first, at.last)
        return is_begun and not has_hole and not within(self.left_out, start_us, end_us)

    def _silence(self, window: Window, begin_id: int | None, after_id: int | None) -> Reach:
        """Return the ids of a window without trades: those of the hole it lies in, or none."""
        if begin_id is not None and after_id is not None:
            return Reach(begin_id, after_id - 1, "venue", "venue")
        ends = list(self._ends.values())
        before = [last for other, _, last in ends if other.end_us <= window.start_us]
        after = [first for other, first, _ in ends if other.start_us >= window.end_us]
        before += self._beside[0]
        after += self._beside[1]
        if not before or not after or min(after) <= max(before) + 1:
            return Reach(0, -1, "held", "held")
        return Reach(max(before) + 1, min(after) - 1, "neighbour", "neighbour")

    def previous_day(self, as_of_us: int) -> PreviousDay | None:
        """Return the levels of the UTC day before: the venue's where told, else from trades."""
        day = open_us(as_of_us, DAY_US) - DAY_US
        if day in self.previous:
            return self.previous[day]
        scope = self._scopes.get((DAY, day))
        if scope is None or scope.bar is None:
            return None
        price, bar = self.instrument.grid.price, scope.bar
        return PreviousDay(price(bar.high), price(bar.low), price(bar.close), "trades")

    def snapshot(self, name: str, as_of_us: int) -> Snapshot:
        """Compute the snapshot of a scope. Raises KeyError for an unknown name.

        Notes
        -----
        O(ticks that traded + rows between low and high): some milliseconds for a day of BTCUSDT.
        """
        return self.snapshot_of(self.scope(name, as_of_us), name, as_of_us)

    def snapshot_of(self, scope: Scope, name: str, as_of_us: int) -> Snapshot:
        """Compute the snapshot of a scope in hand, under the name it is asked for."""
        grid, levels = self.instrument.grid, scope.profile.levels()
        path = scope.delta.value()
        bar = scope.bar or Bar(0, 0, 0, 0, 0, 0, 0, 0, 0, -1)
        binned, area_levels, tied = self._area(levels)
        previous = self.previous_day(as_of_us)
        return Snapshot(
            instrument=self.instrument,
            scope=name,
            window=scope.window,
            as_of_us=as_of_us,
            session=self.calendar.current(as_of_us),
            session_message=self.calendar.message(as_of_us),
            levels={
                "VWAP": vwap(bar.notional, bar.lots, grid),
                "VWAP_SD": deviation(levels, grid),
                **area_levels,
                **_previous_levels(previous),
                **_prices(scope.bar, grid),
            },
            poc_is_tied=tied,
            rows=binned,
            volume=grid.qty(bar.lots),
            buy_volume=grid.qty(bar.buy_lots),
            sell_volume=grid.qty(bar.lots - bar.buy_lots),
            delta=grid.qty(path.total),
            delta_min=grid.qty(path.low),
            delta_max=grid.qty(path.high),
            trades=scope.trades,
            last_ts_us=scope.last_ts_us,
            coverage=self.coverage(scope),
            definition=self.definition,
            previous_day=previous,
        )

    def _area(self, levels: Levels) -> tuple[Rows, dict[str, float | None], bool]:
        size = self.definition.profile_tick_size
        binned = rows_of(levels, self._row)
        if not len(binned.sell):
            return binned, {"POC": None, "VAH": None, "VAL": None}, False
        area = value_area(
            binned.volume, self.definition.value_area_pct, self.definition.value_area_rule
        )
        edge = {"POC": area.poc, "VAH": area.high, "VAL": area.low}
        prices = {name: float(size * (binned.first + row)) for name, row in edge.items()}
        return binned, dict(prices), area.is_tied

    def hash(self, name: str, as_of_us: int) -> str:
        """Return the SHA-256 of a scope's canonical state, in hexadecimal."""
        return self.scope(name, as_of_us).hash(self.instrument.grid)

    def on_grid(self, grid: Grid) -> None:
        """Recount everything on a finer grid that divides the present one."""
        ticks = int(self.instrument.grid.tick / grid.tick)
        lots = int(self.instrument.grid.lot / grid.lot)
        for scope in self._scopes.values():
            scope.scale(ticks, lots)
        self._row *= ticks
        self.instrument = self.instrument.on_grid(grid)


def day_window(ts_us: int) -> Window:
    """Return the UTC day that holds a time, as a window."""
    start = open_us(ts_us, DAY_US)
    return Window(DAY, "UTC day", start, start + DAY_US)


def _previous_levels(previous: PreviousDay | None) -> dict[str, float | None]:
    if previous is None:
        return {"PDH": None, "PDL": None, "PDC": None}
    return {"PDH": previous.high, "PDL": previous.low, "PDC": previous.close}


def _prices(bar: Bar | None, grid: Grid) -> dict[str, float | None]:
    if bar is None:
        return {"OPEN": None, "HIGH": None, "LOW": None, "LAST": None}
    ticks = {"OPEN": bar.open, "HIGH": bar.high, "LOW": bar.low, "LAST": bar.close}
    return {name: grid.price(at) for name, at in ticks.items()}
