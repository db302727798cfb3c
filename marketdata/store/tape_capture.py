"""Raw captures: `<local time> <frame JSON>` a line, as recorded from a venue's socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from marketdata.core.errors import TapeError
from marketdata.core.trades import Trades
from marketdata.store.tape_csv import opened

# So many lines tell whether a capture holds aggregates, single trades or none.
LOOK_LINES = 20_000


class _Trade(msgspec.Struct):
    """One trade event: aggregates carry `a`, single trades `t`; futures rows carry `X`."""

    e: str = ""
    s: str = ""
    a: int | list[list[str]] | str = 0
    t: int = 0
    p: str = "0"
    q: str = "0"
    T: int = 0
    m: bool = False
    X: str = "MARKET"


class _Frame(msgspec.Struct):
    """The combined wrapper around an event."""

    data: msgspec.Raw = msgspec.Raw(b"")


_frame = msgspec.json.Decoder(_Frame)
_trade = msgspec.json.Decoder(_Trade)


def is_capture(line: str) -> bool:
    """Tell whether a first line is `<digits> {…`."""
    head, _, rest = line.partition(" ")
    return head.isdigit() and rest.startswith("{")


def look(path: Path) -> tuple[str, str]:
    """Return source and symbol of a capture's trades. Raises TapeError where there are none."""
    _, first = next(_events(path, channel_of(path)), (b"", None))
    if first is None:
        raise TapeError(f"{path.name}: aggTrade or trade frames expected, seen none")
    is_futures = "usdm" in path.name or b'"X"' in _
    return "binance_futures" if is_futures else "binance_ws", first.s


def channel_of(path: Path) -> str:
    """Return `aggTrade` where the capture holds any, else `trade`."""
    with opened(path) as file:
        for number, line in enumerate(file):
            if b'"aggTrade"' in line:
                return "aggTrade"
            if number >= LOOK_LINES:
                break
    return "trade"


def _events(path: Path, channel: str) -> Iterator[tuple[bytes, _Trade]]:
    mark = f'"e":"{channel}"'.encode()
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            if mark not in line:
                continue
            raw = line[line.index(b"{") :].strip()
            try:
                inner = bytes(_frame.decode(raw).data) or raw
                event = _trade.decode(inner)
            except msgspec.DecodeError as error:
                raise TapeError(f"{path.name}: line {number}: {error}") from error
            # Insurance-fund and placeholder rows are no trades of the market.
            if event.X == "MARKET":
                yield inner, event


def batches(path: Path, size: int) -> Iterator[Trades]:
    """Yield a capture's trades in batches of `size`."""
    channel = channel_of(path)
    rows: list[tuple[int, int, float, float, bool]] = []
    for _, event in _events(path, channel):
        id = event.a if channel == "aggTrade" else event.t
        if not isinstance(id, int):
            raise TapeError(f"{path.name}: a whole number expected as id, seen {id!r}")
        rows.append((id, event.T * 1000, float(event.p), float(event.q), not event.m))
        if len(rows) >= size:
            yield Trades.of(*zip(*rows, strict=True))
            rows = []
    if rows:
        yield Trades.of(*zip(*rows, strict=True))
