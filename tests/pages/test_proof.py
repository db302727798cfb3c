"""The page of proof, and that page, API, command and table say the same."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client

from marketdata import live
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid
from marketdata.core.numbering import number_at
from marketdata.models import BackfillJob, Certificate, Edge, Restatement
from marketdata.pipeline import Pipeline
from marketdata.rebuild import new_pipeline
from marketdata.store import instruments
from marketdata.store.sink import StoreSink
from tests.core.invented import DAY_US, HOUR, MONDAY, tape
from tests.store.stored import Immediate

pytestmark = pytest.mark.django_db
GRID = Grid(Decimal("0.01"), Decimal("0.00001"))
STRANGE = "<img src=x onerror=1>币安"


class Page(HTMLParser):
    """Collects the cells of tables, and the terms of each certificate."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.states: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.certificates: dict[str, dict[str, str]] = {}
        self._table = self._scope = self._term = ""
        self._into: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag == "table":
            self._table = told.get("id") or told.get("class", "")
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in {"td", "th"}:
            self.tables[self._table][-1].append("")
            self._into = self.tables[self._table][-1]
            if told.get("data-state"):
                self.states.append(told["data-state"])
        elif tag == "article":
            self._scope = told["data-scope"]
            self.certificates[self._scope] = {}
        elif tag in {"dt", "dd"} and self._scope:
            self._into = [""]
            self._is_term = tag == "dt"

    def handle_endtag(self, tag):
        if tag == "dt" and self._scope and self._into:
            self._term = self._into[-1].strip()
        elif tag == "dd" and self._scope and self._into:
            self.certificates[self._scope][self._term] = self._into[-1].strip()
        if tag in {"td", "th", "dt", "dd"}:
            self._into = None
        if tag == "article":
            self._scope = ""

    def handle_data(self, data):
        if self._into is not None:
            self._into[-1] += data


def page(**query) -> Page:
    response = Client().get("/proof/", query)
    assert response.status_code == 200, response.content
    return Page(response.content.decode())


def number(text: str) -> int:
    return int(re.match(r"[\d,]+", text)[0].replace(",", ""))


@pytest.fixture
def btc():
    return instruments.remember("binance_ws", "BTCUSDT", GRID)


def fed(btc) -> Pipeline:
    """Feed a Monday with holes, one refilled, one the venue cannot fill, and one given up."""
    pipeline, now = new_pipeline(btc), [MONDAY]
    sink = StoreSink(Immediate(), lambda: now[0])
    sink.pipeline, pipeline.sinks = pipeline, (sink,)

    def put(first, last, hours, origin="live"):
        rows = [(id, MONDAY + round((hours + id / 1e6) * HOUR), 100 + id, 1, True)
                for id in range(first, last + 1)]  # fmt: skip
        pipeline.feed(Batch(tape(*rows), origin))

    def let(hours):
        now[0] = MONDAY + round(hours * HOUR)
        pipeline.advance(now[0])
        sink._minutes_at_s = sink._levels_at_s = -1e9
        sink.levels(lambda: now[0])

    put(3, 10, 0.5)
    put(21, 30, 8.5)
    put(41, 50, 9.5)
    put(81, 90, 12.5)
    let(12.6)
    # The hole of the morning's session comes late, and one live batch comes again.
    put(31, 40, 9.4, "rest")
    put(81, 90, 12.5)
    let(13.5)
    put(91, 95, 20)
    let(24.1)
    writer = sink.writer
    writer.put_absence(btc.id, [(11, 20)], "exchange_side", "the venue does not have them", MONDAY)
    writer.put_absence(btc.id, [(51, 60)], "permanent", "asked for 3 times: HTTP 451", MONDAY)
    Edge.objects.create(instrument_id=btc.id, start_us=MONDAY, first_id=1)
    Edge.objects.create(instrument_id=btc.id, start_us=MONDAY + DAY_US, first_id=98)
    return pipeline


# Of 1..97 the venue lacks 11..20. 1, 2, 51..80, 96 and 97 are missing.
HELD, EXPECTED, MISSING = 53, 87, 34


def verify(*options):
    out = StringIO()
    with contextlib.suppress(SystemExit):
        call_command(
            "verify", "--symbol", "BTCUSDT", "--date", "2024-01-01", "--json", *options,
            stdout=out, skip_checks=True,
        )  # fmt: skip
    return json.loads(out.getvalue())


def told(answer):
    return answer["expected"], answer["held"], answer["missing"]


def shown(certificate):
    held, expected = re.findall(r"[\d,]+", certificate["Held"])
    return number(expected), number(held), number(certificate["Missing"])


@pytest.mark.parametrize("scope", ["day", "london", "overlap"])
def test_command_api_page_and_table_say_the_same(btc, scope):
    fed(btc)
    verified = verify("--scope", scope)
    if scope == "day":
        assert told(verified) == (EXPECTED, HELD, MISSING)
    asked = {"symbol": "BTCUSDT", "scope": scope}
    coverage = Client().get("/api/context", asked).json()["coverage"]
    assert told(coverage) == told(verified)
    assert coverage["ranges"] == verified["ranges"]
    assert coverage["exchange_side"] == verified["exchange_side"]
    if verified["held"]:
        assert coverage["sources"] == verified["certificate"]["sources"]
    found = page(day="2024-01-01")
    assert shown(found.certificates[scope]) == told(verified)
    absent = sum(last - first + 1 for first, last in verified["exchange_side"])
    assert number(found.certificates[scope]["Not at the venue"]) == absent
    if not verified["expected"]:
        # Nothing traded, and the ids go on: there is nothing to certify.
        assert (scope, verified["edges"]) == ("overlap", "neighbour")
        return
    row = Certificate.objects.get(scope=scope)
    assert (row.expected, row.held, row.missing) == told(verified)
    assert row.sha256 == verified["certificate"]["sha256"]
    assert row.sha256 in found.html
    assert (row.refused, verified["refused"]) == ((10, 10) if scope == "day" else (0, 0))


def test_what_the_feed_left_out_is_missing_everywhere(db):
    bybit = instruments.remember("bybit", "BTCUSDT", GRID)
    first, writer = number_at(MONDAY), Immediate()
    rows = [(first + at, MONDAY + round((8 + at) * HOUR), 100, 1, True) for at in range(6)]
    left_out = tape(*((0, MONDAY + round(10.5 * HOUR) + at, 100, 1, True) for at in range(4)))
    pipeline, sink = new_pipeline(bybit), StoreSink(writer)
    sink.pipeline, pipeline.sinks = pipeline, (sink,)
    pipeline.feed(Batch(tape(*rows)))
    assert told(verify("--source", "bybit")) == (6, 6, 0)
    names = np.array([b"a", b"b", b"c", b"d"])
    writer.put_omissions(bybit.id, replace(left_out, ref=names))
    asked = {"symbol": "BTCUSDT", "source": "bybit"}
    for scope, expected in (("day", (10, 6, 4)), ("london", (8, 4, 4)), ("overlap", (1, 1, 0))):
        verified = verify("--source", "bybit", "--scope", scope)
        assert (told(verified), verified["left_out"]) == (expected, expected[2])
        coverage = Client().get("/api/context", {**asked, "scope": scope}).json()["coverage"]
        assert (told(coverage), coverage["left_out"]) == (expected, expected[2])
        found = page(**asked, day="2024-01-01")
        assert shown(found.certificates[scope]) == expected
    assert found.certificates["day"]["Missing"] == "4; the feed left out 4, for good"
    assert found.states[9:12] == ["full", "partial", "full"]
    candles = Client().get("/api/strategy/candles", {**asked, "timeframe": "1h"}).json()["candles"]
    # Of the hour at 10 one trade of five is held; nothing tells what came before the first.
    assert [candle["coverage"] for candle in candles] == [None, 1.0, 0.2, 1.0, 1.0, 1.0]


def test_a_session_inside_a_hole_misses_it_everywhere(btc):
    pipeline = new_pipeline(btc)
    sink = StoreSink(Immediate())
    sink.pipeline, pipeline.sinks = pipeline, (sink,)
    rows = ((1, 7), (2, 12), (9, 18), (10, 19))
    pipeline.feed(Batch(tape(*((id, MONDAY + hour * HOUR, 100, 1, True) for id, hour in rows))))
    verified = verify("--scope", "overlap")
    assert told(verified) == (6, 0, 6)
    asked = {"symbol": "BTCUSDT", "scope": "overlap"}
    assert told(Client().get("/api/context", asked).json()["coverage"]) == (6, 0, 6)
    assert shown(page(day="2024-01-01").certificates["overlap"]) == (6, 0, 6)
    assert Certificate.objects.get(scope="overlap").missing == 6


def test_the_live_page_says_what_the_live_context_says(running):
    instruments.remember("binance_ws", "BTCUSDT", GRID)
    for id, ts_us in ((10, desk_time(9)), (15, desk_time(10.2))):
        sink = StoreSink(Immediate())
        sink.trades(instruments.find("binance_ws", "BTCUSDT"), Batch(tape((id, ts_us, 1, 1, True))))
    coverage = Client().get("/api/context", {"symbol": "BTCUSDT"}).json()["coverage"]
    found = page(symbol="BTCUSDT")
    assert shown(found.certificates["day"]) == told(coverage) == (6, 4, 2)
    assert found.certificates["day"]["As of"].startswith("now")
    assert found.certificates["overlap"]["Held"] == "0 of 0 expected"
    assert live.is_running()


def desk_time(hours):
    return MONDAY + round(hours * HOUR)


def test_the_map_tells_each_hour_by_shape_and_word(btc):
    fed(btc)
    found = page(day="2024-01-01")
    assert len(found.states) == 24
    # The first hour lacks ids 1 and 2, the venue lacks those of 1 to 7 o'clock.
    assert found.states[:2] == ["partial", "absent"]
    assert found.states[9:13] == ["partial", "missing", "missing", "partial"]
    head, monday = found.tables["map"]
    assert (head[0], head[1], head[-1]) == ("Day", "00", "Missing")
    assert monday[1].startswith("◧") and monday[1].endswith("partial")  # noqa: PT018
    assert (monday[-2], monday[-1]) == (str(HELD), str(MISSING))


def test_holes_say_what_became_of_them(btc):
    fed(btc)
    BackfillJob.objects.create(
        source="binance_ws", symbol="BTCUSDT", start_us=MONDAY, end_us=MONDAY + DAY_US,
        status="failed", error="HTTP 451: not here", created_us=0,
    )  # fmt: skip
    found = page(day="2024-01-01")
    rows = [(row[0], row[1], row[3]) for row in found.tables["holes"][1:]]
    assert rows == [
        ("1–2", "2", "missing"),
        ("11–20", "10", "not at the venue: the venue does not have them"),
        ("51–60", "10", "given up: asked for 3 times: HTTP 451"),
        ("61–80", "20", "missing"),
        ("96–97", "2", "missing"),
    ]
    brought = [(row[0], row[3]) for row in found.tables["segments"][1:]]
    assert ("31–40", "rest") in brought
    assert "failed, 0 trades fetched: HTTP 451: not here" in found.html
    assert "verify --source binance_ws --symbol BTCUSDT --date 2024-01-01 --scope london" in (
        found.html
    )


def test_what_was_restated_is_listed_with_old_and_new(btc):
    fed(btc)
    found = page(day="2024-01-01")
    rows = {row[1]: row for row in found.tables["restated"][1:]}
    assert set(rows) == {"session london 08:00", "day 00:00"}
    assert "trades 20 → 30" in rows["session london 08:00"][2]
    assert "hole of the live feed refilled" in rows["session london 08:00"][3]
    assert Restatement.objects.count() == 2


def test_another_day_and_older_days_are_links(btc):
    fed(btc)
    pipeline = new_pipeline(btc)
    sink = StoreSink(Immediate())
    sink.pipeline, pipeline.sinks = pipeline, (sink,)
    pipeline.feed(Batch(tape((500, MONDAY + 40 * DAY_US, 100, 1, True))))
    found = page()
    assert len(found.tables["map"]) == 31
    older = re.search(r'href="(/proof/\?[^"]*until=2024-01-11)"', found.html)
    assert older is not None
    assert "2024-02-10" in found.html
    assert len(page(until="2024-01-11").tables["map"]) == 12
    assert page(until="2023-01-01").tables["map"][1][0].endswith("01-01")
    assert page(day="2031-01-01").certificates["day"]["Held"] == "0 of 0 expected"


def test_nothing_stored_and_nothing_known_are_said(btc):
    assert "No trade of this instrument is stored yet" in page().html
    response = Client().get("/proof/", {"symbol": STRANGE})
    assert response.status_code == 404
    assert STRANGE not in response.content.decode()
    for query in (
        {"day": "monday"},
        {"until": "2024-13-01"},
        {"day": "0001-01-01"},
        {"day": "9999-12-31"},
    ):
        response = Client().get("/proof/", query)
        assert response.status_code == 404
        assert "a date such as 2024-01-01" in response.content.decode()
    assert Client().post("/proof/").status_code == 405


def test_an_empty_database_says_what_to_do():
    assert b"No instrument yet" in Client().get("/proof/").content


def test_the_dashboard_leads_to_the_proof(running):
    html = Client().get("/", {"symbol": "BTCUSDT"}).content.decode()
    assert '<a href="/proof/?symbol=BTCUSDT&amp;source=binance_ws">Coverage</a>' in html
    assert '<a href="/proof/">Proof</a>' in html
