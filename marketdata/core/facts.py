"""What venues tell besides trades: books, quotes, marks, liquidations, klines."""

from __future__ import annotations

from dataclasses import dataclass

# Price, quote per base, and quantity, base units; a quantity of zero removes the level.
Level = tuple[float, float]


@dataclass(frozen=True, slots=True)
class BookUpdate:
    """Levels of one book that changed, or all of them.

    Parameters
    ----------
    first_id, last_id : int
        Update ids it spans, inclusive.
    prev_id : int
        `last_id` of the update before, where the venue says so; -1 where it does not.
    ts_us : int
        Time of the matching engine, microseconds UTC; 0 where the venue tells none.
    bids, asks : list of (price, qty)
        In any order; quantities replace, zero removes.
    is_snapshot : bool
        The levels are the whole book: it replaces what was held.
    """

    first_id: int
    last_id: int
    prev_id: int
    ts_us: int
    bids: list[Level]
    asks: list[Level]
    is_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask at one update id; `ts_us` is 0 where the venue tells no time."""

    update_id: int
    ts_us: int
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float


@dataclass(frozen=True, slots=True)
class Mark:
    """What a derivatives venue says of a contract. None is "not said": what was said before holds.

    Parameters
    ----------
    ts_us : int
        Microseconds UTC.
    mark, index : float or None
        Mark price and index price, quote per base.
    funding_rate : float or None
        Of the coming funding, a fraction per interval.
    next_funding_us : int or None
        Microseconds UTC.
    open_interest : float or None
        Base units, one side counted.
    """

    ts_us: int
    mark: float | None = None
    index: float | None = None
    funding_rate: float | None = None
    next_funding_us: int | None = None
    open_interest: float | None = None


@dataclass(frozen=True, slots=True)
class Liquidation:
    """One forced order.

    Parameters
    ----------
    price : float
        As the venue tells it: of the order, or the bankruptcy price.
    qty : float
        Base units.
    is_buy : bool
        The forced order buys: a short was liquidated.
    is_sample : bool
        The venue shows some of its liquidations only: sums are lower bounds.
    """

    ts_us: int
    price: float
    qty: float
    is_buy: bool
    is_sample: bool


@dataclass(frozen=True, slots=True)
class Kline:
    """A candle as the venue counts it.

    Parameters
    ----------
    timeframe : str
        Our word, for example `1m`.
    open_us : int
        Start, microseconds UTC.
    volume, quote_volume : float
        Base and quote units.
    buy_volume : float or None
        Taker-buy volume, base units, where the venue tells it.
    trades : int or None
        Raw trades, where the venue counts them.
    is_closed : bool
        Final.
    """

    timeframe: str
    open_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    buy_volume: float | None
    trades: int | None
    is_closed: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a series that a venue keeps: a funding rate paid, an open interest.

    Parameters
    ----------
    kind : {"funding", "open_interest"}
    ts_us : int
        Microseconds UTC.
    value : float
        A fraction per interval, or base units.
    """

    kind: str
    ts_us: int
    value: float


Fact = BookUpdate | Quote | Mark | Liquidation | Kline
