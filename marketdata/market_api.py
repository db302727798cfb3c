"""The JSON API of what venues tell besides trades, and of several of them side by side."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema
from ninja.params.functions import Query

from marketdata import answers, compare, market, schemas
from marketdata.api import REFUSALS, Source, Symbol, reply
from marketdata.core.errors import OutOfSyncError
from marketdata.feeds.book_desk import BookReport
from marketdata.feeds.flow import Name
from marketdata.metrics.liquidity import WINDOW_S
from marketdata.payload import iso

router = Router(tags=["market data"])
# A snapshot tells no more levels a side.
MOST_LEVELS = 1000
Symbols = Query(
    [],
    description="instruments, comma separated or repeated: source:symbol, or a symbol for every "
    "source that has it; defaults to all that trade what the first one does",
)


class OrderBook(Schema):
    """A book in step with its venue; levels are price, quote per base, and size, base units.

    `levels_known` is how many levels a side have none missing between them: the snapshot told no
    more. `ofi` is the order flow imbalance of the last `ofi_window_s` seconds at the best prices;
    imbalance and depths are sums over `imbalance_levels` a side. What an empty side leaves
    unknown is null.
    """

    symbol: str
    source: str
    synced: bool
    sequence: int
    time: str | None
    age_ms: int
    bids: list[list[float]]
    asks: list[list[float]]
    levels_known: int
    spread: float | None
    mid: float | None
    microprice: float | None
    imbalance: float | None
    imbalance_levels: int
    bid_depth: float
    ask_depth: float
    ofi: float | None
    ofi_window_s: int


class OutOfSync(Schema):
    """Why there is no book to show now."""

    detail: str
    synced: bool = False


@router.get("/orderbook", response={200: OrderBook, **REFUSALS, 503: OutOfSync})
def orderbook(
    request: HttpRequest,
    symbol: str | None = Symbol,
    source: str | None = Source,
    depth: int = Query(50, ge=1, le=MOST_LEVELS, description="levels a side at most"),
) -> HttpResponse:
    """Return the best levels and what they come to; nothing while the book is out of step."""
    name = answers.resolve(source, symbol)
    try:
        report = market.report(name, depth)
    except OutOfSyncError as error:
        return reply({"detail": str(error), "synced": False}, 503)
    return reply(_payload(name, report, depth))


class Paid(Schema):
    """The newest funding that was paid; `rate` is a fraction of the position."""

    time: str
    rate: float


class Liquidated(Schema):
    """One forced order; `is_sample`: the venue shows some of them only."""

    time: str
    price: float
    qty: float
    is_buy: bool
    is_sample: bool


class BookState(Schema):
    """Whether a book is kept here, whether it is in step with the venue, and if not why."""

    kept: bool
    synced: bool
    reason: str | None
    age_ms: int | None


class Market(Schema):
    """What a venue tells besides trades; null is not known.

    `basis` is mark over index less one, `funding_rate` a fraction per interval. Best bid and ask
    are of the book while it is in step, else of a quote at most ten seconds old: `top_from`.
    Microprice is the mid drawn to the side that is about to give way; imbalance, depths and order
    flow (`ofi`, base units) are of the book alone. Open interest counts one side, base units.
    """

    symbol: str
    source: str
    as_of: str | None
    mark: float | None
    index: float | None
    basis: float | None
    mark_time: str | None
    mark_age_ms: int | None
    funding_rate: float | None
    next_funding: str | None
    funding_in_s: int | None
    funding_paid: Paid | None
    open_interest: float | None
    open_interest_time: str | None
    top_from: Literal["book", "quote"] | None
    top_time: str | None
    bid: float | None
    bid_qty: float | None
    ask: float | None
    ask_qty: float | None
    spread: float | None
    mid: float | None
    microprice: float | None
    imbalance: float | None
    imbalance_levels: int
    bid_depth: float | None
    ask_depth: float | None
    ofi: float | None
    ofi_window_s: int
    book: BookState
    liquidations: list[Liquidated]


@router.get("/market", response={200: Market, **REFUSALS})
def market_now(
    request: HttpRequest, symbol: str | None = Symbol, source: str | None = Source
) -> HttpResponse:
    """Return mark, index, funding, open interest, liquidations, and the top of the book."""
    return reply(market.market_answer(source, symbol))


class ReadingItem(Schema):
    """One value: a rate paid, base units, or base units below zero where the forced order sold.

    `price` and `is_sample` belong to liquidations.
    """

    time: str
    value: float
    price: float | None
    is_sample: bool | None


class ReadingList(Schema):
    """A series as it is stored, newest first."""

    symbol: str
    source: str
    kind: str
    readings: list[ReadingItem]


@router.get("/readings", response={200: ReadingList, **REFUSALS})
def readings(
    request: HttpRequest,
    symbol: str | None = Symbol,
    source: str | None = Source,
    kind: Literal["funding", "open_interest", "liquidation"] = Query(
        "funding", description="which series"
    ),
    limit: int = Query(100, ge=1, le=1000),
) -> HttpResponse:
    """Return the newest values of a series that the venue keeps, or that was heard."""
    return reply(market.readings_answer(source, symbol, kind, limit))


class Compared(Schema):
    """The UTC day of one instrument so far; null is not known, or cannot be.

    Volume, delta and VWAP cannot be known of ticks without size and side (`is_sized`). `basis` is
    the price over that of the `reference` less one, while both are live. `coverage` is held over
    expected trades, null where a hole of unknown size lies in the day: `holes` counts them. `open`
    and `change` are null while the day's first trade is not held.
    """

    symbol: str
    source: str
    venue: str
    base: str
    quote: str
    state: Literal["connecting", "live", "stale", "backoff", "stopped", "stored"]
    data_age_ms: int | None
    price: float | None
    last_trade_at: str | None
    open: float | None
    change: float | None
    change_pct: float | None
    vwap: float | None
    vwap_distance: float | None
    vwap_distance_pct: float | None
    cumulative_delta: float | None
    volume: float | None
    trades: int | None
    coverage: float | None
    missing: int | None
    holes: int | None
    is_sized: bool | None
    tick_size: float | None
    lot_size: float | None
    basis: float | None
    reference: str | None
    is_reference: bool
    proof: schemas.Proof
    precision: schemas.Precision | None


class LeadOfPair(Schema):
    """Whose returns come first, and by how many seconds; null with the reason why none does.

    `correlation` is that of the returns at the lag that fits best, from `seconds` pairs of them.
    """

    pair: list[str]
    leader: str | None
    lag_s: int | None
    correlation: float | None
    seconds: int
    reason: (
        Literal[
            "too few seconds",
            "no movement",
            "no correlation",
            "no more than chance",
            "within one second",
            "no clear order",
        ]
        | None
    )


class LeadDefinition(Schema):
    """How leads are found.

    Returns of the last prices of each second (`step_s`) over `window_s`, correlated at lags up to
    `most_lag_s` both ways. A leader needs `least_seconds` pairs of returns, a correlation of
    `least_correlation`, and more than chance gives: `chance` over the root of the seconds; it must
    exceed what is found without a lag and the other way by `clear` over that root. A price no
    trade has confirmed for `confirmed_s` counts as unknown.
    """

    step_s: int
    window_s: int
    most_lag_s: int
    least_seconds: int
    least_correlation: float
    chance: float
    clear: float
    confirmed_s: int


class Comparison(Schema):
    """Instruments side by side; `left_out`: so many more were asked for than are compared."""

    as_of: str | None
    instruments: list[Compared]
    left_out: int
    leads: list[LeadOfPair]
    definition: LeadDefinition


@router.get("/compare", response={200: Comparison, **REFUSALS})
def compared(request: HttpRequest, symbols: list[str] = Symbols) -> HttpResponse:
    """Return several instruments side by side, and which of them moves first."""
    return reply(compare.compare_answer(compare.listed(symbols)))


def _payload(name: Name, report: BookReport, depth: int) -> dict[str, Any]:
    view, found = report.view, report.liquidity
    return {
        "symbol": name[1],
        "source": name[0],
        "synced": True,
        "sequence": view.update_id,
        "time": iso(view.ts_us) if view.ts_us else None,
        "age_ms": report.age_ms,
        "bids": view.bids[:depth],
        "asks": view.asks[:depth],
        "levels_known": view.known,
        "spread": found.spread,
        "mid": found.mid,
        "microprice": found.microprice,
        "imbalance": found.imbalance,
        "imbalance_levels": found.levels,
        "bid_depth": found.bid_depth,
        "ask_depth": found.ask_depth,
        "ofi": report.ofi,
        "ofi_window_s": WINDOW_S,
    }
