"""The JSON API of the process: routers of the apps, health, readiness, and errors in one shape."""

from __future__ import annotations

import logging

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI, Router

from botcrypto.reference import Reference
from marketdata import answers, live, readiness, schemas, telemetry
from marketdata.api import reply
from marketdata.api import router as marketdata_router
from marketdata.backfill_api import router as backfill_router
from marketdata.market_api import router as market_router
from strategy.api import router as strategy_router

log = logging.getLogger(__name__)

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

api = NinjaAPI(
    title="BotCrypto",
    version="1",
    description="Order-flow context with its proof: coverage and definition on each number.",
    docs=Reference(),
    docs_url="/docs",
    openapi_url="/openapi.json",
)
operations = Router(tags=["operations"])


@operations.get("/health", response=schemas.Status)
def health(request: HttpRequest) -> HttpResponse:
    """Say that the process is alive, whatever else is broken."""
    return reply({"status": "ok"})


@operations.get("/ready", response={200: schemas.Ready, 503: schemas.Ready})
def ready(request: HttpRequest) -> HttpResponse:
    """Say whether database and writer answer, and how exact the numbers are."""
    answer = readiness.ready_answer()
    return reply(answer, 200 if answer["status"] == "ready" else 503)


@operations.get("/metrics", response={200: schemas.Metrics, 503: schemas.Detail})
def metrics(request: HttpRequest) -> HttpResponse:
    """Return metrics: JSON, or Prometheus text where that is asked for."""
    if "text/plain" in request.headers.get("Accept", ""):
        return prometheus()
    return reply(telemetry.metrics_answer())


def root_metrics(request: HttpRequest) -> HttpResponse:
    """Return Prometheus text, or JSON where that is asked for."""
    if "application/json" not in request.headers.get("Accept", ""):
        return prometheus()
    try:
        return reply(telemetry.metrics_answer())
    except live.NotRunningError as error:
        return unready(request, error)


def prometheus() -> HttpResponse:
    """Return every metric as Prometheus text."""
    return HttpResponse(telemetry.prometheus_text(), content_type=PROMETHEUS)


api.add_router("", operations)
api.add_router("", marketdata_router)
api.add_router("", market_router)
api.add_router("/backfill", backfill_router)
api.add_router("/strategy", strategy_router)


@api.exception_handler(answers.UnknownNameError)
def unknown_name(request: HttpRequest, error: answers.UnknownNameError) -> HttpResponse:
    """Answer 404 with the names that are known."""
    return reply({"detail": error.detail, "known": error.known}, 404)


@api.exception_handler(answers.NotReadyError)
@api.exception_handler(live.NotRunningError)
def unready(request: HttpRequest, error: Exception) -> HttpResponse:
    """Answer 503 while nothing is known yet, or where this process runs no feeds."""
    return reply({"detail": str(error)}, 503)


@api.exception_handler(TimeoutError)
def busy(request: HttpRequest, error: TimeoutError) -> HttpResponse:
    """Answer 503 where the pipeline did not answer in time."""
    return reply({"detail": "the pipeline is busy; ask again in a moment"}, 503)


@api.exception_handler(DatabaseError)
def no_database(request: HttpRequest, error: DatabaseError) -> HttpResponse:
    """Answer 503 where the database does not answer."""
    log.warning("question not answered path=%s error=%s", request.path, error)
    return reply({"detail": "the database does not answer; ask again in a moment"}, 503)
