"""Binance's JSON: events raw or wrapped, answers to requests, refusals; the same in its markets.

Decoding is typed and strict first, because that is quickest and sees everything odd. Only a frame
that is odd is looked at again: it may be a trade with a field that nobody knows, which counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from marketdata.core.errors import FrameError
from marketdata.core.trades import EARLIEST_US, LATEST_US, Trades
from marketdata.venues.base import Control, Received
from marketdata.venues.wire_json import BROKEN, cut

# The store keeps a venue's trade id in 51 bits; real ones need 32.
Id = Annotated[int, Meta(ge=0, lt=2**51)]
# NaN, infinity, zero and negatives fail the bounds; no listed price or size is near them.
Amount = Annotated[float, Meta(gt=0, lt=1e15)]
# Milliseconds by default, microseconds where the URL asks for them.
Time = Annotated[int, Meta(ge=EARLIEST_US // 1000, lt=LATEST_US)]
LATEST_MS = LATEST_US // 1000
LARGEST_FRAME = 1 << 20
T = TypeVar("T")
WRAPPER = b'"stream"'


class Reads(Protocol):
    """Reads a frame, raw or wrapped; raises FrameError or one of BROKEN."""

    def read(self, frame: bytes, is_wrapped: bool) -> Any:
        """Return the event of one frame."""


class Reader:
    """Decoders of one event, or of a union of tagged ones, raw and wrapped."""

    def __init__(self, event: Any) -> None:
        wrapper: Any = msgspec.defstruct("Wrapper", [("stream", str), ("data", event)])
        self.raw = msgspec.json.Decoder(event, strict=False)
        self.wrapped = msgspec.json.Decoder(wrapper, strict=False)

    def read(self, frame: bytes, is_wrapped: bool) -> Any:
        """Return the event of one frame."""
        return self.wrapped.decode(frame).data if is_wrapped else self.raw.decode(frame)

    def read_all(self, frames: Sequence[bytes]) -> list[Any]:
        """Return the events of frames of one form."""
        if frames and is_wrapped(frames[0]):
            decode = self.wrapped.decode
            return [decode(frame).data for frame in frames]
        return list(map(self.raw.decode, frames))


def is_wrapped(frame: bytes) -> bool:
    """Tell whether the frame names its stream."""
    # The venue puts it first; where it does not, the frame is odd and looked at again.
    return WRAPPER in frame[:16]


@dataclass(frozen=True, slots=True)
class Readers:
    """A reader for the fields we know, and one that passes over what is new."""

    strict: Reader
    loose: Reader


def _decode(readers: Readers, frames: Sequence[bytes], symbols: frozenset[str]) -> Received:
    """Decode frames into trades by symbol; whatever is no trade becomes a control or an error."""
    received = Received()
    try:
        batches = by_symbol(readers.strict.read_all(frames), symbols)
    except (*BROKEN, FrameError):
        batches = by_symbol(_one_by_one(readers, frames, symbols, received), symbols)
    received.trades = batches
    received.topics.update(batches)
    return received


def by_symbol(events: list[Any], symbols: frozenset[str]) -> dict[str, Trades]:
    """Turn trade events into a batch a symbol. Raises FrameError where one is not subscribed."""
    seen = {event.s for event in events}
    if not seen <= symbols:
        raise FrameError("symbol", "subscribed symbols expected")
    if len(seen) == 1:
        return {events[0].s: columns(events)}
    return {name: columns([event for event in events if event.s == name]) for name in sorted(seen)}


def columns(events: list[Any], raw: bytes = b"") -> Trades:
    """Turn decoded trades into a batch: fields `id`, `p`, `q`, `T`, `m`.

    Raises
    ------
    FrameError
        Times of two units, or between the bounds of milliseconds and those of microseconds.
        Decoding has seen to all the rest.
    """
    count = len(events)
    times = [event.T for event in events]
    ts_us = np.fromiter(times, np.int64, count)
    if max(times, default=0) < LATEST_MS:
        ts_us *= 1000
    elif min(times) < EARLIEST_US:
        raise FrameError("number", "times from 2010 to 2100 in one unit expected", raw)
    return Trades(
        np.fromiter([event.id for event in events], np.int64, count),
        ts_us,
        np.fromiter([event.p for event in events], np.float64, count),
        np.fromiter([event.q for event in events], np.float64, count),
        # The buyer was the maker: the aggressor sold.
        np.fromiter([not event.m for event in events], np.bool_, count),
    )


def _one_by_one(
    readers: Readers, frames: Sequence[bytes], symbols: frozenset[str], received: Received
) -> list[Any]:
    """Return the trades of a drain in which something is odd, and sort out the rest."""
    events: list[Any] = []
    for event, frame in each(readers, frames, received):
        if event.s not in symbols or LATEST_MS <= event.T < EARLIEST_US:
            received.errors.append(_foreign(event, symbols, frame))
            continue
        if event.T < LATEST_MS:
            event.T *= 1000
        events.append(event)
    return events


def each(
    readers: Readers, frames: Sequence[bytes], received: Received
) -> Iterator[tuple[Any, bytes]]:
    """Yield the events of a drain in which something is odd, each with its frame.

    Parameters
    ----------
    received : Received
        Where controls and errors go, in order.
    """
    reader = readers.strict
    for frame in frames:
        try:
            event = reader.read(frame, is_wrapped(frame))
        except BROKEN as error:
            event = odd(readers.loose, frame, error, received)
            if event is None:
                continue
            # A field that the venue added for good is noted once a drain, and costs once a drain.
            reader = readers.loose
        yield event, frame


def _foreign(event: Any, symbols: frozenset[str], frame: bytes) -> FrameError:
    if event.s in symbols:
        return FrameError("number", f"a time from 2010 to 2100 expected, seen {event.T}", frame)
    return stranger(event.s, frame)


def stranger(symbol: str, frame: bytes) -> FrameError:
    """Return the refusal of an event of a symbol that nobody subscribed."""
    return FrameError("symbol", f"a subscribed symbol expected, seen {cut(symbol)!r}", frame)


def odd(loose: Reads, frame: bytes, error: Exception, received: Received) -> Any | None:
    """Sort out a frame that is not just an event; return the event where it is one after all."""
    try:
        if len(frame) > LARGEST_FRAME:
            raise FrameError("size", f"at most {LARGEST_FRAME} bytes expected", frame)
        body = _object(frame, error)
        control = _control(body)
        if control is not None:
            received.controls.append(control)
            return None
        event = loose.read(frame, _inner(body) is not None)
    except FrameError as refused:
        received.errors.append(refused)
        return None
    except BROKEN as refused:
        received.errors.append(_refusal(refused, frame))
        return None
    # The event counts; that the venue sends more than we know is for people to see.
    received.errors.append(FrameError("extra", f"event taken; {cut(str(error))}", frame))
    return event


def _object(frame: bytes, error: Exception) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(frame)
    except BROKEN as refused:
        raise _refusal(refused, frame) from refused
    if not isinstance(body, dict):
        raise FrameError("type", f"a JSON object expected: {cut(str(error))}", frame)
    return body


def _inner(body: dict[str, Any]) -> dict[str, Any] | None:
    data = body.get("data")
    return data if "stream" in body and isinstance(data, dict) else None


def _control(body: dict[str, Any]) -> Control | None:
    """Recognise answers to requests and the announced end.

    Notes
    -----
    `{"result":null,"id":1}` · `{"code":2,"msg":"Invalid request: …","id":1}` ·
    `{"e":"serverShutdown","E":1770000000000}`, also wrapped as stream `!serverShutdown`.
    """
    inner = _inner(body) or body
    if inner.get("e") == "serverShutdown":
        return Control("shutdown", "the server says that it will close the connection")
    if "msg" in body or "error" in body:
        words = body.get("error", body)
        words = words if isinstance(words, dict) else {"msg": words}
        return Control("refused", f"{cut(words.get('code'))}: {cut(words.get('msg'))}")
    if "result" in body and "id" in body:
        return Control("ack", cut(body["id"]))
    return None


def _refusal(error: Exception, frame: bytes) -> FrameError:
    words = cut(str(error))
    if "missing required field" in words:
        return FrameError("field", words, frame)
    # Of a kind that is one word, and of one among several.
    if "Invalid enum value" in words or "Invalid value" in words:
        return FrameError("event", f"another event expected: {words}", frame)
    if any(sign in words for sign in (" > ", " < ", " >= ", " <= ", "out of range", "regex")):
        return FrameError("number", words, frame)
    return FrameError(
        "type" if isinstance(error, msgspec.ValidationError) else "json", words, frame
    )


def parsed(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode an answer. Raises FrameError."""
    try:
        return decoder.decode(body)
    except BROKEN as error:
        raise _refusal(error, body) from error


def decoder(
    strict: type[Struct], loose: type[Struct]
) -> Callable[[Sequence[bytes], frozenset[str]], Received]:
    """Return the decoder of a channel.

    Parameters
    ----------
    strict : Struct
        Event with fields `e`, `s`, `id`, `p`, `q`, `T`, `m`; refuses fields it does not name.
    loose : Struct
        The same, passing over fields it does not name.
    """
    return partial(_decode, Readers(Reader(strict), Reader(loose)))
