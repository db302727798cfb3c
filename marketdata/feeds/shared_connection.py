"""`SharedConnection`: one socket for all that is asked of a venue: streams, history, balances."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from marketdata.core.errors import (
    BadInputError,
    BotCryptoError,
    ConnectionLostError,
    FrameError,
    StoppedError,
    VenueError,
)
from marketdata.core.events import Batch
from marketdata.core.facts import Fact
from marketdata.feeds.budgets import Budgets
from marketdata.feeds.ingestor import FeedStatus, Ingestor, Listener, Tap
from marketdata.feeds.supervisor import Policy, Supervisor
from marketdata.rest.clock import CLOCK, SLICE_S, Clock
from marketdata.venues.base import Question, Stream
from marketdata.venues.dialog import Account, Refusal, SocketVenue

log = logging.getLogger(__name__)

# Below it are the numbers of a stream's opening, one a symbol.
FIRST_NUMBER = 1_000_000
# 1, 2, 4, 8 s and so on.
BACKOFF_S = 1.0
ANSWER_S = 30.0
# What a line without a stream is called where lines are called by their symbols.
NO_SYMBOL = "questions"


@dataclass(frozen=True, slots=True)
class Login:
    """How a connection becomes an account's.

    Parameters
    ----------
    question : Question
        Asked first on each connection, and never shown.
    check : callable
        Answer → the account. Raises BotCryptoError where it is not the one meant.
    """

    question: Question
    check: Callable[[bytes], Account]


@dataclass(slots=True, eq=False)
class _Asked:
    """A request under way."""

    line: Ingestor
    call: str
    answer: bytes | None = None
    error: BotCryptoError | None = None

    @property
    def is_over(self) -> bool:
        return self.answer is not None or self.error is not None


class SharedConnection:
    """Keeps one connection for streams and questions, and finds each question its answer.

    Parameters
    ----------
    venue : SocketVenue
    stream : Stream
        What the symbols are followed by.
    locate : callable
        Says where the venue is, each time it is connected to; it may have to ask for that.
    symbols : sequence of str
        What to follow; none where questions alone are asked.
    listener : Listener
        Who takes what the stream brings. Answers are not for it.
    policy : Policy
        When the connection is given up, replaced and retried; the first delay is a second.
    wall_us : callable
        Microseconds UTC of this machine.
    login : Login, optional
        Where the URL does not make the connection an account's.
    tap : callable, optional
        As in `Ingestor`, given the frames of the stream alone: answers may tell of an account.
    clock : Clock
        For waiting and budgets.

    Notes
    -----
    Connecting anew is the supervisor's work alone; each connection subscribes to everything by
    itself, because a stream's opening is sent on each. Whether it lives is told by the socket and
    by the age of its data.

    Attributes
    ----------
    label : str
        What a simulated venue calls its trades, empty for a real one.
    account : Account or None
        Whose it is, once a login has told.

    Raises
    ------
    BadInputError
        More symbols than one connection carries.
    """

    def __init__(
        self,
        venue: SocketVenue,
        stream: Stream,
        locate: Callable[[], str],
        symbols: Sequence[str],
        listener: Listener,
        policy: Policy,
        wall_us: Callable[[], int],
        *,
        login: Login | None = None,
        tap: Tap | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        if len(symbols) > venue.streams_per_connection:
            most = venue.streams_per_connection
            raise BadInputError(f"at most {most} symbols expected, seen {len(symbols)}")
        self.venue = venue
        self.symbols = tuple(sorted(symbols))
        self.listener = listener
        self.policy = policy
        self.wall_us = wall_us
        self.login = login
        self.label = ""
        self.account: Account | None = None
        self._stream = stream if symbols else replace(stream, topics=_nothing, opening=_silence)
        self._locate = locate
        self._tap = tap
        self._clock = clock
        self._changed = threading.Condition()
        self._numbers = itertools.count(FIRST_NUMBER)
        # Under the lock, all of them: lines that are open, oldest first, and may be asked; the
        # logins and questions under way; symbols to subscribe to later, and when; why nothing is
        # connected.
        self._open: dict[Ingestor, bool] = {}
        self._logins: dict[int, Ingestor] = {}
        self._asked: dict[int, _Asked] = {}
        self._paused: dict[str, float] = {}
        self._why: BotCryptoError | None = None
        # Refused when last asked for: waiting for them would replace lines that are well.
        self._mute: frozenset[str] = frozenset()
        self._unfound: BotCryptoError | None = None
        self._is_stopped = False
        self._budgets = Budgets(venue.dialog)
        self._supervisor = Supervisor(
            venue,
            replace(self._stream, opening=self._opening, topics=self._topics),
            "",
            symbols or (NO_SYMBOL,),
            self,
            replace(
                policy, backoff_s=BACKOFF_S, backoff_cap_s=max(BACKOFF_S, policy.backoff_cap_s)
            ),
            wall_us,
            locate=self._found,
            tap=self._tapped if tap else None,
            judge=self._judged,
        )

    def start(self) -> None:
        """Begin to connect, and be found by `running`."""
        _running[self.venue.source] = self
        self._supervisor.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the connection, and every wait for an answer with StoppedError."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if running(self.venue.source) is self:
            del _running[self.venue.source]
        self._supervisor.stop(timeout_s)

    def statuses(self) -> list[FeedStatus]:
        """Return what the connection is doing."""
        return self._supervisor.statuses()

    @property
    def reconnects(self) -> int:
        """How many connections were lost and made anew."""
        return self._supervisor.reconnects

    @property
    def age_s(self) -> float | None:
        """Seconds since data came, or answers where no symbol is followed; None before that."""
        with self._changed:
            heard = [line.last_message_us for line in self._open]
        latest_us = max((at_us for at_us in heard if at_us is not None), default=None)
        return None if latest_us is None else max(0, self.wall_us() - latest_us) / 1e6

    @property
    def is_live(self) -> bool:
        """Whether a socket is open and what it brings is fresh."""
        age_s = self.age_s
        with self._changed:
            is_open = any(line.is_open for line in self._open)
        fresh_s = self.policy.stale_s if self.symbols else self.policy.dead_s
        return is_open and age_s is not None and age_s <= fresh_s

    def ask(self, request: Mapping[str, Any], timeout_s: float = ANSWER_S) -> bytes:
        """Return the answer to a request. Any thread but a listener's may ask.

        Parameters
        ----------
        request : mapping
            Without `req_id`; its first key names the call.
        timeout_s : float
            Longest wait for budget, connection and answer together.

        Raises
        ------
        ConnectionLostError
            No connection, or it was lost before the answer, or no answer in time.
        VenueError
            The venue refuses, now or for this connection; `retryable` says whether later helps.
            HostRestingError where the budget of the call is spent: nothing was sent.
        StoppedError
        """
        call = next(iter(request))
        until_s = self._clock.monotonic_s() + timeout_s
        with self._changed:
            line = self._line(call, until_s)
            number = next(self._numbers)
            asked = self._asked[number] = _Asked(line, call)
            line.send([msgspec.json.encode({**request, "req_id": number})])
            try:
                self._wait(asked, number, until_s)
            finally:
                del self._asked[number]
        if asked.answer is not None:
            return asked.answer
        raise asked.error or ConnectionLostError(
            f"no answer of {self.venue.title} to {call} in {timeout_s:g} s"
        )

    def _line(self, call: str, until_s: float) -> Ingestor:
        """Wait for a line and for budget, and take of that. The lock is held."""
        while True:
            self._check_stopped()
            now_s = self._clock.monotonic_s()
            rest_s = self._budgets.wait_s(call, now_s, until_s)
            line = next((line for line in reversed(self._open) if self._open[line]), None)
            if line is not None and not rest_s:
                self._budgets.take(call, now_s)
                return line
            if line is None:
                self._check_reachable(call, now_s, until_s)
            self._clock.wait(self._changed, min(rest_s or SLICE_S, SLICE_S))

    def _check_reachable(self, call: str, now_s: float, until_s: float) -> None:
        why = self._why
        if why is not None and not why.retryable:
            raise VenueError(f"{call} is not asked: {why}", getattr(why, "status", None))
        if now_s >= until_s:
            words = f"{self.venue.title} is not connected, so {call} was not asked"
            raise ConnectionLostError(f"{words}: {why}" if why else words)

    def _wait(self, asked: _Asked, number: int, until_s: float) -> None:
        while not asked.is_over:
            self._check_stopped()
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0:
                log.warning("no answer source=%s call=%s", self.venue.source, asked.call)
                return
            self._clock.wait(self._changed, min(left_s, SLICE_S))

    def _check_stopped(self) -> None:
        if self._is_stopped:
            raise StoppedError(f"stopped while {self.venue.title} was asked")

    # What the lines say; called in their threads, each of which is an Ingestor.

    def opened(self, symbols: Sequence[str]) -> None:
        """Let questions go over a new line, once it is the account's."""
        line = _this_line()
        with self._changed:
            self._open[line] = self.login is None
            self._why, self.label = None, line.label
            self._paused.clear()
            self._changed.notify_all()
        self.listener.opened(self.symbols)

    def closed(self, symbols: Sequence[str]) -> None:
        """Fail what was asked over a line that has ended."""
        line = _this_line()
        with self._changed:
            self._open.pop(line, None)
            self._logins = {n: other for n, other in self._logins.items() if other is not line}
            for asked in self._asked.values():
                if asked.line is line and not asked.is_over:
                    words = f"the connection was lost before {asked.call} was answered"
                    asked.error = ConnectionLostError(words)
            self._changed.notify_all()
        self.listener.closed(self.symbols)

    def trades(self, symbol: str, batch: Batch) -> None:
        """Hand trades on, and subscribe again to what slept."""
        self.listener.trades(symbol, batch)
        self._mute -= {symbol}
        if self._paused:
            self._resubscribe(_this_line())

    def facts(self, facts: Sequence[tuple[str, Fact]]) -> None:
        """Hand on what is no trade."""
        self.listener.facts(facts)

    def rejected(self, error: FrameError) -> None:
        """Hand on a refused frame."""
        self.listener.rejected(error)

    def status(self, status: FeedStatus) -> None:
        """Hand on a change of state."""
        self.listener.status(status)

    def replies(self, replies: Mapping[int, bytes]) -> None:
        """Find each answer its question. Raises VenueError, which ends the line."""
        for number, frame in replies.items():
            if number < FIRST_NUMBER:
                self._subscribed(number, frame)
            elif number in self._logins:
                self._logged_in(number, frame)
            else:
                self._answered(number, frame)

    def _found(self, symbols: Sequence[str]) -> str:
        try:
            return self._locate()
        except BotCryptoError as error:
            self._unfound = error
            raise

    def _tapped(self, frames: Sequence[bytes], symbols: Sequence[str]) -> None:
        known = frozenset(symbols)
        streamed = [frame for frame in frames if self._stream.decode([frame], known).trades]
        if self._tap is not None and streamed:
            self._tap(streamed, symbols)

    def _topics(self, symbols: Sequence[str]) -> frozenset[str]:
        return self._stream.topics(symbols) - self._mute

    def _opening(self, symbols: Sequence[str]) -> list[bytes]:
        """Return what a new line says first: who we are, then what to follow."""
        frames = list(self._stream.opening(self.symbols))
        now_s = self._clock.monotonic_s()
        with self._changed:
            for frame in frames:
                self._budgets.take(next(iter(msgspec.json.decode(frame))), now_s)
            if self.login is not None:
                number = next(self._numbers)
                self._logins[number] = _this_line()
                request = {**self.login.question.params, "req_id": number}
                frames.insert(0, msgspec.json.encode(request))
        return frames

    def _logged_in(self, number: int, frame: bytes) -> None:
        refusal = self.venue.dialog.refusal_of(frame)
        if refusal is not None:
            raise self._refused("the login", refusal)
        self.account = cast(Login, self.login).check(frame)
        with self._changed:
            self._open[self._logins.pop(number)] = True
            self._changed.notify_all()

    def _subscribed(self, number: int, frame: bytes) -> None:
        """Act on the answer to a subscription: one symbol is left out, or the line is given up."""
        refusal = self.venue.dialog.refusal_of(frame)
        if refusal is None or refusal.rule.kind == "harmless":
            return
        if refusal.rule.kind in {"fatal", "backoff"}:
            raise self._refused("a subscription", refusal)
        self.listener.rejected(FrameError("symbol", str(refusal), frame))
        if not 0 < number <= len(self.symbols):
            return
        symbol = self.symbols[number - 1]
        self._mute |= {symbol}
        if refusal.rule.kind == "pause":
            with self._changed:
                wait_s = refusal.rule.retry_after_s or 0.0
                self._paused[symbol] = self._clock.monotonic_s() + wait_s

    def _resubscribe(self, line: Ingestor) -> None:
        with self._changed:
            now_s = self._clock.monotonic_s()
            due = {symbol for symbol, at_s in self._paused.items() if at_s <= now_s}
            for symbol in due:
                del self._paused[symbol]
        if due:
            opening = self._stream.opening(self.symbols)
            named = zip(self.symbols, opening, strict=True)
            line.send([frame for symbol, frame in named if symbol in due])

    def _answered(self, number: int, frame: bytes) -> None:
        refusal = self.venue.dialog.refusal_of(frame)
        with self._changed:
            asked = self._asked.get(number)
            if asked is None:
                log.debug("answer too late source=%s number=%s", self.venue.source, number)
                return
            if refusal is None:
                asked.answer = frame
            else:
                asked.error = self._refused(asked.call, refusal)
                if refusal.rule.kind == "backoff":
                    rest_s = refusal.rule.retry_after_s or 0.0
                    self._budgets.rest(asked.call, self._clock.monotonic_s() + rest_s)
            self._changed.notify_all()

    def _refused(self, what: str, refusal: Refusal) -> VenueError:
        rule = refusal.rule
        words = f"{self.venue.title} refuses {what} with {refusal}"
        return VenueError(words, retryable=rule.is_retryable, retry_after_s=rule.retry_after_s)

    def _judged(self, error: BotCryptoError) -> BotCryptoError:
        """Say what a failed handshake means here, and remember why nothing is connected."""
        is_handshake = isinstance(error, VenueError) and error is not self._unfound
        rule = self.venue.dialog.handshakes.get(getattr(error, "status", None) or 0)
        if is_handshake and isinstance(error, VenueError) and rule is not None:
            words = f"{error}: {rule.advice}"
            error = VenueError(words, error.status, retryable=rule.is_retryable)
        with self._changed:
            self._why = error
            self._changed.notify_all()
        return error


# One connection an account, whoever asks; there is one account a feed.
_running: dict[str, SharedConnection] = {}


def running(source: str) -> SharedConnection | None:
    """Return the connection of a feed that was started and not stopped."""
    return _running.get(source)


def _this_line() -> Ingestor:
    return cast(Ingestor, threading.current_thread())


def _nothing(symbols: Sequence[str]) -> frozenset[str]:
    return frozenset()


def _silence(symbols: Sequence[str]) -> Sequence[bytes]:
    return ()
