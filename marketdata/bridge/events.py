"""Events as hftbacktest reads them: the row, its flags, the order rows must be in, the check.

A row is seen twice: by the exchange at `exch_ts`, by us at `local_ts`, each in order of its own
time. Where both orders cannot hold in one row, it becomes two, one for each side. Numpy alone;
the package itself is not needed. Source: hftbacktest 2.4, types.py and docs/data.rst.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from marketdata.core.errors import BadInputError
from marketdata.core.trades import Ints, Trades

EVENT = np.dtype(
    [
        ("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8"),
        ("order_id", "<u8"), ("ival", "<i8"), ("fval", "<f8"),
    ],
    align=True,
)  # fmt: skip
Events = npt.NDArray[Any]
# Who sees a row, and its side: the book's, or the aggressor's.
EXCH, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
SIDES = BUY | SELL
KIND = 0xFF
DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT = 1, 2, 3, 4
KINDS = (DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT)
# Flags, exchange time, local time, price, quantity.
Row = tuple[int, int, int, float, float]
FIELDS = ("ev", "exch_ts", "local_ts", "px", "qty")


class BadEventsError(BadInputError):
    """Rows that hftbacktest would read wrongly."""


@dataclass(frozen=True, slots=True)
class Lift:
    """What was done about rows that came before they happened: the local clock was behind.

    Parameters
    ----------
    rows : int
        How many did.
    by_ns : int
        Added to every local time.
    """

    rows: int
    by_ns: int


def events_of(rows: Sequence[Row]) -> Events:
    """Return rows as an array; what orders alone need is zero."""
    made = np.zeros(len(rows), EVENT)
    if rows:
        for name, column in zip(FIELDS, zip(*rows, strict=True), strict=True):
            made[name] = column
    return made


def traded(trades: Trades, latency_ns: int) -> Events:
    """Return stored trades as rows; they carry no time of receipt, so that it is assumed.

    Parameters
    ----------
    latency_ns : int
        From the exchange's time to ours.
    """
    made = np.zeros(len(trades), EVENT)
    made["ev"] = np.where(trades.is_buy, BUY, SELL) | TRADE
    made["exch_ts"] = trades.ts_us * 1000
    made["local_ts"] = made["exch_ts"] + latency_ns
    made["px"], made["qty"] = trades.price, trades.qty
    return made


def lifted(events: Events, base_latency_ns: int) -> tuple[Events, Lift]:
    """Move local times later where any row would come before it happened.

    Parameters
    ----------
    base_latency_ns : int
        Latency of the fastest row then.

    Notes
    -----
    All rows are moved by as much: it is the clock that was wrong, and differences stay. Sound
    times are left as they are.
    """
    latency = events["local_ts"] - events["exch_ts"]
    rows = int(np.count_nonzero(latency < 0))
    if not rows:
        return events, Lift(0, 0)
    by_ns = base_latency_ns - int(latency.min())
    moved = events.copy()
    moved["local_ts"] += by_ns
    return moved, Lift(rows, by_ns)


def ordered(events: Events) -> Events:
    """Put rows in both orders at once and flag who sees them; few of them become two.

    Notes
    -----
    Among rows of one instant trades come first, so that no queue is consumed twice; else as they
    came. Rows whose place is the same in both orders stay one; of a stretch in which the orders
    differ, as many as follow one another in both.
    """
    is_book = (events["ev"] & KIND) != TRADE
    by_exch = np.lexsort((is_book, events["exch_ts"]))
    by_local = np.lexsort((is_book, events["local_ts"]))
    rank = np.empty(len(events), np.int64)
    rank[by_local] = np.arange(len(events))
    is_joint = _joint(rank[by_exch])
    exch, local = events[by_exch], events[by_local]
    exch["ev"] |= np.where(is_joint, EXCH | LOCAL, EXCH).astype(np.uint64)
    is_local_only = np.ones(len(events), np.bool_)
    is_local_only[rank[by_exch][is_joint]] = False
    local["ev"] |= np.uint64(LOCAL)
    # Joint rows cut both orders into the same pieces; within one, no order is asked for.
    piece = np.concatenate([np.cumsum(is_joint), np.cumsum(~is_local_only)[is_local_only]])
    made = np.concatenate([exch, local[is_local_only]])
    return made[np.argsort(piece, kind="stable")]


def _joint(rank: Ints) -> npt.NDArray[np.bool_]:
    """Tell which rows, in order of one time, can keep their place in that of the other.

    Parameters
    ----------
    rank : (n,) int64
        Place in the other order.
    """
    places = np.arange(len(rank))
    is_joint: npt.NDArray[np.bool_] = rank == places
    # Up to here both orders have had the same rows: what follows is sorted by itself.
    ends = np.flatnonzero(np.maximum.accumulate(rank) == places) + 1
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        is_joint[start:end] = _ascending(rank[start:end].tolist())
    return is_joint


def _ascending(values: list[int]) -> list[bool]:
    """Mark a longest ascending part of some values, all different."""
    tails: list[int] = []
    at: list[int] = []
    before: list[int] = []
    for index, value in enumerate(values):
        length = bisect_left(tails, value)
        before.append(at[length - 1] if length else -1)
        tails[length : length + 1] = [value]
        at[length : length + 1] = [index]
    marked = [False] * len(values)
    index = at[-1] if at else -1
    while index >= 0:
        marked[index] = True
        index = before[index]
    return marked


def check(events: Events) -> None:
    """Refuse rows that would be read wrongly.

    Raises
    ------
    BadEventsError
        Says which row, what was expected and what is there.
    """
    if events.dtype != EVENT or events.ndim != 1:
        raise BadEventsError(f"rows of {EVENT.itemsize} bytes expected, seen {events.dtype}")
    ev, kind = events["ev"], events["ev"] & KIND
    is_clear = kind == DEPTH_CLEAR
    side = ev & SIDES
    _require(np.isin(kind, KINDS), events, f"a kind of {KINDS}")
    _require((ev & (EXCH | LOCAL)) != 0, events, "a row that somebody sees")
    _require((ev & ~np.uint64(EXCH | LOCAL | SIDES | KIND)) == 0, events, "known flags alone")
    _require((side == BUY) | (side == SELL), events, "one side")
    _require(events["exch_ts"] > 0, events, "a time of the exchange")
    _require(events["local_ts"] >= events["exch_ts"], events, "receipt after the exchange's time")
    for name in ("px", "qty"):
        is_finite = np.isfinite(events[name]) & (events[name] >= 0)
        _require(is_finite, events, f"{name} of zero or more")
    _require(is_clear | (events["px"] > 0), events, "px above zero")
    _require((kind != TRADE) | (events["qty"] > 0), events, "a trade of more than nothing")
    for flag, name in ((EXCH, "exch_ts"), (LOCAL, "local_ts")):
        _require_order(events, np.flatnonzero(ev & flag), name)


def _require(ok: npt.NDArray[np.bool_], events: Events, expected: str) -> None:
    if not ok.all():
        _refuse(events, int(np.argmin(ok)), expected)


def _require_order(events: Events, seen: Ints, name: str) -> None:
    steps = np.diff(events[name][seen])
    if (steps < 0).any():
        _refuse(events, int(seen[int(np.argmax(steps < 0)) + 1]), f"{name} that never goes back")


def _refuse(events: Events, at: int, expected: str) -> None:
    row = events[at]
    told = ", ".join(f"{name} {row[name]}" for name in FIELDS[1:])
    raise BadEventsError(f"row {at}: {expected} expected, seen ev {int(row['ev']):#x}, {told}")
