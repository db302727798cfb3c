"""The JSON API of the process: routers of the apps, health, readiness, and errors in one shape."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI, Router

from marketdata import answers, live, readiness, schemas, telemetry
from marketdata.api import reply
from marketdata.api import router as marketdata_router
from strategy.api import router as strategy_router

api = NinjaAPI(
    title="BotCrypto",
    version="1",
    description="Order-flow context with its proof: coverage and definition on each number.",
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


@operations.get("/metrics")
def metrics(request: HttpRequest) -> HttpResponse:
    """Return metrics: JSON, or Prometheus text where that is asked for."""
    if "text/plain" in request.headers.get("Accept", ""):
        return HttpResponse(telemetry.prometheus_text(), content_type=PROMETHEUS)
    return reply(telemetry.metrics_answer())


def root_metrics(request: HttpRequest) -> HttpResponse:
    """Return Prometheus text, or JSON where that is asked for."""
    if "application/json" in request.headers.get("Accept", ""):
        return metrics(request)
    return HttpResponse(telemetry.prometheus_text(), content_type=PROMETHEUS)


PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

api.add_router("", operations)
api.add_router("", marketdata_router)
api.add_router("/strategy", strategy_router)


@api.exception_handler(answers.UnknownNameError)
def unknown_name(request: HttpRequest, error: answers.UnknownNameError) -> HttpResponse:
    """Answer 404 with the names that are known."""
    return reply({"detail": error.detail, "known": error.known}, 404)


@api.exception_handler(answers.NotReadyError)
def not_ready(request: HttpRequest, error: answers.NotReadyError) -> HttpResponse:
    """Answer 503 while nothing is known yet."""
    return reply({"detail": str(error)}, 503)


@api.exception_handler(live.NotRunningError)
def not_running(request: HttpRequest, error: live.NotRunningError) -> HttpResponse:
    """Answer 503 where this process runs no feeds."""
    return reply({"detail": str(error)}, 503)


@api.exception_handler(TimeoutError)
def busy(request: HttpRequest, error: TimeoutError) -> HttpResponse:
    """Answer 503 where the pipeline did not answer in time."""
    return reply({"detail": "the pipeline is busy; ask again in a moment"}, 503)
