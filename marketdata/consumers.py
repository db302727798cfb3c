"""The WebSocket of the page: a full context first, then the newest, ten times a second at most."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from marketdata import answers, live
from marketdata.payload import encode
from marketdata.publisher import PUSH_TIMEFRAMES, Box
from marketdata.store.board import PACE_S, Key

# Connections are told of this often, so that data age is right on a quiet market.
HEALTH_S = 1.0
# Close codes: 4404 unknown name, 4503 nothing runs here.
UNKNOWN, NOT_RUNNING = 4404, 4503


class ContextConsumer(AsyncWebsocketConsumer):
    """One client looking at one scope of one instrument."""

    box: Box | None = None
    pump: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Accept, or say why not by a close code and a last message."""
        await self.accept()
        query = parse_qs(self.scope["query_string"].decode())
        try:
            key, timeframe = await database_sync_to_async(_asked)(query)
        except answers.UnknownNameError as error:
            await self._refuse(UNKNOWN, error.detail, error.known)
            return
        except live.NotRunningError as error:
            await self._refuse(NOT_RUNNING, str(error), [])
            return
        self.box = Box(key, timeframe)
        live.now().publisher.add(self.box)
        self.pump = asyncio.create_task(self._pump(self.box))

    async def _refuse(self, code: int, detail: str, known: list[str]) -> None:
        message = {"type": "error", "detail": detail, "known": known}
        await self.send(text_data=encode(message).decode())
        await self.close(code)

    async def disconnect(self, code: int) -> None:
        """Stop sending."""
        if self.box is not None and live.is_running():
            live.now().publisher.remove(self.box)
        if self.pump is not None:
            self.pump.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Ignore what clients say: the URL asks for everything."""

    async def _pump(self, box: Box) -> None:
        """Send what is in the box, contexts no faster than the pace."""
        health_at = 0.0
        while live.is_running():
            with suppress(TimeoutError):
                await asyncio.wait_for(box.ready.wait(), HEALTH_S)
            began = time.monotonic()
            posting, messages = box.take()
            if posting is not None:
                await self.send(text_data=live.now().publisher.text(box, posting))
            for message in messages:
                await self._send(message)
            if began - health_at >= HEALTH_S:
                health_at = began
                await self._send({"type": "health", **answers.health_answer()})
            if posting is not None:
                # Postings come at the pace already; this only guards against two in a row.
                await asyncio.sleep(max(0.0, PACE_S * 0.9 - (time.monotonic() - began)))

    async def _send(self, message: dict[str, Any]) -> None:
        await self.send(text_data=encode(message).decode())


def _asked(query: dict[str, list[str]]) -> tuple[Key, str]:
    live.now()
    first = {name: values[0] for name, values in query.items()}
    name = answers.resolve(first.get("source"), first.get("symbol"))
    timeframe = first.get("timeframe", "1m")
    if timeframe not in PUSH_TIMEFRAMES:
        raise answers.UnknownNameError("timeframe", timeframe, PUSH_TIMEFRAMES)
    scope = first.get("scope", "day")
    answers.check_scope(name, scope)
    return Key(*name, scope), timeframe
