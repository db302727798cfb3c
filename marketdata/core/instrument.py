"""What is traded, and the integer grid its prices and quantities are counted on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property

import numpy as np

from marketdata.core.errors import BadInputError, OffGridError
from marketdata.core.trades import Floats, Ints

# Reading a decimal and bringing it to whole steps and back rounds a few times, by a part in 2**53
# each. Up to 15 digits anything finer than the grid is farther off than that.
ROUNDING = 2.0**-51
# Above it every float64 is whole, and would fit any grid.
MOST_STEPS = 2.0**53
FINEST = Decimal("1e-12")


@dataclass(frozen=True)
class Grid:
    """The tick and lot in which an instrument is counted.

    Parameters
    ----------
    tick : Decimal
        Smallest price step, quote per base, > 0.
    lot : Decimal
        Smallest quantity step, base units, > 0.

    Raises
    ------
    BadInputError
        A tick or lot that is not a finite number above zero.
    """

    tick: Decimal
    lot: Decimal

    def __post_init__(self) -> None:
        for name, value in (("tick", self.tick), ("lot", self.lot)):
            if not value.is_finite() or value <= 0:
                raise BadInputError(f"{name} above zero expected, seen {value}")

    @cached_property
    def tick_size(self) -> float:
        """The tick as a float, quote per base."""
        return float(self.tick)

    @cached_property
    def lot_size(self) -> float:
        """The lot as a float, base units."""
        return float(self.lot)

    def ticks(self, price: Floats) -> Ints:
        """Count prices in ticks: (n,) float64 → (n,) int64. Raises OffGridError."""
        return _count(price, self.tick, "price")

    def lots(self, qty: Floats) -> Ints:
        """Count quantities in lots: (n,) float64 → (n,) int64. Raises OffGridError."""
        return _count(qty, self.lot, "quantity")

    def price(self, ticks: int) -> float:
        """Return the float64 nearest to `ticks` whole ticks, quote per base."""
        return float(self.tick * int(ticks))

    def qty(self, lots: int) -> float:
        """Return the float64 nearest to `lots` whole lots, base units."""
        return float(self.lot * int(lots))

    def refined(self, price: Floats, qty: Floats) -> Grid:
        """Return the coarsest grid that divides this one by powers of ten and holds the values.

        Raises
        ------
        OffGridError
            No power of ten down to 1e-12 holds them.
        """
        return Grid(_refine(price, self.tick, "price"), _refine(qty, self.lot, "quantity"))

    @classmethod
    def of_values(cls, price: Floats, qty: Floats) -> Grid:
        """Infer the coarsest power-of-ten grid, at most 1, that holds all values."""
        return cls(Decimal(1), Decimal(1)).refined(price, qty)


@dataclass(frozen=True)
class Instrument:
    """One thing traded at one venue.

    Parameters
    ----------
    source : str
        Feed name as in settings and URLs, for example `binance_ws`.
    symbol : str
        The venue's spelling, any Unicode text.
    grid : Grid
        Tick and lot.
    id : int
        Row id in the store; 0 where nothing is stored. Used where ASCII is required.
    is_numbered : bool
        The venue numbers its trades one by one, so that a jump in ids counts what is missing; else
        ids are ours, and a jump says that something may be missing.
    is_sized : bool
        Trades tell size and side; else they are ticks, each counted as a purchase or sale of one
        by the direction of price.
    cadence_us : int or None
        Microseconds from tick to tick, where the venue keeps to that.
    """

    source: str
    symbol: str
    grid: Grid
    id: int = 0
    is_numbered: bool = True
    is_sized: bool = True
    cadence_us: int | None = None

    def on_grid(self, grid: Grid) -> Instrument:
        """Return the same instrument counted on another grid."""
        return replace(self, grid=grid)


def _count(values: Floats, step: Decimal, what: str) -> Ints:
    inverse = 1 / step
    is_whole = inverse == inverse.to_integral_value()
    # Multiplying by a whole number keeps one rounding; dividing by 0.01 would add a second.
    factor = float(inverse if is_whole else step)
    steps = np.rint(values * factor if is_whole else values / factor)
    back = steps / factor if is_whole else steps * factor
    fits = back == values
    if not fits.all():
        fits = np.abs(back - values) <= values * ROUNDING
    fits &= steps < MOST_STEPS
    if not fits.all():
        at = int(np.argmin(fits))
        raise OffGridError(
            f"{what} in multiples of {step}, fewer than 2**53 of them, expected, "
            f"seen {float(values[at])!r} in row {at}"
        )
    return steps.astype(np.int64)


def _refine(values: Floats, step: Decimal, what: str) -> Decimal:
    top = values.max(initial=0.0)
    while step >= FINEST and top < MOST_STEPS * float(step):
        try:
            _count(values, step, what)
        except OffGridError:
            step /= 10
        else:
            return step
    raise OffGridError(
        f"{what} with at most 12 decimals and 15 digits expected, "
        f"seen from {values.min()} to {values.max()}"
    )
