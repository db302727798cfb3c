"""Reading stored trades back into columns, page by page, so that no cursor stays open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from django.db import connection

from marketdata.core.trades import Trades
from marketdata.models import ID_BITS
from marketdata.store import ledger

# Venues stamp neighbouring ids out of order by milliseconds; so many ids around an edge are read
# and then filtered by time.
DISORDER_IDS = 2000
BESIDE = 2048
COLUMNS = np.dtype([("id", "i8"), ("ts_us", "i8"), ("price", "f8"), ("qty", "f8"), ("buy", "i8")])
SELECT = "SELECT trade_id, ts_us, price, qty, is_buy FROM marketdata_trade WHERE id "


def read_trades(
    instrument_id: int, start_us: int, end_us: int, size: int = 4_000
) -> Iterator[Trades]:
    """Yield the stored trades of [start_us, end_us), ascending ids."""
    for segment in ledger.segments_at(instrument_id, start_us, end_us):
        first = id_at(instrument_id, segment.first_id, segment.last_id, start_us)
        last = id_at(instrument_id, segment.first_id, segment.last_id, end_us)
        low = max(segment.first_id, first - DISORDER_IDS)
        high = min(segment.last_id, last + DISORDER_IDS)
        for trades in read_ids(instrument_id, low, high, size):
            inside = (trades.ts_us >= start_us) & (trades.ts_us < end_us)
            if inside.all():
                yield trades
            elif inside.any():
                yield trades[inside]


def read_ids(instrument_id: int, first: int, last: int, size: int = 4_000) -> Iterator[Trades]:
    """Yield the stored trades with ids first..last, ascending."""
    base = instrument_id << ID_BITS
    cursor_id = base + first
    while True:
        rows = _fetch(
            SELECT + "BETWEEN %s AND %s ORDER BY id LIMIT %s", cursor_id, base + last, size
        )
        if not rows:
            return
        trades = _columns(rows)
        yield trades
        cursor_id = base + int(trades.id[-1]) + 1


def latest(instrument_id: int, limit: int, after_id: int | None = None) -> Trades:
    """Return the newest trades, or the first ones after an id, ascending."""
    base = instrument_id << ID_BITS
    end = base + (1 << ID_BITS)
    if after_id is not None:
        question = SELECT + "> %s AND id < %s ORDER BY id LIMIT %s"
        return _columns(_fetch(question, base + after_id, end, limit))
    question = SELECT + ">= %s AND id < %s ORDER BY id DESC LIMIT %s"
    return _columns(_fetch(question, base, end, limit)[::-1])


def beside(
    instrument_id: int, first: int, last: int, lowest: int, highest: int
) -> tuple[Trades, Trades]:
    """Return the trades held next before and next after a hole first..last, within lowest..highest.

    Notes
    -----
    So many of them that those of one millisecond are all there: no number of ours is given twice
    within a millisecond's room.
    """
    base = instrument_id << ID_BITS
    before = SELECT + "BETWEEN %s AND %s ORDER BY id DESC LIMIT %s"
    after = SELECT + "BETWEEN %s AND %s ORDER BY id LIMIT %s"
    return (
        _columns(_fetch(before, base + lowest, base + first - 1, BESIDE)[::-1]),
        _columns(_fetch(after, base + last + 1, base + highest, BESIDE)),
    )


def newest_refs(instrument_id: int, limit: int) -> list[bytes]:
    """Return the refs of the newest trades that have one, oldest first."""
    base = instrument_id << ID_BITS
    question = (
        "SELECT ref FROM marketdata_traderef WHERE id >= %s AND id < %s ORDER BY id DESC LIMIT %s"
    )
    found = _fetch(question, base, base + (1 << ID_BITS), limit)
    return [str(ref).encode() for (ref,) in reversed(found)]


def refs_of(instrument_id: int, trades: Trades) -> dict[int, str]:
    """Return the refs of some trades by their ids; those without one are left out."""
    if not len(trades):
        return {}
    base = instrument_id << ID_BITS
    question = "SELECT id, ref FROM marketdata_traderef WHERE id BETWEEN %s AND %s"
    found = _fetch(question, base + int(trades.id[0]), base + int(trades.id[-1]))
    return {int(key) - base: str(ref) for key, ref in found}


def id_at(instrument_id: int, first: int, last: int, ts_us: int) -> int:
    """Bisect for the first id of a segment at or after a time; last + 1 where there is none."""
    base = instrument_id << ID_BITS
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        rows = _fetch("SELECT ts_us FROM marketdata_trade WHERE id = %s", base + middle)
        if rows and rows[0][0] >= ts_us:
            high = middle
        else:
            low = middle + 1
    return low


def _fetch(question: str, *values: int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(question, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _columns(rows: list[tuple[Any, ...]]) -> Trades:
    table = np.array(rows, dtype=COLUMNS)
    return Trades.of(table["id"], table["ts_us"], table["price"], table["qty"], table["buy"] > 0)
