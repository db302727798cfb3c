"""The page at `/health-board/`: connections, books, hosts, writer, disk; for staff the accounts."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketdata import answers, live, telemetry
from marketdata.accounts.base import Account
from marketdata.accounts.trial import todo_of, told_of
from marketdata.accounts.watch import Seen, watch
from marketdata.conf import conf
from marketdata.payload import iso
from marketdata.rest.client import ClientStatus
from marketdata.store.writer import Writer
from marketdata.views.figures import MINUS, UNKNOWN, connection_text, number

# Shape and word of each state: colour alone tells nobody anything.
STATES = {
    "connecting": "◌ connecting",
    "live": "● live",
    "stale": "◐ stale",
    "backoff": "▲ backoff",
    "stopped": "■ stopped",
}
BREAKERS = {"closed": "● asked", "half_open": "◐ being tried", "open": "▲ left alone"}
GOOD, BAD = "good", "bad"
# Below it commits begin to fail before long; the check of the same name warns at start.
LEAST_FREE_BYTES = 2 * 10**9
# Files of the database by the ends of their names.
SIZES = (("Database", ""), ("Not yet merged (WAL)", "-wal"))


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Show how everything fares that runs in this process."""
    is_staff = bool(request.user.is_active and request.user.is_staff)
    running = live.now() if live.is_running() else None
    page: dict[str, Any] = {
        "is_running": running is not None,
        "mode": running.label if running else "",
        "now": iso(int(time.time() * 1_000_000))[:19].replace("T", " "),
        "is_staff": is_staff,
        "disk": _disk(),
    }
    if running is not None:
        page |= {
            "connections": [_connection(x) for x in answers.health_answer()["connections"]],
            "has_books": bool(running.books),
            "books": [_book(x) for keeper in running.books.values() for x in keeper.statuses()],
            "hosts": [_host(*x) for x in _hosts(running)],
            "queues": [(name, number(size, 0)) for name, size in telemetry.queue_sizes().items()],
            "writer": _writer(running.writer),
        }
    if is_staff:
        page["accounts"] = [_account(seen) for seen in watch().look(conf())]
    response = render(request, "marketdata/health.html", page)
    # What staff see must not come back to somebody else out of a cache.
    response.headers["Cache-Control"] = "no-store"
    return response


def _connection(item: dict[str, Any]) -> dict[str, Any]:
    return {
        **item,
        "text": connection_text(item),
        "told": STATES.get(item["state"], item["state"]),
        "side": GOOD if item["state"] == "live" else BAD,
        "since": _moment(item["connected_at"]),
        "age": _age(item["last_message_age_ms"]),
    }


def _moment(text: str | None) -> str:
    return text[:19].replace("T", " ") if text else UNKNOWN


def _age(ms: int | None) -> str:
    """Return an age as people say it."""
    if ms is None:
        return UNKNOWN
    if ms < 1000:
        return f"{ms} ms"
    return f"{ms / 1000:.1f} s" if ms < 120_000 else f"{ms // 60_000:,} min"


def _book(status: Any) -> dict[str, Any]:
    is_compared = status.compared > 0
    checked = f"{number(status.mismatched, 0)} of {number(status.compared, 0)}"
    return {
        "source": status.source,
        "symbol": status.symbol,
        "told": "● synced" if status.is_synced else "▲ out of sync",
        "side": GOOD if status.is_synced else BAD,
        "why": status.why,
        "age": _age(status.age_ms),
        "updates": number(status.updates, 0),
        "gaps": number(status.gaps, 0),
        "resyncs": number(status.resyncs, 0),
        "mismatched": checked if is_compared else UNKNOWN,
    }


def _hosts(running: live.Live) -> Iterator[tuple[str, ClientStatus]]:
    """Yield each venue's title and the state of its host once, whoever of its clients share it."""
    told = [(client.venue.title, client.status()) for client in running.clients]
    yield from {(title, status.host.host): (title, status) for title, status in told}.values()


def _host(title: str, status: ClientStatus) -> dict[str, Any]:
    host, limiter = status.host, status.limiter
    answered = " · ".join(f"{name} {count:,}" for name, count in sorted(host.answers.items()))
    count = sum(host.answers.values())
    until_us = host.banned_until_us
    return {
        "venue": title,
        "host": host.host,
        "told": "✕ banned" if until_us else BREAKERS.get(host.state, host.state),
        "side": GOOD if host.state == "closed" and not until_us and not host.rests_s else BAD,
        "rests": _age(int(host.rests_s * 1000)) if host.rests_s else "",
        "reason": host.reason,
        "banned_until": _moment(iso(until_us)) if until_us else "",
        "used": f"{number(limiter.venue_used, 0)} of {number(limiter.venue_limit, 0)}",
        "ours": f"{number(limiter.used, 0)} of {number(limiter.limit, 0)}",
        "waiting": number(limiter.waiting, 0),
        "refusals": number(limiter.refusals, 0),
        "retries": number(status.retries, 0),
        "answers": answered or "none yet",
        "mean": _age(int(1000 * host.seconds / count)) if count else UNKNOWN,
    }


def _writer(writer: Writer) -> dict[str, Any]:
    done = writer.statistics
    is_good = writer.is_alive() and not writer.last_error
    return {
        "told": "● writes" if is_good else "▲ does not write",
        "side": GOOD if is_good else BAD,
        "error": writer.last_error,
        "rows": number(writer.rows_written, 0),
        "waiting": number(writer.depth_rows, 0),
        "duplicates": number(done.duplicates, 0),
        "retries": number(done.retries, 0),
        "refused": number(done.refused, 0),
        "commit": _age(max(0, int(1000 * (time.monotonic() - done.last_commit_s)))),
    }


def _disk() -> dict[str, Any]:
    """Return room and size of the database; of a folder that is gone, what there is."""
    path = conf().database_path
    try:
        usage = shutil.disk_usage(path.parent)
    except OSError as error:
        return {"told": f"▲ {error.strerror}", "side": BAD, "sizes": []}
    is_good = usage.free >= LEAST_FREE_BYTES
    files = ((name, path.with_name(path.name + end)) for name, end in SIZES)
    return {
        "told": f"{'●' if is_good else '▲'} {_bytes(usage.free)} free of {_bytes(usage.total)}",
        "side": GOOD if is_good else BAD,
        "sizes": [(name, _bytes(_size(path))) for name, path in files],
    }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _bytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 10**9 else f"{size / 1e6:,.1f} MB"


def _account(seen: Seen) -> dict[str, Any]:
    return {
        "source": seen.source,
        "error": seen.error,
        "todo": seen.todo,
        "rights": told_of(seen.rights) if seen.rights else "",
        "advice": todo_of(seen.rights) if seen.rights else "",
        **(_held(seen.account) if seen.account else {}),
    }


def _held(account: Account) -> dict[str, Any]:
    return {
        "mode": account.mode,
        "as_of": _moment(iso(account.as_of_us)),
        "balances": [
            {"asset": x.asset, "total": _amount(x.total), "available": _amount(x.available)}
            for x in account.balances
        ],
        "positions": [
            {
                "symbol": x.symbol,
                "qty": _amount(x.qty),
                "entry": _amount(x.entry),
                "mark": _amount(x.mark),
                "unrealised": _amount(x.unrealised),
            }
            for x in account.positions
        ],
    }


def _amount(value: Decimal | None) -> str:
    """Return an amount to its last digit."""
    return UNKNOWN if value is None else f"{value:,f}".replace("-", MINUS)
