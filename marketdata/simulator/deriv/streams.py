"""Who follows which ticks and candles, and the sending of them, faults included."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import msgspec

from marketdata.core.timeframe import SECOND_US
from marketdata.core.trades import Trades
from marketdata.simulator.connection import Connection, frame
from marketdata.simulator.deriv.accounts import Account
from marketdata.simulator.deriv.listed import Listed
from marketdata.simulator.deriv.past import Candle
from marketdata.simulator.deriv.requests import RefusedError, Request
from marketdata.simulator.faults import GARBAGE, Faults
from marketdata.simulator.pump import Pump

TICKS, CANDLES, BALANCE = "ticks", "candles", "balance"
SPOILED = cycle(
    frame(text.encode())
    for text in (
        '{"msg_type":"tick","tick":{"symbol":"R_1',
        '{"msg_type":"tick","tick":{"symbol":"R_100","epoch":1790873176,"quote":NaN,"pip_size":2}}',
        '{"msg_type":"tick","tick":{"symbol":"R_100","epoch":"x","quote":"-1","pip_size":2}}',
        "<html><body>502 Bad Gateway</body></html>",
        "[]",
        '{"msg_type":"tick","tick":{"pip_size":2}}',
    )
)
# What a stream is of: its kind, the symbol, seconds of a candle.
Key = tuple[str, str, int]


@dataclass
class Subscription:
    """One stream of one client.

    Attributes
    ----------
    since : int
        The tick that was told in the first answer; later ones are sent.
    served : bool
        False: it was acknowledged, and nothing will ever come.
    """

    request: Request
    key: Key
    since: int
    served: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    candle: Candle | None = None
    seen: int = 0

    def told(self, msg_type: str, payload: dict[str, Any]) -> bytes:
        """Return the frame of one update."""
        around = self.request.envelope(msg_type)
        told = {**around, msg_type: {**payload, "id": self.id}, "subscription": {"id": self.id}}
        return frame(msgspec.json.encode(told))


@dataclass
class Client:
    """One connection.

    Attributes
    ----------
    door : str
        `public`, `account` or `legacy`.
    account : Account or None
        Who it is, once that is proven.
    heard, bytes, traffic_s
        What was heard and sent, and when that last changed.
    """

    connection: Connection
    door: str
    dialect: str
    account: Account | None = None
    streams: dict[Key, Subscription] = field(default_factory=dict)
    heard: int = 0
    bytes: int = 0
    traffic_s: float = field(default_factory=time.monotonic)

    @property
    def user(self) -> str:
        """Whose budgets its calls are charged to."""
        return self.account.id if self.account else ""

    def status(self) -> dict[str, Any]:
        """Return what it follows, for the simulator's own pages."""
        return {
            "door": self.door,
            "account": self.user,
            "subscriptions": [":".join(map(str, filter(None, key))) for key in self.streams],
        }

    def idle_s(self) -> float:
        """Return the seconds since anything was heard or sent, as of this look."""
        now_s, traffic = time.monotonic(), self.heard + self.connection.bytes
        if traffic != self.bytes:
            self.bytes, self.traffic_s = traffic, now_s
        return now_s - self.traffic_s


class Streams:
    """Who follows what, and the sending of it.

    Attributes
    ----------
    pumps : dict of str to Pump
        What plays each symbol's market.
    """

    def __init__(self, listed: Mapping[str, Listed], faults: Faults) -> None:
        self._listed = listed
        self._faults = faults
        self._followers: dict[str, dict[int, Client]] = {}
        self.pumps: dict[str, Pump] = {}

    def begin(self, client: Client, symbol: str) -> None:
        """Let the market of a symbol play for a client, so that none of its ticks is lost."""
        self.pumps[symbol].join(client.connection)
        self._listed[symbol].market.start()

    def follow(self, client: Client, request: Request, key: Key, since: int) -> Subscription:
        """Add a stream that goes on after tick `since`. Raises RefusedError."""
        self.refuse_second(client, key)
        served = not self._faults.take("deaf")
        made = client.streams[key] = Subscription(request, key, since, served)
        if key[0] != BALANCE:
            self._followers.setdefault(key[1], {})[client.connection.number] = client
            self.begin(client, key[1])
        return made

    def refuse_second(self, client: Client, key: Key) -> None:
        """Raise RefusedError where the client has this stream already."""
        if key in client.streams:
            what = key[1] or key[0]
            raise RefusedError("AlreadySubscribed", f"You are already subscribed to {what}.")

    def catch_up(self, client: Client, made: Subscription) -> None:
        """Send what was played while the first answer was being made."""
        symbol = made.key[1]
        missed = self._listed[symbol].market.slice(made.since + 1, self.pumps[symbol].played_id)
        if len(missed) and made.served and not self._is_quiet():
            client.connection.send(b"".join(self._frames(made, missed)), len(missed))

    def forget(self, client: Client, keys: Iterable[Key]) -> list[str]:
        """End streams of a client and return their ids."""
        ended = [client.streams.pop(key) for key in keys]
        for symbol in {one.key[1] for one in ended}:
            self.rest(client, symbol)
        return [one.id for one in ended]

    def rest(self, client: Client, symbol: str) -> None:
        """Play a symbol no longer for a client that follows nothing of it."""
        if symbol and not any(key[1] == symbol for key in client.streams):
            self._followers.get(symbol, {}).pop(client.connection.number, None)
            self.pumps[symbol].leave(client.connection)

    def leave(self, client: Client) -> None:
        """Forget a client that is gone."""
        self.forget(client, [*client.streams])
        for pump in self.pumps.values():  # a stream may have begun and not come to its answer
            pump.leave(client.connection)

    def publish(self, listed: Listed, batch: Trades, now_us: int) -> None:
        """Send a batch of ticks to who follows the symbol."""
        order = self._faults.plan(len(batch))
        if self._is_quiet():
            return
        rows = [*range(len(batch))] if order is None else order
        for client in [*self._followers.get(listed.symbol, {}).values()]:
            unseen = self.pumps[listed.symbol].unseen_by(client.connection)
            for made in [*client.streams.values()]:
                if made.key[1] == listed.symbol and made.served:
                    self._send(client, made, batch, rows, max(made.since, unseen))

    def _send(
        self, client: Client, made: Subscription, batch: Trades, rows: list[int], after: int
    ) -> None:
        frames = self._frames(made, batch)
        sent = [
            next(SPOILED) if row == GARBAGE else frames[row]
            for row in rows
            if row == GARBAGE or batch.id[row] > after
        ]
        connection = client.connection
        if sent and not connection.is_mute and self._faults.take("half_frame"):
            connection.send_half(sent[0])
        elif sent:
            connection.send(b"".join(sent), len(sent))

    def _frames(self, made: Subscription, batch: Trades) -> list[bytes]:
        kind, symbol, granularity = made.key
        listed = self._listed[symbol]
        if kind == TICKS:
            return [made.told("tick", tick) for tick in listed.ticks(batch)]
        epochs = (batch.ts_us // SECOND_US).tolist()
        courses = zip(self._courses(made, listed, batch), epochs, strict=True)
        return [
            made.told("ohlc", listed.ohlc(candle, granularity, epoch)) for candle, epoch in courses
        ]

    def _courses(self, made: Subscription, listed: Listed, batch: Trades) -> list[Candle]:
        """Return the candle under way as of each tick of a batch, whatever was not sent before."""
        begin = int(batch.ts_us[0]) // SECOND_US // made.key[2] * made.key[2]
        first = made.seen + 1 if made.candle else listed.market.id_at(begin * SECOND_US)
        past = listed.market.slice(min(first, int(batch.id[0])), int(batch.id[-1]))
        courses = {}
        epochs = (past.ts_us // SECOND_US).tolist()
        for id, epoch, price in zip(past.id.tolist(), epochs, past.price.tolist(), strict=True):
            made.candle = courses[id] = _grown(
                made.candle, epoch // made.key[2] * made.key[2], price
            )
        made.seen = int(batch.id[-1])
        return [courses[id] for id in batch.id.tolist()]

    def _is_quiet(self) -> bool:
        return bool(self._faults.value("stall") or self._faults.value("market_closed"))


def _grown(candle: Candle | None, opened: int, price: float) -> Candle:
    if candle is None or candle.epoch != opened:
        return Candle(opened, price, price, price, price)
    return Candle(opened, candle.open, max(candle.high, price), min(candle.low, price), price)
