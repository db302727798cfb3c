"""The envelope of every answer, and answers that refuse, as Bybit words them."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from marketdata.simulator.faults import Faults
from marketdata.simulator.spoil import page

LIMIT = 50  # signed questions a second
TOO_MANY = 10006
STATUSES = {"418": 418, "451": 451, "500": 500, "503": 503, "429": 429}


def enveloped(
    result: Any, now_us: int, code: int = 0, says: str = "OK", status: int = 200
) -> web.Response:
    """Return an answer; the venue's own code tells success, not the status."""
    body = {
        "retCode": code,
        "retMsg": says,
        "result": result,
        "retExtInfo": {},
        "time": now_us // 1000,
    }
    data = msgspec.json.encode(body)
    return web.Response(body=data, status=status, content_type="application/json", charset="utf-8")


def too_frequent() -> web.Response:
    """Return the refusal of an address that asked too often."""
    return web.Response(status=403, text="403, access too frequent")


def limits(now_us: int, left: int, wait_s: float = 0.0) -> dict[str, str]:
    """Return the headers that tell what may still be asked; without a wait the reset is now."""
    return {
        "X-Bapi-Limit": str(LIMIT),
        "X-Bapi-Limit-Status": str(left),
        "X-Bapi-Limit-Reset-Timestamp": str(now_us // 1000 + int(wait_s * 1000)),
    }


def refusal(fault: str | None, faults: Faults, now_us: int) -> web.Response | None:
    """Return what stands for the whole answer, or None where the body itself is spoiled."""
    if fault == "403":
        return too_frequent()
    if fault == "10006":
        answer = enveloped({}, now_us, TOO_MANY, "Too many visits!")
        answer.headers.update(limits(now_us, 0, faults.value("retry_after")))
        return answer
    if fault in STATUSES:
        answer = web.Response(status=STATUSES[fault], text=f"{fault}")
        if fault in {"418", "429"}:
            answer.headers["Retry-After"] = f"{faults.value('retry_after'):g}"
        return answer
    return page(fault)
