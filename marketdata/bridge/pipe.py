"""What the process that hears a venue tells its parent: words as JSON, trades as columns.

A message is a JSON object with one key, its kind. After `trades` the columns follow. Refused frames
are text of one character a byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from typing import IO, Any, get_args

from marketdata.backfill import wire
from marketdata.backfill.wire import ChildLostError
from marketdata.core.errors import FrameError
from marketdata.core.events import Batch
from marketdata.core.facts import Fact
from marketdata.core.trades import Trades
from marketdata.feeds.ingestor import FeedStatus, Listener

BYTES = "latin-1"
FACTS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Fact)}
Message = dict[str, Any]
Told = tuple[Message, Trades | None]


def opened(symbols: Sequence[str]) -> Told:
    """Say that a new connection is open, or that nothing follows on what was said before."""
    return {"opened": list(symbols)}, None


def closed(symbols: Sequence[str]) -> Told:
    """Say that a connection has ended."""
    return {"closed": list(symbols)}, None


def trades(symbol: str, batch: Batch) -> Told:
    """Say trades."""
    return {"trades": [symbol, batch.origin, batch.recv_us]}, batch.trades


def facts(told: Sequence[tuple[str, Fact]]) -> Told:
    """Say what is no trade."""
    return {"facts": [[symbol, type(fact).__name__, astuple(fact)] for symbol, fact in told]}, None


def replies(told: Mapping[int, bytes]) -> Told:
    """Say answers, by the number of the request."""
    return {"replies": [[number, body.decode(BYTES)] for number, body in told.items()]}, None


def rejected(error: FrameError) -> Told:
    """Say that a frame was refused."""
    return {"rejected": [error.reason, error.detail, error.raw.decode(BYTES)]}, None


def status(told: FeedStatus) -> Told:
    """Say a change of state."""
    return {"status": asdict(told)}, None


def beat(statuses: Sequence[FeedStatus], dropped: int) -> Told:
    """Say that all is well, and what each connection is doing."""
    return {"beat": {"statuses": [asdict(each) for each in statuses], "dropped": dropped}}, None


def put(out: IO[bytes], told: Told) -> None:
    """Write a message and send it off. Raises OSError."""
    message, columns = told
    wire.put_answer(out, message)
    if columns is not None:
        wire.put_trades(out, columns)
        out.flush()


def take(source: IO[bytes]) -> Told:
    """Read a message. Raises ChildLostError."""
    message = wire.take(source)
    if isinstance(message, Trades):
        raise ChildLostError("a message of the connector expected, seen trades")
    if "trades" not in message:
        return message, None
    columns = wire.take(source)
    if not isinstance(columns, Trades):
        raise ChildLostError("trades of the connector expected, seen a message")
    return message, columns


def hand_on(told: Told, listener: Listener) -> None:
    """Tell a listener what was said; what it does not know, a beat, is passed over."""
    message, columns = told
    ((kind, value),) = message.items()
    if columns is not None:
        symbol, origin, recv_us = value
        listener.trades(symbol, Batch(columns, origin, recv_us))
    elif kind == "facts":
        listener.facts([(symbol, _fact(name, fields)) for symbol, name, fields in value])
    elif kind == "replies":
        listener.replies({number: body.encode(BYTES) for number, body in value})
    elif kind == "rejected":
        listener.rejected(FrameError(value[0], value[1], value[2].encode(BYTES)))
    elif kind in ("opened", "closed"):
        getattr(listener, kind)(tuple(value))


def _fact(name: str, fields: list[Any]) -> Fact:
    # Levels come back from JSON as lists.
    values = [[tuple(level) for level in x] if isinstance(x, list) else x for x in fields]
    fact: Fact = FACTS[name](*values)
    return fact
