"""The schema says what the answers are: every field of real ones, and nothing that is not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from marketdata.core.events import Batch
from marketdata.store import instruments
from tests.api.house import BTC, ETH, GRID, House, line, trades, until

Get = Callable[..., Any]
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


@pytest.fixture
def schema(get: Get) -> dict[str, Any]:
    return get("/api/openapi.json")  # type: ignore[no-any-return]


def check(value: Any, told: dict[str, Any], schema: dict[str, Any], at: str = "answer") -> None:
    """Raise AssertionError where a value is not what a JSON schema says, fields left out or new."""
    if "$ref" in told:
        name = told["$ref"].removeprefix("#/components/schemas/")
        check(value, schema["components"]["schemas"][name], schema, at)
    elif "anyOf" in told:
        errors = [error for item in told["anyOf"] if (error := failure(value, item, schema, at))]
        assert len(errors) < len(told["anyOf"]), errors
    elif "enum" in told or "const" in told:
        assert value in told.get("enum", [told.get("const")]), f"{at}: {value!r}"
    elif "type" in told:
        assert isinstance(value, KINDS[told["type"]]), f"{at}: {told['type']} expected, {value!r}"
        assert told["type"] == "boolean" or not isinstance(value, bool), at
        if told["type"] == "array":
            for number, item in enumerate(value):
                check(item, told["items"], schema, f"{at}[{number}]")
        if told["type"] == "object":
            check_object(value, told, schema, at)


def check_object(
    value: dict[str, Any], told: dict[str, Any], schema: dict[str, Any], at: str
) -> None:
    fields = told.get("properties", {})
    assert set(told.get("required", [])) <= set(value), f"{at}: {sorted(value)}"
    more = told.get("additionalProperties", not fields)
    for name, item in value.items():
        if name in fields:
            check(item, fields[name], schema, f"{at}.{name}")
        else:
            assert more, f"{at}.{name} is not in the schema"
            if isinstance(more, dict):
                check(item, more, schema, f"{at}.{name}")


def failure(value: Any, told: dict[str, Any], schema: dict[str, Any], at: str) -> str:
    try:
        check(value, told, schema, at)
    except AssertionError as error:
        return str(error) or "?"
    return ""


def answer_of(schema: dict[str, Any], path: str, status: int) -> dict[str, Any]:
    told = schema["paths"][path]["get"]["responses"][str(status)]
    return told["content"]["application/json"]["schema"]  # type: ignore[no-any-return]


@pytest.fixture
def busy(house: House) -> House:
    """A house with everything in it: a gap, events, a stored instrument, a lost connection."""
    house.open()
    house.feed(trades(1, [(10, 100.0, 1.0, True), (70, 100.1, 2.0, False)]))
    house.feed(trades(5, [(130, 100.1, 2.0, False)]))
    other = instruments.remember(*ETH, GRID)
    house.writer.put_trades(other.id, Batch(trades(1, [(10, 100.0, 1.0, True)]), "rest"))
    house.lines.found.append(line("backoff", connected_at_us=house.now_us, last_error="lost"))
    house.store()
    until(lambda: house.flow.lanes[BTC].coverage)
    return house


QUESTIONS = [
    ("/api/health", {}, 200),
    ("/api/ready", {}, 200),
    ("/api/metrics", {}, 200),
    ("/api/ws/health", {}, 200),
    ("/api/context", {}, 200),
    ("/api/context", {"scope": "london", "rows": 1}, 200),
    ("/api/context", {"symbol": "ETHUSDT"}, 200),
    ("/api/context", {"symbol": "DOGE"}, 404),
    ("/api/context", {"rows": "x"}, 422),
    ("/api/trades", {}, 200),
    ("/api/trades", {"limit": 0}, 422),
    ("/api/sessions", {}, 200),
    ("/api/orderbook", {}, 503),
    ("/api/orderbook", {"symbol": "DOGE"}, 404),
    ("/api/orderbook", {"depth": 0}, 422),
    ("/api/market", {}, 200),
    ("/api/market", {"source": "nowhere"}, 404),
    ("/api/readings", {}, 200),
    ("/api/readings", {"kind": "liquidation"}, 200),
    ("/api/readings", {"symbol": "DOGE"}, 404),
    ("/api/readings", {"kind": "tides"}, 422),
    ("/api/compare", {}, 200),
    ("/api/compare", {"symbols": "BTCUSDT,ETHUSDT"}, 200),
    ("/api/compare", {"symbols": "DOGE"}, 404),
    ("/api/strategy/candles", {}, 200),
    ("/api/strategy/candles", {"timeframe": "1w"}, 200),
    ("/api/strategy/candles", {"timeframe": "2w"}, 404),
    ("/api/strategy/candles", {"count": 0}, 422),
    ("/api/strategy/events", {}, 200),
    ("/api/strategy/events", {"since": "soon"}, 422),
]


@pytest.mark.parametrize(("path", "query", "status"), QUESTIONS)
def test_real_answers_are_what_the_schema_says(
    busy: House, get: Get, schema: dict[str, Any], path: str, query: dict[str, Any], status: int
) -> None:
    answer = get(path, status, **query)
    check(answer, answer_of(schema, path, status), schema)


def test_not_ready_is_in_the_schema_too(database: None, get: Get, schema: dict[str, Any]) -> None:
    check(get("/api/ready", 503), answer_of(schema, "/api/ready", 503), schema)
    check(get("/api/metrics", 503), answer_of(schema, "/api/metrics", 503), schema)
    with House():
        check(get("/api/context", 503), answer_of(schema, "/api/context", 503), schema)


def test_the_check_itself_can_fail(schema: dict[str, Any]) -> None:
    told = answer_of(schema, "/api/health", 200)
    for wrong in ({}, {"status": 1}, {"status": "ok", "more": 1}, [], {"status": "up"}):
        assert failure(wrong, told, schema, "answer")


def test_every_question_is_asked_here(schema: dict[str, Any]) -> None:
    mine = {path for path in schema["paths"] if not path.startswith("/api/backfill/")}
    assert mine == {path for path, _, _ in QUESTIONS}


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            yield path, method, told


def test_every_operation_says_what_it_does(schema: dict[str, Any]) -> None:
    for path, method, told in operations(schema):
        assert told.get("description"), f"{method} {path}"
        for parameter in told.get("parameters", []):
            kind = parameter["schema"]
            is_told = kind.get("description") or kind.get("maximum") or parameter["in"] == "path"
            assert is_told, f"{method} {path} {parameter['name']}"


# The page


class Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "action"):
                self.urls.append(value or "")
            if name == "id":
                self.ids.append(value or "")


def test_the_page_of_the_api_needs_no_script_and_no_other_host(schema: dict[str, Any]) -> None:
    response = Client().get("/api/docs")
    assert response.status_code == 200
    page = response.content.decode()
    found = Links()
    found.feed(page)
    assert "script" not in found.tags
    assert not [url for url in found.urls if re.match(r"[a-z]+:|//", url)]
    assert "url(" not in page
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    for path, method, told in operations(schema):
        assert f"<code>{path}</code>" in page
        # What can be asked without more is a link.
        assert (path in found.urls) == (method == "get" and "{" not in path)
        for parameter in told.get("parameters", []):
            assert f"<code>{parameter['name']}</code>" in page
    # Every link into the page leads somewhere.
    inner = {url[1:] for url in found.urls if url.startswith("#")}
    assert inner - {"shape-anything"} <= set(found.ids)
    assert "shape-anything" not in inner


def test_the_schema_is_served_where_the_page_says(get: Get) -> None:
    found = Links()
    found.feed(Client().get("/api/docs").content.decode())
    (url,) = {url for url in found.urls if url.endswith("openapi.json")}
    assert get(url)["info"]["title"] == "BotCrypto"
