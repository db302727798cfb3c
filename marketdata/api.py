"""The JSON API of market data. Answers are encoded once, by msgspec; schemas document them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from marketdata import answers, schemas
from marketdata.payload import encode

router = Router(tags=["market data"])
NOT_FOUND = {404: schemas.Unknown, 503: schemas.Detail}

Name = Query(None, description="defaults to the first configured one")


def reply(answer: dict[str, Any], status: int = 200) -> HttpResponse:
    """Return an answer as JSON bytes."""
    return HttpResponse(encode(answer), content_type="application/json", status=status)


@router.get("/context", response={200: schemas.Context, **NOT_FOUND})
def context(
    request: HttpRequest,
    symbol: str | None = Name,
    source: str | None = Name,
    scope: str = Query("day", description="day, current, or a session's name"),
    rows: int | None = Query(None, ge=1, le=100_000, description="regroup the profile to so many"),
) -> HttpResponse:
    """Return levels, profile, delta and coverage of a scope."""
    return reply(answers.context_answer(source, symbol, scope, rows))


@router.get("/trades", response={200: schemas.TradeList, **NOT_FOUND})
def trades(
    request: HttpRequest,
    symbol: str | None = Name,
    source: str | None = Name,
    limit: int = Query(100, ge=1, le=1000),
    after_id: int | None = Query(None, ge=0, description="page on from this trade id"),
) -> HttpResponse:
    """Return the newest trades, or those after an id, ascending."""
    return reply(answers.trades_answer(source, symbol, limit, after_id))


@router.get("/ws/health", response=schemas.Health)
def ws_health(request: HttpRequest) -> HttpResponse:
    """Return the state of every venue connection."""
    return reply(answers.health_answer())


@router.get("/sessions", response={200: schemas.SessionList, **NOT_FOUND})
def sessions(
    request: HttpRequest, symbol: str | None = Name, source: str | None = Name
) -> HttpResponse:
    """Return today's trading sessions."""
    return reply(answers.sessions_answer(source, symbol))
