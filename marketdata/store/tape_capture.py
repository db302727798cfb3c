"""Raw captures: `<local time> <frame JSON>` a line, as recorded from a venue's socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from marketdata.core.coverage import Run, runs_of
from marketdata.core.errors import TapeError
from marketdata.core.trades import EARLIEST_US, LATEST_US, Trades
from marketdata.store.tape_file import opened

# Once single trades were seen, so many lines tell that there are no aggregates.
LOOK_LINES = 20_000
LARGEST_ID = 1 << 63
MARKET = "MARKET"
# Contracts margined in coin are 2, and their quantities are no coins.
USD_M = 1


class _Trade(msgspec.Struct):
    """One trade event: aggregates carry `a`, single trades `t`; only spot carries `M`."""

    e: str
    s: str
    p: str
    q: str
    T: int
    m: bool
    a: int | list[list[str]] | str = ""
    t: int | str = ""
    X: str = MARKET
    M: bool | None = None
    st: int = USD_M


class _Frame(msgspec.Struct):
    """The combined wrapper around an event."""

    data: msgspec.Raw = msgspec.Raw(b"")


_frame = msgspec.json.Decoder(_Frame)
_trade = msgspec.json.Decoder(_Trade)
_Row = tuple[int, int, float, float, bool]


def is_capture(line: str) -> bool:
    """Tell whether a first line is `<digits> {…`."""
    head, _, rest = line.partition(" ")
    return head.isdigit() and rest.startswith("{")


def look(path: Path, symbol: str | None) -> tuple[str, str, str]:
    """Return source, symbol and channel of a capture's trades.

    Parameters
    ----------
    symbol : str or None
        Preferred where the capture holds several.

    Raises
    ------
    TapeError
        There are no trades.
    """
    channel, first = _channel(path), None
    for _, event in _events(path, channel):
        first = first or event
        if symbol in (None, event.s):
            first = event
            break
    if first is None:
        raise TapeError(f"{path.name}: aggTrade or trade frames expected, seen none")
    return "binance_ws" if first.M is not None else "binance_futures", first.s, channel


def _channel(path: Path) -> str:
    """Return `aggTrade` where the capture holds any, else `trade`."""
    seen = False
    with opened(path) as file:
        for number, line in enumerate(file):
            if b'"e":"aggTrade"' in line:
                return "aggTrade"
            seen = seen or b'"e":"trade"' in line
            if seen and number >= LOOK_LINES:
                break
    return "trade"


def _events(path: Path, channel: str) -> Iterator[tuple[int, _Trade]]:
    """Yield (line, event) of the channel's trades of the market.

    Notes
    -----
    Insurance-fund, deleveraging and placeholder rows are no trades of the market.
    """
    for number, event in _rows(path, channel):
        if event.X == MARKET:
            yield number, event


def _rows(path: Path, channel: str) -> Iterator[tuple[int, _Trade]]:
    """Yield (line, event) of all that the channel numbers."""
    mark = f'"e":"{channel}"'.encode()
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            if mark not in line:
                continue
            raw = line[line.find(b"{") :]
            try:
                event = _trade.decode(bytes(_frame.decode(raw).data) or raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise TapeError(f"{path.name}: line {number}: {error}") from error
            if event.st == USD_M:
                yield number, event


def voids(path: Path, channel: str, symbol: str) -> list[Run]:
    """Return the numbers that were taken by what is no trade of the market, ascending.

    Raises
    ------
    TapeError
        A line that is no trade; says which.
    """
    if channel != "trade":
        return []
    ids = {
        event.t
        for _, event in _rows(path, channel)
        if event.X != MARKET and event.s == symbol and isinstance(event.t, int)
    }
    return runs_of(np.array(sorted(ids), np.int64))


def batches(path: Path, channel: str, symbol: str, size: int = 20_000) -> Iterator[Trades]:
    """Yield a capture's trades in batches of `size`, in the order of arrival.

    Raises
    ------
    TapeError
        A line that is no trade; says which.
    """
    rows: list[_Row] = []
    for number, event in _events(path, channel):
        if event.s != symbol:
            continue
        try:
            rows.append(_row(event, channel))
        except ValueError as error:
            raise TapeError(f"{path.name}: line {number}: {error}") from error
        if len(rows) >= size:
            yield Trades.of(*zip(*rows, strict=True))
            rows = []
    if rows:
        yield Trades.of(*zip(*rows, strict=True))


def _row(event: _Trade, channel: str) -> _Row:
    id = event.a if channel == "aggTrade" else event.t
    if not isinstance(id, int) or not 0 <= id < LARGEST_ID:
        raise ValueError(f"a whole number expected as id, seen {id!r}")
    price, qty, ts_us = float(event.p), float(event.q), event.T * 1000
    if not (0 < price < float("inf") and 0 < qty < float("inf")):
        raise ValueError(f"price and quantity above zero expected, seen {event.p} and {event.q}")
    if not EARLIEST_US <= ts_us < LATEST_US:
        raise ValueError(f"milliseconds between 2010 and 2100 expected as time, seen {event.T}")
    return id, ts_us, price, qty, not event.m
