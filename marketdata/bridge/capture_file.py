"""Files of raw frames: `<local ns> <frame JSON>` a line, gzipped in members, safe to append to.

A member is closed every minute, so that a process killed leaves one torn member at most, at the
end of its file. Whoever appends next finds that member by its mark, keeps its whole lines and
closes it; no other reader of gzip will notice that anything happened.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import quote

from marketdata.core.errors import TapeError
from marketdata.core.timeframe import DAY_US

GZIP = b"\x1f\x8b"
# A gzip header with an extra field of ours: twelve bytes that no data has by chance.
EXTRA = b"BC\x0c\x00frames-kept."
MARK = GZIP + b"\x08\x04\x00\x00\x00\x00\x00\xff" + len(EXTRA).to_bytes(2, "little") + EXTRA
# Level 1 costs a third of the default's time and a tenth more room.
LEVEL = 1
CHUNK = 1 << 16
# A torn member is read in steps so small that little is lost where it breaks off.
SMALL = 256
DAY_NS = DAY_US * 1000
# Local times of other recorders are in milliseconds or microseconds.
LEAST_NS = 10**18
LINE = re.compile(rb"(\d{10,19}) +(\S.*)", re.DOTALL)
SAFE = "!$&'()+,;=@"


class Line(NamedTuple):
    """One recorded frame; `local_ns` is when it was received, nanoseconds UTC."""

    local_ns: int
    frame: bytes


def file_name(symbol: str, channel: str, day: str) -> str:
    """Return the name of a day's file, for a day as `20240101`, whatever characters a symbol has.

    Examples
    --------
    >>> file_name("BTCUSDT", "aggTrade", "20240101")
    'btcusdt_aggTrade_20240101.gz'
    """
    return f"{escaped(symbol.lower())}_{escaped(channel).replace('_', '%5F')}_{day}.gz"


def escaped(name: str) -> str:
    """Return a name as one that every file system takes."""
    safe = quote(name, safe=SAFE)
    return safe if safe.strip(".") else safe.replace(".", "%2E")


def files_of(folder: Path, symbol: str, days: list[str]) -> list[Path]:
    """Return the files of a symbol's days in a source's folder, by day and then by name."""
    wanted = escaped(symbol.lower())
    named = (path for day in days for path in sorted(folder.glob(f"*_{day}.gz")))
    return [path for path in named if path.name.rsplit("_", 2)[0] == wanted]


class CaptureFile:
    """Appends lines to one file. One thread at a time.

    Parameters
    ----------
    path : Path
        Made where it is not there; a torn end is put right before anything is added.

    Raises
    ------
    OSError
        As any write may.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.is_repaired = _repaired(path)
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._deflate: zlib._Compress | None = None
        self._crc = self._size = 0
        self._is_flushed = True

    def write(self, text: bytes) -> None:
        """Add whole lines."""
        if self._deflate is None:
            self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            self._crc = self._size = 0
            self._put(MARK)
        self._crc = zlib.crc32(text, self._crc)
        self._size += len(text)
        self._is_flushed = False
        self._put(self._deflate.compress(text))

    def flush(self) -> None:
        """Hand to the system what was added: from now on it survives the end of the process."""
        if self._deflate is not None and not self._is_flushed:
            self._put(self._deflate.flush(zlib.Z_SYNC_FLUSH))
            self._is_flushed = True

    def end_member(self) -> None:
        """Close the member: from now on any reader finds the file whole."""
        if self._deflate is None:
            return
        deflate, self._deflate = self._deflate, None
        self._put(deflate.flush() + _trailer(self._crc, self._size))

    def close(self) -> None:
        """End, whatever the disk says."""
        with suppress(OSError):
            self.end_member()
        self._file.close()

    def _put(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data) :]


def _trailer(crc: int, size: int) -> bytes:
    return crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def _member(text: bytes) -> bytes:
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(text) + deflate.flush()
    return MARK + body + _trailer(zlib.crc32(text), len(text))


def _repaired(path: Path) -> bool:
    """Close a torn last member after its last whole line; tell whether there was one."""
    if not path.exists():
        return False
    with path.open("r+b") as file:
        start = _last_member(file)
        text, end = _inflated(file, start)
        if end is not None:
            size = file.seek(0, 2)
            file.truncate(end)
            return size > end
        whole = text[: text.rfind(b"\n") + 1]
        file.seek(start)
        # Written over what is torn: killed here, the next start finds a torn member again.
        file.truncate(start + file.write(_member(whole) if whole else b""))
    return True


def _last_member(file: IO[bytes]) -> int:
    """Return where the last member of ours begins; 0 where there is none."""
    end = file.seek(0, 2)
    while end > 0:
        start = max(0, end - CHUNK)
        file.seek(start)
        # A mark may lie across two chunks.
        found = file.read(end - start + len(MARK) - 1).rfind(MARK)
        if found >= 0:
            return start + found
        end = start
    return 0


def _inflated(file: IO[bytes], start: int) -> tuple[bytes, int | None]:
    """Return the text from a member on, and where the last member ends; None where it is torn."""
    file.seek(start)
    inflate, parts, at = zlib.decompressobj(zlib.MAX_WBITS | 16), [], start
    is_begun = False
    with suppress(zlib.error):
        while data := file.read(SMALL):
            at += len(data)
            while data:
                is_begun = True
                parts.append(inflate.decompress(data))
                if not inflate.eof:
                    break
                data = inflate.unused_data
                inflate, is_begun = zlib.decompressobj(zlib.MAX_WBITS | 16), False
                if data and not data.startswith(GZIP[: len(data)]):
                    # What follows a whole member and is none is what is left of a torn one.
                    return b"".join(parts), at - len(data)
        return b"".join(parts), None if is_begun else at
    return b"".join(parts), None


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a capture, gzipped or plain, up to where it is torn.

    Raises
    ------
    TapeError
        There is no such file, or a line is none of a capture.
    """
    for number, text in enumerate(_texts(path), 1):
        if not text.strip():
            continue
        found = LINE.fullmatch(text.rstrip(b"\r\n"))
        if found is None:
            seen = text[:80].decode("utf-8", "replace")
            raise TapeError(
                f"{path.name}: line {number}: `<local ns> <frame JSON>` expected, seen {seen!r}"
            )
        yield Line(_nanoseconds(int(found[1])), found[2])


def _nanoseconds(told: int) -> int:
    while told < LEAST_NS:
        told *= 1000
    return told


def _texts(path: Path) -> Iterator[bytes]:
    """Yield whole lines; what has no end was being written when the process died."""
    rest = b""
    for part in _parts(path):
        *whole, rest = (rest + part).split(b"\n")
        yield from whole


def _parts(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            head = file.read(2)
            file.seek(0)
            yield from _members(file) if head == GZIP else _plain(file)
    except OSError as error:
        raise TapeError(f"{path}: a readable file expected: {error}") from error


def _plain(file: IO[bytes]) -> Iterator[bytes]:
    while data := file.read(CHUNK):
        yield data
    yield b"\n"


def _members(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the text of one member after the other, up to a tear."""
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    with suppress(zlib.error):
        while data := file.read(CHUNK):
            while data:
                if inflate.eof:
                    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
                yield inflate.decompress(data)
                data = inflate.unused_data
