"""Randomness by address: the n-th number of a lane, without computing the numbers before it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marketdata.core.trades import Floats, Ints

Words = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Lane:
    """One endless sequence of uniform numbers that is read at any index.

    Notes
    -----
    SplitMix64 (Steele, Lea, Flood 2014) of the index: O(1) access, so history needs no replay.
    """

    key: int

    @classmethod
    def of(cls, *name: object) -> Lane:
        """Return the lane of a name; equal names give equal lanes in every process."""
        digest = hashlib.sha256(repr(name).encode()).digest()
        return cls(int.from_bytes(digest[:8], "little"))

    def uniform(self, index: Ints) -> Floats:
        """Return numbers in [0, 1) at (n,) int64 indices."""
        mixed: Words = index.astype(np.uint64) * GOLDEN + np.uint64(self.key)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
        mixed = mixed ^ (mixed >> np.uint64(31))
        return np.asarray((mixed >> np.uint64(11)) * 2.0**-53, dtype=np.float64)

    def smooth(self, ts_us: Ints, period_us: int) -> Floats:
        """Return a smooth curve in (-1, 1) at ascending times, with a new level each period."""
        index, phase = np.divmod(ts_us, period_us)
        start = int(index[0])
        levels = 2.0 * self.uniform(np.arange(start, int(index[-1]) + 2)) - 1.0
        part = phase / period_us
        here = index - start
        curve: Floats = levels[here] + (levels[here + 1] - levels[here]) * (
            part * part * (3.0 - 2.0 * part)
        )
        return curve


def normal(first: Floats, second: Floats) -> Floats:
    """Return standard normal numbers from two uniform columns (Box and Muller 1958)."""
    radius = np.sqrt(-2.0 * np.log(1.0 - first))
    angle: Floats = np.cos(2.0 * np.pi * second)
    return np.asarray(radius * angle, dtype=np.float64)
