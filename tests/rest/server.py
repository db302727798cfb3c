"""An HTTP server on loopback that does what a script says, fault by fault."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate

Step = bytes | Callable[[socket.socket], None]


def reply(status: int = 200, body: bytes | str = b"{}", **headers: str) -> bytes:
    """Compose an answer; header names are given with `_` for `-`."""
    body = body.encode() if isinstance(body, str) else body
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Date": formatdate(usegmt=True),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body


def html(status: int) -> bytes:
    """Compose a firewall's page."""
    page = "<!DOCTYPE html><html><body>Request blocked.</body></html>"
    return reply(status, page, Content_Type="text/html; charset=utf-8")


def truncated(sock: socket.socket) -> None:
    """Promise 500 bytes, send 7, close."""
    sock.sendall(reply(200, b'[{"a":1', Content_Length="500"))
    sock.shutdown(socket.SHUT_RDWR)


def reset(sock: socket.socket) -> None:
    """Answer by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def silent(sock: socket.socket) -> None:
    """Never answer; hang up when the client does."""
    sock.settimeout(5)
    sock.recv(1)


def dripping(head: bytes, every_s: float) -> Callable[[socket.socket], None]:
    """Send an answer byte by byte, for at most 5 s."""

    def step(sock: socket.socket) -> None:
        end = time.monotonic() + 5
        for byte in head + b" " * 10_000:
            if time.monotonic() > end:
                return
            sock.sendall(bytes([byte]))
            time.sleep(every_s)

    return step


def bomb(megabytes: int) -> bytes:
    """Compose a small gzip answer that grows to that many megabytes."""
    return reply(200, gzip.compress(bytes(megabytes << 20), 9), Content_Encoding="gzip")


@dataclass
class Request:
    """What a client sent."""

    line: str
    headers: dict[str, str]


@dataclass
class Server:
    """Answers each request by the next step of the script, then by `usual`."""

    script: deque[Step] = field(default_factory=deque)
    usual: Step | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> Server:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def then(self, *steps: Step) -> Server:
        """Add steps."""
        self.script.extend(steps)
        return self

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with self._lock:
                self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(20)
        inner = sock
        try:
            if self.tls:
                inner = self.tls.wrap_socket(sock, server_side=True)
            while (request := self._read(inner)) is not None:
                with self._lock:
                    self.requests.append(request)
                    step = self.script.popleft() if self.script else self.usual or reply()
                if isinstance(step, bytes):
                    inner.sendall(step)
                else:
                    step(inner)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
            inner.close()
            sock.close()

    @staticmethod
    def _read(sock: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            part = sock.recv(4096)
            if not part:
                return None
            data += part
        line, *fields = data.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        return Request(line, dict(item.split(": ", 1) for item in fields))
