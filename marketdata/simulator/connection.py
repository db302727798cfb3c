"""One stream connection: frames go straight to the transport, many in one write."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
GOING_AWAY, POLICY = 1001, 1008
# A client that leaves this much unread is cut, as the venue would; twelve seconds of a flood.
MOST_BACKLOG_BYTES = 8_000_000
# A tape that waits for its readers sends more once their backlog is below this.
LOW_BACKLOG_BYTES = 400_000
POLL_S = 0.002
RESET = struct.pack("ii", 1, 0)  # linger on, zero seconds: close() sends RST
HALF_BYTES = 60  # below the shortest trade frame


def frame(payload: bytes, kind: int = TEXT) -> bytes:
    """Return a server's WebSocket frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((kind, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", kind, 126, size) + payload
    return struct.pack("!BBQ", kind, 127, size) + payload


def frames(payloads: Iterable[bytes]) -> list[bytes]:
    """Return text frames of many payloads, each from 126 to 65,535 bytes or framed one by one."""
    return [
        b"\x81\x7e" + len(payload).to_bytes(2) + payload
        if 125 < len(payload) < 65_536
        else frame(payload)
        for payload in payloads
    ]


class Connection:
    """The sending side of one client's WebSocket.

    Notes
    -----
    aiohttp does the handshake and reads; writing a frame through it costs ten times the frame
    itself, so whole batches are written past it. Only the loop's thread may call.
    """

    def __init__(self, transport: asyncio.Transport, number: int) -> None:
        self.number = number
        self.born_s = time.monotonic()
        self.frames = 0
        self.bytes = 0
        self.is_mute = False
        self.end = ""
        self._transport = transport
        self._pinged_s = self.born_s
        self._ping: tuple[bytes, int] | None = None
        self._ping_left_s: float | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the handshake."""
        return time.monotonic() - self.born_s

    @property
    def backlog(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def is_open(self) -> bool:
        """Whether frames can still be sent."""
        return not self._transport.is_closing()

    def status(self) -> dict[str, Any]:
        """Return what was sent, for the simulator's own pages."""
        return {
            "number": self.number,
            "age_s": round(self.age_s, 3),
            "frames": self.frames,
            "bytes": self.bytes,
            "backlog": self.backlog,
        }

    def send(self, data: bytes, count: int = 1) -> None:
        """Write whole frames; a client too far behind is cut."""
        if self.is_mute or not self.is_open:
            return
        self._write(data)
        self.frames += count
        if self.backlog > MOST_BACKLOG_BYTES:
            self.abort("did not read")

    def send_half(self, data: bytes) -> None:
        """Write the beginning of a frame, then nothing ever after."""
        if not self.is_mute and self.is_open:
            self._write(data[:HALF_BYTES])
            self.is_mute = True

    def pong(self, payload: bytes) -> None:
        """Answer a client's ping."""
        self.send(frame(payload, PONG), 0)

    def ping(self, every_s: float, within_s: float) -> None:
        """Ping when it is time; abort where the pong is overdue.

        The wait begins when the ping has left our buffer: a slow reader is not a dead one.
        """
        now_s = time.monotonic()
        if self._ping and self._ping_left_s is None and self.bytes - self.backlog >= self._ping[1]:
            self._ping_left_s = now_s
        if self._ping_left_s is not None and now_s - self._ping_left_s >= within_s:
            self.abort("no pong")
        elif now_s - self._pinged_s >= every_s:
            self._pinged_s = now_s
            payload = str(time.time_ns() // 1_000_000).encode()
            self.send(frame(payload, PING), 0)
            if self._ping is None:
                self._ping = (payload, self.bytes)

    def ponged(self, payload: bytes) -> None:
        """Note a pong; an unsolicited one keeps nobody alive."""
        if payload.isdigit() and self._ping and int(payload) >= int(self._ping[0]):
            self._ping = self._ping_left_s = None

    def close(self, code: int, reason: str) -> None:
        """Send what is buffered and a close frame, then end."""
        self.send(frame(struct.pack("!H", code) + reason.encode(), CLOSE), 0)
        self.cut(reason)

    def cut(self, reason: str) -> None:
        """Send what is buffered, then end without a close frame."""
        self.end = self.end or reason
        self._transport.close()

    def abort(self, reason: str) -> None:
        """End at once; what is buffered is lost."""
        self.end = self.end or reason
        self._transport.abort()

    def reset(self, reason: str) -> None:
        """End at once with a TCP reset."""
        reset(self._transport)
        self.abort(reason)

    async def drained(self, patience_s: float) -> None:
        """Wait until the backlog is low; abort a client that takes nothing for `patience_s`."""
        least, since_s = self.backlog, time.monotonic()
        while self.is_open and self.backlog > LOW_BACKLOG_BYTES:
            await asyncio.sleep(POLL_S)
            if self.backlog < least:
                least, since_s = self.backlog, time.monotonic()
            elif time.monotonic() - since_s > patience_s:
                self.abort("did not read")

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        self.bytes += len(data)


def reset(transport: asyncio.Transport) -> None:
    """Let the coming close of a transport send RST."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
