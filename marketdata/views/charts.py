"""The chart library as the page sees it: where it lies, and whether it is there yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.utils.http import http_date
from django.views.decorators.http import require_safe

VENDOR = Path(__file__).resolve().parent.parent / "static" / "marketdata" / "vendor"
BUNDLE = "lightweight-charts.js"
LICENCE = "lightweight-charts.LICENSE.txt"
SERVED = {BUNDLE: "text/javascript; charset=utf-8", LICENCE: "text/plain; charset=utf-8"}
STATE = "state.json"
# The URL carries the version, so what it names never changes.
FOR_EVER = "public, max-age=31536000, immutable"


def state(folder: Path = VENDOR) -> dict[str, Any]:
    """Return `{state, version, detail}`; state is `ready, installing, failed` or `absent`."""
    try:
        told = json.loads((folder / STATE).read_text())
    except (OSError, ValueError):
        told = {}
    known = {"state": "absent", "version": "", "integrity": "", "detail": "", **told}
    if (folder / BUNDLE).is_file():
        known["state"] = "ready"
    elif known["state"] == "ready":
        known["state"] = "absent"
    return known


@require_safe
def vendor(request: HttpRequest, name: str) -> HttpResponse:
    """Serve the library itself: it may arrive after the list of static files was made."""
    path = VENDOR / name
    if name not in SERVED or not path.is_file():
        return HttpResponseNotFound("not installed", content_type="text/plain")
    headers = {"Last-Modified": http_date(path.stat().st_mtime)}
    if request.GET.get("v"):
        headers["Cache-Control"] = FOR_EVER
    return HttpResponse(path.read_bytes(), content_type=SERVED[name], headers=headers)
