"""The page as it comes from the server."""

import pytest

from marketdata import live
from marketdata.store import instruments
from marketdata.views import charts
from tests.pages import desk
from tests.pages.conftest import STRANGE


def page(client, **query):
    return client.get("/", query)


def test_numbers_of_the_day(client, running, texts):
    """Worked by hand: VWAP 508 / 5, σ² 51618 / 5 − 101.6², delta 1 − 2 + 1 + 1."""
    desk.begun(running, "BTCUSDT")
    found = texts(page(client, symbol="BTCUSDT"))
    expected = {
        "price": "103.00",
        "change": "▲ +3.00 (+3.00 %)",
        "as_of": "10:30:00",
        "as_of_date": "2024-01-01",
        "session": "London session",
        "session_note": "1 h 30 min left",
        "session_window": "08:00–12:00 UTC",
        "scope_window": "2024-01-01 00:00–24:00 UTC",
        "volume": "5.00000",
        "bought": "3.00000",
        "sold": "2.00000",
        "bought_share": "60.0 %",
        "delta": "+1.00000",
        "delta_min": "−1.00000",
        "delta_max": "+1.00000",
        "trades": "4",
        "coverage": "66.6666 %",
        "held": "4",
        "expected": "6",
        "missing": "2 missing",
        "trades_of": "trades",
        "delta_of": "buying less selling volume",
        "holes": "13–14 (2)",
        "precision": "▲ degraded",
    }
    assert {name: found[name] for name in expected} == expected
    assert found["VWAP"] == "VWAP 101.60 +1.40 +1.38 %"
    assert found["VWAP+1"] == "VWAP +1σ 102.62 +0.38 +0.37 %"
    assert found["VWAP-2"] == "VWAP −2σ 99.56 +3.44 +3.45 %"
    assert found["POC"] == "POC 102.00 +1.00 +0.98 %"
    assert found["LAST"] == "Last 103.00"
    assert found["PDH"] == "PDH – – –"


def test_hole_is_an_event(client, running, texts):
    assert "10:20:00 2 trades missing, ids 13–14" in texts(page(client))["events"]


def test_previous_day(client, running, texts):
    desk.yesterday(running, "BTCUSDT", high=110.0, low=90.0, close=100.5)
    found = texts(page(client))
    assert found["PDH"] == "PDH 110.00 −7.00 −6.36 %"
    assert found["PDC"] == "PDC 100.50 +2.50 +2.49 %"


def test_first_instrument_is_the_default_and_links_carry_the_state(client, running):
    html = page(client, timeframe="5m", scope="london").content.decode()
    assert 'data-symbol="BTCUSDT"' in html
    chosen = (
        '<a href="/?symbol=BTCUSDT&amp;source=binance_ws&amp;scope=london&amp;timeframe=5m" '
        'data-timeframe="5m" aria-current="true">5m</a>'
    )
    assert chosen in html
    other = "/?symbol=BTCUSDT&amp;source=binance_ws&amp;scope=overlap&amp;timeframe=5m"
    assert f'<a href="{other}" data-scope="overlap">New York overlap</a>' in html


def test_past_scope_keeps_its_numbers_beside_the_market_price(client, running, texts):
    """Off hours before London hold no trade: the price is the market's all the same."""
    desk.begun(running, "BTCUSDT")
    found = texts(page(client, scope="overlap"))
    assert (found["price"], found["change"]) == ("103.00", "▲ +3.00 (+3.00 %)")
    assert (found["volume"], found["VWAP"]) == ("0.00000", "VWAP – – –")


def test_with_what_a_day_opened_is_not_known_before_its_first_trade_is_held(client, running, texts):
    found = texts(page(client))
    assert (found["price"], found["change"]) == ("103.00", "■ –")
    assert found["OPEN"].startswith("Open 100.00")


def test_symbol_is_text(client, running):
    response = page(client, symbol=STRANGE)
    html = response.content.decode()
    assert "<img" not in html
    assert "<bdi>&lt;img src=x onerror=1&gt;币安</bdi>" in html
    assert response.status_code == 200


def test_no_trade_yet_is_a_page(client, running, texts):
    found = texts(page(client, symbol=STRANGE))
    assert (found["price"], found["change"], found["coverage"]) == ("–", "■ –", "–")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"symbol": "NOPE"}, "unknown symbol &#x27;NOPE&#x27;; known: "),
        ({"source": "nowhere"}, "unknown source &#x27;nowhere&#x27;; known: binance_ws"),
        ({"scope": "tokyo"}, "unknown scope &#x27;tokyo&#x27;; known: current, day, london"),
        ({"timeframe": "7m"}, "unknown timeframe &#x27;7m&#x27;; known: 15m, 1h, 1m"),
    ],
)
def test_unknown_name_lists_the_known_ones(client, running, query, words):
    response = page(client, **query)
    html = response.content.decode()
    assert response.status_code == 404
    assert words in html
    assert 'href="/?symbol=BTCUSDT&amp;source=binance_ws&amp;scope=day&amp;timeframe=1m"' in html
    assert "<img" not in html


@pytest.mark.parametrize(
    ("label", "words"),
    [("simulated", "SIMULATED</strong>"), ("replay", "REPLAY</strong>")],
)
def test_what_is_not_real_says_so(client, running, label, words):
    running.label = label
    assert words in page(client).content.decode()


def test_real_data_carries_no_banner(client, running):
    assert 'class="banner' not in page(client).content.decode()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("live", "● live"),
        ("connecting", "◌ venue connecting"),
        ("stale", "▲ venue silent"),
        ("backoff", "◌ venue reconnecting"),
        ("stopped", "■ stopped"),
    ],
)
def test_connection_state_in_words(client, running, texts, state, words):
    running.lines[0].statuses()[0].state = state
    running.lines[0].statuses()[0].last_message_us -= 2_340_000
    assert texts(page(client))["link"] == f"{words} data 2.3 s old"


def test_configured_but_not_ready(client, running):
    """The venue has not told tick and lot yet: the page waits and looks again."""
    running.instruments.append(("binance_ws", "SOLUSDT"))
    html = page(client, symbol="SOLUSDT").content.decode()
    assert "no trade of SOLUSDT at binance_ws has been seen yet" in html
    assert '<meta http-equiv="refresh" content="2">' in html


def test_nothing_runs_and_nothing_is_stored(client, db):
    html = page(client).content.decode()
    assert "No instrument yet" in html
    assert "manage.py run --demo" in html


def test_nothing_runs_but_something_is_stored(client, db):
    instruments.remember("binance_ws", "BTCUSDT", desk.GRID, simulated=True)
    html = page(client).content.decode()
    assert "NOT LIVE" in html
    assert "SIMULATED" in html
    assert "No data yet" in html


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"state": "installing", "detail": "version 5.2.1"}, "is being installed (version 5.2.1)"),
        ({"state": "failed", "detail": "<no> npm"}, "Last error: &lt;no&gt; npm"),
        ({"state": "absent"}, "is not installed yet"),
    ],
)
def test_chart_library_on_its_way(client, running, monkeypatch, state, words):
    told = {"version": "", "detail": "", **state}
    monkeypatch.setattr(charts, "state", lambda: told)
    html = page(client).content.decode()
    assert words in html
    assert '<svg class="sketch"' in html


def test_policy_allows_no_inline_script(client, running):
    response = page(client)
    html = response.content.decode()
    assert "script-src 'self';" in response.headers["Content-Security-Policy"]
    assert html.count("<script") == html.count('<script type="module" src="/static/') == 1
    assert " onclick=" not in html


def test_only_reading(client, running):
    assert client.post("/").status_code == 405


def test_notice_names_tradingview(client):
    html = client.get("/notice/").content.decode()
    assert "Copyright (c) 2026 TradingView, Inc. https://www.tradingview.com/" in html


def test_notice_is_reachable_from_the_page(client, running):
    html = page(client).content.decode()
    assert 'href="/notice/"' in html
    assert 'href="https://www.tradingview.com/"' in html


def test_page_that_does_not_exist(client):
    response = client.get("/nowhere")
    assert response.status_code == 404
    assert "There is no page at this address" in response.content.decode()


def test_page_that_fails(client, running, monkeypatch):
    client.raise_request_exception = False
    running.clock = None
    monkeypatch.setattr("django.core.handlers.exception.log_response", lambda *args, **kw: None)
    response = page(client)
    assert response.status_code == 500
    assert "This page failed" in response.content.decode()


@pytest.mark.parametrize("path", ["/health", "/api/health"])
def test_health_without_a_database(client, path):
    assert client.get(path).json() == {"status": "ok"}


def test_root_and_api_tell_the_same(client, running):
    assert client.get("/ready").json() == client.get("/api/ready").json()
    assert "botcrypto_" in client.get("/metrics").content.decode()
    assert client.get("/metrics", headers={"accept": "application/json"}).json()


def test_library_is_served_once_it_is_there(client, tmp_path, monkeypatch):
    monkeypatch.setattr(charts, "VENDOR", tmp_path)
    assert client.get("/vendor/lightweight-charts.js").status_code == 404
    (tmp_path / "lightweight-charts.js").write_text("export {}")
    (tmp_path / "state.json").write_text("{}")
    response = client.get("/vendor/lightweight-charts.js?v=1")
    assert response.content == b"export {}"
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "immutable" in response.headers["Cache-Control"]
    assert client.get("/vendor/state.json").status_code == 404


def test_a_desk_without_instruments(client, db):
    live.start(desk.build(clock=lambda: 0))
    try:
        assert "no instrument is configured" in page(client).content.decode()
    finally:
        live.now().flow.stop()
        live.stop()


def test_pages_that_name_no_icon_get_ours(client):
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer["Location"]) == (302, "/static/marketdata/favicon.svg")
