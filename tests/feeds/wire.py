"""A WebSocket server of one connection, in a thread, that does just what a test scripts."""

import base64
import hashlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from websocket import ABNF

from marketdata.feeds.socket import Socket

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PATIENCE_S = 5.0
WAIT_S = 3.0


def frame(payload: bytes, opcode: int = ABNF.OPCODE_TEXT, fin: int = 1) -> bytes:
    """Encode as a server does, by websocket-client's own encoder."""
    return ABNF(fin, 0, 0, 0, opcode, 0, payload).format()


class Line:
    """The server's end of the line."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.request = b""

    def shake_hands(self, glued: bytes = b"") -> None:
        """Accept the WebSocket; `glued` leaves in the same packet as the answer."""
        self.read_request()
        lines = self.request.split(b"\r\n")
        key = next(line.split(b": ")[1] for line in lines if line.startswith(b"Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + glued
        )

    def read_request(self) -> None:
        """Read the head of the request."""
        while b"\r\n\r\n" not in self.request:
            self.request += self.sock.recv(4096)

    def send(self, payload: bytes, opcode: int = ABNF.OPCODE_TEXT, fin: int = 1) -> None:
        """Send one frame."""
        self.sock.sendall(frame(payload, opcode, fin))

    def read_frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the client's next frame (short ones only)."""
        head = self._exactly(2)
        assert head[1] & 0x80, "a client must mask"
        mask = self._exactly(4)
        payload = self._exactly(head[1] & 0x7F)
        return head[0] & 0x0F, bytes(b ^ mask[i % 4] for i, b in enumerate(payload))

    def wait_for_end(self) -> bytes:
        """Return what the client still sends until it ends the line."""
        rest = b""
        while chunk := self.sock.recv(4096):
            rest += chunk
        return rest

    def reset(self) -> None:
        """End with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self.sock.recv(size - len(data))
            assert chunk, "the client ended the line"
            data += chunk
        return data


def receive_all(line: Socket, count: int) -> list[bytes]:
    """Receive until `count` messages are there."""
    messages: list[bytes] = []
    until_s = time.monotonic() + WAIT_S
    while len(messages) < count and time.monotonic() < until_s:
        messages += line.receive(0.5)
    return messages


@contextmanager
def serving(script: Callable[[Line], None], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run the script for the first connection; yield the URL. The script's failure is ours."""
    failures: list[BaseException] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE_S)

    def serve() -> None:
        try:
            _serve_one(listener, script, tls)
        except (OSError, AssertionError) as error:
            failures.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    scheme = "wss" if tls else "ws"
    try:
        yield f"{scheme}://localhost:{listener.getsockname()[1]}/ws/x@aggTrade"
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server's script did not end"
        assert not failures, failures
    finally:
        listener.close()


def _serve_one(
    listener: socket.socket, script: Callable[[Line], None], tls: ssl.SSLContext | None
) -> None:
    plain, _ = listener.accept()
    plain.settimeout(PATIENCE_S)
    with plain, tls.wrap_socket(plain, server_side=True) if tls else plain as sock:
        script(Line(sock))
