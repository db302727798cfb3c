"""A venue that is asked over its socket, on loopback: many lines, answers by a function."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websocket import ABNF

from tests.feeds.wire import GUID, Line, frame

PATIENCE_S = 10.0
Request = dict[str, Any]


class Talk(Line):
    """A line whose frames may be long."""

    def read_text(self) -> str | None:
        """Return the client's next text; None at its end. Pings are answered."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == ABNF.OPCODE_TEXT:
                return payload.decode()
            if opcode == ABNF.OPCODE_CLOSE:
                return None
            if opcode == ABNF.OPCODE_PING:
                self.send(payload, ABNF.OPCODE_PONG)

    def accept(self, headers: bytes) -> None:
        """Accept the WebSocket whose request was read."""
        lines = self.request.split(b"\r\n")
        key = next(line.split(b": ")[1] for line in lines if line.startswith(b"Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + headers
            + b"Sec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )

    def read_frame(self) -> tuple[int, bytes]:
        head = self._exactly(2)
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._exactly(2))
        mask = self._exactly(4)
        payload = self._exactly(size)
        return head[0] & 0x0F, bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


class Room:
    """Serves until left.

    Attributes
    ----------
    answer : callable
        Request and the line's number, from 1 → frames to send, as JSON values.
    refuse : int
        HTTP status of the next handshakes; 0 takes them.
    opened, targets, requests : int, list of str, list of (line, request)
        What came so far.
    """

    def __init__(self, answer: Callable[[Request, int], list[Any]]) -> None:
        self.answer = answer
        self.refuse = 0
        self.headers = b""
        self.opened = 0
        self.targets: list[str] = []
        self.requests: list[tuple[int, Request]] = []
        self.lines: dict[int, Talk] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._listener.getsockname()[1]}"

    def calls(self, name: str) -> list[Request]:
        """Return the requests of one call."""
        return [request for _, request in self.requests if next(iter(request)) == name]

    def counts(self) -> Counter[str]:
        return Counter(next(iter(request)) for _, request in self.requests)

    def push(self, value: Any) -> None:
        """Send a frame over every line."""
        for line in list(self.lines.values()):
            line.send(json.dumps(value).encode())

    def cut(self) -> None:
        """End every line without a word."""
        for line in list(self.lines.values()):
            # Closing would wait for the thread that reads; the client may have gone already.
            with suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Room:
        self._start(self._accept)
        return self

    def __exit__(self, *error: object) -> None:
        # A thread in accept is not woken by close alone.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a line of the room did not end"

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="room", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE_S)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        number = 0
        try:
            with sock:
                number = self._greet(Talk(sock))
                while number and (text := self.lines[number].read_text()) is not None:
                    self._take(number, json.loads(text))
        except (OSError, AssertionError):
            pass
        finally:
            self.lines.pop(number, None)

    def _greet(self, line: Talk) -> int:
        line.read_request()
        self.targets.append(line.request.split(b" ")[1].decode())
        if self.refuse:
            line.sock.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self.refuse)
            return 0
        line.accept(self.headers)
        with self._lock:
            self.opened += 1
            self.lines[self.opened] = line
            return self.opened

    def _take(self, number: int, request: Request) -> None:
        self.requests.append((number, request))
        line = self.lines[number]
        for value in self.answer(request, number):
            line.sock.sendall(
                frame(value if isinstance(value, bytes) else json.dumps(value).encode())
            )
