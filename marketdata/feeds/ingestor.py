"""`Ingestor`: the thread of one venue connection, from connecting to its end.

It never reconnects: that is the supervisor's work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from marketdata.core.errors import BotCryptoError, ConnectionLostError, FrameError
from marketdata.core.events import Batch
from marketdata.core.facts import Fact
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.feeds.socket import Socket
from marketdata.venues.base import Control, Received, Stream

log = logging.getLogger(__name__)

# How long a receive waits: the pace of the watchdogs, not of the data.
POLL_S = 0.25
# The same while somebody asks over the line: what is to be sent waits for the reader.
ASKED_POLL_S, ASKED_S = 0.02, 5.0
# TCP and the handshake may each take so long, and a stop waits for them.
CONNECT_TIMEOUT_S = 4.0
# A ping that nothing follows for this long means that nobody is there.
PONG_TIMEOUT_S = 10.0
# One topic among others that has spoken and then is silent for so many times `dead_s` may be a
# quiet market or a subscription that the venue has lost: the connection is replaced, not cut.
QUIET_TIMES = 10
Tap = Callable[[Sequence[bytes], Sequence[str]], None]
TapOf = Callable[[str], Tap]


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

    def opened(self, symbols: Sequence[str]) -> None:
        """Learn that a new connection is open; of what was before it nothing will come."""

    def trades(self, symbol: str, batch: Batch) -> None:
        """Take trades."""

    def facts(self, facts: Sequence[tuple[str, Fact]]) -> None:
        """Take what is no trade, in order."""

    def replies(self, replies: Mapping[int, bytes]) -> None:
        """Take answers to what was sent, by the number of the request."""

    def rejected(self, error: FrameError) -> None:
        """Take a refused frame."""

    def status(self, status: FeedStatus) -> None:
        """Take a change of state."""

    def closed(self, symbols: Sequence[str]) -> None:
        """Learn that a connection has ended."""


class Ingestor(threading.Thread):
    """Reads one connection until it is lost, stopped, or given up as dead.

    Parameters
    ----------
    locate : callable
        Says where the streams are, in this thread; it may have to ask for that.
    stream : Stream
        What is sent at the beginning, how frames are decoded, what must be heard.
    symbols : sequence of str
        What the connection carries.
    watch : Watch
        When silence means trouble.
    listener : Listener
        Who takes what comes.
    wall_us : callable
        Microseconds UTC of this machine.
    wake : callable
        Called when the state changes, so that the supervisor looks.
    tap : callable, optional
        Given the frames as they came, and the symbols, before anything reads them.
    """

    def __init__(
        self,
        locate: Callable[[], str],
        stream: Stream,
        symbols: Sequence[str],
        watch: Watch,
        listener: Listener,
        wall_us: Callable[[], int],
        wake: Callable[[], None],
        tap: Tap | None = None,
    ) -> None:
        super().__init__(name=f"feed-{','.join(symbols)[:40]}", daemon=True)
        self.locate = locate
        self.stream = stream
        self.symbols = frozenset(symbols)
        self.watch = watch
        self.listener = listener
        self.wall_us = wall_us
        self.wake = wake
        self.tap = tap
        self.state = "connecting"
        self.error: BotCryptoError | None = None
        self.connected_at_us: int | None = None
        self.last_message_us: int | None = None
        self.rejected = 0
        self.label = ""
        self.is_leaving = False
        self.started_s = time.monotonic()
        self._order = tuple(symbols)
        self._silent: set[str] = set(stream.topics(symbols))
        self._heard_s: dict[str, float] = dict.fromkeys(self._silent, self.started_s)
        self._data_s = self.started_s
        self._asked_s = -ASKED_S
        self._ping_s: float | None = None
        self._beat_s = self._pong_s = self.started_s
        self._stopping = threading.Event()
        self._outbox: deque[bytes] = deque()
        self._socket: Socket | None = None

    @property
    def has_data(self) -> bool:
        """Whether any data came over this connection."""
        return self.last_message_us is not None

    @property
    def is_complete(self) -> bool:
        """Whether of every topic something has come over this connection."""
        return not self._silent

    @property
    def is_open(self) -> bool:
        """Whether what is sent now goes out."""
        return self.connected_at_us is not None and self.is_alive() and not self._stopping.is_set()

    def send(self, frames: Sequence[bytes]) -> None:
        """Send text frames, soon and in order; any thread may say so."""
        self._outbox.extend(frames)
        self._asked_s = time.monotonic()

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
        url = self.locate()
        with Socket.connect(url, timeout_s=CONNECT_TIMEOUT_S) as socket:
            self._socket, self.label = socket, socket.label
            try:
                self._begin(socket)
                while not self._stopping.is_set():
                    self._read(socket)
            finally:
                self.listener.closed(self._order)

    def _begin(self, socket: Socket) -> None:
        self._data_s = self._beat_s = self._pong_s = time.monotonic()
        self._heard_s = dict.fromkeys(self._heard_s, self._data_s)
        self.listener.opened(self._order)
        # Data may come before the acknowledgement, so whoever takes it is told first.
        for frame in self.stream.opening(self._order):
            socket.send_text(frame.decode())
        self.connected_at_us = self.wall_us()

    def _read(self, socket: Socket) -> None:
        is_asked = time.monotonic() - self._asked_s < ASKED_S
        frames = socket.receive(ASKED_POLL_S if is_asked else POLL_S)
        now_s = time.monotonic()
        if frames:
            if self.tap is not None:
                self.tap(frames, self._order)
            self._take(self.stream.decode(frames, self.symbols), now_s)
        while self._outbox:
            socket.send_text(self._outbox.popleft().decode())
        self._check(socket, now_s)

    def _take(self, received: Received, now_s: float) -> None:
        recv_us = self.wall_us()
        for symbol, arrived in received.trades.items():
            trades, errors = plausible(arrived, recv_us)
            received.errors.extend(errors)
            self.listener.trades(symbol, Batch(trades, "live", recv_us))
        if received.facts:
            self.listener.facts(received.facts)
        if received.replies:
            self.listener.replies(received.replies)
        for error in received.errors:
            self.rejected += 1
            self.listener.rejected(error)
        for control in received.controls:
            self._obey(control, now_s)
        # A venue that refuses a topic has spoken of it: it gives nothing, and is not waited for.
        self._silent -= received.topics
        # Over a line of questions alone, answers are what comes.
        answers = not self._heard_s and (received.replies or received.controls)
        if received.trades or received.facts or answers:
            self._note(received.topics, now_s)

    def _note(self, topics: set[str], now_s: float) -> None:
        """Note of which topics something came."""
        for topic in topics & self._heard_s.keys():
            self._heard_s[topic] = now_s
        self._data_s = now_s
        self.last_message_us = self.wall_us()
        self._enter("live")

    def _obey(self, control: Control, now_s: float) -> None:
        if control.kind == "refused":
            raise ConnectionLostError(f"the venue refused the subscription: {control.detail}")
        if control.kind == "shutdown":
            log.info("venue announces a shutdown symbols=%s", ",".join(sorted(self.symbols)))
            self._leave()
        if control.kind == "pong":
            self._pong_s = now_s

    def _leave(self) -> None:
        """Ask for a successor; this connection reads on until it is there."""
        if not self.is_leaving:
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
        if not self._silent and self._is_one_quiet(now_s):
            self._leave()
        if silence_s > self.watch.stale_s and self.state == "live":
            self._enter("stale")
        self._check_line(socket, now_s)
        self._check_beat(socket, now_s)

    def _is_one_quiet(self, now_s: float) -> bool:
        quiet_s = QUIET_TIMES * self.watch.dead_s
        return any(now_s - heard_s > quiet_s for heard_s in self._heard_s.values())

    def _check_beat(self, socket: Socket, now_s: float) -> None:
        """Keep up the venue's own kind of ping."""
        beat = self.stream.beat
        if beat is None:
            return
        if self._pong_s < self._beat_s and now_s - self._beat_s > beat.pong_within_s:
            raise ConnectionLostError(f"no answer to the venue's ping in {beat.pong_within_s:g} s")
        if now_s - self._beat_s >= beat.every_s and self._pong_s >= self._beat_s:
            self._beat_s = now_s
            socket.send_text(beat.frame.decode())

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
