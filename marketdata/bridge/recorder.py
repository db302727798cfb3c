"""`Recorder`: keeps every frame as it came, a file for each source, channel, symbol and UTC day."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec

from marketdata.bridge.capture_file import DAY_NS, CaptureFile, file_name
from marketdata.feeds.ingestor import Tap

log = logging.getLogger(__name__)

# Bytes of frames that wait for the disk at most, of all sources together.
MOST_WAITING = 64 << 20
# A frame costs so much beside its bytes.
FRAME_BYTES = 100
FLUSH_S = 1.0
# A member is closed so often: a kill tears no more than this, and a start reads no more.
MEMBER_S = 60.0
# A disk that refuses is tried again after a while.
RETRY_S = 5.0
# The file of frames that name no symbol of their connection.
NOBODY = "_"
# Raw line ends in a frame are white space between values, and would cut the line.
FLAT = bytes.maketrans(b"\r\n", b"  ")


class _Drain(NamedTuple):
    """Frames that came together."""

    source: str
    channel: str
    symbols: tuple[str, ...]
    local_ns: int
    frames: Sequence[bytes]
    size: int


class _Key(NamedTuple):
    """What has a file of its own, besides the day."""

    source: str
    channel: str
    symbol: str


class _Row(NamedTuple):
    """One line to write."""

    key: _Key
    day: int
    text: bytes


class Recorder(threading.Thread):
    """Writes frames to `<folder>/<source>/<symbol>_<channel>_<YYYYMMDD>.gz`.

    Parameters
    ----------
    folder : Path
    most_waiting : int
        Bytes that wait at most; what comes beyond is dropped and counted.
    clock_ns : callable
        Nanoseconds UTC of this machine.

    Attributes
    ----------
    written, dropped : int
        Frames. Where some are dropped, the files of their channel say so: a line
        `<local ns> {"recorder":"dropped","frames":3}`.
    """

    def __init__(
        self,
        folder: Path,
        most_waiting: int = MOST_WAITING,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(name="recorder", daemon=True)
        self.folder = folder
        self.most_waiting = most_waiting
        self.clock_ns = clock_ns
        self.written = 0
        self.dropped = 0
        self._waiting: deque[_Drain] = deque()
        self._size = 0
        self._untold: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._files: dict[_Key, tuple[int, CaptureFile]] = {}
        self._retry_s = 0.0

    def tap(self, source: str, channel: str) -> Tap:
        """Return what takes the frames of a connection as they come; it never waits.

        Notes
        -----
        What a connection of one symbol says is that symbol's; among several, a frame is of the one
        that it names. So an answer over REST can be kept too, for example a whole book:
        `tap([body], [symbol])`.
        """

        def keep(frames: Sequence[bytes], symbols: Sequence[str]) -> None:
            local_ns = self.clock_ns()
            size = sum(map(len, frames)) + FRAME_BYTES * len(frames)
            self._put(_Drain(source, channel, tuple(symbols), local_ns, frames, size))

        return keep

    def stop(self, timeout_s: float = 5.0) -> None:
        """Write what waits, and close every file."""
        self._stopping.set()
        self._news.set()
        if self.is_alive():
            self.join(timeout_s)

    def _put(self, drain: _Drain) -> None:
        with self._lock:
            is_late = self._stopping.is_set()
            if is_late or self._size + drain.size > self.most_waiting:
                self._lose(drain.source, drain.channel, len(drain.frames))
                return
            self._size += drain.size
            self._waiting.append(drain)
        self._news.set()

    def _lose(self, source: str, channel: str, frames: int) -> None:
        self.dropped += frames
        self._untold[source, channel] += frames

    def run(self) -> None:
        """Write until stopped."""
        flushed_s = ended_s = time.monotonic()
        while True:
            is_last = self._stopping.is_set()
            self._news.clear()
            self._write(self._taken())
            now_s = time.monotonic()
            if now_s - flushed_s >= FLUSH_S:
                flushed_s = now_s
                is_due = now_s - ended_s >= MEMBER_S
                ended_s = now_s if is_due else ended_s
                self._tend(CaptureFile.end_member if is_due else CaptureFile.flush)
            if is_last:
                break
            self._news.wait(FLUSH_S)
        for _, file in self._files.values():
            file.close()
        self._files.clear()

    def _taken(self) -> list[_Drain]:
        with self._lock:
            drains = list(self._waiting)
            self._waiting.clear()
            self._size = 0
        return drains

    def _write(self, drains: list[_Drain]) -> None:
        """Write the lines of some drains, those of one file at once."""
        rows = [row for drain in drains for row in _rows(drain)]
        rows.sort(key=attrgetter("key", "day"))
        for (key, day), group in groupby(rows, key=attrgetter("key", "day")):
            lines = [row.text for row in group]
            self._append(key, day, lines)
        self._tell_losses()

    def _append(self, key: _Key, day: int, lines: list[bytes]) -> None:
        try:
            if time.monotonic() < self._retry_s:
                raise OSError("the disk refused a moment ago")
            self._file(key, day).write(b"".join(lines))
        except OSError as error:
            self._fail(key, error)
            with self._lock:
                self._lose(key.source, key.channel, len(lines))
        else:
            self.written += len(lines)

    def _file(self, key: _Key, day: int) -> CaptureFile:
        held = self._files.get(key)
        if held is not None and held[0] == day:
            return held[1]
        if held is not None:
            held[1].close()
        name = file_name(
            key.symbol, key.channel, f"{datetime.fromtimestamp(day * 86_400, UTC):%Y%m%d}"
        )
        file = CaptureFile(self.folder / key.source / name)
        if file.is_repaired:
            log.warning("recording was cut off, its whole lines are kept path=%s", file.path)
        self._files[key] = day, file
        return file

    def _fail(self, key: _Key, error: OSError) -> None:
        """Close a file that cannot be written; it is put right when it is opened anew."""
        if time.monotonic() >= self._retry_s:
            log.error("recording fails, frames are dropped path=%s error=%s", self.folder, error)
            self._retry_s = time.monotonic() + RETRY_S
        held = self._files.pop(key, None)
        if held is not None:
            held[1].close()

    def _tend(self, act: Callable[[CaptureFile], None]) -> None:
        """Flush or end what is open; close the files of days that are over."""
        today = self.clock_ns() // DAY_NS
        for key, (day, file) in list(self._files.items()):
            try:
                act(file)
            except OSError as error:
                self._fail(key, error)
            if day < today and key in self._files:
                del self._files[key]
                file.close()

    def _tell_losses(self) -> None:
        """Say in the files of a channel how much of it was dropped."""
        if not self._untold or time.monotonic() < self._retry_s:
            return
        with self._lock:
            untold, self._untold = self._untold, Counter()
        local_ns = self.clock_ns()
        for (source, channel), frames in untold.items():
            log.warning("frames not kept source=%s channel=%s frames=%s", source, channel, frames)
            line = b'%019d {"recorder":"dropped","frames":%d}\n' % (local_ns, frames)
            symbols = {key.symbol for key in self._files if key[:2] == (source, channel)}
            for symbol in symbols or {NOBODY}:
                self._append(_Key(source, channel, symbol), local_ns // DAY_NS, [line])
                self.written -= 1


class _Note(msgspec.Struct):
    """What the recorder says in a file."""

    recorder: str
    frames: int


_note = msgspec.json.Decoder(_Note)


def lost_by(frame: bytes) -> int:
    """Return how many frames a line says were dropped; 0 where it is a frame of the venue."""
    if not frame.startswith(b'{"recorder":'):
        return 0
    try:
        return _note.decode(frame).frames
    except msgspec.DecodeError:
        return 0


def _rows(drain: _Drain) -> list[_Row]:
    day = drain.local_ns // DAY_NS
    head = b"%019d " % drain.local_ns
    rows = []
    for frame in drain.frames:
        key = _Key(drain.source, drain.channel, subject(frame, drain.symbols))
        rows.append(_Row(key, day, head + frame.translate(FLAT) + b"\n"))
    return rows


def subject(frame: bytes, symbols: tuple[str, ...]) -> str:
    """Return which symbol a frame names first, whatever its venue's words; `_` where none."""
    if len(symbols) == 1:
        return symbols[0]
    pattern, spelled = _pattern(symbols)
    found = pattern.search(frame)
    return spelled[found[0].lower()] if found else NOBODY


@lru_cache(maxsize=64)
def _pattern(symbols: tuple[str, ...]) -> tuple[re.Pattern[bytes], dict[bytes, str]]:
    """Return what finds any of the symbols in a frame, in any case, as text or escaped."""
    spelled: dict[bytes, str] = {}
    for symbol in symbols:
        plain = symbol.encode()
        escaped = msgspec.json.encode(symbol)[1:-1]
        ascii_only = symbol.encode("ascii", "backslashreplace")
        spelled |= {text.lower(): symbol for text in (plain, escaped, ascii_only)}
    longest_first = sorted(spelled, key=len, reverse=True)
    choice = b"|".join(map(re.escape, longest_first))
    return re.compile(rb"(?i)(?<!\w)(?:" + choice + rb")(?!\w)"), spelled
