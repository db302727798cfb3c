"""Point of control and value area of a volume profile, with every rule stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from marketdata.core.errors import BadInputError

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


def point_of_control(volume: Sequence[int]) -> tuple[int, bool]:
    """Return the row with the largest volume, and whether others equal it.

    Notes
    -----
    Of equal rows the one nearest the middle of the profile counts, then the lower one.

    Examples
    --------
    >>> point_of_control([3, 7, 10, 7, 3, 0, 0, 3, 7, 10, 7, 3])
    (2, True)
    """
    most = max(volume)
    rows = [row for row, held in enumerate(volume) if held == most]
    last = len(volume) - 1
    return min(rows, key=lambda row: (abs(2 * row - last), row)), len(rows) > 1


def value_area(
    volume: Sequence[int], pct: float = 0.70, rule: str = "two_row", tie: str = "up"
) -> ValueArea:
    """Grow the area from the point of control until it holds `pct` of the volume.

    Parameters
    ----------
    volume : sequence of int
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
    poc, tied = point_of_control(volume)
    share = Fraction(str(pct))
    area = _Area(volume, poc, RULES[rule])
    while area.held * share.denominator < area.total * share.numerator:
        area.grow(tie)
    return ValueArea(poc, area.low, area.high, area.held, tied)


def _check(volume: Sequence[int], pct: float, rule: str, tie: str) -> None:
    if rule not in RULES:
        raise BadInputError(f"a rule of {', '.join(RULES)} expected, seen {rule!r}")
    if tie not in TIES:
        raise BadInputError(f"a tie rule of {', '.join(TIES)} expected, seen {tie!r}")
    if not 0 < pct <= 1:
        raise BadInputError(f"a share above 0 and at most 1 expected, seen {pct}")
    if not any(volume):
        raise BadInputError("a profile with volume expected, seen none")


class _Area:
    """The growing area; `below[i]` is the volume of all rows under i."""

    def __init__(self, volume: Sequence[int], poc: int, step: int) -> None:
        self.below = [0, *accumulate(volume)]
        self.total = self.below[-1]
        self.last = len(volume) - 1
        self.step = step
        self.low = self.high = poc
        self.held = volume[poc]

    def grow(self, tie: str) -> None:
        to_high = min(self.high + self.step, self.last)
        to_low = max(self.low - self.step, 0)
        up = self.below[to_high + 1] - self.below[self.high + 1]
        down = self.below[self.low] - self.below[to_low]
        if to_high == self.high:
            take_up, take_down = False, True
        elif to_low == self.low:
            take_up, take_down = True, False
        else:
            take_up = up > down or (up == down and tie != "down")
            take_down = down > up or (up == down and tie != "up")
        if take_up:
            self.high, self.held = to_high, self.held + up
        if take_down:
            self.low, self.held = to_low, self.held + down
