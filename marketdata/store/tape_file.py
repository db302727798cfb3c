"""Opening tape files: plain, gzipped or zipped, told by their first bytes and not by their name."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

from marketdata.core.errors import TapeError

ZIP, GZIP, PARQUET = b"PK", b"\x1f\x8b", b"PAR1"
# What reading a damaged archive raises, and what opening one raises besides: a zip's directory
# holds offsets, lengths, names and flags, each of which may be nonsense.
DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, OSError)
NONSENSE = (ValueError, RuntimeError, struct.error, OverflowError, MemoryError)
# A line longer than this is no line of trades.
LONGEST_LINE = 1_000_000


class DamagedTapeError(TapeError):
    """A file that is not as it was written."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file as one stream of bytes.

    Raises
    ------
    TapeError
        An archive that is encrypted or does not hold exactly one file; DamagedTapeError where it
        is damaged, also where that is met while reading.
    """
    try:
        with _stream(path) as file:
            yield file
    except DAMAGES as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> DamagedTapeError:
    return DamagedTapeError(f"{path.name}: a whole file expected, seen a damaged one: {error}")


def _stream(path: Path) -> AbstractContextManager[IO[bytes]]:
    head = first_bytes(path)
    if head.startswith(ZIP):
        return _zipped(path)
    if head.startswith(GZIP):
        return cast("AbstractContextManager[IO[bytes]]", gzip.open(path))
    return path.open("rb")


def first_bytes(path: Path) -> bytes:
    """Return the bytes that tell what kind of file it is."""
    with path.open("rb") as file:
        return file.read(4)


@contextmanager
def _zipped(path: Path) -> Iterator[IO[bytes]]:
    with ExitStack() as closing:
        try:
            archive = closing.enter_context(zipfile.ZipFile(path))
            names = [inner for inner in archive.namelist() if not inner.endswith("/")]
            if len(names) != 1:
                told = f"{len(names)}: {', '.join(names[:5])}"
                raise TapeError(f"{path.name}: one file in the zip expected, seen {told}")
            file = closing.enter_context(archive.open(names[0]))
        except NONSENSE as error:
            raise _damaged(path, error) from error
        yield file


def first_lines(path: Path, count: int) -> list[str]:
    """Return the first lines of a text file, fewer where it ends before. Raises TapeError."""
    with opened(path) as file:
        lines = [file.readline(LONGEST_LINE) for _ in range(count)]
    try:
        # Some tools put a byte order mark before the first cell.
        texts = [line.decode("utf-8-sig").strip() for line in lines]
    except UnicodeDecodeError as error:
        raise TapeError(f"{path.name}: text in UTF-8 expected: {error}") from error
    return [text for text in texts if text]
