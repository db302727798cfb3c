"""`Ingestor`: the thread of one venue connection, from connecting to its end.

It never reconnects: that is the supervisor's work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from marketdata.core.errors import BotCryptoError, ConnectionLostError, FrameError
from marketdata.core.events import Batch
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.feeds.socket import Socket
from marketdata.venues.base import Channel, Control, Received

log = logging.getLogger(__name__)

# How long a receive waits: the pace of the watchdogs, not of the data.
POLL_S = 0.25
# TCP and the handshake may each take so long, and a stop waits for them.
CONNECT_TIMEOUT_S = 4.0
# A ping that nothing follows for this long means that nobody is there.
PONG_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Watch:
    """When silence means trouble.

    Parameters
    ----------
    stale_s : float
        Seconds without data after which the feed is shown as stale.
    dead_s : float
        Seconds without data after which the connection is given up.
    ping_s : float
        Seconds without any byte after which we ask whether somebody is there.
    """

    stale_s: float
    dead_s: float
    ping_s: float


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """What a connection is doing.

    Parameters
    ----------
    symbol : str
        The symbols it carries, comma separated.
    state : {"connecting", "live", "stale", "backoff", "stopped"}
        `live` is told by data, never by an acknowledgement.
    connected_at_us, last_message_us : int or None
        Local time, microseconds UTC.
    reconnects, rejected : int
        Connections lost and made anew, frames refused.
    """

    source: str
    channel: str
    symbol: str
    state: str = "connecting"
    connected_at_us: int | None = None
    last_message_us: int | None = None
    reconnects: int = 0
    rejected: int = 0
    last_error: str = ""


class Listener(Protocol):
    """Who takes what comes out of the sockets; called in their threads."""

    def trades(self, symbol: str, batch: Batch) -> None:
        """Take trades."""

    def rejected(self, error: FrameError) -> None:
        """Take a refused frame."""

    def status(self, status: FeedStatus) -> None:
        """Take a change of state."""


class Ingestor(threading.Thread):
    """Reads one connection until it is lost, stopped, or given up as dead.

    Parameters
    ----------
    url : str
        Where the streams are.
    channel : Channel
        How frames are decoded.
    symbols : sequence of str
        What the connection carries.
    watch : Watch
        When silence means trouble.
    listener : Listener
        Who takes the trades.
    wall_us : callable
        Microseconds UTC of this machine.
    wake : callable
        Called when the state changes, so that the supervisor looks.
    """

    def __init__(
        self,
        url: str,
        channel: Channel,
        symbols: Sequence[str],
        watch: Watch,
        listener: Listener,
        wall_us: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        super().__init__(name=f"feed-{','.join(symbols)[:40]}", daemon=True)
        self.url = url
        self.channel = channel
        self.symbols = frozenset(symbols)
        self.watch = watch
        self.listener = listener
        self.wall_us = wall_us
        self.wake = wake
        self.state = "connecting"
        self.error: BotCryptoError | None = None
        self.connected_at_us: int | None = None
        self.last_message_us: int | None = None
        self.rejected = 0
        self.is_leaving = False
        self.started_s = time.monotonic()
        self._silent: set[str] = set(self.symbols)
        self._data_s = self.started_s
        self._ping_s: float | None = None
        self._stopping = threading.Event()
        self._socket: Socket | None = None

    @property
    def has_data(self) -> bool:
        """Whether any trade came over this connection."""
        return self.last_message_us is not None

    @property
    def is_complete(self) -> bool:
        """Whether every symbol has had a trade over this connection."""
        return not self._silent

    def stop(self) -> None:
        """End soon; a waiting receive is woken."""
        self._stopping.set()
        socket = self._socket
        if socket is not None:
            socket.abort()

    def run(self) -> None:
        """Connect, and read until the connection ends."""
        try:
            self._connect_and_read()
        except BotCryptoError as error:
            if not self._stopping.is_set():
                self.error = error
        except Exception as error:
            # A thread must not die unseen: the supervisor starts another and shows this one's end.
            log.exception("feed thread failed symbols=%s", ",".join(sorted(self.symbols)))
            self.error = ConnectionLostError(f"{type(error).__name__}: {error}")
        finally:
            self.state = "stopped"
            self.wake()

    def _connect_and_read(self) -> None:
        with Socket.connect(self.url, timeout_s=CONNECT_TIMEOUT_S) as socket:
            self._socket = socket
            self.connected_at_us = self.wall_us()
            self._data_s = time.monotonic()
            while not self._stopping.is_set():
                frames = socket.receive(POLL_S)
                now_s = time.monotonic()
                if frames:
                    self._take(self.channel.decode(frames, self.symbols), now_s)
                self._check(socket, now_s)

    def _take(self, received: Received, now_s: float) -> None:
        recv_us = self.wall_us()
        for symbol, arrived in received.trades.items():
            trades, errors = plausible(arrived, recv_us)
            received.errors.extend(errors)
            self._silent.discard(symbol)
            self.listener.trades(symbol, Batch(trades, "live", recv_us))
        for error in received.errors:
            self.rejected += 1
            self.listener.rejected(error)
        for control in received.controls:
            self._obey(control)
        if received.trades:
            self._data_s = now_s
            self.last_message_us = self.wall_us()
            self._enter("live")

    def _obey(self, control: Control) -> None:
        if control.kind == "refused":
            raise ConnectionLostError(f"the venue refused the subscription: {control.detail}")
        if control.kind == "shutdown":
            log.info("venue announces a shutdown symbols=%s", ",".join(sorted(self.symbols)))
            self.is_leaving = True
            self.wake()

    def _enter(self, state: str) -> None:
        if self.state != state:
            self.state = state
            self.wake()

    def _check(self, socket: Socket, now_s: float) -> None:
        """Look for silence: of the data, of one stream among several, of the line."""
        silence_s = now_s - self._data_s
        if silence_s > self.watch.dead_s:
            raise ConnectionLostError(f"no data for {silence_s:.1f} s")
        if self._silent and now_s - self.started_s > self.watch.dead_s:
            names = ", ".join(sorted(self._silent))
            raise ConnectionLostError(f"no first data of {names} in {self.watch.dead_s:g} s")
        if silence_s > self.watch.stale_s and self.state == "live":
            self._enter("stale")
        self._check_line(socket, now_s)

    def _check_line(self, socket: Socket, now_s: float) -> None:
        if self._ping_s is not None and socket.last_receive_s >= self._ping_s:
            self._ping_s = None
        if self._ping_s is not None:
            if now_s - self._ping_s > PONG_TIMEOUT_S:
                raise ConnectionLostError(f"no answer to a ping for {PONG_TIMEOUT_S:g} s")
        elif now_s - socket.last_receive_s > self.watch.ping_s:
            self._ping_s = now_s
            socket.ping()


def plausible(trades: Trades, now_us: int) -> tuple[Trades, list[FrameError]]:
    """Leave out trades of the far future: one of them would move candles and days for good."""
    is_late = trades.ts_us <= now_us + DAY_US
    if is_late.all():
        return trades, []
    odd = trades[~is_late]
    return trades[is_late], [
        FrameError("time", f"a time up to a day from now expected, trade {id} is at {ts_us} us")
        for id, ts_us in zip(odd.id.tolist(), odd.ts_us.tolist(), strict=True)
    ]
