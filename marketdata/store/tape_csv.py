"""CSV tapes: their layouts, and reading them into columns on two threads.

pyarrow parses blocks on its own threads while this one inflates the next; a day of 863,403 trades
comes in about a third of a second. It is imported when a CSV is read, not before.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from marketdata.core.errors import TapeError
from marketdata.core.trades import Bools, Ints, Trades

# A block is parsed as one batch: large enough to keep two threads busy, small enough for memory.
BLOCK_BYTES = 1 << 20
MICROSECONDS = 10**14
MILLISECONDS = 10**11


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column is what.

    Parameters
    ----------
    names : tuple of str
        Every column of the file, in order.
    id, ts, price, qty, side : str
        Columns that matter; `id` is empty where trades carry no number and are counted.
    side_means : {"maker", "taker"}
        Whether `true` or `buy` in `side` names the buyer as maker or as taker.
    has_header : bool
    """

    source: str
    symbol: str
    names: tuple[str, ...]
    id: str
    ts: str
    price: str
    qty: str
    side: str
    side_means: str
    has_header: bool


SPOT_AGG = ("id", "price", "qty", "first", "last", "time", "maker", "best")
SPOT_TRADES = ("id", "price", "qty", "quote", "time", "maker", "best")
UM_AGG = SPOT_AGG[:7]
UM_TRADES = SPOT_TRADES[:6]


def layout_of(line: str, name: str) -> Layout | None:
    """Recognise a CSV by its first line and the file's name; None for an unknown one."""
    cells = [cell.strip() for cell in line.split(",")]
    if cells[0].isdigit() and not any(cell.isalpha() for cell in cells[:5]):
        return _without_header(cells, name)
    return _with_header(tuple(cells), name)


def _binance(source: str, names: tuple[str, ...], *, has_header: bool) -> Layout:
    return Layout(source, "", names, "id", "time", "price", "qty", "maker", "maker", has_header)


def _without_header(cells: list[str], name: str) -> Layout | None:
    kinds = {
        8: ("binance_ws", SPOT_AGG),
        7: ("binance_ws", SPOT_TRADES) if "-trades-" in name else ("binance_futures", UM_AGG),
        6: ("binance_futures", UM_TRADES),
    }
    if len(cells) not in kinds or cells[6 if len(cells) > 6 else 5].lower() not in {
        "true",
        "false",
    }:
        return None
    source, names = kinds[len(cells)]
    return _binance(source, names, has_header=False)


def _with_header(names: tuple[str, ...], name: str) -> Layout | None:
    known = set(names)
    if "agg_trade_id" in known:
        return Layout(
            "binance_futures", "", names, "agg_trade_id", "transact_time", "price", "quantity",
            "is_buyer_maker", "maker", True,
        )  # fmt: skip
    if "is_buyer_maker" in known:
        return Layout(
            "binance_futures", "", names, "id", "time", "price", "qty", "is_buyer_maker", "maker",
            True,
        )  # fmt: skip
    if "local_timestamp" in known:
        return Layout(
            "binance_futures", "", names, "id", "timestamp", "price", "amount", "side", "taker",
            True,
        )  # fmt: skip
    if "tradeId" in known:
        return Layout(
            "binance_ws", "", names, "tradeId", "timestamp", "price", "quantity", "side", "taker",
            True,
        )  # fmt: skip
    if {"timestamp", "price", "side"} <= known and ("size" in known or "volume" in known):
        return Layout(
            "bybit", "", names, "id" if "id" in known else "", "timestamp", "price",
            "size" if "size" in known else "volume", "side", "taker", True,
        )  # fmt: skip
    return None


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain, gzipped or zipped file as a stream of bytes."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if len(names) != 1:
                raise TapeError(f"{path.name}: one file in the zip expected, seen {names}")
            with archive.open(names[0]) as file:
                yield file
    elif path.suffix == ".gz":
        with gzip.open(path) as file:
            yield cast("IO[bytes]", file)
    else:
        with path.open("rb") as file:
            yield file


def batches(path: Path, layout: Layout, size: int) -> Iterator[Trades]:
    """Yield the file's trades in batches of about `size`.

    Raises
    ------
    TapeError
        A row that does not fit the layout.
    """
    import pyarrow as arrow
    from pyarrow import csv

    counted = 0
    with opened(path) as file:
        try:
            reader = csv.open_csv(file, *_options(csv, arrow, layout))
            for block in reader:
                for start in range(0, block.num_rows, size):
                    part = block.slice(start, size)
                    yield _trades(part, layout, counted)
                    counted += part.num_rows
        except arrow.ArrowInvalid as error:
            raise TapeError(f"{path.name}: after row {counted}: {error}") from error


def _options(csv: Any, arrow: Any, layout: Layout) -> tuple[Any, Any, Any]:
    wanted = [x for x in (layout.id, layout.ts, layout.price, layout.qty, layout.side) if x]
    # Times with decimals (Bybit's seconds) are read as float; whole numbers fit it exactly too.
    ts_type = arrow.float64() if layout.source == "bybit" else arrow.int64()
    types = {layout.price: arrow.float64(), layout.qty: arrow.float64(), layout.ts: ts_type}
    types[layout.side] = arrow.bool_() if layout.side_means == "maker" else arrow.string()
    if layout.id:
        types[layout.id] = arrow.int64()
    return (
        csv.ReadOptions(
            block_size=BLOCK_BYTES,
            column_names=layout.names,
            skip_rows=1 if layout.has_header else 0,
        ),
        csv.ParseOptions(),
        csv.ConvertOptions(
            column_types=types,
            include_columns=wanted,
            null_values=[],
            true_values=["true", "True", "TRUE", "1"],
            false_values=["false", "False", "FALSE", "0"],
        ),
    )


def _trades(block: Any, layout: Layout, counted: int) -> Trades:
    def column(name: str) -> Any:
        return block.column(name).to_numpy(zero_copy_only=False)

    ids = column(layout.id) if layout.id else np.arange(counted + 1, counted + 1 + block.num_rows)
    return Trades.of(
        ids, microseconds(column(layout.ts)), column(layout.price), column(layout.qty),
        _is_buy(column(layout.side), layout),
    )  # fmt: skip


def _is_buy(side: Any, layout: Layout) -> Bools:
    if layout.side_means == "maker":
        return cast(Bools, ~side.astype(np.bool_))
    lower = np.char.lower(side.astype(str))
    is_buy: Bools = lower == "buy"
    if not (is_buy | (lower == "sell")).all():
        raise TapeError(f"buy or sell expected as side, seen {sorted(set(lower.tolist()))[:5]}")
    return is_buy


def microseconds(ts: Any) -> Ints:
    """Return times in microseconds, whatever their unit, told by their magnitude.

    Notes
    -----
    From 10^14 on microseconds, from 10^11 on milliseconds, below seconds with decimals: for any
    time from 1973 to 5138 only one reading is possible.
    """
    if ts.dtype != np.int64:
        ts = np.rint(ts * _factor(ts)).astype(np.int64)
        return cast(Ints, ts)
    return cast(Ints, ts * _factor(ts).astype(np.int64))


def _factor(ts: Any) -> Any:
    return np.where(ts >= MICROSECONDS, 1, np.where(ts >= MILLISECONDS, 1000, 1_000_000))
