"""The JSON API of the strategy side: candles as rules see them."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from marketdata import answers, schemas
from marketdata.payload import encode

router = Router(tags=["strategy"])


@router.get("/candles", response={200: schemas.CandleList, 404: schemas.Unknown})
def candles(
    request: HttpRequest,
    symbol: str | None = None,
    source: str | None = None,
    timeframe: str = Query("1m", description="1m to 1w"),
    count: int = Query(100, ge=1, le=3000),
) -> HttpResponse:
    """Return the newest candles with delta, VWAP and coverage, oldest first."""
    answer = answers.candles_answer(source, symbol, timeframe, count)
    return HttpResponse(encode(answer), content_type="application/json")


@router.get("/events", response={200: schemas.EventList, 404: schemas.Unknown})
def events(
    request: HttpRequest,
    symbol: str | None = None,
    source: str | None = None,
    since: int | None = Query(None, ge=0, description="microseconds since the epoch"),
    limit: int = Query(50, ge=1, le=500),
) -> HttpResponse:
    """Return what happened lately, newest first."""
    answer = answers.events_answer(source, symbol, limit, since or 0)
    return HttpResponse(encode(answer), content_type="application/json")
