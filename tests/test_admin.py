import re
from datetime import date, time

import numpy as np
import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from marketdata.admin import NEWEST, ReadOnlyAdmin
from marketdata.core.trades import Trades
from marketdata.models import (
    ID_BITS,
    Absence,
    BackfillChunk,
    BackfillJob,
    Candle,
    Certificate,
    CoverageSegment,
    DailyLevel,
    Edge,
    Event,
    FeedState,
    HostState,
    Instrument,
    Refusal,
    Restatement,
    SessionStat,
    Trade,
    TradingSession,
)
from marketdata.store.writer import insert_trades
from tests.core.invented import MINUTE, MONDAY

pytestmark = pytest.mark.django_db
ROWS = 300_000
READ_ONLY = [
    Trade, Candle, CoverageSegment, Absence, Edge, Refusal, Restatement, Certificate, DailyLevel,
    SessionStat, Event, FeedState, HostState, BackfillChunk,
]  # fmt: skip


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    """Hash the administrator's password in no time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def btc():
    """Return an instrument."""
    return Instrument.objects.create(
        source="binance_ws", symbol="BTCUSDT", tick="0.01", lot="0.00001"
    )


@pytest.fixture
def ltc():
    """Return another."""
    return Instrument.objects.create(source="binance_ws", symbol="LTCUSDT", tick="0.01", lot="1")


def big(instrument):
    """Store many trades of an instrument."""
    ids = np.arange(1, ROWS + 1)
    insert_trades(
        instrument.pk, Trades.of(ids, MONDAY + ids * 1000, ids % 500 + 1.5, ids % 7 + 1, ids > 0)
    )


def page(model, name="changelist", *arguments):
    return reverse(f"admin:marketdata_{model._meta.model_name}_{name}", args=arguments)


def asked(client, url):
    """The page and what it asked of the database, sessions and rights left out."""
    with CaptureQueriesContext(
        connection,
    ) as captured:
        response = client.get(url)
    assert response.status_code == 200
    queries = [query["sql"] for query in captured.captured_queries]
    return response.content.decode(), [sql for sql in queries if "auth_" not in sql]


def check_cheap(queries, table):
    """Every question about the table reads a bounded number of rows by the key."""
    mine = [sql for sql in queries if f'FROM "{table}"' in sql]
    assert mine
    assert len(queries) <= 6
    for sql in mine:
        assert "COUNT(" not in sql
        assert re.search(r"LIMIT \d+", sql), sql
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = " / ".join(row[3] for row in cursor.fetchall())
        assert "TEMP B-TREE" not in plan, plan


def test_millions_of_trades_are_listed_by_a_few_cheap_questions(admin_client, btc):
    big(btc)
    for query in ("", "?p=3", "?p=100", "?o=4", "?o=-5.2", "?all="):
        text, queries = asked(admin_client, page(Trade) + query)
        check_cheap(queries, "marketdata_trade")
        assert "Newest trades, at most 10,000" in text
        newest = {"?p=3": ROWS - 200, "?p=100": ROWS - 9900}.get(query, ROWS)
        assert f">{newest}</a>" in text
        assert text.count("BTCUSDT (binance_ws)") >= 100
    assert len(re.findall(r'class="field-trade_id"|<th class="field-trade_id"', text)) == 100
    # 300,000 ms after midnight.
    assert "2024-01-01T00:05:00.000Z" in text
    assert str(MONDAY + ROWS * 1000) not in text


def test_pages_end_at_the_newest(admin_client, btc):
    big(btc)
    response = admin_client.get(page(Trade) + f"?p={NEWEST // 100 + 1}")
    assert response.status_code == 302
    assert "e=1" in response.url


def test_one_instrument_is_a_range_of_the_key(admin_client, btc, ltc):
    big(btc)
    insert_trades(ltc.pk, Trades.of([5], [MONDAY], [80.625], [1], [True]))
    text, queries = asked(admin_client, page(Trade) + f"?of={btc.pk}")
    check_cheap(queries, "marketdata_trade")
    assert f">{ROWS}</a>" in text
    assert "80.625" not in text
    text, _ = asked(admin_client, page(Trade) + f"?of={ltc.pk}")
    assert "80.625" in text
    assert text.count("field-trade_id") == 1


def test_a_trade_is_found_by_its_id(admin_client, btc, ltc):
    big(btc)
    insert_trades(ltc.pk, Trades.of([1234], [MONDAY], [80.625], [1], [True]))
    text, queries = asked(admin_client, page(Trade) + "?q=1234")
    assert text.count("field-trade_id") == 2
    assert not [sql for sql in queries if "LIKE" in sql]
    for term in ("nobody", "-5", str(2**51)):
        assert asked(admin_client, page(Trade) + f"?q={term}")[0].count("field-trade_id") == 0


@pytest.mark.parametrize("query", ["price__gt=1", "is_buy__exact=1", "instrument__symbol=X"])
@pytest.mark.parametrize("model", READ_ONLY)
def test_filters_by_url_are_refused(admin_client, model, query):
    assert admin_client.get(page(model) + f"?{query}").status_code in (302, 400)


def test_candles_are_listed_by_a_few_cheap_questions(admin_client, btc):
    one = Candle(
        instrument=btc, timeframe="1m", open=1, high=2, low=1, close=2, volume=1, buy_volume=1,
        quote_volume=1, trades=1, first_id=1, last_id=1,
    )  # fmt: skip
    values = {f.attname: getattr(one, f.attname) for f in Candle._meta.concrete_fields[1:]}
    names = ", ".join(values)
    rows = [tuple({**values, "open_us": MONDAY + n * MINUTE}.values()) for n in range(50_000)]
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(values))
        cursor.executemany(f"INSERT INTO marketdata_candle ({names}) VALUES ({marks})", rows)
    for query in ("", "?p=2", "?o=1"):
        text, queries = asked(admin_client, page(Candle) + query)
        check_cheap(queries, "marketdata_candle")
    assert "2024-02-04T17:19:00.000Z" in text  # 49,999 minutes after Monday


def test_events_of_one_kind_are_found_by_their_index(admin_client, btc):
    Event.objects.bulk_create(
        [
            Event(
                instrument=btc, kind="gap" if n % 2 else "day_roll", ts_us=MONDAY, detail={"n": n}
            )
            for n in range(500)
        ]
    )
    text, queries = asked(admin_client, page(Event) + "?of=gap")
    check_cheap(queries, "marketdata_event")
    assert text.count('class="field-kind">gap<') == 100
    assert asked(admin_client, page(Event) + "?of=nothing")[0].count("field-kind") == 0


def test_the_ledger_is_listed_in_its_order(admin_client, btc):
    CoverageSegment.objects.bulk_create(
        [
            CoverageSegment(
                instrument=btc, first_id=10 * n, last_id=10 * n + 5, origin="live",
                first_ts_us=MONDAY, last_ts_us=MONDAY + 1,
            )
            for n in range(300)
        ]
    )  # fmt: skip
    text, queries = asked(admin_client, page(CoverageSegment))
    check_cheap(queries, "marketdata_coveragesegment")
    assert text.index(">2990<") < text.index(">2980<")


def job(**told):
    day = {"start_us": MONDAY, "end_us": MONDAY + 1440 * MINUTE, "created_us": MONDAY}
    return BackfillJob.objects.create(**{"source": "binance_ws", "symbol": "BTC", **day, **told})


def rows_of_every_table(btc):
    levels = {"instrument": btc, "high": 2, "low": 1, "close": 2}
    insert_trades(btc.pk, Trades.of([7], [MONDAY], [1], [1], [True]))
    return [
        Trade.objects.get(),
        Candle.objects.create(
            instrument=btc, timeframe="1m", open_us=MONDAY, open=1, high=2, low=1, close=2,
            volume=1, buy_volume=1, quote_volume=1, trades=1, first_id=1, last_id=1,
        ),
        CoverageSegment.objects.create(
            instrument=btc, first_id=1, last_id=5, origin="live", first_ts_us=MONDAY,
            last_ts_us=MONDAY,
        ),
        Absence.objects.create(
            instrument=btc, first_id=6, last_id=9, kind="exchange_side", reason="told",
            found_us=MONDAY,
        ),
        Edge.objects.create(instrument=btc, start_us=MONDAY, first_id=7),
        Refusal.objects.create(instrument=btc, minute_us=MONDAY, trades=3),
        Restatement.objects.create(
            instrument=btc, what="candle", name="1m", start_us=MONDAY, cause="late", ts_us=MONDAY,
            old={"trades": 1}, new={"trades": 2},
        ),
        Certificate.objects.create(
            instrument=btc, scope="day", start_us=MONDAY, end_us=MONDAY + 1, expected=1, held=1,
            missing=0, refused=0, sha256="ab" * 32, detail={}, ledger_version="", as_of_us=MONDAY,
        ),
        DailyLevel.objects.create(**levels, day_us=MONDAY, origin="trades"),
        SessionStat.objects.create(**levels, name="london", start_us=MONDAY, end_us=MONDAY + 1),
        Event.objects.create(instrument=None, kind="gap", ts_us=MONDAY, detail={"a": 1}),
        FeedState.objects.create(
            source="x", channel="aggTrade", symbol="BTCUSDT", state="live", since_us=MONDAY
        ),
        HostState.objects.create(host="api.binance.com", updated_us=MONDAY),
        BackfillChunk.objects.create(
            job=job(), number=1, origin="rest", day_us=MONDAY, updated_us=MONDAY
        ),
    ]  # fmt: skip


def test_what_feeds_write_can_be_read_and_nothing_else(admin_client, btc):
    for row in rows_of_every_table(btc):
        model = type(row)
        before = list(model.objects.values())
        text, _ = asked(admin_client, page(model, "change", row.pk))
        assert "2024-01-01T00:00:00.000Z" in text
        assert str(MONDAY) not in text
        assert "_save" not in text
        listed, _ = asked(admin_client, page(model))
        assert "2024-01-01T00:00:00.000Z" in listed
        assert 'name="action"' not in listed
        for name, arguments in (("add", ()), ("delete", (row.pk,)), ("change", (row.pk,))):
            answer = admin_client.post(page(model, name, *arguments), {"post": "yes"})
            assert answer.status_code == 403
        assert admin_client.get(page(model, "add")).status_code == 403
        assert list(model.objects.values()) == before


def test_every_read_only_table_is_registered_as_such():
    assert admin.site.check(None) == []
    for model in READ_ONLY:
        found = admin.site.get_model_admin(model)
        assert isinstance(found, ReadOnlyAdmin)
        assert found.show_full_result_count is False
        assert found.show_facets is admin.ShowFacets.NEVER
        assert (found.sortable_by, found.actions) == ((), None)
        assert found.date_hierarchy is None


def test_a_trade_of_a_forgotten_instrument_is_shown_all_the_same(admin_client):
    Trade.objects.create(
        id=(9 << ID_BITS) + 1,
        instrument_id=9,
        trade_id=1,
        ts_us=MONDAY,
        price=77.5,
        qty=1,
        is_buy=True,
    )
    assert "77.5" in asked(admin_client, page(Trade))[0]


def test_of_an_instrument_only_its_showing_can_be_changed(admin_client, btc):
    url = page(Instrument, "change", btc.pk)
    answer = admin_client.post(url, {"tick": "9", "symbol": "X", "source": "y"})
    assert answer.status_code == 302
    btc.refresh_from_db()
    assert (btc.symbol, btc.source, btc.tick, btc.is_active) == (
        "BTCUSDT", "binance_ws", "0.01", False,
    )  # fmt: skip
    assert admin_client.get(page(Instrument, "add")).status_code == 403
    assert admin_client.post(page(Instrument, "delete", btc.pk), {"post": "yes"}).status_code == 403
    assert "BTCUSDT" in admin_client.get(page(Instrument)).content.decode()


FORM = {
    "title": "Tokyo", "name": "tokyo", "tz": "Asia/Tokyo", "start": "09:00", "end": "15:30",
    "weekdays": "12345", "is_active": "on", "order": "3",
}  # fmt: skip


def test_a_session_can_be_made_and_edited(admin_client):
    answer = admin_client.post(page(TradingSession, "add"), FORM)
    assert answer.status_code == 302
    row = TradingSession.objects.get(name="tokyo")
    assert (row.start, row.end, row.weekdays) == (time(9), time(15, 30), "12345")
    admin_client.post(page(TradingSession, "change", row.pk), {**FORM, "end": "02:00"})
    row.refresh_from_db()
    # An end before the start is the next day's: 17 hours from nine in Tokyo, midnight in London.
    window = row.value().window(date(2024, 1, 1))
    assert (window.start_us, window.end_us) == (MONDAY, MONDAY + 17 * 60 * MINUTE)
    admin_client.post(page(TradingSession, "delete", row.pk), {"post": "yes"})
    assert not TradingSession.objects.filter(name="tokyo").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tz": "Mars/Olympus"}, "an IANA time zone expected"),
        ({"end": "09:00"}, "two different minutes"),
        ({"weekdays": ""}, "This field is required"),
        ({"weekdays": "128"}, "digits from 1 to 7"),
        ({"weekdays": "12x"}, "digits from 1 to 7"),
        ({"start": "09:00:30"}, "whole minutes expected"),
        ({"start": "25:00"}, "Enter a valid time"),
        ({"name": "day"}, "name of a built-in scope"),
        ({"name": "off"}, "name of a built-in scope"),
        ({"name": "with space"}, "Enter a valid"),
        ({"name": "london"}, "already exists"),
        ({"title": ""}, "This field is required"),
        ({"order": "-1"}, "greater than or equal to 0"),
    ],
)
def test_a_session_that_makes_no_sense_is_refused_in_words(admin_client, change, words):
    TradingSession.objects.get_or_create(
        name="london", defaults={"title": "London", "start": time(8), "end": time(12)}
    )
    answer = admin_client.post(page(TradingSession, "add"), {**FORM, **change})
    assert answer.status_code == 200
    assert words in answer.content.decode().replace("&#x27;", "'")
    assert not TradingSession.objects.filter(title="Tokyo").exists()


def test_strangers_see_nothing(client, btc):
    for model in (*READ_ONLY, Instrument, TradingSession):
        answer = client.get(page(model))
        assert answer.status_code == 302
        assert "/admin/login/" in answer.url
