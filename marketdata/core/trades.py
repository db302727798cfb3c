"""`Trades`, the batch: parallel columns in which every trade travels, live or replayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from marketdata.core.errors import BadTradesError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Refs = npt.NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class Trades:
    """A batch of public trades of one instrument, in ascending id.

    Parameters
    ----------
    id : (n,) int64
        The venue's trade id (an aggregate's id where the feed is aggregated).
    ts_us : (n,) int64
        Exchange time, microseconds since the epoch, UTC.
    price : (n,) float64
        Quote per base, > 0.
    qty : (n,) float64
        Base units, > 0.
    is_buy : (n,) bool
        The aggressor bought.
    ref : (n,) bytes or None
        The venue's own id where it is no number to count by: a UUID, a number that symbols share.
        `id` then is ours. None for venues that number each symbol's trades without holes.

    Notes
    -----
    The constructor trusts its columns; data from outside comes in by `checked`.
    """

    id: Ints
    ts_us: Ints
    price: Floats
    qty: Floats
    is_buy: Bools
    ref: Refs | None = None

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, part: Any) -> Trades:
        """Take rows by slice, mask or index array, as numpy does."""
        return Trades(
            self.id[part],
            self.ts_us[part],
            self.price[part],
            self.qty[part],
            self.is_buy[part],
            None if self.ref is None else self.ref[part],
        )

    @classmethod
    def empty(cls) -> Trades:
        """Return the batch of no trades."""
        return cls.of((), (), (), (), ())

    @classmethod
    def of(
        cls,
        id: Sequence[int] | Ints,
        ts_us: Sequence[int] | Ints,
        price: Sequence[float] | Floats,
        qty: Sequence[float] | Floats,
        is_buy: Sequence[bool] | Bools,
        *,
        ref: Refs | None = None,
    ) -> Trades:
        """Build a batch from any sequences, without checking the values."""
        return cls(
            np.asarray(id, dtype=np.int64),
            np.asarray(ts_us, dtype=np.int64),
            np.asarray(price, dtype=np.float64),
            np.asarray(qty, dtype=np.float64),
            np.asarray(is_buy, dtype=np.bool_),
            ref,
        )

    @classmethod
    def concat(cls, batches: Iterable[Trades]) -> Trades:
        """Join batches end to end, in the order given."""
        parts = list(batches)
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([part.id for part in parts]),
            np.concatenate([part.ts_us for part in parts]),
            np.concatenate([part.price for part in parts]),
            np.concatenate([part.qty for part in parts]),
            np.concatenate([part.is_buy for part in parts]),
            _refs(parts),
        )

    def checked(self) -> Trades:
        """Return self after checking what arithmetic relies on.

        Raises
        ------
        BadTradesError
            Columns of different length; a price or quantity that is not a number above zero and
            below 1e15; a time outside 2010-01-01 to 2100-01-01; a negative id.
        """
        lengths = {
            len(column) for column in (self.id, self.ts_us, self.price, self.qty, self.is_buy)
        }
        if len(lengths) != 1:
            raise BadTradesError(f"columns of one length expected, seen lengths {sorted(lengths)}")
        _require(self.price > 0, self.price, "price above zero")
        _require(self.price < LARGEST, self.price, "price below 1e15")
        _require(self.qty > 0, self.qty, "quantity above zero")
        _require(self.qty < LARGEST, self.qty, "quantity below 1e15")
        _require(self.id >= 0, self.id, "id of zero or more")
        in_range = (self.ts_us >= EARLIEST_US) & (self.ts_us < LATEST_US)
        _require(in_range, self.ts_us, "time between 2010 and 2100 in microseconds")
        return self

    def sorted(self) -> Trades:
        """Return the batch in ascending id; self where it already is."""
        if len(self) < 2 or bool(np.all(self.id[1:] > self.id[:-1])):
            return self
        return self[np.argsort(self.id, kind="stable")]

    def batches(self, size: int) -> Iterator[Trades]:
        """Cut into consecutive batches of at most `size` trades."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


EARLIEST_US = 1_262_304_000_000_000
LATEST_US = 4_102_444_800_000_000
# No listed price or size is near it, and any grid's steps of it stay far from float64's limits.
LARGEST = 1e15


def _refs(parts: list[Trades]) -> Refs | None:
    """Join the refs of batches; those without any get empty ones beside others."""
    if all(part.ref is None for part in parts):
        return None
    return np.concatenate(
        [np.full(len(part), b"", "S1") if part.ref is None else part.ref for part in parts]
    )


def _require(ok: Bools, column: npt.NDArray[Any], expected: str) -> None:
    if not ok.all():
        at = int(np.argmin(ok))
        raise BadTradesError(f"{expected} expected, seen {column[at]} in row {at}")
