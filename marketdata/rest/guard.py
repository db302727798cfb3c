"""Sockets below urllib3 whose every read ends by a total deadline, or by stop.

A read timeout counts from byte to byte: 60 bytes dripped at 5 a second outlast any of them. And
http.client refuses to read on after one timed out, so the waiting is cut into slices here, below
its buffer.
"""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.retry import Retry

from marketdata.core.errors import StoppedError
from marketdata.rest.clock import SLICE_S, Clock


@dataclass(frozen=True, slots=True)
class Guard:
    """When the request of this thread must be over."""

    clock: Clock
    deadline_s: float
    stop: threading.Event

    def slice_s(self) -> float:
        """Return how long to read before the next look. Raises StoppedError, TimeoutError."""
        if self.stop.is_set():
            raise StoppedError("stopped while reading an answer")
        left_s = self.deadline_s - self.clock.monotonic_s()
        if left_s <= 0:
            raise TimeoutError("the answer was not complete at the deadline")
        return min(left_s, SLICE_S)


_guard: ContextVar[Guard] = ContextVar("guard")


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Hold every read of this thread to `guard`."""
    token = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(token)


class _Reader(io.RawIOBase):
    """The raw file that http.client buffers."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Keeps the socket open for as long as the answer is read, as makefile does.
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        guard = _guard.get()
        while True:
            self._sock.settimeout(guard.slice_s())
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                continue

    def close(self) -> None:
        super().close()
        self._file.close()


class _Socket:
    """A connected socket, plain or TLS, whose file is a `_Reader`."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *args: Any, **kwargs: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock), 1 << 16)


class _PlainConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = _Socket(self.sock)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = _Socket(self.sock)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS = {"http": _PlainPool, "https": _TlsPool}


class GuardedAdapter(HTTPAdapter):
    """Connection pools of guarded sockets; retries are the client's business alone."""

    def __init__(self, connections: int) -> None:
        # urllib3 would read Retry-After by itself, and fail on nonsense there.
        never = Retry(0, read=False, respect_retry_after_header=False)
        super().__init__(pool_connections=2, pool_maxsize=connections, max_retries=never)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make pools of guarded sockets."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Make pools of guarded sockets through a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = POOLS
        return manager
