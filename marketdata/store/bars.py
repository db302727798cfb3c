"""Reading stored minutes back as bars of any timeframe, folded by the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection

from marketdata.core import counted
from marketdata.core.bar import Bar, Bars, fold
from marketdata.core.coverage import Run
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.timeframe import MINUTE_US, open_us
from marketdata.models import ID_BITS
from marketdata.store import ledger, rows

BASE = "1m"
# Two years. Folding a million minutes takes the database a second, in which Python goes on.
MOST_MINUTES = 1_051_200
# Trades read to make up for minutes that were never finished: a quarter of a second's work.
MOST_TRADES = 200_000

MINUTES = """
WITH minutes AS (
    SELECT open_us, open, high, low, close, volume, buy_volume, quote_volume, trades,
           first_id, last_id
    FROM marketdata_candle
    WHERE instrument_id = %s AND timeframe = %s AND open_us >= %s AND open_us < %s
    ORDER BY open_us DESC LIMIT %s
)"""
# The database folds because a year of minutes as Python objects would stop every other thread for
# a second. Open and close are those of the lowest and highest id, as everywhere.
FOLDED = """, cut AS (
    SELECT (open_us - %s) / %s AS bucket, open, high, low, close, volume, buy_volume,
           quote_volume, trades, first_id, last_id
    FROM minutes
), folded AS (
    SELECT bucket, MAX(high) AS high, MIN(low) AS low, SUM(volume) AS volume,
           SUM(buy_volume) AS buy_volume, SUM(quote_volume) AS quote_volume,
           SUM(trades) AS trades, MIN(first_id) AS first_id, MAX(last_id) AS last_id
    FROM cut GROUP BY bucket
)
SELECT folded.bucket, opening.open, folded.high, folded.low, closing.close, folded.volume,
       folded.buy_volume, folded.quote_volume, folded.trades, folded.first_id, folded.last_id
FROM folded
JOIN cut AS opening ON opening.bucket = folded.bucket AND opening.first_id = folded.first_id
JOIN cut AS closing ON closing.bucket = folded.bucket AND closing.last_id = folded.last_id
ORDER BY folded.bucket"""
# Ids between two minutes that belong to neither.
SEAMS = """, paired AS (
    SELECT last_id + 1 AS first_id, LEAD(first_id) OVER (ORDER BY open_us) - 1 AS last_id
    FROM minutes
)
SELECT first_id, last_id FROM paired WHERE last_id >= first_id ORDER BY first_id DESC LIMIT 1000"""
ENDS = "SELECT COUNT(*), MIN(first_id), MAX(last_id) FROM minutes"


@dataclass(frozen=True, slots=True)
class Span:
    """Which stored minutes are meant: the newest of [since_us, before_us), so many at most."""

    instrument_id: int
    since_us: int
    before_us: int
    limit: int

    def ask(self, question: str, *more: int) -> list[tuple[Any, ...]]:
        """Return the rows that a question about these minutes gives."""
        values: tuple[int | str, ...] = (self.instrument_id, BASE, self.since_us, self.before_us)
        with connection.cursor() as cursor:
            cursor.execute(MINUTES + question, (*values, self.limit, *more))
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def finished_bars(
    instrument: Instrument, length_us: int, wanted: int, since_us: int, before_us: int
) -> Bars:
    """Return the newest `wanted` bars of the stored minutes of [since_us, before_us), ascending.

    Parameters
    ----------
    instrument : Instrument
        On whose grid the bars are counted.
    length_us : int
        Timeframe, a multiple of a minute, in microseconds.
    """
    span = Span(instrument.id, since_us, before_us, _minutes(length_us, wanted))
    return _folded(span, instrument, length_us)[-wanted:]


def stored_bars(
    instrument: Instrument,
    length_us: int,
    wanted: int,
    before_us: int = 1 << 62,
    before_id: int = 1 << ID_BITS,
) -> Bars:
    """Return the newest `wanted` bars of all that is stored before a minute and an id, ascending.

    Notes
    -----
    The minute in which a process was stopped has trades and no row of its own; such minutes are
    counted from their trades. A bar that `before_us` cuts holds only what is before it.
    """
    span = Span(instrument.id, 0, before_us, _minutes(length_us, wanted))
    bars = _folded(span, instrument, length_us)
    runs, is_cut = _unfinished(span, before_id)
    extra = fold(_counted(instrument, runs), MINUTE_US)
    if is_cut and extra:
        # Older trades are as unfinished: what is left of them would look like all of them.
        edge_us = open_us(extra[0][0], length_us)
        return [item for item in fold(bars + extra, length_us) if item[0] > edge_us][-wanted:]
    return fold(bars + extra, length_us)[-wanted:]


def _minutes(length_us: int, wanted: int) -> int:
    # So many minutes fill the bars even where the oldest of them is cut in two.
    return min((wanted + 1) * (length_us // MINUTE_US), MOST_MINUTES)


def _counted(instrument: Instrument, runs: list[Run]) -> Bars:
    return [
        item
        for first, last in runs
        for trades in rows.read_ids(instrument.id, first, last)
        for item in counted.count(trades, instrument.grid).bars(MINUTE_US)
    ]


def _folded(span: Span, instrument: Instrument, length_us: int) -> Bars:
    origin_us = open_us(length_us, length_us) % length_us
    found = span.ask(FOLDED, origin_us, length_us)
    if not found:
        return []
    starts = [int(row[0]) * length_us + origin_us for row in found]
    return list(zip(starts, _bars(found, instrument.grid), strict=True))


def _bars(found: list[tuple[Any, ...]], grid: Grid) -> list[Bar]:
    """Put prices, sums and counts of stored bars back on the grid they were counted on."""
    table = np.array(found, dtype=np.float64)
    prices = [grid.ticks(table[:, at]).tolist() for at in (1, 2, 3, 4)]
    # A sum of floats is off by less than a lot, so that the nearest whole number is the sum.
    lots = [np.rint(table[:, at] / grid.lot_size).astype(np.int64).tolist() for at in (5, 6)]
    step = float(grid.tick * grid.lot)
    notional = [round(value / step) for value in table[:, 7].tolist()]
    counts = [[int(row[at]) for row in found] for at in (8, 9, 10)]
    columns = zip(*prices, *lots, notional, *counts, strict=True)
    return [Bar(*values) for values in columns]


def _unfinished(span: Span, before_id: int) -> tuple[list[Run], bool]:
    """Return the runs of ids that are held and in no stored minute, and whether older ones exist.

    Newest first, `MOST_TRADES` at most.
    """
    ((minutes, first_id, last_id),) = span.ask(ENDS)
    seams: list[Run] = [(last_id + 1 if minutes else 0, before_id - 1)]
    seams += [(first, last) for first, last in span.ask(SEAMS)]
    if minutes and minutes < span.limit:
        seams.append((0, first_id - 1))
    seams = [seam for seam in seams if seam[0] <= seam[1]]
    if not seams:
        return [], False
    held = ledger.coverage(span.instrument_id, seams[-1][0], seams[0][1])
    found: list[Run] = []
    room = MOST_TRADES
    for seam in seams:
        for first, last in reversed(list(held.within(*seam))):
            found.append((max(first, last - room + 1), last))
            room -= last - first + 1
            if room <= 0:
                return found, True
    return found, False
