"""The page at `/compare/`: instruments side by side, and which of them moves first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketdata import answers, compare, live
from marketdata.feeds.flow import Name
from marketdata.metrics.lead import CHANCY, FEW, STILL, TOGETHER, UNCLEAR, WEAK
from marketdata.models import Instrument
from marketdata.views import links
from marketdata.views.dashboard import unknown
from marketdata.views.figures import (
    NO_SIZE,
    PRECISION,
    UNKNOWN,
    Figure,
    clock,
    counted,
    covered,
    number,
    places,
    side,
    signed,
)
from marketdata.views.links import FEEDS, Asked, Link

# Why a pair has no leader, in the words of the page.
REASONS = {
    FEW: "too few seconds yet: {least_seconds} are needed",
    STILL: "one of them does not move",
    WEAK: "not related: the correlation is below {least_correlation}",
    CHANCY: "not told from chance in so few seconds",
    TOGETHER: "both move within the same second",
    UNCLEAR: "neither is clearly first",
}
QUOTES_DIFFER = "quoted in {}, the reference in {}: their exchange rate is part of it"


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of the table: its heading, and what that means."""

    name: str
    title: str
    told: str


COLUMNS = (
    Column("price", "Price", "of the newest trade"),
    Column("change", "Today", "from the first trade of the UTC day, once that is held"),
    Column("vwap", "VWAP", "volume-weighted average price of the UTC day"),
    Column("away", "To VWAP", "price less VWAP, in percent of VWAP"),
    Column("basis", "Basis", "price over that of the reference, less one"),
    Column("delta", "Cumulative Δ", "buying less selling volume of the UTC day, base units"),
    Column("volume", "Volume", "of the UTC day, base units"),
    Column("coverage", "Coverage", "held over expected trades of the UTC day"),
    Column("precision", "Precision", "how far the numbers can be trusted"),
    Column("age", "Data age", "since the last message of its feed"),
)


@require_safe
def side_by_side(request: HttpRequest) -> HttpResponse:
    """Show the instruments asked for beside each other."""
    if not answers.names():
        return render(request, "marketdata/empty.html", {"is_running": live.is_running()})
    try:
        asked = compare.listed(request.GET.getlist("symbols"))
        answer = compare.compare_answer(asked)
    except answers.UnknownNameError as error:
        return unknown(request, error)
    except TimeoutError:
        answer = None
    names = [] if answer is None else [_name(row) for row in answer["instruments"]]
    page: dict[str, Any] = {
        "url": request.get_full_path(),
        "instruments": links.instruments(),
        "choices": _choices(names),
        "bases": _bases(names),
        "mode": _mode(names),
        "is_running": live.is_running(),
    }
    if answer is not None:
        page |= _content(answer)
    response = render(request, "marketdata/compare.html", page, status=200 if answer else 503)
    response.headers["Cache-Control"] = "no-store"
    return response


def _name(row: dict[str, Any]) -> Name:
    return row["source"], row["symbol"]


def _choices(names: Sequence[Name]) -> list[Link]:
    """Return every instrument as a choice of the form, those shown marked."""
    return [
        Link(item.name, item.title, f"{item.source}:{item.name}", (item.source, item.name) in names)
        for item in links.instruments()
    ]


def _bases(names: Sequence[Name]) -> list[Link]:
    """Return a link for each thing that is traded, the one shown marked."""
    found = [(base, compare.of_base(base)) for base in compare.bases()]
    return [
        Link(base, base, links.side_by_side(mine), set(mine) == set(names)) for base, mine in found
    ]


def _mode(names: Sequence[Name]) -> str:
    if live.is_running():
        return live.now().label
    simulated = Instrument.objects.filter(simulated=True).values_list("source", "symbol")
    return "simulated" if set(simulated) & set(names) else ""


def _content(answer: dict[str, Any]) -> dict[str, Any]:
    rows = answer["instruments"]
    names = {f"{row['source']}:{row['symbol']}": _called(row) for row in rows}
    quotes = {f"{row['source']}:{row['symbol']}": row["quote"] for row in rows}
    return {
        "columns": COLUMNS,
        "rows": [_row(row, quotes) for row in rows],
        "references": [_called(row) for row in rows if row["is_reference"]],
        "left_out": answer["left_out"],
        "leads": [_lead(item, names, answer["definition"]) for item in answer["leads"]],
        "most": _most(answer["leads"], names),
        "definition": answer["definition"],
        "as_of": answer["as_of"] and clock(answer["as_of"]),
    }


def _called(row: dict[str, Any]) -> str:
    return f"{row['venue']} {row['symbol']}"


def _row(row: dict[str, Any], quotes: dict[str, str]) -> dict[str, Any]:
    basis = "reference" if row["is_reference"] else _percent(row["basis"], 4)
    figures = {
        **_prices(row),
        **_flow(row),
        **_trust(row),
        "basis": Figure(basis, side(row["basis"])),
    }
    return {
        "name": row["symbol"],
        "venue": row["venue"],
        "state": row["state"],
        "word": FEEDS[row["state"]],
        "url": Asked(row["source"], row["symbol"], "day", "1m").url(),
        "cells": [(column, figures[column.name]) for column in COLUMNS],
        "note": _note(row, quotes),
    }


def _note(row: dict[str, Any], quotes: dict[str, str]) -> str:
    reference = row["reference"]
    if reference is None or row["basis"] is None or quotes[reference] == row["quote"]:
        return ""
    return QUOTES_DIFFER.format(row["quote"] or "something else", quotes[reference])


def _prices(row: dict[str, Any]) -> dict[str, Figure]:
    decimals = places(row["tick_size"]) if row["tick_size"] else 2
    is_sized = row["is_sized"] is not False
    nothing = Figure(NO_SIZE, "flat")
    return {
        "price": Figure(number(row["price"], decimals)),
        "change": Figure(_percent(row["change_pct"], 2, 1), side(row["change"])),
        "vwap": Figure(number(row["vwap"], decimals)) if is_sized else nothing,
        "away": Figure(_percent(row["vwap_distance_pct"], 2, 1), side(row["vwap_distance"]))
        if is_sized
        else nothing,
    }


def _flow(row: dict[str, Any]) -> dict[str, Figure]:
    if row["is_sized"] is False:
        return {"delta": Figure(NO_SIZE, "flat"), "volume": Figure(NO_SIZE, "flat")}
    decimals = min(3, places(row["lot_size"])) if row["lot_size"] else 0
    delta = row["cumulative_delta"]
    return {
        "delta": Figure(signed(delta, decimals), side(delta)),
        "volume": Figure(number(row["volume"], decimals)),
    }


def _trust(row: dict[str, Any]) -> dict[str, Figure]:
    told, holes = row["precision"], row["holes"]
    if row["coverage"] is None and holes:
        share = f"unknown, {counted(holes, 'hole')}"
    else:
        share = covered(row["coverage"])
    age_ms = row["data_age_ms"]
    return {
        "coverage": Figure(share, "hole" if row["missing"] != 0 and holes else ""),
        "precision": Figure(PRECISION[told] if told else UNKNOWN, told or ""),
        "age": Figure(UNKNOWN if age_ms is None else f"{age_ms / 1000:.1f} s"),
    }


def _percent(value: float | None, decimals: int, factor: float = 100) -> str:
    return UNKNOWN if value is None else f"{signed(factor * value, decimals)} %"


def _lead(
    item: dict[str, Any], names: dict[str, str], definition: dict[str, Any]
) -> dict[str, Any]:
    first, second = (names[name] for name in item["pair"])
    correlation, lag_s = item["correlation"], item["lag_s"]
    return {
        "pair": f"{first} · {second}",
        "leader": names.get(item["leader"] or "", ""),
        "lag": "" if item["leader"] is None else f"{lag_s} s",
        "correlation": UNKNOWN if correlation is None else signed(correlation, 2),
        "seconds": number(item["seconds"], 0),
        "reason": REASONS[item["reason"]].format(**definition) if item["reason"] else "",
    }


def _most(leads: Sequence[dict[str, Any]], names: dict[str, str]) -> str:
    """Return who leads, in a sentence."""
    won = [item["leader"] for item in leads if item["leader"]]
    if not won:
        is_early = all(item["reason"] == FEW for item in leads)
        return "Too early to say." if is_early else "Nobody: no pair has a clear leader."
    best = max(won.count(name) for name in won)
    first = [names[name] for name in dict.fromkeys(won) if won.count(name) == best]
    pairs = f"{best} of {len(leads)} pairs"
    if len(first) == 1:
        return f"{first[0]} leads {pairs}."
    return f"{' and '.join(first)} lead {pairs} each."
