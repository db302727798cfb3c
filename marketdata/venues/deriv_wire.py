"""Deriv's frames: ticks, answers by number, refusals; the same in both of its dialects.

Source: github.com/deriv-com/deriv-api-schemas, 2026-06; developers.deriv.com, 2026-08; the legacy
schemas in github.com/deriv-com/deriv-api-docs, config/v3, 2026-06.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from marketdata.core.errors import FrameError
from marketdata.core.trades import EARLIEST_US, LATEST_US, Trades
from marketdata.venues.base import Control, Received
from marketdata.venues.dialog import Refusal, Rule
from marketdata.venues.wire_json import BROKEN, cut, parsed

S_US = 1_000_000
# NaN, infinity, zero and negatives fail the bounds; no quote is near them.
Amount = Annotated[float, Meta(gt=0, lt=1e15)]
# Whole seconds.
Epoch = Annotated[int, Meta(ge=EARLIEST_US // S_US, lt=LATEST_US // S_US)]
LARGEST_FRAME = 1 << 20
T = TypeVar("T")
# What a refused subscription is called: by its request, or as its ticks would be.
OPENINGS = frozenset({"ticks", "tick"})

ASK_LATER = Rule("backoff", "asked again later")
RULES: Mapping[str, Rule] = {
    "AlreadySubscribed": Rule("harmless"),
    "InvalidToken": Rule("fatal", "make a new token and set it"),
    "InvalidAppID": Rule("fatal", "set the app id of this API: those of the other are no use"),
    "InputValidationFailed": Rule("fatal", "the request or the token has a form that is refused"),
    "AuthorizationRequired": Rule("fatal", "this needs an account: set its token"),
    "MarketIsClosed": Rule("pause", "asked again when it may be open", 300.0),
    "NoOpenPeriod": Rule("pause", "asked again when it may be open", 300.0),
    "RateLimit": Rule("backoff", "too many requests, ours or others' with this app id", 60.0),
    "WrongResponse": ASK_LATER,
    "InternalServerError": ASK_LATER,
    "InvalidSymbol": Rule("drop", "check the symbol's spelling in active_symbols"),
}
OFFERINGS = Rule(
    "drop", "not offered here; the same for every symbol means that this address is barred"
)
UNKNOWN = Rule("unknown")


class _Tick(Struct, gc=False):
    symbol: str
    epoch: Epoch
    quote: Amount


class _Error(Struct):
    code: str = ""
    message: str = ""


class _Frame(Struct):
    """The envelope. `echo_req` may be absent, so nothing relies on it."""

    msg_type: str = ""
    req_id: int | None = None
    tick: _Tick | None = None
    error: _Error | None = None
    echo_req: Any = None
    ping: Any = None
    website_status: Any = None


class _Refused(Struct):
    error: _Error


_frame = msgspec.json.Decoder(_Frame)
_refused = msgspec.json.Decoder(_Refused)


def decode(frames: Sequence[bytes], symbols: frozenset[str]) -> Received:
    """Sort frames into ticks by symbol, answers by number, controls and errors.

    Notes
    -----
    `{"msg_type":"tick","req_id":1,"subscription":{"id":"c84a793b-8a87-7999-ce10-9b22f7ceead3"},
    "tick":{"symbol":"cryBTCUSD","epoch":1790873176,"quote":63123.45,"bid":63122.9,"ask":63124.0,
    "pip_size":2,"id":"c84a793b-8a87-7999-ce10-9b22f7ceead3"}}`. A tick's number is its second.
    """
    received = Received()
    ticks: dict[str, list[_Tick]] = {}
    for frame in frames:
        try:
            _take(frame, symbols, ticks, received)
        except FrameError as error:
            received.errors.append(error)
    for symbol, rows in ticks.items():
        received.trades[symbol] = ticks_of([row.epoch for row in rows], [row.quote for row in rows])
    received.topics.update(ticks)
    return received


def _take(
    frame: bytes, symbols: frozenset[str], ticks: dict[str, list[_Tick]], received: Received
) -> None:
    if len(frame) > LARGEST_FRAME:
        raise FrameError("size", f"at most {LARGEST_FRAME} bytes expected", frame)
    told = parsed(_frame, frame)
    if told.error is not None:
        _refusal(told, told.error, frame, symbols, received)
    elif told.msg_type == "tick":
        tick = _tick(told, symbols, frame)
        ticks.setdefault(tick.symbol, []).append(tick)
    elif told.req_id is not None:
        received.replies[told.req_id] = frame
    else:
        received.controls.append(_control(told, frame))


def _tick(told: _Frame, symbols: frozenset[str], frame: bytes) -> _Tick:
    if told.tick is None:
        raise FrameError("field", "a tick expected in a frame of type tick", frame)
    if told.tick.symbol not in symbols:
        detail = f"a subscribed symbol expected, seen {cut(told.tick.symbol)!r}"
        raise FrameError("symbol", detail, frame)
    return told.tick


def _control(told: _Frame, frame: bytes) -> Control:
    """Recognise frames that are no tick and answer no numbered request.

    Notes
    -----
    `{"msg_type":"ping","ping":"pong"}` · `{"msg_type":"website_status","website_status":
    {"site_status":"updating"}}`, after which the socket dies within about a minute.
    """
    if told.msg_type == "ping" and told.ping == "pong":
        return Control("pong")
    status = told.website_status
    if told.msg_type == "website_status" and isinstance(status, dict):
        kind = "shutdown" if status.get("site_status") == "updating" else "ack"
        return Control(kind, f"site_status {cut(status.get('site_status'))}")
    raise FrameError("event", f"a tick or an answer expected, seen {cut(told.msg_type)!r}", frame)


def _refusal(
    told: _Frame, error: _Error, frame: bytes, symbols: frozenset[str], received: Received
) -> None:
    """Hand a refusal to who asked where it says whom; else act on it."""
    refusal = refused(error)
    is_opening = told.msg_type in OPENINGS
    is_mute = refusal.rule.kind in {"drop", "pause"}
    if is_opening and is_mute:
        # The venue has spoken of it: nothing more is awaited, and the other symbols go on.
        received.topics.update(_subject(told, symbols))
    if told.req_id is not None:
        received.replies[told.req_id] = frame
    elif refusal.rule.kind == "harmless":
        received.controls.append(Control("ack", str(refusal)))
    elif is_mute:
        raise FrameError("symbol", str(refusal), frame)
    elif is_opening or refusal.rule.kind == "fatal":
        received.controls.append(Control("refused", str(refusal)))
    else:
        raise FrameError("event", f"it refuses no known request: {refusal}", frame)


def _subject(told: _Frame, symbols: frozenset[str]) -> frozenset[str]:
    """Return the symbol that a refused subscription was of, by its echo or else its number."""
    echo = told.echo_req.get("ticks") if isinstance(told.echo_req, dict) else None
    if isinstance(echo, str):
        return frozenset({echo}) & symbols
    numbered = dict(enumerate(sorted(symbols), 1))
    return frozenset({numbered[told.req_id]}) if told.req_id in numbered else frozenset()


def refused(error: _Error) -> Refusal:
    """Look a refusal up in the table of rules."""
    rule = OFFERINGS if error.code.startswith("Offerings") else RULES.get(error.code, UNKNOWN)
    return Refusal(cut(error.code) or "no code", cut(error.message), rule)


def refusal_of(body: bytes) -> Refusal | None:
    """Return what an answer refuses; None where it does not.

    Notes
    -----
    `{"echo_req":{"ticks_history":"NOPE","end":"latest"},"msg_type":"ticks_history","req_id":9,
    "error":{"code":"InvalidSymbol","message":"Symbol NOPE is invalid."}}`
    """
    try:
        return refused(_refused.decode(body).error)
    except BROKEN:
        return None


def ticks_of(times: Sequence[int], prices: Sequence[float]) -> Trades:
    """Make a batch of ticks.

    Notes
    -----
    The venue tells no size and no side: each counts as one, and as bought until who knows the ticks
    before it applies `tick_rule`.
    """
    epoch = np.asarray(times, np.int64)
    ones = np.ones(len(epoch))
    is_buy = np.ones(len(epoch), np.bool_)
    ref = epoch.astype("S10")
    return Trades(epoch, epoch * S_US, np.asarray(prices, np.float64), ones, is_buy, ref)
