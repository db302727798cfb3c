"""CSV tapes read into columns on two threads.

One thread inflates and hands out the columns while another parses; a day of 863,403 trades comes in
about a quarter of a second. pyarrow is imported when a CSV is read, not before, and given memory of
its own: a thread of its that still held something of Python's would abort an ending process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from marketdata.core.errors import BadTradesError, TapeError
from marketdata.core.ticks import tick_rule
from marketdata.core.timeframe import SECOND_US
from marketdata.core.trades import LATEST_US, Bools, Ints, Refs, Trades
from marketdata.store.tape_fault import fault
from marketdata.store.tape_file import opened
from marketdata.store.tape_layout import Layout

# A block is parsed as one batch of about 12,000 rows, and read in pieces that stay in the cache.
BLOCK_BYTES = 1 << 20
PIECE_BYTES = 1 << 17
# Blocks being parsed while the next is read.
AHEAD = 3
MICROSECONDS = 10**14
MILLISECONDS = 10**11
# A UUID has 36; a column as wide as its widest cell must not fill the memory.
LONGEST_REF = 64


def batches(path: Path, layout: Layout) -> Iterator[Trades]:
    """Yield the file's trades, checked, block by block, in the file's order.

    Raises
    ------
    TapeError
        A row that does not fit the layout or is no trade; says which.
    """
    import pyarrow as arrow

    try:
        if layout.id:
            yield from _blocks(path, layout)
        else:
            yield from _numbered(path, layout)
    except (arrow.ArrowException, BadTradesError) as error:
        # Rows are numbered by reading the file again: the quick way does not know them.
        raise TapeError(fault(path, layout) or f"{path.name}: {error}") from error


def _blocks(path: Path, layout: Layout) -> Iterator[Trades]:
    import pyarrow as arrow
    from pyarrow import csv

    parse = partial(_parsed, csv.read_csv, _options(csv, arrow, layout), layout)
    with opened(path) as file, ThreadPoolExecutor(2, "tape") as pool:
        waiting: deque[Future[Trades]] = deque()
        for block in _whole_lines(file, arrow.allocate_buffer, skips_one=layout.has_header):
            waiting.append(pool.submit(parse, block))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _whole_lines(
    file: IO[bytes], allocate: Callable[[int], Any], *, skips_one: bool
) -> Iterator[Any]:
    """Yield a file in blocks that end where a line does, but for the last."""
    if skips_one:
        file.readline()
    rest = b""
    while True:
        buffer = allocate(len(rest) + BLOCK_BYTES)
        view = memoryview(buffer).cast("B")
        view[: len(rest)] = rest
        filled = _fill(file, view, len(rest))
        is_last = filled < len(view)
        end = filled if is_last else _lines_end(view)
        rest = bytes(view[end:filled])
        if end:
            yield buffer.slice(0, end)
        if is_last:
            return


def _lines_end(view: memoryview) -> int:
    """Return where the last whole line ends; 0 where there is none."""
    for size in (min(4096, len(view)), len(view)):
        at = bytes(view[-size:]).rfind(b"\n")
        if at >= 0:
            return len(view) - size + at + 1
    return 0


def _fill(file: IO[bytes], view: memoryview, at: int) -> int:
    """Read until the memory is full or the file ends; return where."""
    while at < len(view):
        count = file.readinto(view[at : at + PIECE_BYTES])  # type: ignore[attr-defined]
        if not count:
            break
        at += count
    return at


def _parsed(
    read: Callable[..., Any], options: tuple[Any, ...], layout: Layout, block: Any
) -> Trades:
    import pyarrow as arrow

    table = read(arrow.BufferReader(block), *options)
    if layout.named:
        _check_symbol(table.column(layout.named), layout.symbol)
    return _trades(table, layout).checked()


def _numbered(path: Path, layout: Layout) -> Iterator[Trades]:
    """Yield trades that carry no number, in the order of time, counted from 1.

    Notes
    -----
    The whole file is held, 33 bytes a trade and 36 more with its ref: old archives run backwards.
    """
    trades = Trades.concat(_blocks(path, layout))
    if len(trades) and trades.ts_us[0] > trades.ts_us[-1]:
        trades = trades[::-1]
    trades = trades[np.argsort(trades.ts_us, kind="stable")]
    trades = replace(trades, id=np.arange(1, len(trades) + 1))
    yield trades if layout.side else _ticks(trades)


def _ticks(trades: Trades) -> Trades:
    """Return rows without size and side as ticks: known by their second, sides as estimated."""
    epochs = (trades.ts_us // SECOND_US).astype("S20")
    return replace(trades, is_buy=tick_rule(trades.price), ref=epochs)


def _options(csv: Any, arrow: Any, layout: Layout) -> tuple[Any, Any, Any]:
    # Times with decimals (Bybit's seconds) are read as float; whole numbers fit it exactly too.
    ts_type = arrow.float64() if layout.source == "bybit" else arrow.int64()
    types = {layout.price: arrow.float64(), layout.qty: arrow.float64(), layout.ts: ts_type}
    types |= {layout.side: arrow.bool_(), layout.id: arrow.int64(), layout.ref: arrow.binary()}
    types[layout.named] = arrow.dictionary(arrow.int32(), arrow.string())
    # What a layout does not have is named by nothing.
    types.pop("", None)
    yes, no = ("buy", "sell") if layout.side_means == "taker" else ("true", "false")
    return (
        csv.ReadOptions(
            block_size=BLOCK_BYTES * 2,
            column_names=layout.names,
            use_threads=False,
        ),
        # Archives without a header quote nothing, and looking for quotes costs a tenth.
        csv.ParseOptions(quote_char='"' if layout.has_header else False),
        csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=[],
            true_values=[yes, yes.title(), yes.upper()],
            false_values=[no, no.title(), no.upper()],
        ),
    )


def _check_symbol(column: Any, symbol: str) -> None:
    seen = {word for chunk in column.chunks for word in chunk.dictionary.to_pylist()} - {symbol}
    if seen:
        raise TapeError(f"trades of {symbol} alone expected, seen {', '.join(sorted(seen))} too")


def _trades(table: Any, layout: Layout) -> Trades:
    def column(name: str) -> Any:
        return table.column(name).to_numpy()

    said: Bools = column(layout.side) if layout.side else np.ones(table.num_rows, dtype=np.bool_)
    ids = column(layout.id) if layout.id else np.zeros(table.num_rows, dtype=np.int64)
    return Trades.of(
        ids,
        microseconds(column(layout.ts)),
        column(layout.price),
        column(layout.qty) if layout.qty else np.ones(table.num_rows),
        said if layout.side_means == "taker" else ~said,
        ref=refs(table.column(layout.ref)) if layout.ref else None,
    )


def refs(column: Any) -> Refs:
    """Return a column of binary cells as one of fixed width. Raises TapeError."""
    column = column.combine_chunks()
    if not len(column):
        return np.empty(0, "S1")
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    widths = np.diff(ends)
    widest = max(1, int(widths.max(initial=0)))
    if widest > LONGEST_REF:
        raise TapeError(f"ids of at most {LONGEST_REF} characters expected, seen {widest}")
    if (widths == widest).all():
        # One after the other they are the column already.
        return np.frombuffer(data, f"S{widest}", len(column), int(ends[0]))
    return np.array(column.to_pylist(), f"S{widest}")


def microseconds(ts: Any) -> Ints:
    """Return times in microseconds, whatever their unit, told by their magnitude.

    Notes
    -----
    From 10^14 on microseconds, from 10^11 on milliseconds, below seconds with decimals: for any
    time from 1973 to 5138 only one reading is possible. Archives mix units within a file.
    """
    # Nonsense becomes 1970, which no trade is of, instead of a number that wraps round.
    ts = np.where((ts >= 0) & (ts < LATEST_US), ts, 0)
    factor = np.where(ts >= MICROSECONDS, 1, np.where(ts >= MILLISECONDS, 1000, 1_000_000))
    if ts.dtype != np.int64:
        return cast(Ints, np.rint(ts * factor).astype(np.int64))
    return cast(Ints, ts * factor)
