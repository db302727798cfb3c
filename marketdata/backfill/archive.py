"""`Archive`: finished days of one channel, from the cache or the venue, proved before use."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketdata.backfill.cache import Cache
from marketdata.backfill.child import FileReader
from marketdata.backfill.files import ArchiveHost, CacheError
from marketdata.backfill.wire import ChildLostError
from marketdata.conf import Conf
from marketdata.core.errors import BotCryptoError, StoppedError
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.store import lake
from marketdata.venues.base import Archive as Published
from marketdata.venues.base import Channel

log = logging.getLogger(__name__)

# A file that does not match its checksum is fetched so often; then the venue's copy is bad.
TRIES = 3
# Venues replace files of the last days: a checksum has been seen to change, a half day to grow.
RECENT_US = 7 * DAY_US
CHECKSUM = re.compile(r"([0-9a-fA-F]{64})\b")
# Takes trades and their origin.
Take = Callable[[Trades, str], None]


class ArchiveError(BotCryptoError):
    """The venue's file of a day is of no use, and will not be by being fetched again."""


class UnreadableError(ArchiveError):
    """A file cannot be read to its end."""


class DamageError(BotCryptoError):
    """A file did not arrive as it was sent, or did not stay as it was written."""


class _PagesError(BotCryptoError):
    """A cached day came by pages, and is not wanted."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which trades of which day.

    Parameters
    ----------
    day_us, start_us, end_us : int
        The UTC day, and the half-open range within it, microseconds UTC.
    """

    symbol: str
    day_us: int
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class FileRead:
    """What a file came to.

    Parameters
    ----------
    rows, first_id, last_id : int
        Trades handed on, and the lowest and highest id among them.
    sha256 : str
        Over the canonical trades of the whole file, empty where it is not of one day.
    made_from : str
        SHA-256 of the venue's file.
    """

    rows: int
    first_id: int
    last_id: int
    sha256: str = ""
    made_from: str = ""


class Archive:
    """Reads days of one channel.

    Parameters
    ----------
    source : str
        Feed name.
    channel : Channel
        With an `archive`, where days are to be fetched.
    host : ArchiveHost
        Where files come from.
    reader : FileReader
        Reads them in another process.
    conf : Conf
        Cache folder, and whether to keep files there.
    is_numbered : bool
        The venue numbers its trades; days of others are not kept, because ids are not theirs.
    """

    def __init__(
        self,
        source: str,
        channel: Channel,
        host: ArchiveHost,
        reader: FileReader,
        conf: Conf,
        *,
        is_numbered: bool = True,
    ) -> None:
        self.source = source
        self.is_numbered = is_numbered
        self.channel = channel
        self.host = host
        self.reader = reader
        self.cache = Cache(conf.cache_path, source, is_kept=conf.backfill_cache_enabled)
        self.is_kept = self.cache.is_kept and is_numbered

    def day(
        self, span: Span, now_us: int, take: Take, *, only_files: bool = False
    ) -> FileRead | None:
        """Hand on the trades of a day; None where the venue has no file of it.

        Parameters
        ----------
        only_files : bool
            A day of the cache that came by pages does not count.

        Raises
        ------
        ArchiveError
            The venue's file is bad.
        BotCryptoError
            The host does not answer, the cache takes no file, the process stops.

        Notes
        -----
        A file found damaged while it is handed on is fetched again and handed on anew: trades may
        come twice.
        """
        last: BotCryptoError | None = None
        for attempt in range(1, TRIES + 1):
            try:
                cached = self._cached(span, now_us, take, only_files=only_files)
                return cached or self._fetched(span, take)
            except OSError as error:
                raise CacheError(f"{self._name(span)}: {error}") from error
            except (DamageError, ChildLostError) as error:
                if self.reader.is_closed:
                    raise StoppedError("stopped while a file was being read") from error
                last = error
                log.warning("file read again attempt=%d/%d error=%s", attempt, TRIES, error)
        raise ArchiveError(f"{self._name(span)}: a sound file expected in {TRIES} tries: {last}")

    def file(self, path: Path, span: Span, take: Take) -> FileRead:
        """Hand on the trades of a local file that lie in a range. Raises BotCryptoError."""
        task = {**self._task(span), "do": "file", "path": str(path.resolve())}
        return self._read(task, take, "file")

    def keep(self, span: Span, parts: Iterable[Trades]) -> bool:
        """Leave a whole day in the cache that came by pages. Returns False where it is not kept.

        Raises
        ------
        BotCryptoError
        """
        if not self.is_kept or self.cache.parquet(span.symbol, span.day_us).is_file():
            return False
        answer = self.reader.write({**self._task(span), "do": "keep"}, parts)
        if "error" in answer:
            raise CacheError(f"{self._name(span)}: {answer['words']}")
        return True

    # The cache.

    def _cached(self, span: Span, now_us: int, take: Take, *, only_files: bool) -> FileRead | None:
        path = self.cache.parquet(span.symbol, span.day_us)
        if not (self.is_kept and path.is_file()):
            return None
        wanted = self._present_sum(span, now_us)
        task = {**self._task(span), "do": "lake", "made_from": wanted, "only_files": only_files}
        try:
            return self._read(task, take, "archive")
        except _PagesError:
            return None
        except (DamageError, ChildLostError) as error:
            if not self.reader.is_closed:
                self.cache.quarantine(path, str(error))
            raise

    def _present_sum(self, span: Span, now_us: int) -> str:
        """Return the checksum a recent day's file has now; empty where it does not matter."""
        if now_us - span.day_us > RECENT_US or self.channel.archive is None:
            return ""
        try:
            return self._sum(self.channel.archive, span) or ""
        except StoppedError:
            raise
        except BotCryptoError as error:
            log.warning("cached file used unchecked file=%s error=%s", self._name(span), error)
            return ""

    # The venue.

    def _fetched(self, span: Span, take: Take) -> FileRead | None:
        if self.channel.archive is None:
            return None
        published = self.channel.archive
        wanted = self._sum(published, span) if published.checksum else ""
        if wanted is None:
            return None
        path = self.cache.zip(span.symbol, span.day_us)
        if not (wanted and path.is_file() and _sha256(path) == wanted):
            self.reader.warm()
            if not self._saved(published, span, path, wanted):
                return None
        task = {**self._task(span), "do": "archive", "made_from": wanted or _sha256(path)}
        try:
            read = self._read(task, take, "archive")
        except UnreadableError as error:
            if wanted:
                raise
            # Nobody tells what it should be: it may have been cut on its way.
            raise DamageError(str(error)) from error
        with suppress(OSError):
            path.unlink()
        return read

    def _sum(self, published: Published, span: Span) -> str | None:
        """Return the SHA-256 that the venue tells of a day's file; None where it has none."""
        if published.checksum is None:
            return None
        path = published.checksum(span.symbol, lake.day_name(span.day_us))
        text = self.host.text(path)
        if text is None:
            return None
        found = CHECKSUM.match(text)
        if found is None:
            raise DamageError(f"{path}: a SHA-256 expected, seen {text[:80]!r}")
        return found[1].lower()

    def _saved(self, published: Published, span: Span, path: Path, wanted: str) -> bool:
        url = published.path(span.symbol, lake.day_name(span.day_us))
        partial = path.with_name(f"{path.name}.{time.time_ns()}.part")
        try:
            seen = self.host.save(url, partial)
            if seen is None:
                if wanted:
                    log.warning("checksum without a file path=%s", url)
                return False
            if wanted and seen != wanted:
                self.cache.quarantine(partial, f"SHA-256 {wanted} expected, seen {seen}")
                raise DamageError(f"{url}: SHA-256 {wanted[:12]}… expected, seen {seen[:12]}…")
            lake.put_in_place(partial, path)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        return True

    # The reader.

    def _read(self, task: dict[str, Any], take: Take, origin: str) -> FileRead:
        origins = [origin]

        def about(says: dict[str, Any]) -> None:
            # A day of the cache that was made from no file of the venue came by pages.
            origins[:] = [origin if says["made_from"] else "rest"]

        answer = self.reader.read(task, lambda trades: take(trades, origins[0]), about)
        error = answer.get("error")
        if error == "pages":
            raise _PagesError(answer["words"])
        if error in ("damaged", "replaced"):
            raise DamageError(answer["words"])
        if error == "disk":
            raise CacheError(answer["words"])
        if error == "unreadable":
            raise UnreadableError(answer["words"])
        if error is not None:
            raise ArchiveError(answer["words"])
        if answer.get("repeated"):
            log.warning("ids repeated file=%s rows=%s", task["path"], answer["repeated"])
        return FileRead(**{name: answer[name] for name in FileRead.__dataclass_fields__})

    def _task(self, span: Span) -> dict[str, Any]:
        return {
            "source": self.source,
            "symbol": span.symbol,
            "channel": self.channel.name,
            "day": lake.day_name(span.day_us),
            "step_us": self.channel.time_step_us,
            "start_us": span.start_us,
            "end_us": span.end_us,
            "path": str(self.cache.zip(span.symbol, span.day_us)),
            "parquet": str(self.cache.parquet(span.symbol, span.day_us)) if self.is_kept else "",
            "made_from": "",
            "is_numbered": self.is_numbered,
        }

    def _name(self, span: Span) -> str:
        return f"{span.symbol} {lake.day_name(span.day_us)}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
