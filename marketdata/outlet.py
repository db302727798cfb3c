"""`Outlet`: sends what waits for one WebSocket client, as fast as the client takes it.

Three things hold it back. The number of messages in a second. Acknowledgements `{"ack": seq}`, of
clients that send them. And the line itself: daphne has no back-pressure, so that under it a frame
goes straight to Twisted's transport, which says when the kernel takes no more; elsewhere the
server's `send` is waited for.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

# At most so many messages in so many seconds, whatever they are. They come evenly, but for a few
# that may come at once, so that a storm of events leaves no second dark.
MOST_MESSAGES = 10
WINDOW_S = 1.0
STEP_S = WINDOW_S / MOST_MESSAGES
AT_ONCE = 3
# A client that acknowledges contexts has so many on their way at most: what it shows is not older.
MOST_UNREAD = 3
# What the kernel holds for a client, of its own accord up to 4 MB: a minute of contexts that are
# old by the time they are read. Sixteen of them are enough for any distance.
KERNEL_BYTES = 256 * 1024
# Twisted says "pause" at 64 kB in its own buffer; a client that stays there so long is gone.
STUCK_S = 30.0
TRY_LATER = 1013

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Frame:
    """A message that is framed once, however many clients it goes to.

    Parameters
    ----------
    text : bytes
        UTF-8.
    number : int or None
        What a client acknowledges it by.
    """

    __slots__ = ("number", "text", "wire")

    def __init__(self, text: bytes, number: int | None = None) -> None:
        self.text = text
        self.number = number
        self.wire = _head(len(text)) + text


def _head(length: int) -> bytes:
    """Return what RFC 6455 puts before a text of a server: final, not masked."""
    if length < 126:
        return bytes((0x81, length))
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


class Line:
    """The way to one client.

    Parameters
    ----------
    send : callable
        The ASGI `send`; under daphne it leads to the protocol and its transport.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        protocol: Any = next(iter(getattr(send, "args", ())), None)
        is_plain = hasattr(protocol, "transport") and not protocol.websocket_extensions_in_use
        self._protocol: Any = protocol if is_plain else None
        self._is_bare = is_plain and _is_bare(protocol.transport)

    def watch(self, producer: object) -> None:
        """Tell `producer` to pause and resume as the kernel takes what is sent."""
        if self._protocol is None:
            return
        transport = self._protocol.transport
        # The HTTP channel that took the handshake is still registered.
        transport.unregisterProducer()
        transport.registerProducer(producer, True)
        half = KERNEL_BYTES // 2
        transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, half)

    def write(self, frame: Frame) -> Awaitable[None] | None:
        """Send a frame; return what has to be waited for, or None where nothing has to."""
        if self._protocol is None:
            return self._send({"type": "websocket.send", "text": frame.text.decode()})
        if self._protocol.state == self._protocol.STATE_OPEN:
            transport = self._protocol.transport
            rest = _sent_at_once(transport, frame.wire) if self._is_bare else frame.wire
            if rest:
                transport.write(rest)
        return None

    async def close(self, code: int) -> None:
        """Say goodbye.

        Notes
        -----
        What ASGI asks for, autobahn allows for 1000 and 3000 to 4999 only; daphne itself says
        1011 this way.
        """
        if self._protocol is None:
            await self._send({"type": "websocket.close", "code": code})
        else:
            self._protocol.sendCloseFrame(code=code)


def _is_bare(transport: Any) -> bool:
    """Tell whether a transport is Twisted's own TCP without anything in between, such as TLS."""
    is_tcp = type(transport).__module__ == "twisted.internet.tcp"
    return is_tcp and not transport.TLS and hasattr(transport, "_tempDataLen")


def _sent_at_once(transport: Any, data: bytes) -> bytes:
    """Give the kernel what it takes where nothing waits before it, and return the rest.

    Notes
    -----
    Twisted would ask its loop to say when the socket is writable, and then not to say it any more:
    two thirds of the cost of a push.
    """
    if transport.dataBuffer or transport._tempDataLen:
        return data
    try:
        return data[transport.getHandle().send(data) :]
    except OSError:
        # Full, or gone: the transport finds out and does what is right.
        return data


@dataclass(slots=True)
class _Pace:
    """When the next message may go, as far as the number of messages goes."""

    sent_s: deque[float]
    even_s: float = 0.0

    def due_s(self) -> float:
        is_full = len(self.sent_s) == MOST_MESSAGES
        window_s = self.sent_s[0] + WINDOW_S if is_full else 0.0
        return max(window_s, self.even_s - (AT_ONCE - 1) * STEP_S)

    def sent(self, now_s: float) -> None:
        self.sent_s.append(now_s)
        self.even_s = max(self.even_s, now_s) + STEP_S


class Outlet:
    """Everything in it runs on the server's loop.

    Parameters
    ----------
    take : callable
        Returns what is to be sent next, or None; whoever puts something there calls `pump`.
    line : Line
    end : callable
        Called with a close code where the client is given up, or with an error of the line's.
    """

    def __init__(
        self,
        take: Callable[[], Frame | None],
        line: Line,
        end: Callable[[int | BaseException], None],
    ) -> None:
        self.take = take
        self.line = line
        self.end = end
        self._loop = asyncio.get_running_loop()
        self._pace = _Pace(deque(maxlen=MOST_MESSAGES))
        self._unread: deque[int] | None = None
        self._is_paused = False
        self._is_over = False
        self._sending: asyncio.Future[None] | None = None
        self._turn: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        line.watch(self)

    def is_free(self) -> bool:
        """Tell whether the client has taken enough of what was sent."""
        if self._is_paused or self._sending is not None:
            return False
        return self._unread is None or len(self._unread) < MOST_UNREAD

    def pump(self) -> None:
        """Send what may go now; the rest follows by itself."""
        while self._turn is None and not self._is_over:
            if not self.is_free():
                self._be_patient()
                return
            now_s = time.monotonic()
            wait_s = self._pace.due_s() - now_s
            if wait_s > 0:
                self._turn = self._loop.call_later(wait_s, self._take_turn)
                return
            frame = self._next()
            if frame is None:
                return
            self._pace.sent(now_s)
            self._write(frame)

    def _next(self) -> Frame | None:
        try:
            return self.take()
        except Exception as error:  # noqa: BLE001  (one client must not silence the others)
            self.close()
            self.end(error)
            return None

    def acked(self, number: int) -> None:
        """Note that the client has taken every context up to this one; it will say so again."""
        if self._unread is None:
            self._unread = deque()
        while self._unread and self._unread[0] <= number:
            self._unread.popleft()
        self._freed()

    def close(self) -> None:
        """Send nothing any more."""
        self._is_over = True
        for timer in (self._turn, self._patience):
            if timer is not None:
                timer.cancel()

    def _write(self, frame: Frame) -> None:
        if frame.number is not None and self._unread is not None:
            self._unread.append(frame.number)
        waiting = self.line.write(frame)
        if waiting is not None:
            self._sending = asyncio.ensure_future(waiting)
            self._sending.add_done_callback(self._sent)

    def _sent(self, sending: asyncio.Future[None]) -> None:
        self._sending = None
        error = None if sending.cancelled() else sending.exception()
        if error is not None:
            self.end(error)
        self._freed()

    def _take_turn(self) -> None:
        self._turn = None
        self.pump()

    def _be_patient(self) -> None:
        if self._patience is None:
            self._patience = self._loop.call_later(STUCK_S, self._give_up)

    def _freed(self) -> None:
        if self.is_free():
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
            self.pump()

    def _give_up(self) -> None:
        if not self._is_over:
            self.close()
            self.end(TRY_LATER)

    # Called by Twisted's transport.

    def pauseProducing(self) -> None:
        """Hold back: the kernel takes no more."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on: everything is with the kernel."""
        self._is_paused = False
        self._freed()

    def stopProducing(self) -> None:
        """Do nothing: the consumer is told of a lost connection by itself."""
