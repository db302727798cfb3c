"""`Outlet`: how fast a WebSocket client takes what it is sent, so that nothing piles up for it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from typing import Any

# At most so many messages in so many seconds, whatever they are: a little more than the second
# that is promised, because the network moves them together. They come evenly, but for a few that
# may come at once, so that a storm of events does not leave the market dark until the next second.
MOST_MESSAGES = 10
WINDOW_S = 1.02
STEP_S = WINDOW_S / MOST_MESSAGES
AT_ONCE = 3
# A client that acknowledges contexts has so many on their way at most: what it shows is not older.
MOST_UNREAD = 3
# What the kernel holds for a client, of its own accord up to 4 MB: a minute of contexts that are
# old by the time they are read. Sixteen of them are enough for any distance.
KERNEL_BYTES = 256 * 1024
# Twisted says "pause" at 64 kB in its own buffer; a client that stays there so long is gone.
STUCK_S = 30.0


class Outlet:
    """Says when the next message may go to a client.

    Two things hold it back. The transport's own buffer: Twisted tells its producer to pause when
    the kernel takes no more, and daphne itself has no back-pressure. And acknowledgements, for
    clients that send them: `{"ack": seq}`.

    Parameters
    ----------
    send : callable
        The ASGI `send`. Under daphne it leads to the transport; elsewhere it waits by itself.
    """

    def __init__(self, send: Any) -> None:
        self._is_paused = False
        self._unread: deque[int] | None = None
        self._freed = asyncio.Event()
        self._sent_s: deque[float] = deque(maxlen=MOST_MESSAGES)
        self._even_s = float("-inf")
        self._protocol: Any = next(iter(getattr(send, "args", ())), None)
        transport: Any = getattr(self._protocol, "transport", None)
        if hasattr(transport, "registerProducer"):
            # The HTTP channel that took the handshake is still registered.
            transport.unregisterProducer()
            transport.registerProducer(self, True)
            transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES // 2)

    def is_free(self) -> bool:
        """Tell whether the client has taken enough of what was sent."""
        return not self._is_paused and len(self._unread or ()) < MOST_UNREAD

    async def room(self) -> bool:
        """Wait until a message may go; return False where the client takes nothing any more."""
        wait_s = self._due_s() - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if self.is_free():
            return True
        try:
            async with asyncio.timeout(STUCK_S):
                while not self.is_free():
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            return False
        return True

    def _due_s(self) -> float:
        """Return when the next message may go, as far as the number of messages goes."""
        is_full = len(self._sent_s) == MOST_MESSAGES
        window_s = self._sent_s[0] + WINDOW_S if is_full else 0.0
        return max(window_s, self._even_s - (AT_ONCE - 1) * STEP_S)

    def sent(self, number: int | None = None) -> None:
        """Note a message; contexts have a number."""
        now_s = time.monotonic()
        self._sent_s.append(now_s)
        self._even_s = max(self._even_s, now_s) + STEP_S
        if number is not None and self._unread is not None:
            self._unread.append(number)

    def acked(self, number: int) -> None:
        """Note that the client has taken every context up to this one; it will say so again."""
        if self._unread is None:
            self._unread = deque()
        while self._unread and self._unread[0] <= number:
            self._unread.popleft()
        self._freed.set()

    def close(self, code: int) -> bool:
        """Close with a code of RFC 6455; return False where the server has no way to.

        Notes
        -----
        What ASGI asks for, autobahn allows for 1000 and 3000 to 4999 only. Daphne itself says
        1011 this way.
        """
        close = getattr(self._protocol, "sendCloseFrame", None)
        if close is None:
            return False
        close(code=code)
        return True

    # Called by Twisted's transport.

    def pauseProducing(self) -> None:
        """Hold back: the kernel takes no more."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on: everything is with the kernel."""
        self._is_paused = False
        self._freed.set()

    def stopProducing(self) -> None:
        """Do nothing: the consumer is told of a lost connection by itself."""
