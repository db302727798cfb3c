"""The public streams of one category: their topics, who follows them, and what is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from marketdata.core.trades import Trades
from marketdata.simulator.bybit import wire
from marketdata.simulator.bybit.instruments import Instrument
from marketdata.simulator.bybit.ladder import DEPTHS
from marketdata.simulator.bybit.numerals import LINEAR
from marketdata.simulator.connection import Connection, frame
from marketdata.simulator.faults import GARBAGE, Faults
from marketdata.simulator.pump import Pump

# The venue's word for an interval, and ours.
INTERVALS = dict(
    zip(
        ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"),
        ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d", "1w", "1M"),
        strict=True,
    )
)
TOPIC = re.compile(
    rf"(?P<kind>publicTrade|tickers|allLiquidation|orderbook\.(?:{'|'.join(map(str, DEPTHS))})"
    rf"|kline\.(?:{'|'.join(INTERVALS)}))\.(?P<symbol>[^.]+)"
)
# What follows from trades; a market starts with the first who asks for one of these.
OF_TRADES = ("publicTrade", "kline", "allLiquidation")
MOST_TRADES = 1024
SPOILED = cycle(
    frame(text.encode())
    for text in (
        '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":17600000001',
        '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1760000000000,"data":[{"T":'
        '1760000000000,"s":"BTCUSDT","S":"Buy","v":"1","p":"NaN","i":"1","BT":false,"seq":1}]}',
        '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1760000000000,"data":[{"T":'
        '"x","s":"BTCUSDT","S":"Buy","v":"-1","p":"1","i":"1","BT":false,"seq":1}]}',
        "<html><body>502 Bad Gateway</body></html>",
        "[]",
        '{"topic":"publicTrade.BTCUSDT","type":"snapshot","data":[{}]}',
    )
)


@dataclass
class Client:
    """One stream connection.

    Attributes
    ----------
    id : str
        The venue's name of the connection.
    topics : dict of str to bool
        What it has subscribed to, and whether it is served.
    pings : int
        Pings of the venue's own kind that it has sent.
    """

    connection: Connection
    category: str
    id: str
    topics: dict[str, bool] = field(default_factory=dict)
    pings: int = 0


class Streams:
    """Who follows what in one category, and the sending of it.

    Parameters
    ----------
    opening : callable
        (instrument, topic's kind, topic) → the frames' JSON that a new follower gets at once.
    """

    def __init__(
        self,
        category: str,
        instruments: Mapping[str, Instrument],
        faults: Faults,
        opening: Callable[[Instrument, str, str], Sequence[bytes]],
    ) -> None:
        self.category = category
        self.instruments = instruments
        self.pumps: dict[str, Pump] = {}
        self._faults = faults
        self._opening = opening
        self._followers: dict[str, dict[int, Client]] = {}

    def is_known(self, topic: str) -> bool:
        """Tell whether a topic has a handler here."""
        found = TOPIC.fullmatch(topic)
        if not found or found["symbol"] not in self.instruments:
            return False
        return found["kind"] != "allLiquidation" or self.category == LINEAR

    def follow(self, client: Client, topic: str) -> Sequence[bytes]:
        """Let a client follow a known topic; returns what it gets at once, again if repeated."""
        if topic not in client.topics:
            client.topics[topic] = not self._faults.take("deaf")
        if not client.topics[topic]:
            return ()
        kind, symbol = _parts(topic)
        self._followers.setdefault(topic, {})[client.connection.number] = client
        if kind.startswith(OF_TRADES):
            self.pumps[symbol].join(client.connection)
        return self._opening(self.instruments[symbol], kind, topic)

    def forget(self, client: Client, topic: str) -> None:
        """Take a topic from a client."""
        if not client.topics.pop(topic, False):
            return
        del self._followers[topic][client.connection.number]
        kind, symbol = _parts(topic)
        rest = (_parts(other) for other, served in client.topics.items() if served)
        still = any(one == symbol and other.startswith(OF_TRADES) for other, one in rest)
        if kind.startswith(OF_TRADES) and not still:
            self.pumps[symbol].leave(client.connection)

    def leave(self, client: Client) -> None:
        """Forget a client that is gone."""
        for topic in [*client.topics]:
            self.forget(client, topic)

    def followers(self, topic: str) -> list[Client]:
        """Return who is served a topic."""
        return [*self._followers.get(topic, {}).values()]

    def intervals(self, instrument: Instrument) -> list[str]:
        """Return the candle intervals that somebody follows."""
        return [
            interval
            for interval in INTERVALS
            if self._followers.get(f"kline.{interval}.{instrument.symbol}")
        ]

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one frame to who follows a topic."""
        if self._faults.value("stall"):
            return
        data = frame(payload)
        for client in self.followers(topic):
            client.connection.send(data)

    def publish_trades(self, instrument: Instrument, batch: Trades, now_us: int) -> None:
        """Send a batch of trades, faults included."""
        order = self._faults.plan(len(batch))
        if self._followers.get(f"allLiquidation.{instrument.symbol}"):
            instrument.liquidated += instrument.notes(batch)
        if followers := self.followers(f"publicTrade.{instrument.symbol}"):
            made = Rendered(instrument, batch, now_us)
            rows = range(len(batch)) if order is None else order
            shared = made.joined(rows)
            for client in followers:
                unseen = self.pumps[instrument.symbol].unseen_by(client.connection)
                self._send(client, made, rows, shared, unseen)

    def _send(
        self,
        client: Client,
        made: Rendered,
        rows: Sequence[int],
        shared: tuple[bytes, int],
        unseen: int,
    ) -> None:
        connection, ids = client.connection, made.batch.id
        if not connection.is_mute and self._faults.take("half_frame"):
            connection.send_half(made.joined([0])[0])
        elif unseen >= int(ids[0]):
            seen = [row for row in rows if row == GARBAGE or ids[row] > unseen]
            connection.send(*made.joined(seen))
        else:
            connection.send(*shared)


class Rendered:
    """The frames of a batch of trades, each trade rendered once."""

    def __init__(self, instrument: Instrument, batch: Trades, now_us: int) -> None:
        numerals = instrument.numerals
        self.batch = batch
        self._category = instrument.category
        self._topic = f"publicTrade.{instrument.symbol}"
        self._ts_ms = now_us // 1000
        self._pieces = wire.trade_pieces(batch, numerals, instrument.before(batch))
        self._seqs = numerals.seqs(batch.ts_us).tolist()

    def joined(self, rows: Sequence[int]) -> tuple[bytes, int]:
        """Return the frames of these rows end to end, and how many there are."""
        made = [
            next(SPOILED) if group[0] == GARBAGE else self._framed(group)
            for group in grouped(rows, self._seqs)
        ]
        return b"".join(made), len(made)

    def _framed(self, group: Sequence[int]) -> bytes:
        pieces = [self._pieces[row] for row in group]
        return frame(wire.trade_message(self._category, self._topic, self._ts_ms, pieces))


def grouped(rows: Iterable[int], seqs: Sequence[int]) -> list[list[int]]:
    """Return which rows go into one message: those of one sequence, 1024 at most.

    What is invalid, sent twice or out of order gets a message of its own.
    """
    groups: list[list[int]] = []
    for row in rows:
        last = groups[-1] if groups else [GARBAGE]
        goes_on = GARBAGE not in (row, last[-1]) and row > last[-1]
        if goes_on and seqs[row] == seqs[last[-1]] and len(last) < MOST_TRADES:
            last.append(row)
        else:
            groups.append([row])
    return groups


def _parts(topic: str) -> tuple[str, str]:
    kind, _, symbol = topic.rpartition(".")
    return kind, symbol
