"""What a client may say on a stream connection, and the venue's answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from marketdata.core.errors import BotCryptoError
from marketdata.simulator.bybit.limits import BybitRules
from marketdata.simulator.bybit.numerals import LINEAR, SPOT
from marketdata.simulator.bybit.streams import Client, Streams
from marketdata.simulator.faults import Faults


class NackError(BotCryptoError):
    """The venue refuses a request as a whole: `{"success":false,"ret_msg":"error:…"}`."""


def answers(
    streams: Streams, faults: Faults, rules: BybitRules, client: Client, text: str, now_ms: int
) -> list[bytes]:
    """Obey one message and return what is sent back, in order.

    Notes
    -----
    As seen at the venue, linear sends the first data before the acknowledgement, spot after it.
    """
    request: dict[str, Any] = {}
    try:
        request = _read(text)
        if request.get("op") == "ping":
            client.pings += 1
            return [_pong(client, request, now_ms, odd=bool(faults.take("odd_pong")))]
        data = _obey(streams, faults, rules, client, request)
        ack = _reply(client, request, success=True, says=_done(client, request))
        return [*data, ack] if client.category == LINEAR else [ack, *data]
    except NackError as error:
        return [_reply(client, request, success=False, says=str(error))]


def _read(text: str) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise NackError("error:invalid json") from None
    if not isinstance(request, dict):
        raise NackError("error:invalid request")
    if not isinstance(request.get("req_id", ""), str):
        raise NackError("error:req_id must be a string")
    return request


def _obey(
    streams: Streams, faults: Faults, rules: BybitRules, client: Client, request: dict[str, Any]
) -> Sequence[bytes]:
    op = request.get("op")
    if op not in {"subscribe", "unsubscribe"}:
        raise NackError(f"error:unknown op,op:{op}")
    topics = _topics(request)
    if op == "unsubscribe":
        for topic in topics:
            streams.forget(client, topic)
        return ()
    _check(streams, faults, rules, client, topics)
    return [data for topic in topics for data in streams.follow(client, topic)]


def _topics(request: dict[str, Any]) -> list[str]:
    args = request.get("args")
    if not isinstance(args, list) or not args or not all(isinstance(one, str) for one in args):
        raise NackError("error:args must be an array of topics")
    return args


def _check(
    streams: Streams, faults: Faults, rules: BybitRules, client: Client, topics: list[str]
) -> None:
    """Refuse all of a batch for one of it, as the venue does. Raises NackError."""
    if faults.take("refuse"):
        raise NackError("error:the simulator refuses on demand")
    if client.category == SPOT and len(topics) > rules.args:
        raise NackError(f"args size >{rules.args}")
    if sum(map(len, client.topics.keys() | set(topics))) > rules.text:
        raise NackError(f"error:args length >{rules.text}")
    for topic in topics:
        if not streams.is_known(topic):
            raise NackError(f"error:handler not found,topic:{topic}")


def _done(client: Client, request: dict[str, Any]) -> str:
    return str(request["op"]) if client.category == SPOT else ""


def _pong(client: Client, request: dict[str, Any], now_ms: int, *, odd: bool) -> bytes:
    """Return the pong; the odd one is that of options and private sockets."""
    if not odd:
        return _reply(client, request, success=True, says="pong")
    req_id = {"req_id": request["req_id"]} if "req_id" in request else {}
    return msgspec.json.encode(
        {**req_id, "op": "pong", "args": [str(now_ms)], "conn_id": client.id}
    )


def _reply(client: Client, request: dict[str, Any], *, success: bool, says: str) -> bytes:
    req_id = request.get("req_id")
    given = req_id if isinstance(req_id, str) else ""
    # Linear repeats an absent one as empty, spot leaves it out.
    echoed = {} if client.category == SPOT and not given else {"req_id": given}
    reply = {"success": success, "ret_msg": says, "conn_id": client.id, **echoed}
    return msgspec.json.encode({**reply, "op": str(request.get("op", ""))})
