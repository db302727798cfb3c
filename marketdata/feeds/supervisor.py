"""`Supervisor`: keeps one connection per group of symbols alive. The one place that reconnects."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from marketdata.core.backoff import Backoff
from marketdata.core.errors import BotCryptoError, VenueError
from marketdata.feeds.ingestor import FeedStatus, Ingestor, Listener, Tap, Watch
from marketdata.venues.base import Stream, Venue

log = logging.getLogger(__name__)

# How often slots are looked at when nothing wakes the supervisor.
TICK_S = 0.2
# A connection that gave data for so long was a good one: the next delay is the first again.
GOOD_AFTER_S = 5.0
# A venue that blocks us is asked again this seldom; only its operator or ours can change that.
BLOCKED_S = 600.0
# A market without trades looks like a dead feed. Each connection given up in vain doubles the
# patience with the next, up to this factor.
MOST_PATIENCE = 16


@dataclass(frozen=True, slots=True)
class Policy:
    """When connections are given up, replaced and retried.

    Parameters
    ----------
    stale_s, dead_s : float
        As in `Watch`.
    roll_s : float
        Age in seconds at which a connection is replaced, before the venue cuts it.
    backoff_s, backoff_cap_s : float
        First and longest delay before connecting anew.
    """

    stale_s: float = 10.0
    dead_s: float = 60.0
    roll_s: float = 84_600.0
    backoff_s: float = 0.5
    backoff_cap_s: float = 30.0


@dataclass(slots=True)
class Slot:
    """The connection of one group of symbols: the present one, and the one that replaces it."""

    symbols: tuple[str, ...]
    backoff: Backoff
    current: Ingestor | None = None
    successor: Ingestor | None = None
    retiring: list[Ingestor] = field(default_factory=list)
    next_s: float = 0.0
    patience: int = 1
    reconnects: int = 0
    rejected: int = 0
    rolls: int = 0
    last_error: str = ""
    last_message_us: int | None = None
    told: tuple[str, int, str] | None = None


class Supervisor(threading.Thread):
    """Starts, watches and replaces the connections of one feed.

    Parameters
    ----------
    venue : Venue
    stream : Stream
        What the sockets carry.
    base_url : str
        `wss://host` before the venue's own path.
    symbols : sequence of str
        What to follow; spread over connections as the venue allows.
    listener : Listener
        Who takes trades, refused frames and changes of state.
    policy : Policy
    wall_us : callable
        Microseconds UTC of this machine.
    locate : callable, optional
        Says where the streams of some symbols are, each time they are connected to, in place of
        `base_url` and the stream's path.
    tap : callable, optional
        As in `Ingestor`.
    judge : callable, optional
        Why a connection ended → the same in the light of what is known of the venue: in other
        words, or retryable where it was not.
    """

    def __init__(
        self,
        venue: Venue,
        stream: Stream,
        base_url: str,
        symbols: Sequence[str],
        listener: Listener,
        policy: Policy,
        wall_us: Callable[[], int],
        locate: Callable[[Sequence[str]], str] | None = None,
        tap: Tap | None = None,
        judge: Callable[[BotCryptoError], BotCryptoError] = lambda error: error,
    ) -> None:
        super().__init__(name=f"supervisor-{venue.source}-{stream.name}", daemon=True)
        self.venue = venue
        self.stream = stream
        self.base_url = base_url.rstrip("/")
        self.listener = listener
        self.policy = policy
        self.wall_us = wall_us
        self.locate = locate or (lambda names: self.base_url + stream.path(names))
        self.tap = tap
        self.judge = judge
        size = venue.streams_per_connection
        self.slots = [
            Slot(
                tuple(symbols[at : at + size]),
                Backoff(policy.backoff_s, cap_s=policy.backoff_cap_s),
            )
            for at in range(0, len(symbols), size)
        ]
        self._stopping = threading.Event()
        self._changed = threading.Event()

    def run(self) -> None:
        """Tend the slots until stopped."""
        while not self._stopping.is_set():
            self._changed.clear()
            for slot in self.slots:
                self._tend(slot, time.monotonic())
                self._tell(slot)
            self._changed.wait(TICK_S)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop every connection and wait for its thread."""
        self._stopping.set()
        self._changed.set()
        if self.is_alive():
            self.join(timeout_s)
        deadline = time.monotonic() + timeout_s
        running = [item for slot in self.slots for item in _connections(slot)]
        for ingestor in running:
            ingestor.stop()
        for ingestor in running:
            ingestor.join(max(0.1, deadline - time.monotonic()))
        for slot in self.slots:
            self._tell(slot)

    def statuses(self) -> list[FeedStatus]:
        """Return what each connection is doing."""
        return [self._status(slot) for slot in self.slots]

    def send(self, symbol: str, frames: Sequence[bytes]) -> bool:
        """Send text frames over the connection of a symbol; False where none is open."""
        for slot in self.slots:
            current = slot.current
            if symbol in slot.symbols and current is not None and current.is_open:
                current.send(frames)
                return True
        return False

    @property
    def reconnects(self) -> int:
        """How many connections were lost and made anew."""
        return sum(slot.reconnects for slot in self.slots)

    def _tend(self, slot: Slot, now_s: float) -> None:
        slot.retiring = [item for item in slot.retiring if item.is_alive()]
        if slot.current is None:
            if now_s >= slot.next_s:
                slot.current = self._launch(slot)
        elif not slot.current.is_alive():
            self._lost(slot, slot.current, now_s)
        elif slot.current.has_data:
            if slot.current.is_complete:
                slot.patience = 1
            self._roll(slot, slot.current, now_s)

    def _launch(self, slot: Slot) -> Ingestor:
        policy = self.policy
        ingestor = Ingestor(
            lambda: self.locate(slot.symbols),
            self.stream,
            slot.symbols,
            # Half the venue's own ping interval more than it, so that a healthy line never pings.
            Watch(policy.stale_s, policy.dead_s * slot.patience, 1.5 * self.venue.server_ping_s),
            self.listener,
            self.wall_us,
            self._changed.set,
            self.tap,
        )
        ingestor.start()
        return ingestor

    def _lost(self, slot: Slot, ended: Ingestor, now_s: float) -> None:
        """Take the successor where there is one, else wait before connecting anew."""
        ended.error = ended.error and self.judge(ended.error)
        self._settle(slot, ended)
        slot.reconnects += 1
        slot.current, slot.successor = slot.successor, None
        if ended.has_data and now_s - ended.started_s >= GOOD_AFTER_S:
            slot.backoff.reset()
        if not ended.is_complete and ended.connected_at_us is not None:
            slot.patience = min(2 * slot.patience, MOST_PATIENCE)
        if slot.current is None:
            slot.next_s = now_s + self._delay_s(slot, ended.error)

    def _settle(self, slot: Slot, ended: Ingestor) -> None:
        slot.rejected += ended.rejected
        slot.last_message_us = ended.last_message_us or slot.last_message_us
        slot.last_error = str(ended.error) if ended.error else "the connection ended"

    def _delay_s(self, slot: Slot, error: BotCryptoError | None) -> float:
        delay_s = slot.backoff.next(random.random())
        if isinstance(error, VenueError):
            delay_s = max(delay_s, error.retry_after_s or 0.0)
            if not error.retryable:
                delay_s = max(delay_s, BLOCKED_S)
        return delay_s

    def _roll(self, slot: Slot, current: Ingestor, now_s: float) -> None:
        """Replace an old or leaving connection once another gives data: no trade is missed."""
        if slot.successor is None:
            is_old = now_s - current.started_s >= self.policy.roll_s
            if (is_old or current.is_leaving) and now_s >= slot.next_s:
                slot.successor = self._launch(slot)
        elif slot.successor.has_data:
            current.stop()
            slot.rejected += current.rejected
            slot.retiring.append(current)
            slot.current, slot.successor = slot.successor, None
            slot.rolls += 1
            log.info("connection replaced source=%s rolls=%s", self.venue.source, slot.rolls)
        elif not slot.successor.is_alive():
            error = slot.successor.error and self.judge(slot.successor.error)
            slot.next_s = now_s + self._delay_s(slot, error)
            slot.successor = None

    def _status(self, slot: Slot) -> FeedStatus:
        current = slot.current
        waits = "backoff" if slot.reconnects else "connecting"
        state = current.state if current else waits
        if self._stopping.is_set():
            state = "stopped"
        elif state == "stopped":
            state = "backoff"
        return FeedStatus(
            source=self.venue.source,
            channel=self.stream.name,
            symbol=",".join(slot.symbols),
            state=state,
            connected_at_us=current.connected_at_us if current else None,
            last_message_us=(current and current.last_message_us) or slot.last_message_us,
            reconnects=slot.reconnects,
            rejected=slot.rejected + (current.rejected if current else 0),
            last_error=str(current.error) if current and current.error else slot.last_error,
        )

    def _tell(self, slot: Slot) -> None:
        """Tell the listener of a change, once."""
        status = self._status(slot)
        told = (status.state, status.reconnects, status.last_error)
        if told != slot.told:
            slot.told = told
            self.listener.status(status)


def _connections(slot: Slot) -> list[Ingestor]:
    return [item for item in (slot.current, slot.successor, *slot.retiring) if item is not None]
