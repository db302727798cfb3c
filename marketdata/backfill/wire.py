"""What the child process that reads files writes to its parent: trades in columns, then an answer.

Columns cross the pipe as they lie in memory, so the parent needs neither pyarrow nor a parser.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any

import numpy as np

from marketdata.core.errors import BotCryptoError
from marketdata.core.trades import Refs, Trades

# A kind (`T` trades, `R` trades with refs, `J` answer) and a length: trades, or bytes.
HEAD = struct.Struct("<cI")
WIDTH = struct.Struct("<H")
# Four columns of eight bytes and one of a byte.
ROW_BYTES = 33
DTYPES = ("<i8", "<i8", "<f8", "<f8")


class ChildLostError(BotCryptoError):
    """The child process ended in the middle of an answer."""

    retryable = True


def put_trades(out: IO[bytes], trades: Trades) -> None:
    """Write trades, with their refs where they have some."""
    out.write(HEAD.pack(b"T" if trades.ref is None else b"R", len(trades)))
    for column in (trades.id, trades.ts_us, trades.price, trades.qty):
        out.write(np.ascontiguousarray(column).data)
    out.write(trades.is_buy.astype(np.uint8).data)
    if trades.ref is not None:
        out.write(WIDTH.pack(trades.ref.dtype.itemsize))
        out.write(np.ascontiguousarray(trades.ref).tobytes())


def put_answer(out: IO[bytes], answer: dict[str, Any]) -> None:
    """Write what a task came to, and send everything off."""
    body = json.dumps(answer).encode()
    out.write(HEAD.pack(b"J", len(body)) + body)
    out.flush()


def take(source: IO[bytes]) -> Trades | dict[str, Any]:
    """Read trades, or the answer that ends a task. Raises ChildLostError."""
    kind, length = HEAD.unpack(_exactly(source, HEAD.size))
    if kind == b"J":
        answer: dict[str, Any] = json.loads(_exactly(source, length))
        return answer
    body = _exactly(source, length * ROW_BYTES)
    names = ("id", "ts_us", "price", "qty")
    columns = {
        name: np.frombuffer(body, dtype, length, 8 * length * number)
        for number, (name, dtype) in enumerate(zip(names, DTYPES, strict=True))
    }
    is_buy = np.frombuffer(body, np.bool_, length, 32 * length)
    return Trades.of(**columns, is_buy=is_buy, ref=_refs(source, length) if kind == b"R" else None)


def _refs(source: IO[bytes], length: int) -> Refs:
    (width,) = WIDTH.unpack(_exactly(source, WIDTH.size))
    return np.frombuffer(_exactly(source, length * width), f"S{width}", length)


def _exactly(source: IO[bytes], size: int) -> bytes:
    body = source.read(size)
    if len(body) < size:
        raise ChildLostError(f"{size} bytes of the file reader expected, seen {len(body)}")
    return body
