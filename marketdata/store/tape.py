"""Recorded tapes: files of trades in the formats venues and recorders leave behind."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from marketdata.core.errors import BadTradesError, TapeError
from marketdata.core.trades import Trades
from marketdata.store import lake, tape_capture, tape_csv

FORMATS = "Binance archive zip or csv, Bybit csv(.gz), Parquet of ours, raw capture"
# zlib's own error is what a flipped bit in the middle of a zip comes to.
DAMAGES = (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error)
SYMBOL = re.compile(r"^(?:.*_)?([A-Z0-9]{5,20})[-_](?:aggTrades|trades|\d{4}-\d\d-\d\d)")


@dataclass(frozen=True)
class Tape:
    """A recorded file of one instrument's trades.

    Parameters
    ----------
    path : Path
    source, symbol : str
        From the file's name or content, or as told.
    """

    path: Path
    source: str
    symbol: str
    _read: Callable[[int], Iterator[Trades]]

    def batches(self, size: int = 50_000) -> Iterator[Trades]:
        """Yield checked batches of about `size` trades, ascending ids, from the first on.

        Raises
        ------
        TapeError
            The file is damaged or holds something that is not a trade.
        """
        try:
            for trades in self._read(size):
                if len(trades):
                    yield trades.checked().sorted()
        except (BadTradesError, *DAMAGES) as error:
            raise TapeError(f"{self.path.name}: {error}") from error


def open_tape(path: Path | str, *, source: str | None = None, symbol: str | None = None) -> Tape:
    """Look at a file and return it as a tape.

    Parameters
    ----------
    source, symbol : str or None
        Replace what name and content say.

    Raises
    ------
    TapeError
        No such file, an unknown format, or a symbol found nowhere.
    """
    path = Path(path)
    if not path.is_file():
        raise TapeError(f"{path}: a file expected, there is none")
    try:
        found_source, found_symbol, read = _look(path)
    except (UnicodeDecodeError, *DAMAGES) as error:
        raise TapeError(f"{path.name}: {FORMATS} expected, seen a damaged file: {error}") from error
    symbol = symbol or found_symbol or _symbol_of(path)
    if not symbol:
        raise TapeError(f"{path.name}: no symbol found in name or content; say --symbol")
    return Tape(path, source or found_source, symbol, read)


Reader = Callable[[int], Iterator[Trades]]


def _look(path: Path) -> tuple[str, str, Reader]:
    """Return source, symbol (empty where unknown) and reader of a file."""
    if path.suffix == ".parquet":
        return _parquet(path)
    line = _first_line(path)
    if tape_capture.is_capture(line):
        source, symbol = tape_capture.look(path)
        return source, symbol, lambda size: tape_capture.batches(path, size)
    layout = tape_csv.layout_of(line, path.name)
    if layout is None:
        raise TapeError(f"{path.name}: {FORMATS} expected, seen {line[:80]!r}")
    return layout.source, layout.symbol, lambda size: tape_csv.batches(path, layout, size)


def _first_line(path: Path) -> str:
    with tape_csv.opened(path) as file:
        line = file.readline(100_000).decode().strip()
    if not line:
        raise TapeError(f"{path.name}: trades expected, seen an empty file")
    return line


def _symbol_of(path: Path) -> str:
    found = SYMBOL.match(path.name)
    return found.group(1) if found else ""


def _parquet(path: Path) -> tuple[str, str, Reader]:
    told = lake.told(path)
    source, symbol = told.get("source", "binance_ws"), told.get("symbol", "")
    return source, symbol, lambda size: lake.batches(path, size)
