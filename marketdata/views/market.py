"""The market panel: what a venue tells besides trades, in words; nothing that is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from marketdata import answers, compare, live
from marketdata.feeds.flow import Name
from marketdata.market import market_answer
from marketdata.store import instruments
from marketdata.views.figures import DOWN, UP, clock, number, places, side, signed

LIQUIDATIONS = 5
# A mark comes each second; after so long it says how old it is.
OLD_MS = 10_000
DECIMALS = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the panel."""

    label: str
    text: str
    side: str = ""
    title: str = ""


@require_safe
def market(request: HttpRequest) -> HttpResponse:
    """Show the panel alone, for the page to look at again and again."""
    try:
        name = answers.resolve(request.GET.get("source"), request.GET.get("symbol"))
    except answers.UnknownNameError as error:
        return HttpResponse(error.detail, status=404, content_type="text/plain; charset=utf-8")
    response = render(request, "marketdata/_market.html", {"market": panel(name)})
    response.headers["Cache-Control"] = "no-store"
    return response


def panel(name: Name) -> dict[str, Any] | None:
    """Return what the panel shows; None where the venue tells nothing but trades."""
    answer = market_answer(*name)
    price, size = _places(name)
    rows = [*_top(answer, price, size), *_mark(answer, price, size)]
    forced = [_liquidation(x, price, size) for x in answer["liquidations"][:LIQUIDATIONS]]
    if not (rows or forced or _may_tell(name)):
        return None
    query = urlencode({"symbol": name[1], "source": name[0]})
    return {"rows": rows, "liquidations": forced, "url": f"{reverse('market')}?{query}"}


def _may_tell(name: Name) -> bool:
    """Tell whether the venue may say something before long."""
    return live.is_running() and bool(compare.venue_now(name[0]).series)


def _places(name: Name) -> tuple[int, int]:
    """Return the decimals of prices and sizes."""
    pipeline = answers.live_pipeline(name)
    instrument = pipeline.instrument if pipeline else instruments.find(*name)
    if instrument is None:
        return DECIMALS, DECIMALS
    return places(instrument.grid.tick_size), places(instrument.grid.lot_size)


def _top(answer: dict[str, Any], price: int, size: int) -> list[Row]:
    rows = [
        _level("Ask", answer["ask"], answer["ask_qty"], price, size, DOWN),
        _level("Bid", answer["bid"], answer["bid_qty"], price, size, UP),
        _value("Spread", answer["spread"], price, "best ask less best bid"),
        _value("Microprice", answer["microprice"], price + 1, MICROPRICE),
        _imbalance(answer),
        _flow(answer, size),
        _book(answer),
    ]
    return [row for row in rows if row is not None]


MICROPRICE = "the mid, drawn to the side that is about to give way"


def _level(
    label: str, price: float | None, qty: float | None, decimals: int, size: int, way: str
) -> Row | None:
    if price is None:
        return None
    return Row(label, f"{number(price, decimals)} × {number(qty, size)}", way)


def _value(label: str, value: float | None, decimals: int, title: str = "") -> Row | None:
    return None if value is None else Row(label, number(value, decimals), title=title)


def _imbalance(answer: dict[str, Any]) -> Row | None:
    value, levels = answer["imbalance"], answer["imbalance_levels"]
    if value is None:
        return None
    word = {UP: "more bid", DOWN: "more asked"}.get(side(value), "even")
    title = "(bid − ask) ÷ (bid + ask) of the sizes on those levels"
    return Row("Imbalance", f"{signed(value, 2)} {word}, {levels} levels", side(value), title)


def _flow(answer: dict[str, Any], size: int) -> Row | None:
    value, window_s = answer["ofi"], answer["ofi_window_s"]
    if value is None:
        return None
    title = f"order flow imbalance at the best prices, the last {window_s} s, base units"
    return Row("Order flow", f"{signed(value, size)} in {window_s} s", side(value), title)


def _book(answer: dict[str, Any]) -> Row | None:
    book = answer["book"]
    if not book["kept"]:
        return None
    if book["synced"]:
        return Row("Book", f"● in step, {_age(book['age_ms'])} old")
    quoted = "; best prices are quoted ones" if answer["top_from"] == "quote" else ""
    return Row("Book", f"▲ out of step: {book['reason']}{quoted}", "hole")


def _mark(answer: dict[str, Any], price: int, size: int) -> list[Row]:
    age_ms = answer["mark_age_ms"] or 0
    late = f", {_age(age_ms)} old" if age_ms > OLD_MS else ""
    rows = [
        _value("Mark", answer["mark"], price, "what positions are valued at"),
        _value("Index", answer["index"], price, "of the venue's spot markets"),
        _share("Basis", answer["basis"], "", "mark over index, less one"),
        _share("Funding", answer["funding_rate"], _until(answer["funding_in_s"]), FUNDING),
        _paid(answer["funding_paid"]),
        _interest(answer, size),
    ]
    told = (row for row in rows if row is not None)
    marked = ("Mark", "Index", "Basis", "Funding")
    return [
        Row(row.label, row.text + late, "hole", row.title) if late and row.label in marked else row
        for row in told
    ]


FUNDING = "longs pay shorts this part of the position, where it is above zero"


def _share(label: str, value: float | None, more: str, title: str) -> Row | None:
    if value is None:
        return None
    return Row(label, f"{signed(100 * value, 4)} %{more}", side(value), title)


def _until(seconds: int | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(seconds, 60)
    return f" in {minutes // 60}:{minutes % 60:02}:{rest:02}"


def _paid(paid: dict[str, Any] | None) -> Row | None:
    if paid is None:
        return None
    at = f" at {paid['time'][5:16].replace('T', ' ')} UTC"
    return _share("Funding paid", paid["rate"], at, "the newest rate that was paid")


def _interest(answer: dict[str, Any], size: int) -> Row | None:
    value, at = answer["open_interest"], answer["open_interest_time"]
    if value is None:
        return None
    told = f" at {clock(at)}" if at else ""
    return Row("Open interest", f"{number(value, size)}{told}", title="one side, base units")


def _liquidation(item: dict[str, Any], price: int, size: int) -> dict[str, str]:
    who = "short" if item["is_buy"] else "long"
    return {
        "time": clock(item["time"]),
        "side": UP if item["is_buy"] else DOWN,
        "text": f"{who} {number(item['qty'], size)} at {number(item['price'], price)}",
        "note": "sample" if item["is_sample"] else "",
    }


def _age(age_ms: int) -> str:
    if age_ms < 1000:
        return f"{age_ms} ms"
    return f"{age_ms / 1000:.1f} s" if age_ms < 120_000 else f"{age_ms // 60_000} min"
