"""What venues' JSON has in common: typed decoding whose only error is ours, and words cut short."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from marketdata.core.errors import FrameError

# What msgspec raises: text that is not UTF-8 and nesting without end come as Python's own errors.
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
LONGEST_WORDS = 200
# What msgspec says of a value → the slug of FrameError.
SLUGS = {"missing required field": "field", " > ": "number", " < ": "number", " >= ": "number",
         " <= ": "number", "out of range": "number"}  # fmt: skip
T = TypeVar("T")


def parsed(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a frame or an answer. Raises FrameError."""
    try:
        return decoder.decode(body)
    except BROKEN as error:
        raise FrameError(reason(error), cut(error), body) from error


def reason(error: Exception) -> str:
    """Return the slug of what decoding raised."""
    words = str(error)
    told = (slug for sign, slug in SLUGS.items() if sign in words)
    kind = "type" if isinstance(error, msgspec.ValidationError) else "json"
    return next(told, kind)


def cut(value: object) -> str:
    """Return what a frame says in a length fit for people."""
    # Whatever stands there: a frame of a megabyte must not become a log line of one.
    is_plain = value is None or isinstance(value, str | int | float | Exception)
    return (str(value) if is_plain else type(value).__name__)[:LONGEST_WORDS]
