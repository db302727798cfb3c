"""Bybit v5's frames that are no data: answers to requests, and pongs.

Source: github.com/bybit-exchange/docs, docs/v5/ws/connect, 2026-07.
"""

from __future__ import annotations

from typing import Any

import msgspec

from marketdata.core.errors import FrameError
from marketdata.venues.base import Control
from marketdata.venues.wire_json import cut, parsed

_any = msgspec.json.Decoder()


def kind_of(frame: bytes) -> str:
    """Return what a frame's topic is about; empty where it has none. Raises FrameError."""
    topic = _object(frame).get("topic")
    return topic.partition(".")[0] if isinstance(topic, str) else ""


def _object(frame: bytes) -> dict[str, Any]:
    body = parsed(_any, frame)
    if not isinstance(body, dict):
        raise FrameError("type", f"a JSON object expected, seen {type(body).__name__}", frame)
    return body


def control_of(frame: bytes) -> Control:
    """Recognise answers to requests. Raises FrameError.

    Notes
    -----
    Spot `{"success":true,"ret_msg":"subscribe","conn_id":"…","req_id":"1","op":"subscribe"}`,
    linear the same with `"ret_msg":""`; refused `{"success":false,"ret_msg":"error:handler not
    found,topic:orderbook.500.BTCUSDT",…}`; options `{"success":true,"type":"COMMAND_RESP",
    "data":{"failTopics":[],"successTopics":["…"]}}`; pongs `{"success":true,"ret_msg":"pong",
    "op":"ping",…}` and `{"op":"pong","args":["1700000000000"],…}`.
    """
    body = _object(frame)
    op, success = body.get("op"), body.get("success")
    if "topic" in body or not (op == "pong" or isinstance(success, bool)):
        seen = cut(body.get("topic", op))
        raise FrameError("event", f"a known topic or an answer expected, seen {seen!r}", frame)
    failed = _failed(body.get("data"))
    if success is False or failed:
        words = body.get("ret_msg") or body.get("retMsg") or failed
        return Control("refused", cut(words or "no words"))
    if op in ("ping", "pong"):
        return Control("pong")
    return Control("ack", cut(body.get("req_id", "")))


def _failed(data: object) -> str:
    topics = data.get("failTopics") if isinstance(data, dict) else None
    return ", ".join(map(cut, topics)) if isinstance(topics, list) else ""
