"""What a client may say on a stream connection, and the venue's answers."""

from __future__ import annotations

from typing import Any

import msgspec

from marketdata.core.errors import BotCryptoError
from marketdata.simulator.faults import Faults
from marketdata.simulator.streams import Client, Streams

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
LONGEST_ID = 36


class ControlError(BotCryptoError):
    """The venue refuses a message: `{"code":2,"msg":"Invalid request: …"}`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(reason: str) -> ControlError:
    """Return the refusal of a message that is JSON but no request."""
    return ControlError(2, f"Invalid request: {reason}")


def answer(streams: Streams, faults: Faults, client: Client, text: str, most: int) -> bytes:
    """Obey one message and return the venue's answer.

    Parameters
    ----------
    most : int
        Streams a connection may have.
    """
    id: Any = None
    try:
        try:
            message = msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise ControlError(3, "Invalid JSON: expected value at line 1 column 1") from None
        id = _id(message)
        return _json({"result": _obey(streams, faults, client, message, most), "id": id})
    except ControlError as error:
        refusal = {"code": error.code, "msg": str(error)}
        return _json(refusal if id is None else {**refusal, "id": id})


def _id(message: Any) -> int | str | None:
    if not isinstance(message, dict):
        raise invalid("expected a map at line 1 column 1")
    id = message.get("id")
    if isinstance(id, str) and len(id) <= LONGEST_ID:
        return id
    if id is None or (isinstance(id, int) and not isinstance(id, bool) and abs(id) < 2**63):
        return id
    raise invalid("request ID must be an integer, a string of up to 36 characters or null")


def _obey(
    streams: Streams, faults: Faults, client: Client, message: dict[str, Any], most: int
) -> Any:
    if "method" not in message:
        raise invalid("missing field `method` at line 1 column 1")
    method = message["method"]
    if method not in METHODS:
        raise invalid(
            f"unknown variant `{method}`, expected one of `{'`, `'.join(METHODS)}` "
            "at line 1 column 1"
        )
    if method == "LIST_SUBSCRIPTIONS":
        return [*client.streams]
    if method.endswith("_PROPERTY"):
        return _property(client, method, message.get("params"))
    names = _names(message.get("params"))
    if method == "UNSUBSCRIBE":
        for name in names:
            streams.forget(client, name)
    else:
        _subscribe(streams, faults, client, names, most)
    return None


def _subscribe(
    streams: Streams, faults: Faults, client: Client, names: list[str], most: int
) -> None:
    if faults.take("refuse"):
        raise invalid("the simulator refuses on demand")
    if len(client.streams.keys() | set(names)) > most:
        raise invalid(f"more than {most} streams on one connection")
    for name in names:
        streams.follow(client, name)


def _names(params: Any) -> list[str]:
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        raise invalid("params must be an array of stream names")
    return params


def _property(client: Client, method: str, params: Any) -> bool | None:
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise invalid("property name must be a string")
    if params[0] != "combined":
        raise ControlError(0, "Unknown property")
    if method == "GET_PROPERTY":
        return client.combined
    if len(params) != 2:
        raise invalid("too many parameters" if len(params) > 2 else "missing property value")
    if not isinstance(params[1], bool):
        raise ControlError(1, "Invalid value type: expected Boolean")
    client.combined = params[1]
    return None


def _json(reply: dict[str, Any]) -> bytes:
    return msgspec.json.encode(reply)
