"""The lake: days of trades as Parquet files, each whole or not there, each proved before use.

Parquet finds flipped bits only with page checksums written and asked for, and those do not cover
the footer; so the footer also carries a hash of the trades and a seal over itself. pyarrow is
imported when a file is opened, not before.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from marketdata.core.canonical import canonical
from marketdata.core.errors import TapeError
from marketdata.core.timeframe import SECOND_US
from marketdata.core.trades import Trades

COLUMNS = ("id", "ts_us", "price", "qty", "is_buy")
COUNTS = ("rows", "first_id", "last_id")
ARROW = b"ARROW:schema"
# A group of half a million takes 33 MB of memory and 4.6 bytes a trade; of 20,000 it takes 5.7.
GROUP_ROWS = 500_000
# Ids and times climb in small steps; prices and sizes come again and again.
DELTA = {"id": "DELTA_BINARY_PACKED", "ts_us": "DELTA_BINARY_PACKED"}
REPEATING = ["price", "qty"]
LEVEL = 3


class DamagedError(TapeError):
    """A file that is not what it was when it was written."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a day's file says of itself.

    Parameters
    ----------
    source, symbol, channel : str
        Whose trades, and which of the venue's ids number them.
    day : str
        UTC date.
    rows, first_id, last_id : int
    sha256 : str
        Over the canonical trades.
    made_from : str
        SHA-256 of the file they were read from, empty where there was none.
    """

    source: str
    symbol: str
    channel: str
    day: str
    rows: int = 0
    first_id: int = 0
    last_id: int = -1
    sha256: str = ""
    made_from: str = ""

    def sealed(self) -> dict[str, str]:
        """Return the footer's entries."""
        says = {name: str(value) for name, value in asdict(self).items()}
        return {**says, "seal": _seal(says)}


def day_path(root: Path, source: str, symbol: str, day_us: int) -> Path:
    """Return where a day's file is, whatever characters its symbol has."""
    return root / "trades" / _safe(source) / _safe(symbol) / f"{day_name(day_us)}.parquet"


def day_name(day_us: int) -> str:
    """Return the UTC date of a day's start."""
    return datetime.fromtimestamp(day_us // SECOND_US, UTC).date().isoformat()


def _safe(name: str) -> str:
    escaped = quote(name, safe="")
    return escaped if escaped.strip(".") else escaped.replace(".", "%2E")


def _seal(says: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(says, sort_keys=True).encode()).hexdigest()


@dataclass
class Draft:
    """A file that is being written.

    Parameters
    ----------
    path : Path
        Where it will be after `commit`; nothing is there before.
    about : Manifest
        What is known already; the counts are filled in.
    """

    path: Path
    about: Manifest
    _waiting: list[Trades] = field(default_factory=list)
    _file: Any = None
    _digest: Any = field(default_factory=hashlib.sha256)
    _rows: int = 0
    _first_id: int = 0
    _last_id: int = -1

    @property
    def partial(self) -> Path:
        """Where it is until then; no reader takes the name for Parquet."""
        return self.path.with_name(f"{self.path.stem}.{os.getpid()}.tmp")

    def add(self, trades: Trades) -> None:
        """Take trades whose ids ascend and lie above those before."""
        self.count(trades)
        self._waiting.append(trades)
        if sum(len(part) for part in self._waiting) >= GROUP_ROWS:
            self._write()

    def count(self, trades: Trades) -> None:
        """Hash and count trades that are not to be written."""
        if not self._rows:
            self._first_id = int(trades.id[0])
        self._last_id = int(trades.id[-1])
        self._rows += len(trades)
        self._digest.update(canonical(trades))

    def told(self) -> Manifest:
        """Return what is known by now."""
        return replace(
            self.about,
            rows=self._rows,
            first_id=self._first_id,
            last_id=self._last_id,
            sha256=self._digest.hexdigest(),
        )

    def commit(self) -> Manifest:
        """Put the file in its place, durably; return what it says."""
        if self._waiting or self._file is None:
            self._write()
        says = self.told()
        self._file.add_key_value_metadata(says.sealed())
        self._file.close()
        put_in_place(self.partial, self.path)
        return says

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self.partial.unlink(missing_ok=True)

    def _write(self) -> None:
        import pyarrow as arrow

        if self._file is None:
            self._file = self._opened()
        trades = Trades.concat(self._waiting)
        self._waiting = []
        columns = [arrow.array(getattr(trades, name)) for name in COLUMNS]
        self._file.write_batch(arrow.record_batch(columns, schema=_schema()), GROUP_ROWS * 2)

    def _opened(self) -> Any:
        from pyarrow import parquet

        self.path.parent.mkdir(parents=True, exist_ok=True)
        return parquet.ParquetWriter(
            self.partial,
            _schema(),
            compression="zstd",
            compression_level=LEVEL,
            use_dictionary=REPEATING,
            column_encoding=DELTA,
            write_page_checksum=True,
        )


def put_table(
    path: Path,
    kinds: Mapping[str, str],
    parts: Iterable[Mapping[str, Sequence[Any]]],
    about: Mapping[str, str],
) -> None:
    """Write any table as a whole file, or none.

    Parameters
    ----------
    kinds : mapping of str to {"int", "float", "bool", "text"}
        Columns in order; None in them is null.
    parts : iterable of mapping of str to sequence
        Rows, column by column.
    about : mapping of str to str
        The footer's entries.
    """
    import pyarrow as arrow
    from pyarrow import parquet

    types = {"int": arrow.int64(), "float": arrow.float64(), "bool": arrow.bool_()}
    schema = arrow.schema([(name, types.get(kind, arrow.string())) for name, kind in kinds.items()])
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with parquet.ParquetWriter(partial, schema, compression="zstd") as file:
            for part in parts:
                columns = [
                    arrow.array(part[name], field.type)
                    for name, field in zip(kinds, schema, strict=True)
                ]
                file.write_batch(arrow.record_batch(columns, schema=schema))
            file.add_key_value_metadata(dict(about))
        put_in_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def put_in_place(partial: Path, path: Path) -> None:
    """Move a written file to its place so that a power cut leaves it whole or absent."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    # Windows opens no folders, and needs no such call.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def told(path: Path) -> dict[str, str]:
    """Return what the footer says, sealed or not. Raises DamagedError."""
    with _reading(path) as file:
        found = file.metadata.metadata or {}
        return {key.decode(): value.decode() for key, value in found.items() if key != ARROW}


def manifest(path: Path) -> Manifest:
    """Return what a file says of itself. Raises DamagedError."""
    says = told(path)
    seal = says.pop("seal", "")
    if seal != _seal(says):
        raise DamagedError(f"{path.name}: a sealed footer expected, seen {sorted(says)}")
    numbers: dict[str, Any] = {name: int(says.pop(name)) for name in COUNTS}
    words: dict[str, Any] = dict(says)
    return Manifest(**words, **numbers)


def batches(path: Path, size: int = 50_000) -> Iterator[Trades]:
    """Yield a file's trades, every page's checksum verified. Raises DamagedError."""
    with _reading(path) as file:
        for part in file.iter_batches(batch_size=size, columns=list(COLUMNS)):
            yield Trades.of(*(column.to_numpy(zero_copy_only=False) for column in part.columns))


def proved(path: Path) -> Manifest:
    """Read a whole file against its hash; return what it says. Raises DamagedError.

    Notes
    -----
    A day of 863,403 trades takes 0.1 s.
    """
    says, digest, rows = manifest(path), hashlib.sha256(), 0
    for trades in batches(path):
        digest.update(canonical(trades))
        rows += len(trades)
    if (rows, digest.hexdigest()) != (says.rows, says.sha256):
        raise DamagedError(
            f"{path.name}: {says.rows} trades with hash {says.sha256[:12]}… expected, "
            f"seen {rows} with {digest.hexdigest()[:12]}…"
        )
    return says


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Open a Parquet file; whatever pyarrow finds wrong with it becomes DamagedError."""
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except _damages() as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"{path.name}: a whole Parquet file expected: {error}") from error


def _damages() -> tuple[type[BaseException], ...]:
    import pyarrow as arrow

    # A flipped bit of the footer surfaces as almost anything.
    return (arrow.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError)


def _schema() -> Any:
    import pyarrow as arrow

    types = (arrow.int64(), arrow.int64(), arrow.float64(), arrow.float64(), arrow.bool_())
    return arrow.schema(list(zip(COLUMNS, types, strict=True)))
