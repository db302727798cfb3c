"""Answers of REST that are no answers: refusals in JSON, and pages of HTML."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from marketdata.simulator.binance_spot.params import RefusedError
from marketdata.simulator.faults import Faults
from marketdata.simulator.spoil import page

RESTRICTED = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you "
    "received this message in error."
)


def too_much(limit: int) -> RefusedError:
    """Return the refusal of a request beyond the weight of a minute."""
    return RefusedError(
        -1003,
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API.",
        429,
    )


def banned(retry_after_s: float) -> RefusedError:
    """Return the refusal of a banned address."""
    until_ms = int((time.time() + retry_after_s) * 1000)
    return RefusedError(
        -1003,
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans.",
        418,
    )


def answered(fault: str | None, faults: Faults, limit: int) -> web.Response | None:
    """Return what stands for the whole answer, or None where at most its body is spoiled."""
    retry_after_s = faults.value("retry_after")
    refusals: dict[str | None, Callable[[], RefusedError]] = {
        "429": lambda: too_much(limit),
        "418": lambda: banned(retry_after_s),
        "451": lambda: RefusedError(0, RESTRICTED, 451),
        "500": lambda: RefusedError(-1000, "An unknown error occurred while processing.", 500),
        "503": lambda: RefusedError(-1008, "Server is currently overloaded.", 503),
    }
    return refused(refusals[fault](), retry_after_s) if fault in refusals else page(fault)


def refused(error: RefusedError, retry_after_s: float = 0.0) -> web.Response:
    """Return the answer of a refusal: `{"code":-1121,"msg":"Invalid symbol."}`."""
    answer = json(msgspec.json.encode({"code": error.code, "msg": str(error)}), error.status)
    if error.status in {418, 429}:
        answer.headers["Retry-After"] = f"{retry_after_s:g}"
    return answer


def json(body: bytes, status: int = 200) -> web.Response:
    """Return an answer of JSON text."""
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")
