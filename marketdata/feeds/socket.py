"""`Socket`: one WebSocket connection to a venue, read in drains instead of frame by frame.

websocket-client makes the connection (URL, proxy, TLS with verified certificates, handshake). It
reads the handshake byte by byte, so that the first frame is still in the kernel, or in the TLS
layer, when we take over its socket.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import websocket

from marketdata.core.errors import (
    BadInputError,
    BlockedError,
    BotCryptoError,
    ConnectionLostError,
    UntrustedHostError,
    VenueError,
)
from marketdata.core.wsframes import (
    CLOSE,
    LARGEST_MESSAGE,
    PING,
    PONG,
    TEXT,
    FrameReader,
    ProtocolError,
    client_frame,
    close_payload,
    close_words,
)

READ = 1 << 16
# A drain ends here though more may wait: some 1,500 trades, large enough a batch to be cheap.
DRAIN = 4 * READ
# Pings and pongs are a few bytes: a line that does not take them is dead.
SEND_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 0.2
SHORTEST_WAIT_S = 0.0001
ASK_AGAIN = frozenset((408, 418, 429, 500, 502, 503, 504))
# A firewall and a region rule: asking again at once makes the one worse and the other no better.
BLOCKS = frozenset((403, 451))
# What to wait where the server does not say: a ban lasts two minutes at least, a count one.
UNTOLD_S = {418: 120.0, 429: 60.0}
HEADERS = ["User-Agent: botcrypto"]
SIMULATED = "x-simulated"


class Socket:
    """An open connection. One thread owns it; `abort` alone may be called from another.

    Parameters
    ----------
    sock : socket
        Connected, the handshake done.
    cap : int
        Largest message taken, in bytes.

    Attributes
    ----------
    last_receive_s, last_pong_s : float
        Monotonic time of the last bytes of any kind, and of the last pong; at first that of the
        connection.
    label : str
        What a simulated venue calls its trades, empty for a real one.
    """

    def __init__(self, sock: socket.socket, cap: int = LARGEST_MESSAGE) -> None:
        self.last_receive_s = self.last_pong_s = time.monotonic()
        self.label = ""
        self._sock = sock
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._timeout_s = -1.0
        self._reader = FrameReader(cap)
        # Why the line ended, kept while messages that came before it are handed out.
        self._lost: ConnectionLostError | None = None
        self._is_aborted = False

    @classmethod
    def connect(cls, url: str, *, timeout_s: float = 10.0, cap: int = LARGEST_MESSAGE) -> Self:
        """Open a connection.

        Parameters
        ----------
        url : str
            `wss://…` or `ws://…`.
        timeout_s : float
            Longest wait for the connection, and again for the handshake.
        cap : int
            Largest message taken, in bytes.

        Raises
        ------
        ConnectionLostError
            No connection or no handshake in time, or an answer that is no handshake.
        UntrustedHostError
            A certificate that does not verify.
        VenueError
            The server answered with another HTTP status than 101; BlockedError where that is a
            firewall's or a region rule's.
        BadInputError
            Not a WebSocket URL.
        """
        opening = websocket.WebSocket()
        try:
            with _deadline(opening, timeout_s):
                # Origin is a browser's; a redirect would leave the host the user chose.
                opening.connect(  # type: ignore[no-untyped-call]
                    url, timeout=timeout_s, redirect_limit=0, suppress_origin=True, header=HEADERS
                )
        # First: a certificate that does not verify is a ValueError too.
        except (OSError, websocket.WebSocketException) as error:
            raise _failure(_place(url), opening, error) from error
        except ValueError as error:
            raise BadInputError(f"a WebSocket URL expected, seen {url!r}: {error}") from error
        sock, opening.sock = opening.sock, None
        line = cls(cast(socket.socket, sock), cap)
        line.label = (opening.getheaders() or {}).get(SIMULATED, "")
        return line

    def receive(self, timeout_s: float) -> list[bytes]:
        """Return the payloads of all whole messages that one drain of the line gave.

        Parameters
        ----------
        timeout_s : float
            Longest wait for a message; pings are answered meanwhile.

        Returns
        -------
        list of bytes
            In order of arrival; empty when the time is over.

        Raises
        ------
        ConnectionLostError
            The line ended, broke the protocol or was aborted; after the messages before that.
        """
        until_s = time.monotonic() + timeout_s
        messages: list[bytes] = []
        wait_s = timeout_s
        while not messages:
            if self._lost is not None:
                raise self._lost
            try:
                self._drain(max(wait_s, SHORTEST_WAIT_S), messages)
            except TimeoutError:
                break
            except (ConnectionLostError, OSError) as error:
                self._lost = self._reason(error)
            wait_s = until_s - time.monotonic()
            if wait_s <= 0 and self._lost is None:
                break
        return messages

    def ping(self) -> None:
        """Ask for a sign of life: `last_pong_s` moves when it comes. Raises ConnectionLostError."""
        self._send(PING, b"")

    def send_text(self, text: str) -> None:
        """Send one text message. Raises ConnectionLostError."""
        self._send(TEXT, text.encode())

    def abort(self) -> None:
        """Cut the line from any thread: a waiting `receive` raises at once. The owner closes."""
        self._is_aborted = True
        _shut(self._sock)

    def close(self, code: int = 1000) -> None:
        """Say good-bye where the line still takes it, and free the socket. Never raises."""
        if self._sock.fileno() < 0:
            return
        if isinstance(self._lost, ProtocolError):
            code = self._lost.code
        with contextlib.suppress(OSError):
            if not self._is_aborted:
                self._within(CLOSE_TIMEOUT_S)
                self._sock.sendall(_frame(CLOSE, close_payload(code)))
        _shut(self._sock)
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _drain(self, wait_s: float, messages: list[bytes]) -> None:
        """Read until nothing is pending or enough is taken; only the first read waits."""
        self._within(wait_s)
        data: bytes | None = self._sock.recv(READ)
        self.last_receive_s = time.monotonic()
        taken = 0
        while data is not None:
            self._take(data, messages)
            taken += len(data)
            # A short read has emptied a plain socket. TLS gives one record at a time.
            is_more = taken < DRAIN and (self._is_tls or len(data) == READ)
            data = self._pending() if is_more else None

    def _pending(self) -> bytes | None:
        self._within(0.0)
        try:
            return self._sock.recv(READ)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def _take(self, data: bytes, messages: list[bytes]) -> None:
        if not data:
            raise ConnectionLostError("the server ended the line without a close frame")
        whole, controls = self._reader.feed(data)
        messages += whole
        # The last ping answers for those before it, and venues count what we send.
        pings = [payload for opcode, payload in controls if opcode == PING]
        if pings:
            self._send(PONG, pings[-1])
        for opcode, payload in controls:
            if opcode == PONG:
                self.last_pong_s = time.monotonic()
            elif opcode == CLOSE:
                raise ConnectionLostError(f"closed by the server: {close_words(payload)}")
        if self._reader.error is not None:
            raise self._reader.error

    def _send(self, opcode: int, payload: bytes) -> None:
        try:
            self._within(SEND_TIMEOUT_S)
            self._sock.sendall(_frame(opcode, payload))
        except OSError as error:
            # Perhaps half a frame is out: nothing can follow it.
            self._lost = self._reason(error)
            raise self._lost from error

    def _reason(self, error: Exception) -> ConnectionLostError:
        if self._is_aborted:
            return ConnectionLostError("the line was cut on our side")
        if isinstance(error, ConnectionLostError):
            return error
        return ConnectionLostError(f"the line broke: {error}")

    def _within(self, seconds: float) -> None:
        if seconds != self._timeout_s:
            self._sock.settimeout(seconds)
            self._timeout_s = seconds


def _frame(opcode: int, payload: bytes) -> bytes:
    return client_frame(opcode, payload, secrets.token_bytes(4))


def _shut(sock: socket.socket) -> None:
    # SSLSocket's own shutdown drops its TLS state: a reader would go on with raw bytes.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


@contextlib.contextmanager
def _deadline(opening: websocket.WebSocket, seconds: float) -> Iterator[None]:
    """Cut a handshake that takes longer, however steadily its bytes drip."""

    def cut() -> None:
        if opening.sock is not None:
            _shut(opening.sock)

    timer = threading.Timer(seconds, cut)
    timer.name = "handshake-deadline"
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _failure(place: str, opening: websocket.WebSocket, error: Exception) -> BotCryptoError:
    if isinstance(error, websocket.WebSocketBadStatusException):
        return _refusal(place, error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return UntrustedHostError(f"{place} does not prove who it is: {error.verify_message}")
    answer = opening.handshake_response
    if answer is not None and answer.status != 101:
        target = answer.headers.get("location")
        words = f"{place} redirects to {target} with HTTP {answer.status}: set the URL you mean"
        return VenueError(words, answer.status)
    return ConnectionLostError(f"no WebSocket to {place}: {type(error).__name__}: {error}")


def _refusal(place: str, error: websocket.WebSocketBadStatusException) -> VenueError:
    status = error.status_code
    body = " ".join((error.resp_body or b"")[:2000].decode(errors="replace").split())[:300]
    words = f"{place} refused the WebSocket with HTTP {status}: {body or error.status_message}"
    if status in BLOCKS:
        return BlockedError(words, status)
    seconds = (error.resp_headers or {}).get("retry-after", "")
    return VenueError(
        words,
        status,
        retryable=status in ASK_AGAIN,
        retry_after_s=float(seconds) if seconds.isdecimal() else UNTOLD_S.get(status),
    )
