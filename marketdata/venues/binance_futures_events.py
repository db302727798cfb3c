"""What the sockets of Binance USD-M send, trades and what comes beside them, and what it means.

Source: developers.binance.com, USD-M websocket market streams; the official Python SDK
binance-sdk-derivatives-trading-usds-futures 18.1, 2026-08.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, Struct, field

from marketdata.core.errors import FrameError
from marketdata.core.facts import Fact, Kline, Liquidation, Mark
from marketdata.core.trades import EARLIEST_US
from marketdata.venues.base import Received
from marketdata.venues.binance_wire import (
    LATEST_MS,
    Amount,
    Id,
    Reader,
    Readers,
    by_symbol,
    each,
    stranger,
)
from marketdata.venues.wire_json import BROKEN

EARLIEST_MS = EARLIEST_US // 1000
# Futures know no other unit.
Time = Annotated[int, Meta(ge=EARLIEST_MS, lt=LATEST_MS)]
# Zero, or no words at all, where a contract has none of it.
Said = Annotated[float, Meta(ge=0, lt=1e15)]
Rate = Annotated[str, Meta(pattern=r"^(-?[0-9]{1,3}(\.[0-9]{1,18})?)?\Z")]
Coming = Annotated[int, Meta(ge=0, lt=LATEST_MS)]
Count = Annotated[int, Meta(ge=0, lt=2**62)]
MARKET: Final = "MARKET"
TIMEFRAME = "1m"
# Coin-margined contracts, counted in contracts, are 2 and come by the same hosts since 2026-06.
USD_M = 1


class Event(Struct, tag_field="e", forbid_unknown_fields=True, kw_only=True, gc=False):
    """What all events share. `st` and `ps` came in 2026, and not with all of them.

    Parameters
    ----------
    topic : str
        The part of the stream's name that tells its kind.
    """

    topic: ClassVar[str] = ""
    st: int = USD_M
    ps: str = ""

    @property
    def is_trade(self) -> bool:
        """Whether the market traded."""
        return False

    def fact(self) -> Fact | None:
        """Return it in our words, where it is no trade."""
        return None


class Agg(Event, tag="aggTrade", kw_only=True, gc=False):
    """Fills of 100 ms at one price and of one taker side.

    Notes
    -----
    `f` and `l` skip what the insurance fund and deleveraging take: only `a` counts on. `nq` is
    the quantity without that of retail price improvement.
    """

    topic: ClassVar[str] = "aggTrade"
    E: int
    s: str
    id: Id = field(name="a")
    p: Amount
    q: Amount
    nq: Any = None
    f: int
    l: int  # noqa: E741  (the wire's letter)
    T: Time
    m: bool

    @property
    def is_trade(self) -> bool:
        """Whether the market traded."""
        return True


class Single(Event, tag="trade", kw_only=True, gc=False):
    """One fill, or what took a number beside the market: `X` tells.

    Notes
    -----
    Undocumented. `NA` holds a place and has neither price nor quantity; the insurance fund and
    deleveraging trade at prices of their own.
    """

    topic: ClassVar[str] = "trade"
    E: int
    T: Time
    s: str
    id: Id = field(name="t")
    p: Said
    q: Said
    X: Literal["MARKET", "INSURANCE_FUND", "ADL", "NA"] = MARKET
    m: bool

    def __post_init__(self) -> None:
        if self.X == MARKET and not (self.p and self.q):
            raise ValueError("Expected a price and a quantity > 0.0")

    @property
    def is_trade(self) -> bool:
        """Whether the market traded."""
        return self.X == MARKET


class Marked(Event, tag="markPriceUpdate", kw_only=True, gc=False):
    """Mark, index and funding, once a second. Contracts that expire have no funding."""

    topic: ClassVar[str] = "markPrice"
    E: Time
    s: str
    p: Said
    ap: Any = None
    P: Any = None
    i: Said = 0.0
    r: Rate = ""
    T: Coming = 0

    def fact(self) -> Fact:
        """Return it in our words."""
        return Mark(
            self.E * 1000,
            mark=self.p or None,
            index=self.i or None,
            funding_rate=float(self.r) if self.r else None,
            next_funding_us=self.T * 1000 if self.T >= EARLIEST_MS else None,
        )


class Order(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A forced order."""

    s: str
    S: Literal["BUY", "SELL"]
    o: Any = None
    f: Any = None
    q: Amount
    p: Amount
    ap: Any = None
    X: Any = None
    l: Any = None  # noqa: E741  (the wire's letter)
    z: Any = None
    T: Time


class OrderLoose(Order, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class Forced(Event, tag="forceOrder", kw_only=True, gc=False):
    """One liquidation of a symbol's last second; the others of that second are not shown."""

    topic: ClassVar[str] = "forceOrder"
    E: int
    o: Order

    @property
    def s(self) -> str:
        """The symbol."""
        return self.o.s

    def fact(self) -> Fact:
        """Return it in our words."""
        order = self.o
        is_buy = order.S == "BUY"
        return Liquidation(order.T * 1000, order.p, order.q, is_buy, is_sample=True)


class Candle(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A minute as it stands."""

    t: Time
    T: int
    s: str = ""
    i: Literal["1m"]
    f: int
    L: int
    o: Amount
    c: Amount
    h: Amount
    l: Amount  # noqa: E741  (the wire's letter)
    v: Said
    n: Count
    x: bool
    q: Said
    V: Said
    Q: Said
    B: Any = None


class CandleLoose(Candle, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class Candled(Event, tag="kline", kw_only=True, gc=False):
    """A minute with trades, four times a second."""

    topic: ClassVar[str] = "kline_1m"
    E: int
    s: str
    k: Candle

    def fact(self) -> Fact:
        """Return it in our words."""
        k = self.k
        return Kline(TIMEFRAME, k.t * 1000, k.o, k.h, k.l, k.c, k.v, k.q, k.V, k.n, is_closed=k.x)


class AggLoose(Agg, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class SingleLoose(Single, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class MarkedLoose(Marked, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""


class ForcedLoose(Forced, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""

    o: OrderLoose


class CandledLoose(Candled, forbid_unknown_fields=False):
    """The same with fields that nobody knows yet."""

    k: CandleLoose


def _decode(readers: Readers, frames: Sequence[bytes], symbols: frozenset[str]) -> Received:
    """Decode frames into trades by symbol and facts; the rest becomes a control or an error."""
    received = Received()
    try:
        events = readers.strict.read_all(frames)
        if not all(event.s in symbols and event.st == USD_M for event in events):
            raise FrameError("symbol", "subscribed contracts expected")
    except (*BROKEN, FrameError):
        events = _one_by_one(readers, frames, symbols, received)
    trades = [event for event in events if event.is_trade]
    received.trades = by_symbol(trades, symbols)
    if len(trades) < len(events):
        facts = [(event.s, event.fact()) for event in events]
        received.facts = [(symbol, fact) for symbol, fact in facts if fact is not None]
    received.topics = {
        f"{symbol}@{topic}" for symbol, topic in {(event.s, event.topic) for event in events}
    }
    return received


def _one_by_one(
    readers: Readers, frames: Sequence[bytes], symbols: frozenset[str], received: Received
) -> list[Any]:
    """Return the events of a drain in which something is odd, and sort out the rest."""
    events: list[Any] = []
    for event, frame in each(readers, frames, received):
        if event.s not in symbols:
            received.errors.append(stranger(event.s, frame))
        elif event.st != USD_M:
            words = f"a contract margined in US dollars (st 1) expected, seen st {event.st}"
            received.errors.append(FrameError("symbol", words, frame))
        else:
            events.append(event)
    return events


decode_market = partial(
    _decode,
    Readers(
        Reader(Agg | Marked | Forced | Candled),
        Reader(AggLoose | MarkedLoose | ForcedLoose | CandledLoose),
    ),
)
# Old captures hold marks beside single trades.
decode_trades = partial(
    _decode,
    Readers(
        Reader(Single | Marked | Forced | Candled),
        Reader(SingleLoose | MarkedLoose | ForcedLoose | CandledLoose),
    ),
)
