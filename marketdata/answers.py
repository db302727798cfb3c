"""The answers that API, page and push share: from the running feeds, else from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from marketdata import live, rebuild
from marketdata.core.bar import Bar
from marketdata.core.candles import candle
from marketdata.core.sessions import OFF
from marketdata.core.timeframe import DAY_US, TIMEFRAMES, open_us
from marketdata.feeds.flow import Name
from marketdata.payload import (
    candle_payload,
    context_payload,
    event_payload,
    iso,
    trades_payload,
)
from marketdata.pipeline import Pipeline
from marketdata.store import instruments, rows
from marketdata.store.board import Key, Posting
from marketdata.venues import VENUES


class UnknownNameError(LookupError):
    """A symbol, source, scope or timeframe nobody knows: HTTP 404.

    Parameters
    ----------
    what, seen : str
        Kind of name, and the name asked for.
    known : sequence of str
        The names there are.
    """

    def __init__(self, what: str, seen: str, known: Sequence[str]) -> None:
        self.known = sorted(known)
        self.detail = f"unknown {what} {seen!r}; known: {', '.join(self.known) or 'none yet'}"
        super().__init__(self.detail)


class NotReadyError(RuntimeError):
    """The instrument is configured, but nothing is known of it yet: HTTP 503."""


def names() -> list[Name]:
    """Return every (source, symbol) configured or stored, configured first."""
    configured = list(live.now().instruments) if live.is_running() else []
    stored = [(item.source, item.symbol) for item in instruments.known()]
    return configured + [name for name in stored if name not in configured]


def resolve(source: str | None, symbol: str | None) -> Name:
    """Return the instrument asked for, the first one where nothing is said."""
    known = names()
    if source is not None and source not in {name[0] for name in known}:
        raise UnknownNameError("source", source, list({name[0] for name in known}))
    of_source = [name for name in known if source in (None, name[0])]
    for name in of_source:
        if symbol in (None, name[1]):
            return name
    raise UnknownNameError("symbol", str(symbol or ""), [name[1] for name in of_source])


def _pipeline(name: Name) -> tuple[Pipeline, bool]:
    """Return the instrument's pipeline, and whether it is live."""
    if live.is_running() and name in live.now().flow.lanes:
        return live.now().flow.lanes[name].pipeline, True
    stored = rebuild.newest_day(*name)
    if stored is None:
        raise NotReadyError(f"no trade of {name[1]} at {name[0]} has been seen yet")
    return stored, False


def check_scope(name: Name, scope: str) -> None:
    """Raise UnknownNameError for a scope that the instrument does not have."""
    pipeline, _ = _pipeline(name)
    if scope not in pipeline.context.names():
        raise UnknownNameError("scope", scope, pipeline.context.names())


def context_answer(
    source: str | None, symbol: str | None, scope: str = "day", limit: int | None = None
) -> dict[str, Any]:
    """Return the object of /api/context, with what the page adds to it."""
    name = resolve(source, symbol)
    pipeline, is_live = _pipeline(name)
    check_scope(name, scope)
    if is_live:
        key = Key(*name, scope)
        posting = live.now().board.fresh(key)
        if posting is None:
            raise NotReadyError("the pipeline is busy; ask again in a moment")
        return posting_answer(key, posting, limit)
    snapshot = pipeline.context.snapshot(scope, pipeline.watermark_us)
    payload = context_payload(snapshot, proof=VENUES[name[0]].proof, limit=limit)
    return {**payload, **_state(name)}


def posting_answer(key: Key, posting: Posting, limit: int | None) -> dict[str, Any]:
    """Return a posting as the object of /api/context."""
    payload = context_payload(
        posting.snapshot,
        proof=VENUES[key.source].proof,
        is_backfilling=posting.is_backfilling,
        limit=limit,
    )
    return {**payload, **_state((key.source, key.symbol))}


def _state(name: Name) -> dict[str, Any]:
    """Return label and connection state of an instrument."""
    found = [
        item
        for item in health_answer()["connections"]
        if item["source"] == name[0] and name[1] in item["symbol"].split(",")
    ]
    state = found[0] if found else {"state": "stopped", "last_message_age_ms": None}
    label = live.now().label if live.is_running() else ""
    return {
        "simulated": label == "simulated",
        "mode": label or "live",
        "health": {"state": state["state"], "data_age_ms": state["last_message_age_ms"]},
    }


def candles_answer(
    source: str | None, symbol: str | None, timeframe: str = "1m", count: int = 100
) -> dict[str, Any]:
    """Return the object of /api/strategy/candles: the newest candles, oldest first."""
    name = resolve(source, symbol)
    if timeframe not in TIMEFRAMES:
        raise UnknownNameError("timeframe", timeframe, list(TIMEFRAMES))
    pipeline, is_live = _pipeline(name)
    question = partial(_bars, pipeline, timeframe, count)
    bars = live.now().flow.ask(question) if is_live else question()
    grid, length_us = pipeline.instrument.grid, TIMEFRAMES[timeframe]
    return {
        "symbol": name[1],
        "source": name[0],
        "timeframe": timeframe,
        "candles": [
            candle_payload(
                candle(start, bar, grid),
                is_closed=start + length_us <= pipeline.watermark_us,
                coverage=bar.trades / (bar.trades + missing),
            )
            for start, bar, missing in bars
        ],
    }


def _bars(pipeline: Pipeline, timeframe: str, count: int) -> list[tuple[int, Bar, int]]:
    """Return copies of the newest bars with what they miss; runs in the pipeline's thread."""
    held = pipeline.context.held
    return [
        (start, bar.copy(), held.missing(bar.first_id, bar.last_id))
        for start, bar in pipeline.bars(timeframe, count)
    ]


def trades_answer(
    source: str | None, symbol: str | None, limit: int = 100, after_id: int | None = None
) -> dict[str, Any]:
    """Return stored trades: the newest, or those after an id, ascending."""
    name = resolve(source, symbol)
    instrument = instruments.find(*name)
    if instrument is None:
        raise NotReadyError(f"no trade of {name[1]} at {name[0]} has been stored yet")
    trades = rows.latest(instrument.id, limit, after_id)
    return {"symbol": name[1], "source": name[0], "trades": trades_payload(trades)}


def health_answer() -> dict[str, Any]:
    """Return the state of every connection."""
    if not live.is_running():
        return {"connections": []}
    running = live.now()
    now_us = running.wall_clock()
    found = []
    for supervisor in running.supervisors:
        for status in supervisor.statuses():
            age = None if status.last_message_us is None else now_us - status.last_message_us
            found.append(
                {
                    "source": status.source,
                    "channel": status.channel,
                    "symbol": status.symbol,
                    "state": status.state,
                    "connected_at": iso(status.connected_at_us) if status.connected_at_us else None,
                    "last_message_age_ms": None if age is None else max(0, age // 1000),
                    "reconnects": status.reconnects,
                    "gaps": running.gaps(status.source),
                    "proof": VENUES[status.source].proof,
                    "rejected": status.rejected,
                    "last_error": status.last_error,
                }
            )
    return {"connections": found}


def sessions_answer(source: str | None, symbol: str | None) -> dict[str, Any]:
    """Return today's sessions with what they hold."""
    name = resolve(source, symbol)
    pipeline, is_live = _pipeline(name)
    now_us = live.now().clock() if is_live else pipeline.watermark_us
    calendar = pipeline.context.calendar
    windows = calendar.windows(open_us(now_us, DAY_US))
    current = calendar.current(now_us)
    return {
        "sessions": [
            {
                "name": window.name,
                "title": window.title,
                "start": iso(window.start_us),
                "end": iso(window.end_us),
                "active": window == current and window.name != OFF,
            }
            for window in windows
        ]
    }


def known_answer() -> dict[str, Any]:
    """Return sources with their symbols."""
    found: dict[str, list[str]] = {}
    for source, symbol in names():
        found.setdefault(source, []).append(symbol)
    return {"sources": found}


def events_answer(
    source: str | None, symbol: str | None, limit: int = 50, since_us: int = 0
) -> dict[str, Any]:
    """Return the newest events of an instrument, newest first."""
    name = resolve(source, symbol)
    if not live.is_running():
        return {"events": []}
    events = [
        event_payload(event)
        for instrument, event in reversed(live.now().tape.events)
        if (instrument.source, instrument.symbol) == name and event.ts_us >= since_us
    ]
    return {"events": events[:limit]}
