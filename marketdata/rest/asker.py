"""`Asker`: one question to one answer, through ban, breaker, limiter, retries and fallback host."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn, TypeVar

import msgspec

from marketdata.conf import Conf
from marketdata.core.backoff import Backoff
from marketdata.core.errors import (
    BannedError,
    BlockedError,
    BotCryptoError,
    FrameError,
    StoppedError,
    VenueError,
)
from marketdata.core.ratewindow import Admission
from marketdata.core.redaction import HIDDEN, redacted, spellings
from marketdata.rest.host import Host
from marketdata.rest.limiter import Limiter, Priority
from marketdata.rest.pool import Pool
from marketdata.rest.session import Reply, Session
from marketdata.rest.verdict import Kind, Verdict, http_date, judge
from marketdata.venues.base import Question, Venue

log = logging.getLogger(__name__)

# A question waits so long by itself; longer pauses and bans are told to the caller at once.
PATIENCE_S = 120.0
LONGEST_DELAY_S = 30.0
# How often a long wait for a host looks whether it still has to.
LOOK_S = 1.0
T = TypeVar("T")


class Asker:
    """Asks the hosts of one venue. Any thread may use it.

    Parameters
    ----------
    urls : tuple of str
        Base URLs; a later one is asked when region rules close those before it.
    pool : Pool
        State of the hosts.
    limiter : Limiter
        Room for requests.
    random01 : callable
        Jitter of the waits before retries.
    """

    def __init__(
        self,
        venue: Venue,
        urls: tuple[str, ...],
        conf: Conf,
        stop: threading.Event,
        pool: Pool,
        limiter: Limiter,
        random01: Callable[[], float] = random.random,
    ) -> None:
        self.venue = venue
        self.urls = urls
        self.retries = 0
        self._conf = conf
        self._stop = stop
        self._pool = pool
        self._limiter = limiter
        self._clock = pool.clock
        self._random01 = random01
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._hidden = spellings(conf.secrets)
        self._session(urls[0])

    def ask(self, question: Question, read: Callable[[Reply], T], priority: Priority) -> T:
        """Ask and read until it is well, refused for good, or asked too often.

        Raises
        ------
        BotCryptoError
        """
        backoff = Backoff(self._conf.backfill_retry_base, cap_s=LONGEST_DELAY_S)
        while True:
            url = self._url()
            delay_s = backoff.next(self._random01())
            try:
                return self._once(url, question, read, priority, delay_s)
            except BotCryptoError as error:
                if self._falls_back(error, url):
                    continue
                if self._is_final(error, backoff.attempts):
                    raise
                delay_s = max(delay_s, _told_s(error))
                self._log_retry(url, question, error, delay_s, backoff.attempts)
            self.retries += 1
            self._clock.pause(delay_s, self._stop)

    def host(self) -> Host:
        """Return the host asked at present."""
        return self._pool.host(self._url())

    def reset(self) -> None:
        """Return to the full limit and ask every host again, as an operator wants; bans stay."""
        self._limiter.reset()
        for url in self.urls:
            self._pool.host(url).reset()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for session in self._sessions.values():
                session.close()

    # One attempt.

    def _once(
        self,
        url: str,
        question: Question,
        read: Callable[[Reply], T],
        priority: Priority,
        delay_s: float,
    ) -> T:
        host = self._pool.host(url)
        admission, sent_s = self._admitted(host, question.weight, priority)
        try:
            reply = self._exchanged(url, question, host, admission, sent_s)
            verdict = self._judged(reply)
            if verdict.kind is not Kind.OK:
                self._react(host, verdict, reply.status, admission, sent_s, delay_s)
            return _value(host, reply, read, sent_s)
        finally:
            # Without a verdict, by stop or by a bug, another request may probe.
            host.left(sent_s)

    def _admitted(self, host: Host, weight: int, priority: Priority) -> tuple[Admission, float]:
        """Wait until host and limiter let a request go; return its room and when it goes."""
        urgent = priority is Priority.LIVE
        while True:
            self._clock.pause(0, self._stop)
            while (wait_s := host.wait_s(urgent=urgent)) > 0:
                if wait_s > PATIENCE_S:
                    raise host.resting(wait_s)
                self._clock.pause(min(wait_s, LOOK_S), self._stop)
            admission = self._limiter.acquire(weight, priority, self._stop)
            sent_s = host.enter(urgent=urgent)
            if sent_s is not None:
                return admission, sent_s
            # Banned or paused while it waited for room.
            self._limiter.refund(admission)

    def _exchanged(
        self, url: str, question: Question, host: Host, admission: Admission, sent_s: float
    ) -> Reply:
        reply: Reply | None = None
        try:
            reply = self._session(url).get(question.path, *question.sent())
        except StoppedError:
            raise
        except BotCryptoError as error:
            host.count("lost", self._clock.monotonic_s() - sent_s)
            host.failed(sent_s, str(error))
            raise
        finally:
            self._limiter.answered(admission, *self._told(reply))
        host.count(str(reply.status), reply.elapsed_s)
        return reply

    def _told(self, reply: Reply | None) -> tuple[int | None, int | None]:
        """Return the weight used and the second of the minute as the venue tells them."""
        if reply is None:
            return None, None
        used = reply.headers.get(self.venue.weight_header, "")
        date = http_date(reply.headers.get("Date", ""))
        return int(used) if used.isdecimal() else None, date.second if date else None

    def _judged(self, reply: Reply) -> Verdict:
        """Sort an answer; a venue that quotes a key must not spread it."""
        body = reply.body
        for value in self._hidden:
            # Before the words are cut: nobody would know a part of it.
            body = body.replace(value.encode(), HIDDEN.encode())
        verdict = judge(self.venue, replace(reply, body=body))
        return replace(verdict, words=redacted(verdict.words))

    def _react(
        self,
        host: Host,
        verdict: Verdict,
        status: int,
        admission: Admission,
        sent_s: float,
        delay_s: float,
    ) -> NoReturn:
        """Do to the host what an answer calls for, and raise what it means to the caller."""
        words, wait_s, kind = f"{host.name}: {verdict.words}", verdict.wait_s, verdict.kind
        if kind is Kind.REFUSED:
            host.succeeded(sent_s)
            raise VenueError(words, status, code=verdict.code)
        if kind is Kind.RETRY:
            host.failed(sent_s, verdict.words)
            raise VenueError(words, status, retryable=True, retry_after_s=wait_s)
        if kind in (Kind.BLOCK, Kind.REGION):
            wait_s = host.shut(kind, verdict.words)
            is_block = kind is Kind.BLOCK
            raise BlockedError(words, status, retryable=is_block, retry_after_s=wait_s)
        wait_s = wait_s or delay_s
        self._limiter.refused(admission, wait_s)
        if kind is Kind.BAN:
            host.ban(wait_s, verdict.words)
            raise BannedError(words, status, retryable=True, retry_after_s=wait_s)
        host.refused(sent_s, wait_s, verdict.words)
        raise VenueError(words, status, retryable=True, retry_after_s=wait_s)

    # Between attempts.

    def _is_final(self, error: BotCryptoError, attempts: int) -> bool:
        return (
            not (error.retryable or _is_damage(error))
            or isinstance(error, BlockedError)
            or _told_s(error) > PATIENCE_S
            or attempts > self._conf.backfill_max_retries
        )

    def _falls_back(self, error: BotCryptoError, url: str) -> bool:
        """Tell whether another host may be asked in place of the one that a region rule closes."""
        other = self._url()
        if not isinstance(error, BlockedError) or other == url:
            return False
        log.warning("host closed here host=%s error=%s; asking %s", url, error, other)
        return True

    def _log_retry(
        self, url: str, question: Question, error: BotCryptoError, delay_s: float, attempt: int
    ) -> None:
        log.warning(
            "retry host=%s path=%s status=%s delay_s=%.2f attempt=%d/%d error=%s",
            self._pool.host(url).name,
            question.path,
            getattr(error, "status", None),
            delay_s,
            attempt,
            self._conf.backfill_max_retries,
            error,
        )

    def _url(self) -> str:
        """Return the first base URL that no region rule closes, or the first one."""
        open_ones = (url for url in self.urls if not self._pool.host(url).is_barred())
        return next(open_ones, self.urls[0])

    def _session(self, url: str) -> Session:
        with self._lock:
            if url not in self._sessions:
                conf, timeout_s = self._conf, self._conf.hosts(self.venue.source).timeout_s
                self._sessions[url] = Session(
                    url, conf.http_user_agent, timeout_s, self._stop, self._clock
                )
            return self._sessions[url]


def _value(host: Host, reply: Reply, read: Callable[[Reply], T], sent_s: float) -> T:
    """Read a good answer, and tell the host by it."""
    try:
        value = read(reply)
    except FrameError as error:
        if is_json(reply.body):
            host.succeeded(sent_s)
            raise
        host.failed(sent_s, str(error))
        raise FrameError("json", f"{host.name}: {error.detail}", reply.body) from error
    host.succeeded(sent_s)
    return value


def _told_s(error: BotCryptoError) -> float:
    """Return the waiting time the venue asked for."""
    return getattr(error, "retry_after_s", None) or 0.0


def is_json(body: bytes) -> bool:
    """Tell whether a body is JSON from end to end."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_damage(error: BotCryptoError) -> bool:
    """Tell whether a body is no JSON at all: cut on its way, and whole when asked again."""
    return isinstance(error, FrameError) and error.reason == "json"
