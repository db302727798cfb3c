"""`ArchiveHost`: files from a venue's archive host, asked for as politely as everything else."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import requests
import urllib3

from marketdata.conf import Conf
from marketdata.core.errors import BotCryptoError, VenueError
from marketdata.rest.asker import Asker
from marketdata.rest.client import SIMULATED
from marketdata.rest.guard import Guard, guarded
from marketdata.rest.limiter import Priority
from marketdata.rest.pool import Pool, shared_pool
from marketdata.rest.session import Reply, Session
from marketdata.venues.base import Question, Venue

# So many bytes must come within the timeout of one request: a drip of less is a dead line.
STEP_BYTES = 1 << 16
# The busiest days take a tenth of it; what is larger is no day of trades.
LARGEST_FILE = 1 << 30
HEAD_BYTES = 1 << 12
OK, NOT_FOUND = 200, 404


class CacheError(BotCryptoError):
    """The cache folder does not take a file."""


class _FileSession(Session):
    """A session that writes some answers to files instead of keeping them in memory."""

    def __init__(
        self, url: str, conf: Conf, timeout_s: float, stop: threading.Event, pool: Pool
    ) -> None:
        super().__init__(url, conf.http_user_agent, timeout_s, stop, pool.clock)
        self._http.headers["Accept"] = "*/*"
        self.targets: dict[str, Path] = {}

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | str,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask once; the body of a saved file is its SHA-256. Raises as `Session.get`."""
        target = self.targets.get(path)
        if target is None:
            return super().get(path, params, headers)
        sent_us, began_s = self._clock.wall_us(), self._clock.monotonic_s()
        try:
            with guarded(self._guard()), self._open("GET", path, params, headers or {}) as response:
                steps = self._steps(response)
                is_file = response.status_code == OK
                body = _written(steps, target) if is_file else next(steps, b"")[:HEAD_BYTES]
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._lost(path, error) from error
        elapsed_s = self._clock.monotonic_s() - began_s
        return Reply(response.status_code, response.headers, body, sent_us, elapsed_s)

    def _guard(self) -> Guard:
        return Guard(self._clock, self._clock.monotonic_s() + self.timeout_s, self._stop)

    def _steps(self, response: requests.Response) -> Iterator[bytes]:
        chunks = response.iter_content(STEP_BYTES)
        while True:
            with guarded(self._guard()):
                chunk = next(chunks, b"")
            if not chunk:
                return
            yield chunk


class _FileAsker(Asker):
    """An asker over file sessions."""

    def __init__(
        self,
        venue: Venue,
        url: str,
        conf: Conf,
        stop: threading.Event,
        pool: Pool,
        random01: Callable[[], float],
    ) -> None:
        timeout_s = conf.hosts(venue.source).timeout_s
        self.files = _FileSession(url, conf, timeout_s, stop, pool)
        super().__init__(venue, (url,), conf, stop, pool, pool.limiter, random01)

    def _session(self, url: str) -> Session:
        return self.files


class ArchiveHost:
    """Asks one host for files. Any thread may use it.

    Parameters
    ----------
    base_url : str
        Before the archive's own path.
    stop : threading.Event
        Ends every wait and every transfer with StoppedError.
    pool : Pool, optional
        In place of the one that all clients of the venue and URL share.

    Attributes
    ----------
    label : str
        What a simulator called the trades of the last file; empty for a real venue.
    """

    def __init__(
        self,
        venue: Venue,
        base_url: str,
        conf: Conf,
        stop: threading.Event,
        *,
        pool: Pool | None = None,
        random01: Callable[[], float] = random.random,
    ) -> None:
        base_url = base_url.rstrip("/")
        pool = pool or shared_pool(venue, base_url, conf)
        self.label = ""
        self._asker = _FileAsker(venue, base_url, conf, stop, pool, random01)

    def text(self, path: str) -> str | None:
        """Return a small text; None where there is no such file. Raises BotCryptoError."""
        body = self._body(path)
        return None if body is None else body.decode("utf-8", "replace")

    def save(self, path: str, target: Path) -> str | None:
        """Write a file as it comes; return its SHA-256, or None where there is no such file.

        Raises
        ------
        BotCryptoError
            CacheError where the disk does not take it; else as the REST client.
        """
        self._asker.files.targets[path] = target
        try:
            body = self._body(path)
        finally:
            del self._asker.files.targets[path]
        return None if body is None else body.decode()

    def close(self) -> None:
        """Close the connections."""
        self._asker.files.close()

    def _body(self, path: str) -> bytes | None:
        def read(reply: Reply) -> bytes:
            self.label = reply.headers.get(SIMULATED, "")
            return reply.body

        try:
            return self._asker.ask(Question(path), read, Priority.BACKFILL)
        except VenueError as error:
            if error.status == NOT_FOUND:
                return None
            raise


def _written(steps: Iterator[bytes], target: Path) -> bytes:
    """Write a file; return its SHA-256 in hexadecimal. Raises CacheError."""
    digest, size = hashlib.sha256(), 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("wb")
    except OSError as error:
        raise CacheError(f"{target}: a file that can be written expected: {error}") from error
    with file:
        for step in steps:
            size += len(step)
            if size > LARGEST_FILE:
                raise CacheError(f"a file of at most {LARGEST_FILE} bytes expected, it goes on")
            digest.update(step)
            try:
                file.write(step)
                file.flush()
            except OSError as error:
                raise CacheError(f"{target}: room for more expected: {error}") from error
    return digest.hexdigest().encode()
