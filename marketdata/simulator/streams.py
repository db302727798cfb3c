"""Who follows which stream, and the sending of it, faults included, whatever the venue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from marketdata.core.trades import Trades
from marketdata.simulator.connection import Connection, frame
from marketdata.simulator.faults import GARBAGE, Faults
from marketdata.simulator.listing import Listing
from marketdata.simulator.pump import Pump

# What stands before and after an event: nothing, or the wrapper of a combined stream.
Around = tuple[bytes, bytes]
BARE: Around = (b"", b"")
# (what times are divided by, what stands around) → one piece of whole frames per row.
Render = Callable[[int, Around], list[bytes]]


def unwrapped(name: str) -> Around:
    """Return nothing: a venue that wraps no events."""
    return BARE


def at_sign(symbol: str, kind: str) -> str:
    """Return `btcusdt@kind`."""
    return f"{symbol}@{kind}"


def unrouted(kind: str) -> str:
    """Return no route: a venue that serves every stream everywhere."""
    return ""


@dataclass(frozen=True)
class Dialect:
    """How a venue names its streams and what it sends on them.

    Parameters
    ----------
    name : pattern
        Matches a whole name; its groups are `symbol` and `kind`.
    trades : mapping
        Kind → (listing, trades, the market's time in microseconds) → how to render the batch.
    of_trades : tuple of str
        Beginnings of kinds that follow from trades; a market starts with the first who asks for
        one of them. All others follow from the book.
    spoiled : iterator of bytes
        Frames that are wrong, for the fault `garbage`.
    spelled : callable
        A market's symbol → the symbol in names of streams.
    named : callable
        (spelled symbol, kind) → the name of the stream.
    wrapper : callable
        Name → what is put around events for a client that wants them combined.
    route : callable
        Kind → on which of the venue's routes it is served; elsewhere it stays silent.
    """

    name: re.Pattern[str]
    trades: Mapping[str, Callable[[Listing, Trades, int], Render]]
    of_trades: tuple[str, ...]
    spoiled: Iterator[bytes]
    spelled: Callable[[str], str] = str.lower
    named: Callable[[str, str], str] = at_sign
    wrapper: Callable[[str], Around] = unwrapped
    route: Callable[[str], str] = unrouted


@dataclass
class Client:
    """One stream connection: what it follows and how it wants it.

    Attributes
    ----------
    streams : dict of str to bool
        Names as sent, and whether they are served; an unknown name is listed and never served.
    combined : bool
        Whether events come wrapped as the dialect says.
    unit : int
        What times are divided by.
    route : str
        By which of the venue's routes it came.
    """

    connection: Connection
    combined: bool
    unit: int
    route: str = ""
    streams: dict[str, bool] = field(default_factory=dict)

    def status(self) -> dict[str, Any]:
        """Return what it follows, for the simulator's own pages."""
        return {"streams": [*self.streams]}


class Rendered:
    """The frames of one event or batch, rendered once per form that a client asks for."""

    def __init__(self, render: Render, stream: str, dialect: Dialect) -> None:
        self._render = render
        self._stream = stream
        self._dialect = dialect
        self._forms: dict[tuple[bool, int], list[bytes]] = {}
        self._joined: dict[tuple[bool, int], bytes] = {}

    def rows(self, client: Client) -> list[bytes]:
        """Return one piece per row, in the client's form."""
        form = client.combined, client.unit
        if form not in self._forms:
            around = self._dialect.wrapper(self._stream) if client.combined else BARE
            self._forms[form] = self._render(client.unit, around)
        return self._forms[form]

    def ordered(self, client: Client, order: list[int] | None) -> Iterable[bytes]:
        """Return the pieces of `order`, wrong ones among them."""
        return _ordered(self.rows(client), order, self._dialect.spoiled)

    def joined(self, client: Client, order: list[int] | None) -> bytes:
        """Return the pieces of `order` in one; None is all. One order only."""
        form = client.combined, client.unit
        if form not in self._joined:
            self._joined[form] = b"".join(self.ordered(client, order))
        return self._joined[form]


class Streams:
    """Who follows what, and the sending of it.

    Attributes
    ----------
    pumps : dict of str to Pump
        What plays each symbol's market.
    """

    def __init__(self, listings: Mapping[str, Listing], faults: Faults, dialect: Dialect) -> None:
        self._dialect = dialect
        self._listings = {dialect.spelled(symbol): one for symbol, one in listings.items()}
        self._faults = faults
        self._followers: dict[str, dict[int, Client]] = {}
        self.pumps: dict[str, Pump] = {}

    def follow(self, client: Client, name: str) -> None:
        """Add a stream to a client's list; what is unknown is never served, as at the venue."""
        if name in client.streams:
            return
        found = self._dialect.name.fullmatch(name)
        listing = self._listings.get(found["symbol"]) if found else None
        is_known = found and listing and self._dialect.route(found["kind"]) == client.route
        client.streams[name] = served = bool(is_known) and not self._faults.take("deaf")
        if not (served and listing):
            return
        self._followers.setdefault(name, {})[client.connection.number] = client
        if self._is_of_trades(name):
            self.pumps[listing.symbol].join(client.connection)
        else:
            listing.made_book()

    def forget(self, client: Client, name: str) -> None:
        """Take a stream from a client's list."""
        if not client.streams.pop(name, False):
            return
        del self._followers[name][client.connection.number]
        symbol = self._named(name)["symbol"]
        rest = [other for other, served in client.streams.items() if served]
        if self._is_of_trades(name) and not any(
            self._is_of_trades(other) and self._named(other)["symbol"] == symbol for other in rest
        ):
            self.pumps[self._listings[symbol].symbol].leave(client.connection)

    def leave(self, client: Client) -> None:
        """Forget a client that is gone."""
        for name in [*client.streams]:
            self.forget(client, name)

    def name(self, listing: Listing, kind: str) -> str:
        """Return the name of a listing's stream."""
        return self._dialect.named(self._dialect.spelled(listing.symbol), kind)

    def followers(self, name: str) -> list[Client]:
        """Return who is served a stream."""
        return [*self._followers.get(name, {}).values()]

    def intervals(self, listing: Listing) -> list[str]:
        """Return the candle intervals that somebody follows."""
        head = self.name(listing, "kline_")
        return [
            name.removeprefix(head)
            for name, held in self._followers.items()
            if held and name.startswith(head)
        ]

    def publish(self, name: str, event: Callable[[int], Mapping[str, Any]]) -> None:
        """Send one event, made for each unit of time, to who follows a stream."""
        if self._faults.value("stall"):
            return

        def render(unit: int, around: Around) -> list[bytes]:
            return [frame(around[0] + msgspec.json.encode(event(unit)) + around[1])]

        rendered = Rendered(render, name, self._dialect)
        for client in self.followers(name):
            client.connection.send(rendered.joined(client, None))

    def publish_trades(self, listing: Listing, batch: Trades, now_us: int) -> None:
        """Send a batch of aggregates and the raw trades they are made of, faults included."""
        order = self._faults.plan(len(batch))
        for kind, render in self._dialect.trades.items():
            name = self.name(listing, kind)
            if followers := self.followers(name):
                made = Rendered(render(listing, batch, now_us), name, self._dialect)
                unseen = self.pumps[listing.symbol].unseen_by
                for client in followers:
                    self._send(client, made, batch, order, unseen(client.connection))

    def _send(
        self, client: Client, made: Rendered, batch: Trades, order: list[int] | None, unseen: int
    ) -> None:
        connection = client.connection
        if not connection.is_mute and self._faults.take("half_frame"):
            connection.send_half(made.rows(client)[0])
        elif unseen >= int(batch.id[0]):
            rows = range(len(batch)) if order is None else order
            seen = [row for row in rows if row == GARBAGE or batch.id[row] > unseen]
            connection.send(b"".join(made.ordered(client, seen)), len(seen))
        else:
            count = len(batch) if order is None else len(order)
            connection.send(made.joined(client, order), count)

    def _named(self, name: str) -> re.Match[str]:
        found = self._dialect.name.fullmatch(name)
        assert found  # noqa: S101  (only such names are served)
        return found

    def _is_of_trades(self, name: str) -> bool:
        return self._named(name)["kind"].startswith(self._dialect.of_trades)


def _ordered(
    rows: list[bytes], order: list[int] | None, spoiled: Iterator[bytes]
) -> Iterable[bytes]:
    if order is None:
        return rows
    return [next(spoiled) if row == GARBAGE else rows[row] for row in order]
