"""Stored days as tables for others: trades and candles, Parquet or CSV, whole files only."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from marketdata.core.bar import Bars, fold
from marketdata.core.counted import count
from marketdata.core.instrument import Instrument
from marketdata.core.sessions import Window
from marketdata.core.timeframe import DAY_US, MINUTE_US, TIMEFRAMES
from marketdata.core.trades import Trades
from marketdata.payload import bars_payload
from marketdata.store import lake, rows
from marketdata.store.bars import finished_bars

Part = Mapping[str, Sequence[Any]]
PAGE_ROWS = 50_000
TRADES = {"id": "int", "ts_us": "int", "price": "float", "qty": "float", "is_buy": "bool"}
# The venue's own id, where the first column's numbers are ours.
VENUE_ID = {"venue_id": "text"}
CANDLES = {
    "open_us": "int", "time": "text", "open": "float", "high": "float", "low": "float",
    "close": "float", "volume": "float", "buy_volume": "float", "sell_volume": "float",
    "delta": "float", "vwap": "float", "trades": "int", "first_id": "int", "last_id": "int",
    "closed": "bool",
}  # fmt: skip
# A cell of text that begins so is run by spreadsheets.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Table:
    """Rows on their way to a file.

    Parameters
    ----------
    kinds : mapping of str to {"int", "float", "bool", "text"}
        Columns in order.
    parts : iterable
        Rows, column by column.
    times : str
        The column that tells when.

    Attributes
    ----------
    rows : int
    first_us, last_us : int or None
        Earliest and latest time, microseconds UTC, once everything was read.
    """

    kinds: Mapping[str, str]
    parts: Iterable[Part]
    times: str
    rows: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def read(self) -> Iterator[Part]:
        """Yield the parts, and count them."""
        for part in self.parts:
            times = part[self.times]
            self.rows += len(times)
            earliest, latest = min(times), max(times)
            self.first_us = earliest if self.first_us is None else min(self.first_us, earliest)
            self.last_us = latest if self.last_us is None else max(self.last_us, latest)
            yield part


def trades_of(instrument: Instrument, window: Window) -> Table:
    """Return the stored trades of a window; what a feed does not tell is null."""
    kinds = TRADES if instrument.is_numbered else TRADES | VENUE_ID
    return Table(kinds, _trades(instrument, window), "ts_us")


def _trades(instrument: Instrument, window: Window) -> Iterator[Part]:
    for page in rows.read_trades(instrument.id, window.start_us, window.end_us, PAGE_ROWS):
        unknown = [None] * len(page)
        part: dict[str, Sequence[Any]] = {
            "id": page.id.tolist(),
            "ts_us": page.ts_us.tolist(),
            "price": page.price.tolist(),
            "qty": page.qty.tolist() if instrument.is_sized else unknown,
            "is_buy": page.is_buy.tolist() if instrument.is_sized else unknown,
        }
        if not instrument.is_numbered:
            part["venue_id"] = _refs(instrument, page)
        yield part


def _refs(instrument: Instrument, page: Trades) -> list[str | None]:
    told = rows.refs_of(instrument.id, page)
    return [told.get(id) for id in page.id.tolist()]


def candles_of(instrument: Instrument, window: Window, timeframe: str, now_us: int) -> Table:
    """Return the candles of a day that has trades; from minutes where these are gone."""
    return Table(CANDLES, _candles(instrument, window, timeframe, now_us), "open_us")


def _candles(instrument: Instrument, window: Window, timeframe: str, now_us: int) -> Iterator[Part]:
    length_us = TIMEFRAMES[timeframe]
    bars = fold(_minutes(instrument, window), length_us)
    if not bars:
        return
    told = bars_payload(
        bars,
        instrument.grid,
        closed_us=now_us,
        length_us=length_us,
        ratios=[None] * len(bars),
        is_sized=instrument.is_sized,
    )
    own = [
        {"open_us": start_us, "first_id": bar.first_id, "last_id": bar.last_id}
        for start_us, bar in bars
    ]
    lines = [{**payload, **more} for payload, more in zip(told, own, strict=True)]
    yield {name: [line[name] for line in lines] for name in CANDLES}


def _minutes(instrument: Instrument, window: Window) -> Bars:
    """Return the minutes of a day: those that were finished, the others from their trades."""
    start_us, end_us = window.start_us, window.end_us
    pages = rows.read_trades(instrument.id, start_us, end_us, PAGE_ROWS)
    counted = [item for page in pages for item in count(page, instrument.grid).bars(MINUTE_US)]
    finished = finished_bars(instrument, MINUTE_US, DAY_US // MINUTE_US, start_us, end_us)
    return sorted((dict(fold(counted, MINUTE_US)) | dict(finished)).items(), key=itemgetter(0))


def write(path: Path, table: Table, about: Mapping[str, Any]) -> None:
    """Write a table by the suffix of its path. Raises OSError.

    Parameters
    ----------
    about : mapping
        Kept in a Parquet file's footer: text as it is, anything else as JSON.
    """
    if path.suffix == ".csv":
        _write_csv(path, table)
    else:
        told = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in about.items()
        }
        lake.put_table(path, table.kinds, table.read(), told)


def _write_csv(path: Path, table: Table) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(table.kinds)
            for part in table.read():
                columns = [_cells(part[name], kind) for name, kind in table.kinds.items()]
                writer.writerows(zip(*columns, strict=True))
        lake.put_in_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _cells(values: Sequence[Any], kind: str) -> Sequence[Any]:
    """Return values as CSV cells: nothing where null, text that no spreadsheet runs."""
    if kind == "text":
        return [_safe(value) for value in values]
    if kind == "bool":
        return [None if value is None else str(value).lower() for value in values]
    return values


def _safe(text: str | None) -> str | None:
    return f"'{text}" if text and text.startswith(FORMULA) else text
