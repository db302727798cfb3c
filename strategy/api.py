"""The JSON API of the strategy side: candles and events as rules see them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.params.functions import Query
from pydantic import BeforeValidator, WithJsonSchema

from marketdata import answers, schemas
from marketdata.api import REFUSALS, Source, Symbol, reply
from marketdata.core.trades import LATEST_US

router = Router(tags=["strategy"])


def moment_us(text: str) -> int:
    """Return microseconds since the epoch, or an ISO time, UTC where no zone is named.

    Raises
    ------
    ValueError
        Neither of them, or a time before 1970 or after 2100.
    """
    if text.isascii() and text.isdecimal():
        moment = int(text)
    else:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                "an ISO time such as 2024-01-01T12:00:00Z, or microseconds, expected"
            ) from None
        parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        moment = int(parsed.timestamp()) * 1_000_000 + parsed.microsecond
    if not 0 <= moment < LATEST_US:
        raise ValueError("a time between 1970 and 2100 expected")
    return moment


Moment = Annotated[
    int,
    BeforeValidator(lambda value: moment_us(str(value))),
    WithJsonSchema({"type": "string", "example": "2024-01-01T12:00:00Z"}),
]

Since = Query(0, description="ISO time, UTC unless it says else, or microseconds since 1970")


@router.get("/candles", response={200: schemas.CandleList, **REFUSALS})
def candles(
    request: HttpRequest,
    symbol: str | None = Symbol,
    source: str | None = Source,
    timeframe: str = Query("1m", description="1m, 3m, 5m, 15m, 30m, 1h to 12h, 1d, 1w"),
    count: int = Query(100, ge=1, le=3000),
) -> HttpResponse:
    """Return the newest candles with delta, VWAP and coverage, oldest first."""
    return reply(answers.candles_answer(source, symbol, timeframe, count))


@router.get("/events", response={200: schemas.EventList, **REFUSALS})
def events(
    request: HttpRequest,
    symbol: str | None = Symbol,
    source: str | None = Source,
    since: Moment = Since,
    limit: int = Query(50, ge=1, le=500),
) -> HttpResponse:
    """Return what happened since a time, newest first."""
    return reply(answers.events_answer(source, symbol, limit, since))
