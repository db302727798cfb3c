"""WebSocket frames from a server, RFC 6455: bytes in, whole messages out. No I/O.

websocket-client costs about 7 µs a frame; a feed reads 64 kB at a time and only needs to know
where each message starts and ends. Whether text is valid UTF-8 is left to the JSON decoder, which
must look at every byte anyway.
"""

from __future__ import annotations

from marketdata.core.errors import ConnectionLostError

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = OPCODES = (0x0, 0x1, 0x2, 0x8, 0x9, 0xA)
FIN = 0x80
RESERVED = 0x70
MASKED = 0x80
WHOLE_TEXT = FIN | TEXT
LARGEST_CONTROL = 125
LARGEST_MESSAGE = 1 << 20

# RFC 6455 section 7.4.1, in words for people.
CLOSE_CODES = {
    1000: "normal end",
    1001: "the server goes away",
    1002: "protocol error",
    1003: "data it cannot take",
    1005: "no code given",
    1007: "text that is not UTF-8",
    1008: "a rule of the server was broken",
    1009: "message too big",
    1011: "error inside the server",
    1012: "the server restarts",
    1013: "try again later",
}


class ProtocolError(ConnectionLostError):
    """The server's bytes are not WebSocket frames; nothing after them can be trusted.

    Parameters
    ----------
    detail : str
        What was expected and what was seen.
    code : int
        Close code that tells the server.
    """

    def __init__(self, detail: str, code: int = 1002) -> None:
        super().__init__(f"broken WebSocket frame: {detail}")
        self.code = code


class MessageTooLargeError(ProtocolError):
    """A message beyond the cap. It is refused by its header, before it is held in memory."""

    def __init__(self, seen: int, cap: int) -> None:
        super().__init__(f"a message of at most {cap} bytes expected, seen {seen}", 1009)


Control = tuple[int, bytes]


class FrameReader:
    """Cuts a stream of bytes into messages and control frames.

    Parameters
    ----------
    cap : int
        Largest message taken, in bytes, over all its fragments.

    Notes
    -----
    Text and binary messages are both plain bytes here. After a close frame or a breach of the
    protocol the rest of the stream is ignored.
    """

    def __init__(self, cap: int = LARGEST_MESSAGE) -> None:
        self.error: ProtocolError | None = None
        self._cap = cap
        self._rest = bytearray()
        self._needed = 2
        self._fragments: bytearray | None = None
        self._closed = False

    def feed(self, data: bytes) -> tuple[list[bytes], list[Control]]:
        """Take in bytes as they came and return the messages and controls that are now whole.

        Returns
        -------
        messages : list of bytes
            Payloads of text and binary messages, in order.
        controls : list of (opcode, payload)
            Pings, pongs and the close frame, in order.

        Raises
        ------
        ProtocolError
            The stream is broken. What was whole before the breach is returned first: then `error`
            is set, and this and any later call raises it.
        """
        messages: list[bytes] = []
        controls: list[Control] = []
        if self._closed:
            return messages, controls
        if self.error is None:
            try:
                self._cut(data, messages, controls)
            except ProtocolError as error:
                self.error = error
        if self.error is not None and not messages and not controls:
            raise self.error
        return messages, controls

    def _cut(self, data: bytes, messages: list[bytes], controls: list[Control]) -> None:
        data = self._joined(data)
        if not data:
            return
        at, before = 0, -1
        while at > before and not self._closed:
            if self._fragments is None:
                at = _plain(data, at, self._cap, messages)
            before, at = at, self._one(data, at, messages, controls)
        if not self._closed:
            self._rest += data[at:]

    def _joined(self, data: bytes) -> bytes:
        # A large message in small pieces is joined once, not once a piece.
        if not self._rest:
            return data
        self._rest += data
        if len(self._rest) < self._needed:
            return b""
        whole = bytes(self._rest)
        self._rest.clear()
        return whole

    def _one(self, data: bytes, at: int, messages: list[bytes], controls: list[Control]) -> int:
        """Take one frame of any kind and return where it ends; `at` where it is not whole."""
        if at + 2 > len(data):
            self._needed = 2
            return at
        first, length = data[at], data[at + 1]
        start = at + 2
        if length > LARGEST_CONTROL:
            start, length = _long(data, start, length)
        self._check(first, length)
        stop = start + length
        if length < 0 or stop > len(data):
            self._needed = max(start, stop) - at
            return at
        self._sort(first, data[start:stop], messages, controls)
        return stop

    def _check(self, first: int, length: int) -> None:
        """Refuse a frame by its header, before its payload is waited for."""
        opcode = first & 0x0F
        if first & RESERVED:
            raise ProtocolError(f"reserved bits of zero expected, seen {first:#04x}")
        if opcode not in OPCODES:
            raise ProtocolError(f"a known opcode expected, seen {opcode:#x}")
        if opcode >= CLOSE:
            if not first & FIN:
                raise ProtocolError("a control frame in one piece expected, seen a fragment")
            if length > LARGEST_CONTROL:
                raise ProtocolError(f"a control frame of at most 125 bytes expected, seen {length}")
            return
        total = length + len(self._fragments or b"")
        if total > self._cap:
            raise MessageTooLargeError(total, self._cap)

    def _sort(
        self, first: int, payload: bytes, messages: list[bytes], controls: list[Control]
    ) -> None:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            controls.append((opcode, payload))
            self._closed = opcode == CLOSE
            return
        if (opcode == CONTINUATION) != (self._fragments is not None):
            raise ProtocolError(f"fragments of one message in order expected, seen {opcode:#x}")
        if self._fragments is None:
            self._fragments = bytearray()
        self._fragments += payload
        if first & FIN:
            messages.append(bytes(self._fragments))
            self._fragments = None


def _plain(data: bytes, at: int, cap: int, messages: list[bytes]) -> int:
    """Take the unfragmented text frames that stand next, as venues send them; the hot loop."""
    end = len(data)
    while at + 4 <= end and data[at] == WHOLE_TEXT:
        start, length = at + 2, data[at + 1]
        if length == 126:
            start, length = at + 4, data[at + 2] << 8 | data[at + 3]
        elif length > 126:
            break
        stop = start + length
        if stop > end or length > cap:
            break
        messages.append(data[start:stop])
        at = stop
    return at


def _long(data: bytes, start: int, length: int) -> tuple[int, int]:
    """Return where the payload starts and its length, -1 where the header is not whole yet."""
    if length >= MASKED:
        raise ProtocolError("an unmasked frame expected from a server, seen a masked one")
    stop = start + (2 if length == 126 else 8)
    if stop > len(data):
        return stop, -1
    return stop, int.from_bytes(data[start:stop], "big")


def client_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """Return one whole frame from a client.

    Parameters
    ----------
    opcode : int
        `TEXT`, `PONG` and so on.
    payload : bytes
        At most 125 bytes in a control frame.
    mask : bytes
        Four bytes nobody can guess.
    """
    length = len(payload)
    if length <= LARGEST_CONTROL:
        size = bytes((MASKED | length,))
    elif length < 1 << 16:
        size = bytes((MASKED | 126,)) + length.to_bytes(2, "big")
    else:
        size = bytes((MASKED | 127,)) + length.to_bytes(8, "big")
    key = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return bytes((FIN | opcode,)) + size + mask + masked.to_bytes(length, "big")


def close_payload(code: int, reason: str = "") -> bytes:
    """Return the payload of a close frame, its reason cut to what a control frame holds."""
    words = reason.encode()[: LARGEST_CONTROL - 2].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + words


def close_words(payload: bytes) -> str:
    """Say what a close frame says, for example `1001 the server goes away: maintenance`."""
    code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
    reason = payload[2:].decode(errors="replace")
    known = f"{code} {CLOSE_CODES[code]}" if code in CLOSE_CODES else str(code)
    return f"{known}: {reason}" if reason else known
