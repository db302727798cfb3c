"""What is wrong with a CSV tape: the first bad line and why, found by reading it slowly."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from marketdata.core.trades import EARLIEST_US, LATEST_US
from marketdata.store.tape_file import opened
from marketdata.store.tape_layout import BOOLEANS, SIDES, Layout

WHOLE = re.compile(r"\d{1,18}")
NUMBER = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?")
# Powers of ten that turn seconds, milliseconds and microseconds into microseconds.
FACTORS = (1_000_000, 1000, 1)


def fault(path: Path, layout: Layout) -> str:
    """Return the first line that is no trade with what was expected; empty where all are fine."""
    with opened(path) as file:
        text = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
        rows = csv.reader(text)
        for row in rows:
            is_header = layout.has_header and rows.line_num == 1
            complaint = "" if is_header or not row else next(_complaints(row, layout), "")
            if complaint:
                return f"{path.name}: line {rows.line_num}: {complaint}"
    return ""


def _complaints(row: list[str], layout: Layout) -> Iterator[str]:
    if len(row) != len(layout.names):
        yield f"{len(layout.names)} columns expected, seen {len(row)}"
        return
    cells = {name: cell.strip() for name, cell in zip(layout.names, row, strict=True)}
    if layout.id and not WHOLE.fullmatch(cells[layout.id]):
        yield f"a whole number expected as {layout.id}, seen {cells[layout.id]!r}"
    if not _is_time(cells[layout.ts]):
        yield f"a time between 2010 and 2100 expected as {layout.ts}, seen {cells[layout.ts]!r}"
    for name in (layout.price, layout.qty):
        if name and not _is_amount(cells[name]):
            yield f"a number above zero expected as {name}, seen {cells[name]!r}"
    words = SIDES if layout.side_means == "taker" else BOOLEANS
    if layout.side and cells[layout.side].lower() not in words:
        choice = " or ".join(sorted(words))
        yield f"{choice} expected as {layout.side}, seen {cells[layout.side]!r}"


def _is_time(cell: str) -> bool:
    if not NUMBER.fullmatch(cell):
        return False
    return any(EARLIEST_US <= float(cell) * factor < LATEST_US for factor in FACTORS)


def _is_amount(cell: str) -> bool:
    return bool(NUMBER.fullmatch(cell)) and 0 < float(cell) < float("inf")
