"""Recorded tapes: files of trades in the formats venues and recorders leave behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from marketdata.core.coverage import Run
from marketdata.core.errors import BadTradesError, TapeError
from marketdata.core.trades import Trades
from marketdata.store import lake, tape_capture, tape_csv, tape_file, tape_layout

FORMATS = "Binance archive zip or csv, Bybit csv(.gz), Parquet of ours, raw capture"
# What stands before the kind of trades or the date, in capitals of any alphabet.
SYMBOL = re.compile(r"(?:.*_)?([^\W_a-z]{2,30}?)[-_]?(?:aggTrades|trades|\d{4}-\d\d(?!\d))")
Reader = Callable[[], Iterator[Trades]]


def _no_voids() -> list[Run]:
    return []


@dataclass(frozen=True)
class Tape:
    """A recorded file of one instrument's trades.

    Parameters
    ----------
    path : Path
    source, symbol : str
        From the file's name or content, or as told.
    channel : {"aggTrade", "trade"}
        What its ids count.
    """

    path: Path
    source: str
    symbol: str
    channel: str
    _read: Reader
    _voids: Callable[[], list[Run]] = _no_voids

    def batches(self, size: int = 50_000) -> Iterator[Trades]:
        """Yield checked batches of at most `size` trades, each in ascending ids, from the first on.

        Raises
        ------
        TapeError
            The file is damaged or holds something that is not a trade.

        Notes
        -----
        Archives repeat and disorder rows; across batches neither is put right here.
        """
        try:
            for trades in self._read():
                yield from trades.checked().sorted().batches(size)
        except BadTradesError as error:
            raise TapeError(f"{self.path.name}: {error}") from error

    def voids(self) -> list[Run]:
        """Return the ids that the tape itself shows to be no trades, ascending: none miss there.

        Raises
        ------
        TapeError
            As `batches`.
        """
        return self._voids()


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
    found = _look(path, symbol)
    name = symbol or found.symbol or _symbol_of(path)
    if not name:
        raise TapeError(f"{path.name}: no symbol found in name or content; say --symbol")
    return Tape(path, source or found.source, name, found.channel, found.read, found.voids)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a file says of itself; `symbol` is empty where it does not."""

    source: str
    symbol: str
    channel: str
    read: Reader
    voids: Callable[[], list[Run]] = _no_voids


def _look(path: Path, symbol: str | None) -> _Found:
    if tape_file.first_bytes(path) == tape_file.PARQUET:
        return _parquet(path)
    lines = tape_file.first_lines(path, 2)
    if not lines:
        raise TapeError(f"{path.name}: trades expected, seen an empty file")
    if tape_capture.is_capture(lines[0]):
        return _capture(path, symbol)
    layout = tape_layout.layout_of(lines)
    if layout is None:
        raise TapeError(f"{path.name}: {FORMATS} expected, seen {lines[0][:80]!r}")
    if layout.has_header and len(lines) == 1:
        raise TapeError(f"{path.name}: trades expected, seen a header alone")
    read = partial(tape_csv.batches, path, layout)
    return _Found(layout.source, layout.symbol, layout.channel, read)


def _capture(path: Path, symbol: str | None) -> _Found:
    source, found, channel = tape_capture.look(path, symbol)
    told = (path, channel, found)
    read, voids = partial(tape_capture.batches, *told), partial(tape_capture.voids, *told)
    return _Found(source, found, channel, read, voids)


def _parquet(path: Path) -> _Found:
    told = lake.told(path)
    return _Found(
        told.get("source", "binance_ws"),
        told.get("symbol", ""),
        told.get("channel", "aggTrade"),
        partial(lake.batches, path),
    )


def _symbol_of(path: Path) -> str:
    found = SYMBOL.match(path.name)
    return found.group(1) if found else ""
