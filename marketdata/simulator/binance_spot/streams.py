"""The streams of Binance spot: their names, who follows them, and what is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import msgspec
import numpy as np

from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot import wire
from marketdata.simulator.connection import Connection, frame, frames
from marketdata.simulator.faults import GARBAGE, Faults
from marketdata.simulator.intervals import INTERVALS
from marketdata.simulator.listing import Listing
from marketdata.simulator.pump import Pump

NAME = re.compile(
    r"(?P<symbol>.+)@(?P<kind>aggTrade|trade|bookTicker|depth(?:5|10|20)?(?:@1000?ms)?"
    rf"|kline_(?:{'|'.join(INTERVALS)}))"
)
# What follows from trades; a market starts with the first who asks for one of these.
OF_TRADES = ("aggTrade", "trade", "kline_")
Render = Callable[[int, wire.Around], list[bytes]]
SPOILED = cycle(
    frame(text.encode())
    for text in (
        '{"e":"aggTrade","E":17600000001',
        '{"e":"aggTrade","E":1760000000000,"s":"BTCUSDT","a":1,"p":NaN,"q":"1","f":1,"l":1,'
        '"T":1760000000000,"m":true,"M":true}',
        '{"e":"aggTrade","E":1760000000000,"s":"BTCUSDT","a":"x","p":"-1.0","q":"1","f":1,"l":1,'
        '"T":1760000000000,"m":true,"M":true}',
        "<html><body>502 Bad Gateway</body></html>",
        "[]",
        '{"e":"aggTrade","s":"BTCUSDT"}',
    )
)


@dataclass
class Client:
    """One stream connection: what it follows and how it wants it.

    Attributes
    ----------
    streams : dict of str to bool
        Names as sent, and whether they are served; an unknown name is listed and never served.
    combined : bool
        Whether events come wrapped as `{"stream":…,"data":…}`.
    unit : int
        What times are divided by.
    """

    connection: Connection
    combined: bool
    unit: int
    streams: dict[str, bool] = field(default_factory=dict)


class Rendered:
    """The frames of one event or batch, rendered once per form that a client asks for."""

    def __init__(self, render: Render, stream: str) -> None:
        self._render = render
        self._stream = stream
        self._forms: dict[tuple[bool, int], list[bytes]] = {}
        self._joined: dict[tuple[bool, int], bytes] = {}

    def rows(self, client: Client) -> list[bytes]:
        """Return one piece per row, in the client's form."""
        form = client.combined, client.unit
        if form not in self._forms:
            around = wire.wrapper(self._stream) if client.combined else wire.BARE
            self._forms[form] = self._render(client.unit, around)
        return self._forms[form]

    def joined(self, client: Client, order: list[int] | None) -> bytes:
        """Return the pieces of `order` in one; None is all. One order only."""
        form = client.combined, client.unit
        if form not in self._joined:
            self._joined[form] = b"".join(_ordered(self.rows(client), order))
        return self._joined[form]


class Streams:
    """Who follows what, and the sending of it."""

    def __init__(self, listings: Mapping[str, Listing], faults: Faults) -> None:
        self._listings = {listing.stream: listing for listing in listings.values()}
        self._faults = faults
        self._followers: dict[str, dict[int, Client]] = {}
        self.pumps: dict[str, Pump] = {}

    def follow(self, client: Client, name: str) -> None:
        """Add a stream to a client's list; what is unknown is never served, as at the venue."""
        if name in client.streams:
            return
        found = NAME.fullmatch(name)
        listing = self._listings.get(found["symbol"]) if found else None
        served = bool(found and listing) and not self._faults.take("deaf")
        client.streams[name] = served
        if not (served and listing and found):
            return
        self._followers.setdefault(name, {})[client.connection.number] = client
        if found["kind"].startswith(OF_TRADES):
            self.pumps[listing.symbol].join(client.connection)
        else:
            listing.made_book()

    def forget(self, client: Client, name: str) -> None:
        """Take a stream from a client's list."""
        if not client.streams.pop(name, False):
            return
        del self._followers[name][client.connection.number]
        symbol = name.partition("@")[0]
        rest = (other for other, served in client.streams.items() if served)
        if not any(_of_trades(other, symbol) for other in rest) and _of_trades(name, symbol):
            self.pumps[self._listings[symbol].symbol].leave(client.connection)

    def leave(self, client: Client) -> None:
        """Forget a client that is gone."""
        for name in [*client.streams]:
            self.forget(client, name)

    def followers(self, name: str) -> list[Client]:
        """Return who is served a stream."""
        return [*self._followers.get(name, {}).values()]

    def intervals(self, listing: Listing) -> list[str]:
        """Return the candle intervals that somebody follows."""
        head = f"{listing.stream}@kline_"
        return [
            name.removeprefix(head)
            for name, held in self._followers.items()
            if held and name.startswith(head)
        ]

    def publish(self, name: str, event: Callable[[int], Mapping[str, Any]]) -> None:
        """Send one event, made for each unit of time, to who follows a stream."""
        if self._faults.value("stall"):
            return

        def render(unit: int, around: wire.Around) -> list[bytes]:
            return [frame(around[0] + msgspec.json.encode(event(unit)) + around[1])]

        rendered = Rendered(render, name)
        for client in self.followers(name):
            client.connection.send(rendered.joined(client, None))

    def publish_trades(self, listing: Listing, batch: Trades, now_us: int) -> None:
        """Send a batch of aggregates and the raw trades they are made of, faults included."""
        order = self._faults.plan(len(batch))
        for kind, render in (("aggTrade", _aggregates), ("trade", _raw_trades)):
            name = f"{listing.stream}@{kind}"
            if followers := self.followers(name):
                made = Rendered(render(listing, batch, now_us), name)
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
            connection.send(b"".join(_ordered(made.rows(client), seen)), len(seen))
        else:
            count = len(batch) if order is None else len(order)
            connection.send(made.joined(client, order), count)


def _aggregates(listing: Listing, batch: Trades, now_us: int) -> Render:
    def render(unit: int, around: wire.Around) -> list[bytes]:
        market = listing.market
        return frames(
            wire.agg_trade_events(batch, market.fills, market.symbol, now_us, unit, around)
        )

    return render


def _raw_trades(listing: Listing, batch: Trades, now_us: int) -> Render:
    def render(unit: int, around: wire.Around) -> list[bytes]:
        market = listing.market
        raw = market.fills.split(batch, market.grid)
        made = frames(wire.trade_events(raw, market.symbol, now_us, unit, around))
        begins = np.searchsorted(raw.id, market.fills.first(batch.id)).tolist()
        ends = [*begins[1:], len(made)]
        return [b"".join(made[begin:end]) for begin, end in zip(begins, ends, strict=True)]

    return render


def _ordered(rows: list[bytes], order: list[int] | None) -> Iterable[bytes]:
    if order is None:
        return rows
    return [next(SPOILED) if row == GARBAGE else rows[row] for row in order]


def _of_trades(name: str, symbol: str) -> bool:
    return name.startswith(tuple(f"{symbol}@{kind}" for kind in OF_TRADES))
