"""A quote feed, invented: every tick is a function of (seed, symbol, its second).

The n-th tick of a symbol has a second of its own, so history is read at any depth without the
ticks before it; the price is a sum of smooth curves of many periods, evaluated second by second.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import numpy as np

from marketdata.core.instrument import Grid
from marketdata.core.timeframe import DAY_US, SECOND_US
from marketdata.core.trades import Floats, Ints, Trades
from marketdata.simulator.fills import Fills
from marketdata.simulator.generator import DAILY_SWING, PERIODS_S, Character
from marketdata.simulator.noise import Lane

HISTORY_US = 365 * DAY_US
DAY_S = 86_400
# Seconds that are evaluated at once; a multiple of every shorter period and of every pace.
BLOCK_S = 8192
CACHED_BLOCKS = 64  # 4 MB a symbol
# How far a quote strays from the course that a coin has everywhere, as in `generator.BASIS`, with
# periods that divide the block or are divided by it.
BASIS = ((512, 2e-4), (16_384, 7e-4))
COIN = re.compile(r"cry([A-Z0-9]+)USD")
# With it an index of 100 % changes from one tick to the next as a walk of that volatility does.
INDEX_SWING = 0.0544
# Level, pip, volatility of a year in percent.
INDICES = {
    "R_100": (620.0, "0.01", 100),
    "R_50": (140.0, "0.0001", 50),
    "1HZ100V": (1_250.0, "0.01", 100),
}


@dataclass(frozen=True)
class Nature:
    """What a symbol's feed is like.

    Parameters
    ----------
    name : str
        As people read it.
    market, submarket, subgroup, kind : str
        Where the venue lists it.
    price : float
        The level it moves around.
    pip : Decimal
        Smallest change of the quote.
    swing : float
        Half width of the curve whose period is a day, as a fraction of price.
    course : str
        Names the curves: a coin moves as the same coin at other venues.
    pace_s : int
        Seconds from one tick to the next.
    is_even : bool
        False: a tick is up to a second late, so one comes each 1 to 3 s.
    """

    name: str
    market: str
    submarket: str
    subgroup: str
    kind: str
    price: float
    pip: Decimal
    swing: float
    course: str
    pace_s: int = 2
    is_even: bool = True

    @classmethod
    def of(cls, symbol: str) -> Nature:
        """Return the nature of a symbol, told from its name."""
        if coin := COIN.fullmatch(symbol):
            course = f"{coin[1]}USDT"
            known = Character.of(course)
            return cls(
                f"{coin[1]}/USD",
                "cryptocurrency",
                "non_stable_coin",
                "none",
                "cryptocurrency",
                known.price,
                known.grid.tick,
                DAILY_SWING,
                course,
                is_even=False,
            )
        price, pip, percent = INDICES.get(symbol, (1_000.0, "0.01", 100))
        return cls(
            f"Volatility {percent}{' (1s)' if symbol.startswith('1HZ') else ''} Index",
            "synthetic_index",
            "random_index",
            "synthetics",
            "stockindex",
            price,
            Decimal(pip),
            INDEX_SWING * percent / 100,
            symbol,
            pace_s=1 if symbol.startswith("1HZ") else 2,
        )


class QuoteMarket:
    """The invented ticks of one symbol, at random access by number and by time.

    Parameters
    ----------
    symbol : str
        The venue's spelling.
    seed : int
        Another seed is another market.
    clock_us : callable
        Current time, microseconds since the epoch, UTC.

    Notes
    -----
    Ticks travel as trades of quantity 1, since a quote has neither size nor side.
    """

    label = "generated"
    fills = Fills((1,))
    is_paced = False

    def __init__(self, symbol: str, seed: int, clock_us: Callable[[], int]) -> None:
        self.symbol = symbol
        self.nature = Nature.of(symbol)
        self.grid = Grid(self.nature.pip, Decimal(1))
        self._clock_us = clock_us
        self._late = Lane.of(seed, symbol, "late")
        swing, course = self.nature.swing, self.nature.course
        self._curves = [
            *(
                (Lane.of(seed, course, f"curve {s}"), s, swing * (s / DAY_S) ** 0.5)
                for s in PERIODS_S
            ),
            *((Lane.of(seed, symbol, f"basis {s}"), s, stray) for s, stray in BASIS),
        ]
        # Bound to the instance, so that the cache dies with the market.
        self._block = lru_cache(maxsize=CACHED_BLOCKS)(self._make_block)
        self._played: int | None = None

    def now_us(self) -> int:
        """Return the time up to which ticks are public."""
        return self._clock_us()

    @property
    def first_id(self) -> int:
        """The oldest tick served: a year deep, as at the venue."""
        return self.id_at(self.now_us() - HISTORY_US)

    @property
    def last_id(self) -> int:
        """The newest tick that has happened."""
        return self.id_at(self.now_us() + 1) - 1

    def id_at(self, ts_us: int) -> int:
        """Return the first tick whose time is at or after `ts_us`."""
        id = ts_us // SECOND_US // self.nature.pace_s
        while int(self._epochs(np.array([id]))[0]) * SECOND_US < ts_us:
            id += 1
        return id

    def slice(self, first: int, last: int) -> Trades:
        """Return the ticks numbered [first, last], happened or not."""
        ids = np.arange(first, last + 1)
        if not len(ids):
            return Trades.empty()
        epochs = self._epochs(ids)
        blocks = np.arange(epochs[0] // BLOCK_S, epochs[-1] // BLOCK_S + 1).tolist()
        seconds = np.concatenate([self._block(number) for number in blocks])
        price = seconds[epochs - blocks[0] * BLOCK_S]
        return Trades(
            ids, epochs * SECOND_US, price, np.ones(len(ids)), np.ones(len(ids), dtype=np.bool_)
        )

    def after(self, id: int, limit: int) -> Trades:
        """Return the next `limit` ticks with a greater number, happened or not."""
        return self.slice(id + 1, id + limit)

    def archived(self, day_us: int) -> tuple[int, int] | None:
        """Return None: the venue has no archive."""
        return None

    def start(self) -> None:
        """Play from now on; a second call changes nothing."""
        if self._played is None:
            self._played = self.last_id

    def due(self, at_most: int) -> Trades:
        """Play what has happened since the last call, `at_most` ticks at once."""
        if self._played is None:
            return Trades.empty()
        last = min(self.last_id, self._played + at_most)
        batch = self.slice(self._played + 1, last)
        self._played = max(self._played, last)
        return batch

    def wait_s(self) -> float:
        """Return the wall seconds until the next tick happens."""
        coming = self.last_id if self._played is None else self._played
        second = int(self._epochs(np.array([coming + 1]))[0])
        return max(0.0, second - self.now_us() / SECOND_US)

    def _epochs(self, ids: Ints) -> Ints:
        """Return the second of each tick: (n,) int64."""
        even = ids * self.nature.pace_s
        return even if self.nature.is_even else even + (self._late.uniform(ids) < 0.5)

    def _make_block(self, number: int) -> Floats:
        """Return the quote of every second of a block: (BLOCK_S,) float64."""
        level = np.zeros(BLOCK_S)
        for lane, period_s, swing in self._curves:
            level += swing * _curve(lane, period_s, number * BLOCK_S)
        inverse = float(1 / self.grid.tick)
        pips = np.rint(self.nature.price * np.exp(level) * inverse)
        return np.asarray(np.maximum(1.0, pips) / inverse, dtype=np.float64)


def _curve(lane: Lane, period_s: int, start_s: int) -> Floats:
    """Return `Lane.smooth` at each second of the block that opens at `start_s`."""
    index, phase = divmod(start_s, period_s)
    count = max(1, BLOCK_S // period_s)
    levels = 2.0 * lane.uniform(np.arange(index, index + count + 1)) - 1.0
    blend = _blend(period_s)[phase : phase + BLOCK_S]
    return np.asarray((levels[:-1, None] + np.diff(levels)[:, None] * blend).ravel())


@lru_cache(maxsize=len(PERIODS_S) + len(BASIS))
def _blend(period_s: int) -> Floats:
    part = np.arange(period_s) / period_s
    return np.asarray(part * part * (3.0 - 2.0 * part), dtype=np.float64)
