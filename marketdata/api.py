"""The JSON API of market data. Answers are encoded once, by msgspec; schemas document them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.params.functions import Query

from marketdata import answers, schemas
from marketdata.models import ID_BITS
from marketdata.payload import encode

router = Router(tags=["market data"])
REFUSALS = {404: schemas.Unknown, 422: schemas.Malformed, 503: schemas.Detail}
# A busy pipeline answers again within a second; a connection takes some more.
RETRY_AFTER_S = 1

Symbol = Query(None, description="the venue's spelling; defaults to the first configured one")
Source = Query(None, description="name of the feed; defaults to the first configured one")


def reply(answer: dict[str, Any] | bytes, status: int = 200) -> HttpResponse:
    """Return an answer as JSON bytes that nobody in between may keep."""
    body = answer if isinstance(answer, bytes) else encode(answer)
    headers = {"Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    response = HttpResponse(body, content_type="application/json", status=status, headers=headers)
    # A refusal is an answer; Django would log each one as an error or a warning of ours.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


@router.get("/context", response={200: schemas.Context, **REFUSALS})
def context(
    request: HttpRequest,
    symbol: str | None = Symbol,
    source: str | None = Source,
    scope: str = Query("day", description="day, current, or a session's name"),
    rows: int | None = Query(
        None, ge=1, le=100_000, description="regroup the profile to so many rows at most"
    ),
) -> HttpResponse:
    """Return levels, profile, delta and coverage of a scope."""
    return reply(answers.context_bytes(source, symbol, scope, rows))


@router.get("/trades", response={200: schemas.TradeList, **REFUSALS})
def trades(
    request: HttpRequest,
    symbol: str | None = Symbol,
    source: str | None = Source,
    limit: int = Query(100, ge=1, le=1000),
    after_id: int | None = Query(
        None, ge=0, lt=2**ID_BITS, description="page on from this trade id"
    ),
) -> HttpResponse:
    """Return the newest stored trades, or those after an id, ascending."""
    return reply(answers.trades_answer(source, symbol, limit, after_id))


@router.get("/ws/health", response=schemas.Health)
def ws_health(request: HttpRequest) -> HttpResponse:
    """Return the state of every venue connection."""
    return reply(answers.health_answer())


@router.get("/sessions", response={200: schemas.SessionList, **REFUSALS})
def sessions(
    request: HttpRequest, symbol: str | None = Symbol, source: str | None = Source
) -> HttpResponse:
    """Return today's trading sessions."""
    return reply(answers.sessions_answer(source, symbol))
