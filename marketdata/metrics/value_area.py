"""Point of control and value area of a volume profile, with every rule stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from marketdata.core.errors import BadInputError
from marketdata.core.trades import Ints

RULES = {"two_row": 2, "one_row": 1}
TIES = ("up", "down", "both")


@dataclass(frozen=True, slots=True)
class ValueArea:
    """Row indices, inclusive, and what they hold.

    Parameters
    ----------
    poc, low, high : int
        Point of control, lowest and highest row of the area.
    volume : int
        Lots inside the area.
    is_tied : bool
        Another row holds as much as the point of control.
    """

    poc: int
    low: int
    high: int
    volume: int
    is_tied: bool


def point_of_control(volume: Sequence[int] | Ints) -> tuple[int, bool]:
    """Return the row with the largest volume, and whether others equal it.

    Notes
    -----
    Of equal rows the one nearest the middle of the profile counts, then the lower one.

    Examples
    --------
    >>> point_of_control([3, 7, 10, 7, 3, 0, 0, 3, 7, 10, 7, 3])
    (2, True)
    """
    held = np.asarray(volume)
    rows = np.flatnonzero(held == held.max())
    off_middle = np.abs(2 * rows - (len(held) - 1))
    # argmin takes the first of equals: the lower row.
    return int(rows[off_middle.argmin()]), len(rows) > 1


def value_area(
    volume: Sequence[int] | Ints, pct: float = 0.70, rule: str = "two_row", tie: str = "up"
) -> ValueArea:
    """Grow the area from the point of control until it holds `pct` of the volume.

    Parameters
    ----------
    volume : sequence of int, or (n,) int64
        Lots per row, lowest price first, empty rows included, at least one above zero.
    pct : float
        Share to hold, 0 < pct <= 1; the area stops at reaching it.
    rule : {"two_row", "one_row"}
        Compare and take rows in pairs (fewer at an edge) or one by one.
    tie : {"up", "down", "both"}
        Which side is taken when both hold as much.

    Raises
    ------
    BadInputError
        An unknown rule or tie, a share outside (0, 1], or a profile without volume.

    Notes
    -----
    O(rows). Sums are whole numbers and the share is the exact decimal that was written, so that
    0.7 of 10 lots is 7 and not 7.000000000000001.

    Source: TradingView, Volume profile: basic concepts; Dalton, Mind over Markets (two rows);
    py-market-profile (one row).
    """
    _check(volume, pct, rule, tie)
    held, step = np.asarray(volume, dtype=np.int64), RULES[rule]
    poc, tied = point_of_control(held)
    share, total = Fraction(str(pct)), int(held.sum())
    # acc >= pct * total in whole numbers: acc >= ceil(numerator * total / denominator).
    target = -(-share.numerator * total // share.denominator)
    above, below = _sums(held[poc + 1 :], step), _sums(held[:poc][::-1], step)
    up, down, inside = _grow(above, below, target - int(held[poc]), tie)
    low, high = max(0, poc - down * step), min(len(held) - 1, poc + up * step)
    return ValueArea(poc, low, high, int(held[poc]) + inside, tied)


def _check(volume: Sequence[int] | Ints, pct: float, rule: str, tie: str) -> None:
    if rule not in RULES:
        raise BadInputError(f"a rule of {', '.join(RULES)} expected, seen {rule!r}")
    if tie not in TIES:
        raise BadInputError(f"a tie rule of {', '.join(TIES)} expected, seen {tie!r}")
    if not 0 < pct <= 1:
        raise BadInputError(f"a share above 0 and at most 1 expected, seen {pct}")
    if not np.any(volume):
        raise BadInputError("a profile with volume expected, seen none")


def _sums(outward: Ints, step: int) -> list[int]:
    """Sum rows `step` at a time, from the POC outward (fewer at the edge); -1 says: no more."""
    starts = np.arange(0, len(outward), step)
    return [*(np.add.reduceat(outward, starts).tolist() if len(starts) else ()), -1]


def _grow(above: list[int], below: list[int], target: int, tie: str) -> tuple[int, int, int]:
    """Take the larger of the next sums until `target` is reached: how many, and what they hold."""
    up = down = acc = 0
    prefers_up, prefers_down = tie != "down", tie != "up"
    while acc < target:
        more, less = above[up], below[down]
        if more > less or (more == less and prefers_up):
            acc += more
            up += 1
        if less > more or (more == less and prefers_down):
            acc += less
            down += 1
    return up, down, acc
