"""Believable order flow, invented: every trade is a function of (seed, symbol, rate, its id).

A day holds a fixed number of trades, so ids are contiguous for ever without counting from the
start. The day's session profile and bursts deal them to minutes; within a block of minutes, runs
of one aggressor walk a price made of smooth curves of many periods.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import numpy as np

from marketdata.core.instrument import Grid
from marketdata.core.timeframe import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from marketdata.core.trades import Bools, Floats, Ints, Trades
from marketdata.simulator.fills import Fills
from marketdata.simulator.noise import Lane, normal

FIRST_DAY = 18_262  # 2020-01-01: ids count from here
MINUTES = 1440
# Relative activity by hour UTC: Asia quiet, London 08-12 busier, the overlap 13-17 busiest.
HOURLY = np.array(
    [
        *(0.75, 0.70, 0.65, 0.60, 0.60, 0.60, 0.70, 0.90, 1.25, 1.20, 1.15, 1.10),
        *(1.20, 1.75, 1.95, 1.85, 1.60, 1.25, 1.05, 0.95, 0.90, 0.85, 0.80, 0.75),
    ]
)
PERIODS_S = (2, 8, 32, 128, 512, 2048, 8192, 32_768, 131_072, 524_288)
DAILY_SWING = 0.012  # half width of the curve whose period is a day, as a fraction of price
# How far a venue's price strays from the course that all share: seconds and half width, as a
# fraction; together within a thousandth.
BASIS = ((600, 2e-4), (14_400, 7e-4))
MOST_ZERO = 10**9  # ids of a venue begin below this
LEAN = 6e-4  # a move of this fraction in a minute makes the aggressors clearly one-sided
BLOCK_TRADES = 10_000
CACHED_TRADES = 640_000  # 21 MB of columns a symbol
# Twelve raw trades make eight aggregates.
FILLS = Fills((1, 1, 2, 1, 3, 1, 1, 2))
# Eight days give a full week of daily candles; the cap keeps a first daily candle under 3 s.
HISTORY_DAYS = 8
HISTORY_TRADES = 4_000_000
KNOWN = {
    "BTCUSDT": (100_000.0, "0.01", "0.00001"),
    "ETHUSDT": (3_500.0, "0.01", "0.0001"),
    "SOLUSDT": (180.0, "0.01", "0.001"),
    "BNBUSDT": (650.0, "0.01", "0.001"),
}


@dataclass(frozen=True)
class Character:
    """What a symbol's market is like.

    Parameters
    ----------
    price : float
        Level, quote per base.
    grid : Grid
    value : float
        Median size of a trade, quote.
    """

    price: float
    grid: Grid
    value: float = 150.0

    @classmethod
    def of(cls, symbol: str) -> Character:
        """Return the character of a symbol, known or derived from its name alone."""
        if symbol in KNOWN:
            price, tick, lot = KNOWN[symbol]
            return cls(price, Grid(Decimal(tick), Decimal(lot)))
        level = Lane.of("level", symbol).uniform(np.array([0]))[0]
        price = float(f"{10 ** (-1.0 + 4.0 * level):.3g}")
        magnitude = math.floor(math.log10(price))
        return cls(
            price, Grid(Decimal(1).scaleb(magnitude - 4), Decimal(1).scaleb(min(0, -magnitude - 1)))
        )


@dataclass(frozen=True)
class Curve:
    """One smooth part of a price's course: its period, and its half width as a fraction."""

    lane: Lane
    period_us: int
    swing: float

    def at(self, ts_us: Ints) -> Floats:
        """Return its part of the logarithm of price at ascending times."""
        part: Floats = self.swing * self.lane.smooth(ts_us, self.period_us)
        return part


class GeneratedMarket:
    """The invented trades of one symbol, at random access by id and by time.

    Parameters
    ----------
    symbol : str
        The venue's spelling.
    seed : int
        Another seed is another market.
    rate : float
        Mean trades per second over a day, > 0.
    clock_us : callable
        Current time, microseconds since the epoch, UTC.
    venue : str
        Each venue has trades and ids of its own, whose price strays a little from the course that
        all share; the course itself is traded where none is named.
    character : Character, optional
        Grid and sizes where they are not those of the symbol anywhere.
    """

    label = "generated"
    fills = FILLS
    is_paced = False

    def __init__(
        self,
        symbol: str,
        seed: int,
        rate: float,
        clock_us: Callable[[], int],
        *,
        venue: str = "",
        character: Character | None = None,
    ) -> None:
        self.symbol = symbol
        self.character = character or Character.of(symbol)
        self.grid = self.character.grid
        self.per_day = max(1, round(rate * DAY_US / SECOND_US))
        self._clock_us = clock_us
        self._name: tuple[object, ...] = (seed, symbol)
        swings = [(s, DAILY_SWING * math.sqrt(s * SECOND_US / DAY_US)) for s in PERIODS_S]
        self._curves = [
            Curve(self._lane(f"curve {s}"), s * SECOND_US, swing) for s, swing in swings
        ]
        self._shared = [*self._curves]
        self._zero_id = 0
        if venue:
            self._name = (seed, symbol, venue)
            self._curves += [Curve(self._lane(f"basis {s}"), s * SECOND_US, w) for s, w in BASIS]
            self._zero_id = int(self._lane("ids").uniform(np.array([0]))[0] * MOST_ZERO)
        self._block_minutes = _block_minutes(rate)
        kept = CACHED_TRADES // max(1, round(rate * 60 * self._block_minutes))
        # Bound to the instance, so that the cache dies with the market.
        self._starts = lru_cache(maxsize=64)(self._count_day)
        self._block = lru_cache(maxsize=min(256, max(4, kept)))(self._make_block)
        self._played: int | None = None

    def now_us(self) -> int:
        """Return the time up to which trades are public."""
        return self._clock_us()

    @property
    def first_id(self) -> int:
        """The oldest id served; older history is gone, as at the venue."""
        depth_us = min(HISTORY_DAYS * DAY_US, HISTORY_TRADES * DAY_US // self.per_day)
        unit = DAY_US if depth_us >= DAY_US else HOUR_US
        oldest = max(MINUTE_US, (self.now_us() - depth_us) // unit * unit)
        return self.id_at(oldest)

    @property
    def last_id(self) -> int:
        """The newest id that has happened."""
        return self.id_at(self.now_us() + 1) - 1

    def course(self, ts_us: int) -> tuple[float, float]:
        """Return the price that all venues share, and this venue's, at a time."""
        at = np.array([ts_us])
        shared, own = (
            self.character.price * math.exp(sum(float(curve.at(at)[0]) for curve in curves))
            for curves in (self._shared, self._curves)
        )
        return shared, own

    def id_at(self, ts_us: int) -> int:
        """Return the first id whose time is at or after `ts_us`."""
        day, minute = divmod(ts_us // MINUTE_US, MINUTES)
        block = self._block(day, minute // self._block_minutes)
        if not len(block):
            return self._first_of_minute(day, minute - minute % self._block_minutes)
        return int(block.id[0]) + int(np.searchsorted(block.ts_us, ts_us))

    def slice(self, first: int, last: int) -> Trades:
        """Return the trades with ids in [first, last], happened or not."""
        parts = []
        while first <= last:
            block = self._block(*self._block_of(first))
            parts.append(block[first - int(block.id[0]) : last - int(block.id[0]) + 1])
            first = int(block.id[-1]) + 1
        return Trades.concat(parts)

    def after(self, id: int, limit: int) -> Trades:
        """Return the next `limit` trades with a greater id, happened or not."""
        return self.slice(id + 1, id + limit)

    def archived(self, day_us: int) -> tuple[int, int] | None:
        """Return first and last id of a UTC day that is over, or None."""
        if day_us < FIRST_DAY * DAY_US or day_us + DAY_US > self.now_us():
            return None
        return self.id_at(day_us), self.id_at(day_us + DAY_US) - 1

    def start(self) -> None:
        """Play from now on."""
        self._played = self.last_id

    def due(self, at_most: int) -> Trades:
        """Play what has happened since the last call, `at_most` trades at once."""
        if self._played is None:
            return Trades.empty()
        last = min(self.last_id, self._played + at_most)
        batch = self.slice(self._played + 1, last)
        self._played = max(self._played, last)
        return batch

    def wait_s(self) -> float:
        """Return the wall seconds until the next trade happens."""
        coming = self.after(self.last_id if self._played is None else self._played, 1)
        return max(0.0, (int(coming.ts_us[0]) - self.now_us()) / 1e6)

    def _lane(self, name: str) -> Lane:
        return Lane.of(*self._name, name)

    def _first_of_minute(self, day: int, minute: int) -> int:
        before = (day - FIRST_DAY) * self.per_day + int(self._starts(day)[minute])
        return self._zero_id + before + 1

    def _block_of(self, id: int) -> tuple[int, int]:
        days, rank = divmod(id - self._zero_id - 1, self.per_day)
        day = FIRST_DAY + days
        minute = int(np.searchsorted(self._starts(day), rank, side="right")) - 1
        return day, minute // self._block_minutes

    def _count_day(self, day: int) -> Ints:
        """Return how many trades of the day come before each minute: (1441,) int64."""
        minutes = np.arange(MINUTES) + day * MINUTES
        wave = np.exp(0.5 * self._lane("wave").smooth(minutes * MINUTE_US, 7 * MINUTE_US))
        burst = np.where(self._lane("burst").uniform(minutes) < 0.012, 5.0, 1.0)
        weight = np.repeat(HOURLY, 60) * wave * burst
        share = np.concatenate(([0.0], np.cumsum(weight)))
        return np.asarray(np.floor(share / share[-1] * self.per_day + 1e-9), dtype=np.int64)

    def _make_block(self, day: int, number: int) -> Trades:
        begin = number * self._block_minutes
        starts = self._starts(day)[begin : begin + self._block_minutes + 1]
        count = int(starts[-1] - starts[0])
        if not count:
            return Trades.empty()
        ids = np.arange(count) + self._first_of_minute(day, begin)
        minute = np.repeat(np.arange(len(starts) - 1), np.diff(starts)) + day * MINUTES + begin
        run = _run_of(minute, self._lane("run").uniform(ids))
        ts_us = self._times(ids, minute, run)
        is_buy = self._sides(ids, minute, run)
        price = self._prices(ids, ts_us, run, is_buy)
        return Trades(ids, ts_us, price, self._sizes(ids, run), is_buy)

    def _times(self, ids: Ints, minute: Ints, run: Ints) -> Ints:
        """Crowd the trades of a minute, and give one time to the fills of one order."""
        even = np.sort(minute + self._lane("time").uniform(ids)) - minute
        waves = 1 + np.floor(5 * self._lane("waves").uniform(minute))
        crowd = 0.9 * self._lane("crowd").uniform(minute)
        turn = 2 * np.pi * waves
        part = even + crowd * np.sin(turn * even) / turn
        # Real spot times are whole milliseconds on the wire.
        ms = minute * 60_000 + np.clip(part * 60_000, 0, 59_999).astype(np.int64)
        at_once = self._lane("at once").uniform(ids[run]) < 0.6
        return np.where(at_once, ms[run], ms) * 1000

    def _sides(self, ids: Ints, minute: Ints, run: Ints) -> Bools:
        edges = np.arange(minute[0], minute[-1] + 2) * MINUTE_US
        move = np.diff(self._level(edges))[minute - minute[0]]
        chance = 0.5 + 0.4 * np.tanh(move / LEAN)
        first = self._lane("side").uniform(ids[run])
        return np.asarray(first < chance, dtype=np.bool_)

    def _prices(self, ids: Ints, ts_us: Ints, run: Ints, is_buy: Bools) -> Floats:
        inverse = float(1 / self.grid.tick)
        middle = self.character.price * np.exp(self._level(ts_us[run]))
        bid = np.floor(middle * inverse).astype(np.int64)
        sweeps = self._lane("sweep").uniform(ids[run]) < 0.3
        depth = np.where(sweeps, np.arange(len(ids)) - run, 0)
        ticks = np.where(is_buy, bid + 1 + depth, np.maximum(1, bid - depth))
        return np.asarray(ticks / inverse, dtype=np.float64)

    def _sizes(self, ids: Ints, run: Ints) -> Floats:
        """Draw log-normal sizes around the character's, one in a hundred ten times larger."""
        z = normal(self._lane("size").uniform(ids), self._lane("size two").uniform(ids))
        tail = np.where(self._lane("tail").uniform(ids[run]) < 0.01, 10.0, 1.0)
        inverse = float(1 / self.grid.lot)
        lots = np.rint(
            self.character.value / self.character.price * np.exp(1.5 * z) * tail * inverse
        )
        return np.asarray(np.maximum(FILLS.most, lots) / inverse, dtype=np.float64)

    def _level(self, ts_us: Ints) -> Floats:
        """Return the logarithm of price over the base level at ascending times."""
        level = np.zeros(len(ts_us))
        for curve in self._curves:
            level += curve.at(ts_us)
        return level


def _block_minutes(rate: float) -> int:
    """Return the divisor of an hour that gives about BLOCK_TRADES trades at `rate`."""
    wanted = BLOCK_TRADES / (60 * rate)
    return max((m for m in (1, 2, 5, 10, 15, 30, 60) if m <= wanted), default=1)


def _run_of(minute: Ints, chance: Floats) -> Ints:
    """Return for each trade the row where its run of one aggressor begins."""
    rows = np.arange(len(minute))
    begins = chance < 0.35
    begins[0] = True
    begins[1:] |= minute[1:] != minute[:-1]
    return np.asarray(np.maximum.accumulate(np.where(begins, rows, 0)), dtype=np.int64)
