"""The two hot questions: what Django would answer, without it; the rest is handed on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.test import AsyncClient, Client

from botcrypto import hot
from botcrypto.asgi import application
from botcrypto.hot import Hot
from marketdata import encoded
from tests.api.house import BTC, House, line, trades

FIRST = [(10, 100.00, 1.0, True), (20, 100.10, 2.0, False)]


class Behind:
    """An application that notes what it is handed."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.asked.append(scope["path"] + "?" + scope["query_string"].decode())


def ask(
    path: str,
    query: str = "",
    method: str = "GET",
    host: str | None = "127.0.0.1:8000",
) -> tuple[bytes | None, dict[str, str], Behind]:
    """Ask the hot door; None means that it was handed on."""
    sent: list[dict[str, Any]] = []
    behind = Behind()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"host", host.encode())] if host else [],
    }
    asyncio.run(Hot(behind)(scope, None, send))  # type: ignore[arg-type]
    if not sent:
        assert len(behind.asked) == 1
        return None, {}, behind
    start, body = sent
    assert (start["status"], behind.asked) == (200, [])
    return body["body"], {k.decode(): v.decode() for k, v in start["headers"]}, behind


@pytest.fixture
def fed(house: House) -> House:
    house.open()
    house.feed(trades(1, FIRST))
    # Somebody looked: from now on it is posted.
    assert Client().get("/api/context").status_code == 200
    return house


@pytest.mark.parametrize("path", ["/health", "/api/health"])
def test_health_needs_nothing_at_all(path: str) -> None:
    for host in ("127.0.0.1", "anything.example", None):
        body, headers, _ = ask(path, host=host)
        assert body == b'{"status":"ok"}'
        assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "query",
    ["", "symbol=BTCUSDT&source=binance_ws&scope=day", "scope=day", "rows=1", "rows=100000"],
)
def test_a_context_is_what_django_says(fed: House, query: str) -> None:
    body, headers, _ = ask("/api/context", query)
    told = Client().get(f"/api/context?{query}")
    assert body is not None
    assert json.loads(body) == told.json()
    for name, value in told.headers.items():
        assert headers[name.lower()] == value


def test_headers_are_those_of_every_other_answer(fed: House) -> None:
    _, headers, _ = ask("/api/context")
    told = Client().get("/api/sessions").headers
    assert set(headers) == {name.lower() for name in told}
    assert headers["content-security-policy"].startswith("default-src 'self'")


def test_what_feeds_it_is_told_as_it_is_now(fed: House) -> None:
    before = json.loads(ask("/api/context")[0] or b"")
    fed.lines.found = [line("backoff", last_message_us=fed.now_us - 9_000_000)]
    after = json.loads(ask("/api/context")[0] or b"")
    assert (before["precision"], after["precision"]) == ("exact", "degraded")
    assert after["health"] == {"state": "backoff", "data_age_ms": 9000}


def test_a_posting_is_encoded_once(fed: House, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int | None] = []
    real = encoded.posting_payload

    def counting(key: Any, posting: Any, limit: int | None) -> dict[str, Any]:
        made.append(limit)
        return real(key, posting, limit)

    monkeypatch.setattr(encoded, "posting_payload", counting)
    fed.board.post(
        hot.Key(*BTC, "day"), fed.flow.ask(lambda: snapshot(fed)), [], is_backfilling=False
    )
    for _ in range(5):
        assert ask("/api/context")[0]
        assert ask("/api/context", "rows=2")[0]
    assert made == [None, 2]


def snapshot(house: House) -> Any:
    return house.flow.lanes[BTC].pipeline.context.snapshot("day", house.now_us)


SPECIAL = [
    ("/", "", "GET", "127.0.0.1"),
    ("/health", "", "POST", "127.0.0.1"),
    ("/health/", "", "GET", "127.0.0.1"),
    ("/api/context/", "", "GET", "127.0.0.1"),
    ("/api/context", "", "HEAD", "127.0.0.1"),
    ("/api/context", "", "GET", "evil.example"),
    ("/api/context", "", "GET", None),
    ("/api/context", "", "GET", "127.0.0.1:80:80"),
    ("/api/context", "symbol=DOGE", "GET", "127.0.0.1"),
    ("/api/context", "source=nasdaq", "GET", "127.0.0.1"),
    ("/api/context", "scope=tokyo", "GET", "127.0.0.1"),
    ("/api/context", "scope=london", "GET", "127.0.0.1"),
    ("/api/context", "rows=0", "GET", "127.0.0.1"),
    ("/api/context", "rows=", "GET", "127.0.0.1"),
    ("/api/context", "rows=100001", "GET", "127.0.0.1"),
    ("/api/context", "rows=%EF%BC%92", "GET", "127.0.0.1"),
    ("/api/context", "rows=2&rows=3", "GET", "127.0.0.1"),
    ("/api/context", "unheard=of", "GET", "127.0.0.1"),
    ("/api/context", "symbol=%ff%fe", "GET", "127.0.0.1"),
    ("/api/contexts", "", "GET", "127.0.0.1"),
]


def test_what_is_not_plain_is_handed_on(fed: House) -> None:
    # London has not been looked at: nothing is posted of it yet.
    for path, query, method, host in SPECIAL:
        assert ask(path, query, method, host)[0] is None, f"{method} {path}?{query} at {host}"


def test_where_nothing_runs_all_is_handed_on() -> None:
    assert ask("/api/context")[0] is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "[::1]:8000", "[::1]"])
def test_our_own_hosts(fed: House, host: str) -> None:
    assert ask("/api/context", host=host)[0]


def test_a_large_profile_is_encoded_beside_the_loop(
    fed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[object] = []
    real = asyncio.to_thread

    async def noting(*args: Any) -> Any:
        used.append(args[0])
        return await real(*args)

    monkeypatch.setattr(asyncio, "to_thread", noting)
    fed.board.post(hot.Key(*BTC, "day"), fed.flow.ask(lambda: snapshot(fed)), [])
    assert ask("/api/context", "rows=200")[0]
    assert used == []
    assert ask("/api/context")[0]
    assert len(used) == 1
    # The second time the bytes are there.
    assert ask("/api/context")[0]
    assert len(used) == 1


def test_the_whole_application_answers(fed: House) -> None:
    async def story() -> None:
        client = AsyncClient(headers={"host": "127.0.0.1"})
        assert (await client.get("/api/context")).status_code == 200

    asyncio.run(story())
    assert isinstance(application.application_mapping["http"], Hot)
