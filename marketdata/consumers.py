"""The WebSocket of the page: a full context first, then the newest, ten messages a second at most.

A client may acknowledge contexts by `{"ack": seq}`; it then never lags by more than a few of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from marketdata import answers, live
from marketdata.outlet import TRY_LATER, Frame, Line, Outlet
from marketdata.payload import encode
from marketdata.publisher import PUSH_ROWS, PUSH_TIMEFRAMES, Box
from marketdata.store.board import Key

log = logging.getLogger(__name__)
T = TypeVar("T")
A = TypeVar("A")

# Close codes: 4404 unknown name, 4503 nothing runs here; the others are those of RFC 6455.
UNKNOWN, NOT_RUNNING = 4404, 4503
TOO_MUCH, TOO_LONG, FAILED = 1008, 1009, 1011
# What a client may send: an acknowledgement takes some 20 characters and comes ten times a second.
MOST_CHARACTERS = 4096
MOST_A_SECOND = 20
# Each costs some kilobytes and one file descriptor, of which a process has a thousand by default.
MOST_CLIENTS = 500


class Said(msgspec.Struct):
    """What a client may say."""

    ack: int


class ContextConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """One client looking at one scope of one instrument."""

    box: Box | None = None
    outlet: Outlet | None = None
    task: asyncio.Task[None] | None = None
    is_closing = False

    async def connect(self) -> None:
        """Accept, and find out what is asked for beside whatever the client sends."""
        await self.accept()
        self.line = Line(self.base_send)
        self.heard_s: deque[float] = deque(maxlen=MOST_A_SECOND)
        self._begin(self._serve())

    async def disconnect(self, code: int) -> None:
        """Stop sending."""
        self.is_closing = True
        self._stop()
        if self.task is not None:
            self.task.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take an acknowledgement; nothing else is expected."""
        if self.is_closing:
            return
        now_s, data = time.monotonic(), text_data or bytes_data or ""
        if len(data) > MOST_CHARACTERS:
            await self._end(TOO_LONG)
        elif len(self.heard_s) == MOST_A_SECOND and now_s - self.heard_s[0] < 1.0:
            await self._end(TOO_MUCH)
        else:
            self.heard_s.append(now_s)
            self._heed(data)

    def _heed(self, data: str | bytes) -> None:
        try:
            said = msgspec.json.decode(data, type=Said)
        except msgspec.MsgspecError:
            return
        if self.outlet is not None:
            self.outlet.acked(said.ack)

    async def _serve(self) -> None:
        """Put up a box and an outlet for what is asked for, or say why not."""
        try:
            if live.now().publisher.clients >= MOST_CLIENTS:
                await self._refuse(TRY_LATER, f"{MOST_CLIENTS} clients at most", [])
                return
            await self._introduce(parse_qs(self.scope["query_string"].decode()))
        except answers.UnknownNameError as error:
            await self._refuse(UNKNOWN, error.detail, error.known)
        except live.NotRunningError as error:
            await self._refuse(NOT_RUNNING, str(error), [])

    async def _introduce(self, query: dict[str, list[str]]) -> None:
        """Begin to push; where nothing feeds the instrument, with what is stored of it."""
        key, timeframe = await _in_thread(_asked, query)
        publisher = live.now().publisher
        self.box = Box(key, timeframe, publisher.text)
        self.outlet = Outlet(self.box.take, self.line, self._over)
        self.box.wake = self.outlet.pump
        publisher.add(self.box)
        if answers.live_pipeline((key.source, key.symbol)) is None:
            stored = await _in_thread(_stored, key)
            if stored is not None:
                self.box.put(stored=Frame(stored))

    async def _refuse(self, code: int, detail: str, known: list[str]) -> None:
        message = {"type": "error", "detail": detail, "known": known}
        await self.send(text_data=encode(message).decode())
        await self._end(code)

    async def _end(self, code: int) -> None:
        self.is_closing = True
        self._stop()
        await self.line.close(code)

    def _stop(self) -> None:
        if self.outlet is not None:
            self.outlet.close()
        if self.box is not None and live.is_running():
            live.now().publisher.remove(self.box)

    def _over(self, reason: int | BaseException) -> None:
        """End by a code, or because of an error."""
        if isinstance(reason, BaseException):
            log.error("client dropped after an error", exc_info=reason)
            reason = FAILED
        if not self.is_closing:
            self._begin(self._end(reason))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        self.task = asyncio.create_task(work)
        self.task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._over(error)


async def _in_thread(work: Callable[[A], T], asked: A) -> T:
    """Run work that may ask the database in a thread of its own."""
    answer: T = await database_sync_to_async(work, thread_sensitive=False)(asked)
    return answer


def _asked(query: dict[str, list[str]]) -> tuple[Key, str]:
    first = {name: values[0] for name, values in query.items()}
    name = answers.resolve(first.get("source"), first.get("symbol"))
    timeframe = first.get("timeframe", "1m")
    if timeframe not in PUSH_TIMEFRAMES:
        raise answers.UnknownNameError("timeframe", timeframe, PUSH_TIMEFRAMES)
    scope = first.get("scope", "day")
    answers.check_scope(name, scope)
    return Key(*name, scope), timeframe


def _stored(key: Key) -> bytes | None:
    """Return the stored context of a scope as a push; None where there is none."""
    try:
        context = answers.context_answer(key.source, key.symbol, key.scope, PUSH_ROWS)
    except answers.NotReadyError:
        return None
    return encode({"type": "context", "seq": 0, **context, "candles": []})
