"""The answers that API, page and push share: from the running feeds, else from what is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from marketdata import encoded, history, live, rebuilt
from marketdata.context import CURRENT, DAY, Snapshot
from marketdata.core.sessions import OFF
from marketdata.core.timeframe import DAY_US, TIMEFRAMES, open_us
from marketdata.core.trades import Trades
from marketdata.feeds.flow import Name
from marketdata.models import Instrument as InstrumentRow
from marketdata.payload import (
    context_payload,
    encode,
    event_payload,
    iso,
    precision,
    trades_payload,
)
from marketdata.pipeline import Pipeline
from marketdata.store import instruments, restatements, rows
from marketdata.store.board import Key, Posting
from marketdata.venues import VENUES

T = TypeVar("T")
# The flow answers within milliseconds; whoever waits longer had better come again.
ASK_S = 2.0
# In these states nothing is received, so that nobody knows what is missing.
DEAF = ("connecting", "backoff", "stopped")
UNFED: dict[str, Any] = {"state": "stopped", "data_age_ms": None}


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


def configured() -> list[Name]:
    """Return every (source, symbol) that is followed, in the order of the settings."""
    return list(live.now().instruments) if live.is_running() else []


def names() -> list[Name]:
    """Return every (source, symbol) configured or stored, configured first."""
    followed = configured()
    stored = [(item.source, item.symbol) for item in instruments.known()]
    return followed + [name for name in stored if name not in followed]


def resolve(source: str | None, symbol: str | None) -> Name:
    """Return the instrument asked for, the first one where nothing is said.

    Raises
    ------
    UnknownNameError
        It is neither configured nor stored.
    """
    found = followed(source, symbol)
    if found is not None:
        return found
    known = names()
    found = _first(known, source, symbol)
    if found is not None:
        return found
    sources = {name[0] for name in known}
    if source is not None and source not in sources:
        raise UnknownNameError("source", source, list(sources))
    of_source = {name[1] for name in known if source in (None, name[0])}
    raise UnknownNameError("symbol", symbol or "", list(of_source))


def followed(source: str | None, symbol: str | None) -> Name | None:
    """Return the configured instrument asked for, the first one where nothing is said, or None."""
    return _first(configured(), source, symbol)


def _first(known: Sequence[Name], source: str | None, symbol: str | None) -> Name | None:
    matching = (n for n in known if source in (None, n[0]) and symbol in (None, n[1]))
    return next(matching, None)


def live_pipeline(name: Name) -> Pipeline | None:
    """Return the pipeline that is fed now, or None."""
    lane = live.now().flow.lanes.get(name) if live.is_running() else None
    return lane.pipeline if lane else None


def _pipeline(name: Name) -> Pipeline:
    """Return the instrument's pipeline, live or rebuilt."""
    found = live_pipeline(name) or rebuilt.newest_day(*name)
    if found is None:
        raise NotReadyError(f"no trade of {name[1]} at {name[0]} has been seen yet")
    return found


def _ask(name: Name, question: Callable[[], T]) -> T:
    """Run a question in the thread that owns the instrument's pipeline."""
    if live_pipeline(name) is None:
        return question()
    return live.now().flow.ask(question, ASK_S)


def check_scope(name: Name, scope: str) -> None:
    """Raise UnknownNameError for a scope that the instrument does not have."""
    pipeline = live_pipeline(name)
    if pipeline is not None:
        known = pipeline.context.names()
    else:
        known = [DAY, CURRENT, *(item.name for item in instruments.trading_sessions())]
    if scope not in known:
        raise UnknownNameError("scope", scope, known)


def context_answer(
    source: str | None, symbol: str | None, scope: str = "day", limit: int | None = None
) -> dict[str, Any]:
    """Return the object of /api/context, with what the page adds to it."""
    name = resolve(source, symbol)
    check_scope(name, scope)
    if live_pipeline(name) is None:
        return _stored_answer(name, scope, limit)
    key = Key(*name, scope)
    posting = _posting(key)
    return {**encoded.posting_payload(key, posting, limit), **state(key, posting)}


def context_bytes(
    source: str | None, symbol: str | None, scope: str = "day", limit: int | None = None
) -> bytes:
    """Return the same object as JSON; what costs time is done once for each posting."""
    name = resolve(source, symbol)
    check_scope(name, scope)
    if live_pipeline(name) is None:
        return encode(_stored_answer(name, scope, limit))
    key = Key(*name, scope)
    return posting_bytes(key, _posting(key), limit)


def posting_bytes(key: Key, posting: Posting, limit: int | None) -> bytes:
    """Return a posting as the JSON of /api/context."""
    return encoded.joined(encoded.head(key, posting, limit), state(key, posting))


def _posting(key: Key) -> Posting:
    posting = live.now().board.fresh(key)
    if posting is None:
        raise NotReadyError(f"{key.symbol} at {key.source} has no context yet, or it is late")
    return posting


def _stored_answer(name: Name, scope: str, limit: int | None) -> dict[str, Any]:
    """Return the context of the newest stored day, as of its last trade."""
    pipeline = _pipeline(name)
    snapshot = pipeline.context.snapshot(scope, pipeline.watermark_us)
    payload = context_payload(snapshot, proof=VENUES[name[0]].proof, limit=limit)
    row = InstrumentRow.objects.get(source=name[0], symbol=name[1])
    label = "simulated" if row.simulated else "stored"
    count = restatements.count(snapshot.instrument.id, *_span(snapshot))
    told = {"restatements": count, "health": _feed(name) or UNFED}
    return {**payload, **_label(label), **told}


def state(key: Key, posting: Posting) -> dict[str, Any]:
    """Return how far a posting can be trusted now, and what feeds it."""
    feed = _feed((key.source, key.symbol))
    is_doubtful = bool(posting.damage) or _hears_nothing(feed)
    snapshot = posting.snapshot
    return {
        "precision": precision(
            snapshot.coverage,
            is_live=True,
            is_backfilling=posting.is_backfilling,
            is_doubtful=is_doubtful,
        ),
        "restatements": live.now().writer.restated.of(snapshot.instrument.id, *_span(snapshot)),
        **_label(live.now().label),
        "health": feed or UNFED,
    }


def _span(snapshot: Snapshot) -> tuple[int, int]:
    return snapshot.window.start_us, snapshot.window.end_us


def is_deaf(name: Name) -> bool:
    """Tell whether nothing is received of an instrument now."""
    return _hears_nothing(_feed(name))


def _hears_nothing(feed: dict[str, Any] | None) -> bool:
    return feed is not None and feed["state"] in DEAF


def _label(label: str) -> dict[str, Any]:
    return {"simulated": label == "simulated", "mode": label or "live"}


def _feed(name: Name) -> dict[str, Any] | None:
    """Return state and data age of the connection that feeds an instrument, the freshest one."""
    if not live.is_running():
        return None
    running, found = live.now(), None
    for status in (s for x in running.lines for s in x.statuses() if s.source == name[0]):
        is_newer = found is None or (status.last_message_us or 0) > (found.last_message_us or 0)
        if is_newer and name[1] in status.symbol.split(","):
            found = status
    if found is None:
        return None
    return {"state": found.state, "data_age_ms": _age_ms(found.last_message_us)}


def _age_ms(message_us: int | None) -> int | None:
    return None if message_us is None else max(0, live.now().wall_clock() - message_us) // 1000


def candles_answer(
    source: str | None, symbol: str | None, timeframe: str = "1m", count: int = 100
) -> dict[str, Any]:
    """Return the object of /api/strategy/candles: the newest candles, oldest first."""
    name = resolve(source, symbol)
    if timeframe not in TIMEFRAMES:
        raise UnknownNameError("timeframe", timeframe, list(TIMEFRAMES))
    found = history.candles(_pipeline(name), lambda x: _ask(name, x), timeframe, count)
    return {"symbol": name[1], "source": name[0], "timeframe": timeframe, "candles": found}


def trades_answer(
    source: str | None, symbol: str | None, limit: int = 100, after_id: int | None = None
) -> dict[str, Any]:
    """Return stored trades: the newest, or those after an id, ascending."""
    name = resolve(source, symbol)
    instrument = instruments.find(*name)
    trades = rows.latest(instrument.id, limit, after_id) if instrument else Trades.empty()
    refs, is_sized = None, True
    if instrument is not None:
        refs = None if instrument.is_numbered else rows.refs_of(instrument.id, trades)
        is_sized = instrument.is_sized
    listed = trades_payload(trades, refs, is_sized=is_sized)
    return {"symbol": name[1], "source": name[0], "trades": listed}


def health_answer() -> dict[str, Any]:
    """Return the state of every connection."""
    if not live.is_running():
        return {"connections": []}
    running = live.now()
    return {
        "connections": [
            {
                "source": status.source,
                "channel": status.channel,
                "symbol": status.symbol,
                "state": status.state,
                "connected_at": iso(status.connected_at_us) if status.connected_at_us else None,
                "last_message_age_ms": _age_ms(status.last_message_us),
                "reconnects": status.reconnects,
                "gaps": running.gaps(status.source),
                "proof": VENUES[status.source].proof,
                "rejected": status.rejected,
                "last_error": status.last_error,
            }
            for line in running.lines + running.book_lines
            for status in line.statuses()
        ]
    }


def sessions_answer(source: str | None, symbol: str | None) -> dict[str, Any]:
    """Return today's sessions; the one that counts as current is active."""
    name = resolve(source, symbol)
    pipeline = _pipeline(name)
    now_us = pipeline.watermark_us if live_pipeline(name) is None else live.now().clock()
    calendar = pipeline.context.calendar
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
            for window in calendar.windows(open_us(now_us, DAY_US))
        ]
    }


def events_answer(
    source: str | None, symbol: str | None, limit: int = 50, since_us: int = 0
) -> dict[str, Any]:
    """Return the newest events of an instrument, newest first, stored ones included."""
    name = resolve(source, symbol)
    told = list(live.now().tape.events) if live.is_running() else []
    fresh = [event for item, event in told if (item.source, item.symbol) == name]
    instrument = instruments.find(*name)
    found = history.events(instrument.id if instrument else 0, fresh, limit, since_us)
    return {"events": [event_payload(event) for event in found]}
