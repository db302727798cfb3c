"""The JSON API of what venues tell besides trades: the order book."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema
from ninja.params.functions import Query

from marketdata import answers, live
from marketdata.api import REFUSALS, Source, Symbol, reply
from marketdata.core.errors import OutOfSyncError
from marketdata.feeds.book_desk import BookReport
from marketdata.feeds.flow import Name
from marketdata.metrics.liquidity import WINDOW_S
from marketdata.payload import iso

router = Router(tags=["market data"])
# A snapshot tells no more levels a side.
MOST_LEVELS = 1000


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
        report = _report(name, depth)
    except OutOfSyncError as error:
        return reply({"detail": str(error), "synced": False}, 503)
    return reply(_payload(name, report, depth))


def _report(name: Name, depth: int) -> BookReport:
    keeper = live.now().books.get(name[0]) if live.is_running() else None
    if keeper is None or name[1] not in keeper.symbols:
        raise OutOfSyncError(f"no book of {name[1]} at {name[0]} is kept in this process")
    return keeper.view(name[1], depth)


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
