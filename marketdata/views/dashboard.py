"""The page at `/`: complete as it comes from the server, then live."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from marketdata import answers, compare, live, readiness
from marketdata.conf import conf
from marketdata.context import DAY
from marketdata.models import Instrument
from marketdata.publisher import PUSH_ROWS, PUSH_TIMEFRAMES
from marketdata.views import charts, links, market
from marketdata.views.figures import (
    UNKNOWN,
    backfill_text,
    clock,
    connection_text,
    event_text,
    figures,
    ladder,
    number,
    open_of,
    places,
    window,
)
from marketdata.views.links import Asked
from marketdata.views.sketch import COUNT, sketch

EVENTS = 12
# Words and shapes of a connection's states, as `link.js` has them.
STATES = {
    "live": "● live",
    "connecting": "◌ venue connecting",
    "stale": "▲ venue silent",
    "backoff": "◌ venue reconnecting",
    "stopped": "■ stopped",
}
OF_TICKS = (
    "this feed quotes prices without size or side: volume, delta and VWAP cannot be known; POC and "
    "value area are of ticks, each counted as one, and say where price was, not what was traded"
)
COUNTS = {
    "id_exact": "venue ids from the scope's first trade to its newest",
    "overlap": "the venue does not number its trades one by one: what is fetched after a pause "
    "must overlap with what is held, else there is a hole whose size nobody knows",
    "cadence": "one tick is expected each time the venue's cadence is over",
    "none": "nothing proves it",
}


@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """Show an instrument, or say what is missing."""
    if not answers.names():
        return render(request, "marketdata/empty.html", {"is_running": live.is_running()})
    try:
        asked = _asked(request)
    except answers.UnknownNameError as error:
        return unknown(request, error)
    page = {
        "asked": asked,
        "venue": compare.venue_now(asked.source).title,
        "instruments": links.instruments(asked),
        "compare_url": links.beside(asked.symbol),
        "proof_url": links.proof(asked.source, asked.symbol),
        "timeframes": links.timeframes(asked),
        "chart": charts.state(),
        "library_url": f"{reverse('vendor', args=[charts.BUNDLE])}?v={charts.state()['version']}",
        "mode": mode_of(asked),
        "is_running": live.is_running(),
        "connections": _connections(),
        "backfill": backfill_text(readiness.ready_answer()),
    }
    try:
        page |= _content(asked)
    except (answers.NotReadyError, TimeoutError) as error:
        return render(request, "marketdata/waiting.html", {**page, "reason": str(error)})
    except answers.UnknownNameError as error:
        return unknown(request, error)
    return render(request, "marketdata/dashboard.html", page)


@require_safe
def notice(request: HttpRequest) -> HttpResponse:
    """Show the notices of the libraries the page uses."""
    return render(request, "marketdata/notice.html", {"chart": charts.state()})


def _asked(request: HttpRequest) -> Asked:
    """Read the URL. Raises UnknownNameError."""
    source, symbol = answers.resolve(request.GET.get("source"), request.GET.get("symbol"))
    timeframe = request.GET.get("timeframe", "1m")
    if timeframe not in PUSH_TIMEFRAMES:
        raise answers.UnknownNameError("timeframe", timeframe, PUSH_TIMEFRAMES)
    return Asked(source, symbol, request.GET.get("scope", DAY), timeframe)


def unknown(request: HttpRequest, error: answers.UnknownNameError) -> HttpResponse:
    """Answer 404 with the instruments there are."""
    page = {"detail": error.detail, "instruments": links.instruments()}
    return render(request, "marketdata/unknown.html", page, status=404)


def _content(asked: Asked) -> dict[str, Any]:
    """Return what the page shows of the instrument. Raises NotReadyError, UnknownNameError."""
    name = (asked.source, asked.symbol)
    context = answers.context_answer(*name, asked.scope, PUSH_ROWS)
    day = context if asked.scope == DAY else answers.context_answer(*name, DAY, 1)
    candles = answers.candles_answer(*name, asked.timeframe, COUNT)["candles"]
    sessions = answers.sessions_answer(*name)["sessions"]
    told = context["definition"]
    day_open = open_of(day)
    proof = context["coverage"]["proof"]
    last = candles[-1]["close"] if candles else context["levels"]["LAST"]
    return {
        "context": context,
        "raw": {"day_open": day_open, "tick": told["tick_size"], "lot": told["lot_size"]},
        "bars": _bars(context),
        "figures": figures(context, day_open, last),
        "ladder": ladder(context, last),
        "scopes": links.scopes(asked, sessions),
        "sessions": [_session(asked, item, context["as_of"]) for item in sessions],
        "events": [_event(item, proof) for item in answers.events_answer(*name, EVENTS)["events"]],
        "definition": _definition(context),
        "sketch": sketch(candles, context["levels"], places(told["tick_size"])),
        "timeframe": asked.timeframe,
        "health": _health(context["health"]),
        "market": market.panel(name),
    }


def _session(asked: Asked, item: dict[str, Any], as_of: str) -> dict[str, Any]:
    state = "open" if item["start"] <= as_of < item["end"] else ""
    state = state or ("over" if item["end"] <= as_of else "to come")
    return {
        **item,
        "state": state,
        "url": asked.url(scope=item["name"]),
        "window": window(item["start"], item["end"]),
    }


def _event(item: dict[str, Any], proof: str) -> dict[str, str]:
    return {"kind": item["kind"], "time": clock(item["ts"]), "text": event_text(item, proof)}


def _connections() -> list[dict[str, Any]]:
    found = answers.health_answer()["connections"]
    return [
        {
            **item,
            "text": connection_text(item),
            "age": _age(item["last_message_age_ms"]) or UNKNOWN,
        }
        for item in found
    ]


def _age(age_ms: int | None) -> str:
    return "" if age_ms is None else f"{age_ms / 1000:.1f} s"


def _health(health: dict[str, Any]) -> dict[str, str]:
    return {
        "state": health["state"],
        "word": STATES.get(health["state"], health["state"]),
        "age": _age(health["data_age_ms"]),
    }


def mode_of(asked: Asked) -> str:
    """Return `simulated`, `replay`, or nothing: what the page must say about the data."""
    if live.is_running():
        return live.now().label
    rows = Instrument.objects.filter(source=asked.source, symbol=asked.symbol, simulated=True)
    return "simulated" if rows.exists() else ""


def _definition(context: dict[str, Any]) -> list[tuple[str, str]]:
    told, row = context["definition"], float(conf().profile_tick_size)
    rule = {"two_row": "two rows at a time", "one_row": "one row at a time"}
    tied = ", as it is now" if told["poc_is_tied"] else ""
    ticks = [("Ticks", OF_TICKS)] if told["basis"] == "ticks" else []
    return [
        *ticks,
        ("VWAP", "Σ price × quantity ÷ Σ quantity since the anchor; σ is weighted by volume"),
        (
            "Value area",
            f"{100 * told['value_area_pct']:g} % of volume around POC, grown by "
            f"{rule[told['value_area_rule']]} ({told['value_area_rule']}); ties go "
            f"{told['value_area_tie']}",
        ),
        ("POC", f"row with most volume; on a tie{tied}: {told['poc_tie']}"),
        (
            "Profile",
            f"rows of {_plain(row)}; tick {_plain(told['tick_size'])}, lot "
            f"{_plain(told['lot_size'])}; drawn in at most {PUSH_ROWS} rows",
        ),
        (
            "Delta",
            "volume of buying less that of selling aggressors since the anchor, in the base "
            "asset; its low and high after each trade, 0 before the first",
        ),
        ("Previous day", f"from {told['previous_day'] or 'nowhere: unknown'}"),
        ("Coverage", _covered(context["coverage"])),
    ]


def _covered(coverage: dict[str, Any]) -> str:
    told = COUNTS.get(coverage["proof"], "")
    return f"{told}; the beginning is known from {_edges(coverage['edges'])}"


def _plain(step: float) -> str:
    return number(step, places(step))


def _edges(edges: str) -> str:
    return {
        "venue": "the venue",
        "neighbour": "the trade held before it",
        "held": "the first trade held (the venue was not asked)",
    }[edges]


def _bars(context: dict[str, Any]) -> dict[str, float]:
    """Return the fractions that bars show, as `paint.js` has them."""
    session, low, high = context["session"], context["delta_min"], context["delta_max"]
    start, end, now = (_seconds(x) for x in (session["start"], session["end"], context["as_of"]))
    volume = context["volume"]
    return {
        "session": (now - start) / (end - start),
        "bought": context["buy_volume"] / volume if volume else 0.5,
        "delta": _between(low, context["cumulative_delta"], high),
        "covered": context["coverage"]["ratio"] or 0.0,
    }


def _between(low: float | None, value: float | None, high: float | None) -> float:
    """Return where a value lies between two others; the middle where that means nothing."""
    if low is None or value is None or high is None or high <= low:
        return 0.5
    return (value - low) / (high - low)


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()
