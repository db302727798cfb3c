"""Deriv's own legacy schemas: what we send fits them, what they describe is read."""

from __future__ import annotations

import json
import random
import re
from contextlib import suppress

import pytest

from marketdata.core.errors import FrameError
from marketdata.core.timeframe import DAY_US
from marketdata.venues.deriv import BEAT, GRANULARITIES_S, LEGACY, candles, opening
from marketdata.venues.deriv_answers import authorized_of, balance_of, candles_of, page_of
from marketdata.venues.deriv_wire import decode, refusal_of

pytestmark = pytest.mark.realdata
NOW = 1_790_873_176
DAY = 1_790_812_800
SYMBOL = "R_100"
OURS = {
    "active_symbols": [LEGACY.listing(SYMBOL).params],
    "authorize": [LEGACY.dialog.authorize("a1-AbC").params],
    "balance": [LEGACY.dialog.balance.params],
    "ping": [json.loads(BEAT.frame)],
    "ticks": [json.loads(frame) for frame in opening([SYMBOL, "cryBTCUSD"])],
    "ticks_history": [
        LEGACY.dialog.newest(SYMBOL, 5000).params,
        LEGACY.dialog.between(SYMBOL, DAY * 10**6, DAY * 10**6 + DAY_US, 5000).params,
        LEGACY.day(SYMBOL, DAY * 10**6).params,
        *(candles(SYMBOL, 0, DAY * 10**6, each).params for each in GRANULARITIES_S),
    ],
    "time": [LEGACY.clock().params],
}
# Each call, and how its answer is read; or why it is not.
READ = {
    "active_symbols": lambda body: LEGACY.listing_of(body, SYMBOL),
    "authorize": authorized_of,
    "balance": balance_of,
    "ping": lambda body: decoded(body).replies,
    "ticks": lambda body: decoded(body).trades,
    "ticks_history": lambda body: (page_of(body, 0, (NOW + 1) * 10**6), candles_of(body, 60)),
    "time": LEGACY.clock_of,
}
NOT_READ = {
    "forget": "nothing is unsubscribed from: a connection ends instead",
    "forget_all": "as forget",
    "portfolio": "private, and about trading",
    "proposal": "about trading",
    "statement": "private, and about trading",
}
KINDS = ("example", "receive", "send")


def decoded(body):
    received = decode([body], frozenset([SYMBOL]))
    if received.errors:
        raise received.errors[0]
    return received


@pytest.fixture
def folder(shared_data):
    return shared_data / "fixtures" / "deriv_api_docs"


def load(folder, name, kind):
    return json.loads((folder / f"{name}_{kind}.json").read_text(encoding="utf-8"))


def test_every_file_is_read_or_has_a_reason(folder):
    known = {f"{name}_{kind}.json" for name in READ | NOT_READ for kind in KINDS}
    assert {path.name for path in folder.iterdir()} == known


@pytest.mark.parametrize("name", sorted(READ | NOT_READ))
def test_the_venues_examples_fit_its_schemas(folder, name):
    assert faults(load(folder, name, "example"), load(folder, name, "send")) == []


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_we_send_fits_the_schemas(folder, name):
    schema = load(folder, name, "send")
    for request in OURS[name]:
        assert next(iter(request)) == name
        assert faults({**request, "req_id": 1_000_001}, schema) == []


def test_every_public_call_that_we_read_is_one_that_we_make():
    assert OURS.keys() == READ.keys()


@pytest.mark.parametrize("name", sorted(READ))
def test_what_the_schemas_describe_is_read(folder, name):
    body = answer_of(folder, name)
    read = READ[name](body)
    assert read
    assert refusal_of(body) is None
    if name == "ticks":
        assert read[SYMBOL].price.tolist() == [619.5]
    if name == "ticks_history":
        page, rows = read
        assert (page.id.tolist(), page.price.tolist()) == ([NOW], [619.5])
        assert [row.close for row in rows] == [619.5]


@pytest.mark.parametrize("name", sorted(READ))
def test_broken_bytes_are_refused_and_nothing_else(folder, name):
    body, rng = answer_of(folder, name), random.Random(5)
    poison = [b"NaN", b"1e999", b"-1", b"null", b'"', b"{", b"[" * 2000, b"\xff", b"9" * 400]
    for _ in range(300):
        broken = bytearray(body)
        at, size = rng.randrange(len(broken)), rng.randrange(12)
        broken[at : at + size] = rng.choice(poison) if rng.random() < 0.7 else b""
        with suppress(FrameError):
            READ[name](bytes(broken))
        refusal_of(bytes(broken))


def answer_of(folder, name):
    """Return an answer as the schema describes it, every property of it there."""
    schema = load(folder, name, "receive")
    told = made(schema, "")
    assert faults(told, schema) == []
    if name == "ticks_history":
        told["candles"][0]["epoch"] = NOW - NOW % 60
    return json.dumps(told).encode()


VALUES = {"symbol": SYMBOL, "epoch": NOW, "times": [NOW], "prices": [619.5], "time": NOW,
          "loginid": "VRTC0000001", "currency": "USD", "pip": 0.01,
          "preferred_language": "EN"}  # fmt: skip


def made(schema, name):
    """Make a value that fits a schema."""
    kind = schema.get("type")
    kind = kind[-1] if isinstance(kind, list) else kind
    if name in VALUES:
        return VALUES[name]
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        return {key: made(inner, key) for key, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [made(schema["items"], "")] if "items" in schema else []
    plain = {"integer": 1, "number": 619.5, "boolean": True, "null": None}
    return plain.get(kind, (schema.get("examples") or ["x"])[0])


# A checker of the few words that these schemas use.

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
         "boolean": bool, "null": type(None)}  # fmt: skip


def faults(value, schema, root=None, at="$"):
    """Return what does not fit, in words; nothing where all does."""
    root = root or schema
    if "$ref" in schema:
        return faults(value, root["definitions"][schema["$ref"].rpartition("/")[2]], root, at)
    if "oneOf" in schema:
        fits = [option for option in schema["oneOf"] if not faults(value, option, root, at)]
        return [] if len(fits) == 1 else [f"{at}: fits {len(fits)} of the kinds"]
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if kinds and not any(isinstance(value, TYPES[kind]) for kind in kinds):
        return [f"{at}: {kinds} expected"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: not in the enum")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at}: {schema['pattern']} expected")
    bounds = (schema.get("minimum", value), schema.get("maximum", value))
    if isinstance(value, int | float) and not bounds[0] <= value <= bounds[1]:
        found.append(f"{at}: outside its bounds")
    return found + inner_faults(value, schema, root, at)


def inner_faults(value, schema, root, at):
    if isinstance(value, list):
        inner = [faults(one, schema.get("items", {}), root, f"{at}[]") for one in value]
        return [fault for part in inner for fault in part]
    if not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    found = [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, one in value.items():
        if name in known:
            found += faults(one, known[name], root, f"{at}.{name}")
        elif schema.get("additionalProperties") is False:
            found.append(f"{at}: {name} is not known")
    return found


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        ({"ticks_history": SYMBOL, "end": NOW}, "$.end: ['string'] expected"),
        ({"ticks_history": SYMBOL, "end": "now"}, "$.end: ^(latest|[0-9]{1,10})$ expected"),
        ({"ticks_history": SYMBOL, "end": "latest", "start": "1"}, "$.start: ['integer'] expected"),
        ({"ticks_history": SYMBOL, "end": "latest", "subscribe": 0},
         "$.subscribe: not in the enum"),
        ({"ticks_history": SYMBOL, "end": "latest", "granularity": 61},
         "$.granularity: not in the enum"),
        ({"ticks_history": "a&b", "end": "latest"}, r"$.ticks_history: ^\w{2,30}$ expected"),
        ({"ticks_history": SYMBOL}, "$: end is missing"),
        ({"ticks_history": SYMBOL, "end": "latest", "mood": 1}, "$: mood is not known"),
        ({"ticks_history": SYMBOL, "end": "latest", "start": -1}, "$.start: outside its bounds"),
    ],
)  # fmt: skip
def test_the_checker_sees_what_the_venue_would_refuse(folder, request_, fault):
    assert faults(request_, load(folder, "ticks_history", "send")) == [fault]
