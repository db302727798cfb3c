"""CSV tapes read into columns on two threads.

pyarrow parses blocks on its own threads while this one inflates the next; a day of 863,403 trades
comes in about a quarter of a second. It is imported when a CSV is read, not before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from marketdata.core.errors import BadTradesError, TapeError
from marketdata.core.trades import LATEST_US, Bools, Ints, Trades
from marketdata.store.tape_fault import fault
from marketdata.store.tape_file import opened
from marketdata.store.tape_layout import Layout

# A block is parsed as one batch of about 12,000 rows: large enough to keep two threads busy, small
# enough to stay in the cache.
BLOCK_BYTES = 1 << 20
MICROSECONDS = 10**14
MILLISECONDS = 10**11
SYMBOL = "symbol"


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

    with opened(path) as file, csv.open_csv(file, *_options(csv, arrow, layout)) as reader:
        for block in reader:
            if SYMBOL in block.schema.names:
                _check_symbol(block.column(SYMBOL), layout.symbol)
            yield _trades(block, layout).checked()


def _numbered(path: Path, layout: Layout) -> Iterator[Trades]:
    """Yield trades that carry no number, in the order of time, counted from 1.

    Notes
    -----
    The whole file is held, 33 bytes a trade: old archives run backwards.
    """
    trades = Trades.concat(_blocks(path, layout))
    if len(trades) and trades.ts_us[0] > trades.ts_us[-1]:
        trades = trades[::-1]
    trades = trades[np.argsort(trades.ts_us, kind="stable")]
    ids = np.arange(1, len(trades) + 1)
    yield Trades.of(ids, trades.ts_us, trades.price, trades.qty, trades.is_buy)


def _options(csv: Any, arrow: Any, layout: Layout) -> tuple[Any, Any, Any]:
    # Times with decimals (Bybit's seconds) are read as float; whole numbers fit it exactly too.
    ts_type = arrow.float64() if layout.source == "bybit" else arrow.int64()
    types = {layout.price: arrow.float64(), layout.qty: arrow.float64(), layout.ts: ts_type}
    types[layout.side] = arrow.bool_()
    if layout.id:
        types[layout.id] = arrow.int64()
    if SYMBOL in layout.names:
        types[SYMBOL] = arrow.dictionary(arrow.int32(), arrow.string())
    yes, no = ("buy", "sell") if layout.side_means == "taker" else ("true", "false")
    return (
        csv.ReadOptions(
            block_size=BLOCK_BYTES,
            column_names=layout.names,
            skip_rows=1 if layout.has_header else 0,
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
    seen = set(column.dictionary.to_pylist()) - {symbol}
    if seen:
        raise TapeError(f"trades of {symbol} alone expected, seen {', '.join(sorted(seen))} too")


def _trades(block: Any, layout: Layout) -> Trades:
    def column(name: str) -> Any:
        return block.column(name).to_numpy(zero_copy_only=False)

    said: Bools = column(layout.side)
    ids = column(layout.id) if layout.id else np.zeros(block.num_rows, dtype=np.int64)
    return Trades.of(
        ids,
        microseconds(column(layout.ts)),
        column(layout.price),
        column(layout.qty),
        said if layout.side_means == "taker" else ~said,
    )


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
