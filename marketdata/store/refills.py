"""What refilled trades change of windows that run: levels with them beside levels without."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketdata.context import DAY, MarketContext, Scope
from marketdata.core.bar import Bar
from marketdata.core.counted import count
from marketdata.core.instrument import Grid
from marketdata.core.sessions import OFF
from marketdata.core.trades import Trades
from marketdata.models import Restatement

Key = tuple[str, int]


@dataclass(slots=True)
class Sums:
    """Sums over trades, exact, base units and quote."""

    trades: int = 0
    volume: Fraction = Fraction(0)
    bought: Fraction = Fraction(0)
    value: Fraction = Fraction(0)

    def add(self, bar: Bar, grid: Grid) -> None:
        """Take in more trades, in whole ticks and lots."""
        lot = Fraction(grid.lot)
        self.trades += bar.trades
        self.volume += bar.lots * lot
        self.bought += bar.buy_lots * lot
        self.value += bar.notional * Fraction(grid.tick) * lot

    def without(self, other: Sums) -> Sums:
        """Return the sums over those of these trades that are not in the others."""
        return Sums(
            self.trades - other.trades,
            self.volume - other.volume,
            self.bought - other.bought,
            self.value - other.value,
        )

    def told(self) -> dict[str, Any]:
        """Return them as numbers."""
        return {
            "trades": self.trades,
            "volume": float(self.volume),
            "buy_volume": float(self.bought),
            "delta": float(2 * self.bought - self.volume),
            "vwap": float(self.value / self.volume) if self.volume else None,
        }


class Refills:
    """Collects refilled trades by window until somebody asks what they changed."""

    def __init__(self) -> None:
        self._sums: dict[Key, Sums] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, context: MarketContext, trades: Trades, skip: set[Key]) -> None:
        """Take in refilled trades that the context has counted.

        Parameters
        ----------
        skip : set of (name, start)
            Windows whose stored levels are final: what replaces those tells of the change.
        """
        grid = context.instrument.grid
        for scope in context.scopes():
            window, key = scope.window, _key(scope)
            if window.name == OFF or key in skip:
                continue
            inside = trades[(trades.ts_us >= window.start_us) & (trades.ts_us < window.end_us)]
            if len(inside):
                self._sums.setdefault(key, Sums()).add(count(inside, grid).bar, grid)

    def take(self, context: MarketContext, cause: str, ts_us: int) -> list[Restatement]:
        """Return a record for each window that was refilled, and forget the trades."""
        told = self._sums
        self._sums = {}
        return [
            _record(context, scope, told[_key(scope)], cause, ts_us)
            for scope in context.scopes()
            if _key(scope) in told
        ]


def _key(scope: Scope) -> Key:
    return scope.window.name, scope.window.start_us


def _record(
    context: MarketContext, scope: Scope, refilled: Sums, cause: str, ts_us: int
) -> Restatement:
    now = Sums()
    if scope.bar is not None:
        now.add(scope.bar, context.instrument.grid)
    name = scope.window.name
    return Restatement(
        instrument_id=context.instrument.id,
        what=Restatement.What.DAY if name == DAY else Restatement.What.SESSION,
        name=name,
        start_us=scope.window.start_us,
        cause=cause,
        old=now.without(refilled).told(),
        new=now.told(),
        ts_us=ts_us,
    )
