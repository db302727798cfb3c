"""The page of instruments side by side, and the switcher and the market panel of several venues."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from django.test import Client

from marketdata.core.facts import Liquidation, Mark, Quote
from marketdata.feeds.ingestor import FeedStatus
from marketdata.feeds.tickers import Tickers
from marketdata.metrics.lead import KEEP_S
from tests.api.house import NEW_YEAR_US, House, trades
from tests.pages.conftest import STRANGE
from tests.pages.test_browser import Served, chromium, served, unused_port, visit

__all__ = ["Served", "chromium", "served", "unused_port", "visit"]

SPOT = ("binance_ws", "BTCUSDT")
PERP = ("binance_futures", "BTCUSDT")
HOLED = ("bybit", "BTCUSDT")
TICKS = ("deriv", "cryBTCUSD")
OTHER = ("binance_ws", STRANGE)
ALL = [SPOT, OTHER, PERP, HOLED, TICKS]
HOUR_S = 3600
SECOND_US = 1_000_000


@pytest.fixture
def house(transactional_db: None) -> Iterator[House]:
    """Four venues at one o'clock: spot at 40,000, others around it; Bybit has a hole."""
    with House(ALL, label="simulated") as made:
        made.lines.found = [
            FeedStatus(name[0], "trades", name[1], "live", last_message_us=made.now_us - 250_000)
            for name in ALL
        ]
        made.live.tickers = {PERP[0]: Tickers(made.writer, lambda symbol: None)}
        prices = {SPOT: 40_000.0, PERP: 40_020.0, TICKS: 39_980.0, HOLED: 40_010.0, OTHER: 1.0}
        for name, price in prices.items():
            made.open(name, is_start_known=name != HOLED)
            # Ticks have no size: each counts as one.
            second = (20, price, 1.0, True) if name == TICKS else (20, price, 2.0, False)
            made.feed(trades(1, [(10, price, 1.0, True), second]), name)
        made.feed(trades(5000, [(HOUR_S - 1, 40_010.0, 2.0, False)]), HOLED)
        yield made


def spoil(house: House, source: str, state: str) -> None:
    house.lines.found = [
        replace(status, state=state) if status.source == source else status
        for status in house.lines.found
    ]


def texts(html: str) -> str:
    """Return what a page says, without tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def page(client: Client, path: str = "/compare/", status: int = 200, **query: str) -> str:
    response = client.get(path, query)
    assert response.status_code == status
    return response.content.decode()


def row(html: str, source: str) -> str:
    """Return what the row of an instrument says."""
    (found,) = [x for x in re.findall(r"<tr data-state.*?</tr>", html) if f"source={source}" in x]
    return texts(found)


# Side by side


def test_instruments_are_beside_each_other(client: Client, house: House) -> None:
    """VWAP is the price, as all traded at one; 40,020 / 40,000 − 1 is 0.05 %."""
    html = page(client)
    assert row(html, "binance_ws") == (
        "BTCUSDT Binance spot ● live 40,000.00 0.00 % 40,000.00 0.00 % reference −1.000 3.000 "
        "100.0000 % ● exact 0.2 s"
    )
    assert "40,020.00 0.00 % 40,020.00 0.00 % +0.0500 %" in row(html, "binance_futures")
    assert "Basis is measured against Binance spot BTCUSDT" in texts(html)
    assert STRANGE.split(">")[0] not in html


def test_what_cannot_be_known_is_said_in_words(client: Client, house: House) -> None:
    """Ticks have no VWAP, delta and volume; a hole of unknown size no coverage and no open."""
    html = page(client)
    ticks = row(html, "deriv")
    assert ticks.startswith("cryBTCUSD Deriv ● live 39,980.00")
    assert ticks.count("no size") == 4
    assert "Deriv cryBTCUSD is quoted in USD, the reference in USDT" in texts(html)
    holed = row(html, "bybit")
    assert "unknown, 1 hole ▲ degraded" in holed
    assert "40,010.00 – 40,010.00" in holed


def test_the_url_says_which_instruments(client: Client, house: House) -> None:
    asked = "bybit:BTCUSDT,binance_ws:BTCUSDT"
    html = page(client, symbols=asked)
    assert len(re.findall(r"<tr data-state", html)) == 2
    table = html[html.index("<table") :]
    assert table.index("source=bybit&amp;scope") < table.index("source=binance_ws&amp;scope")
    checked = re.findall(r'value="([^"]*)" checked', html)
    assert sorted(checked) == ["binance_ws:BTCUSDT", "bybit:BTCUSDT"]
    # The form sends each choice by itself, which comes to the same.
    response = client.get("/compare/?symbols=bybit:BTCUSDT&symbols=binance_ws:BTCUSDT")
    assert re.findall(r'value="([^"]*)" checked', response.content.decode()) == checked
    assert f'data-url="/compare/?symbols={asked.replace(":", "%3A").replace(",", "%2C")}"' in html


def test_a_link_for_each_thing_that_is_traded(client: Client, house: House) -> None:
    html = page(client)
    names = "binance_ws:BTCUSDT,binance_futures:BTCUSDT,bybit:BTCUSDT,deriv:cryBTCUSD"
    assert f'<a href="/compare/?symbols={names}" aria-current="true"><bdi>BTC</bdi></a>' in html
    assert "<img" not in html


def test_names_nobody_knows_lead_to_those_known(client: Client, house: House) -> None:
    html = page(client, status=404, symbols="DOGE")
    assert "unknown symbol &#x27;DOGE&#x27;" in html
    assert "source=deriv" in html


def test_a_feed_that_is_not_live_says_so_and_has_no_basis(client: Client, house: House) -> None:
    spoil(house, "binance_ws", "stale")
    html = page(client)
    assert "▲ silent" in row(html, "binance_ws")
    assert "+0.0500 %" not in html


def lead_by_two(house: House) -> None:
    """The perpetual was two seconds ago what spot is now."""
    steps = np.cumsum(np.random.default_rng(1).normal(0, 1e-4, KEEP_S + 2))
    market = (40_000 * np.exp(steps)).tolist()
    second = house.now_us // SECOND_US

    def write() -> None:
        for name, prices in ((SPOT, market[:-2]), (PERP, market[2:])):
            track = house.flow.lanes[name].track
            track.newest_s = 0
            for at, price in enumerate(prices):
                track.put(second - KEEP_S + 1 + at, price)

    house.flow.ask(write)


def test_who_leads_is_said_in_a_sentence_and_for_each_pair(client: Client, house: House) -> None:
    assert "Too early to say." in page(client)
    house.now_us += 5 * SECOND_US
    lead_by_two(house)
    said = texts(page(client))
    assert "Binance USD-M BTCUSDT leads 1 of 6 pairs." in said
    pair = "Binance spot BTCUSDT · Binance USD-M BTCUSDT"
    assert f"{pair} Binance USD-M BTCUSDT 2 s +1.00 897" in said
    assert (
        "Bybit linear BTCUSDT · Deriv cryBTCUSD none: too few seconds yet: 120 are needed" in said
    )
    assert "of the last 900 seconds" in said


def test_one_alone_leads_nobody(client: Client, house: House) -> None:
    assert "One instrument alone leads nobody." in page(client, symbols="cryBTCUSD")


def test_where_nothing_is_known_at_all(client: Client, db: None) -> None:
    assert "No instrument yet" in page(client)


# The switcher


def test_the_switcher_groups_by_venue_and_says_how_each_feed_is(
    client: Client, house: House
) -> None:
    spoil(house, "bybit", "backoff")
    html = page(client, "/", source="deriv", symbol="cryBTCUSD", scope="london", timeframe="5m")
    nav = html[html.index('<nav class="instruments several"') : html.index("</nav>")]
    groups = [texts(group) for group in nav.split('<div class="venue"')[1:]]
    assert [group.split('"> ')[-1] for group in groups] == [
        "Binance spot ● live BTCUSDT &lt;img src=x onerror=1&gt;币安",
        "Binance USD-M ● live BTCUSDT",
        "Bybit linear ◌ reconnecting BTCUSDT",
        "Deriv ● live cryBTCUSD Side by side",
    ]
    state = "scope=london&amp;timeframe=5m"
    assert f'href="/?symbol=BTCUSDT&amp;source=bybit&amp;{state}"' in nav
    assert nav.count("aria-current") == 1
    assert 'data-symbol="cryBTCUSD" aria-current="page"' in nav
    names = "binance_ws:BTCUSDT,binance_futures:BTCUSDT,bybit:BTCUSDT,deriv:cryBTCUSD"
    assert f'class="beside" href="/compare/?symbols={names}"' in nav


def test_every_instrument_of_the_switcher_has_its_page(client: Client, house: House) -> None:
    html = page(client, "/")
    urls = re.findall(r'<a href="([^"]*)" data-source', html)
    assert len(urls) == len(ALL)
    for url in urls:
        assert client.get(url.replace("&amp;", "&")).status_code == 200


# The dashboard of a feed that does not tell everything


def test_a_dashboard_of_ticks(client: Client, house: House) -> None:
    html = page(client, "/", source="deriv", symbol="cryBTCUSD")
    said = texts(html)
    assert "– no size, no side; ticks up less down +2, estimated" in said
    assert "2 ticks, no size" in said
    assert "POC estimated 39,980.00" in said
    assert "VWAP – no size" in said
    assert "volume, delta and VWAP cannot be known" in said
    assert '<section id="market"' not in html


def test_a_dashboard_with_a_hole_of_unknown_size(client: Client, house: House) -> None:
    said = texts(page(client, "/", source="bybit"))
    assert "unknown 3 of an unknown number held" in said
    assert "1 hole, size unknown" in said
    assert "an unknown number of trades missing" in said


# The market panel


def test_the_panel_says_what_is_known_and_nothing_else(client: Client, house: House) -> None:
    tickers = house.live.tickers[PERP[0]]
    html = page(client, "/", source="binance_futures")
    assert "Market Nothing has been told yet" in texts(html)
    now_us = house.now_us
    tickers.take(
        [
            ("BTCUSDT", Mark(now_us - SECOND_US, 40_020.0, 40_000.0, -0.00012,
                             now_us + 3_723 * SECOND_US, 812.5)),
            ("BTCUSDT", Quote(1, now_us, 40_019.5, 3.0, 40_020.5, 1.0)),
            ("BTCUSDT", Liquidation(now_us, 39_990.0, 0.25, True, True)),
        ]
    )  # fmt: skip
    panel = page(client, "/market/", source="binance_futures", symbol="BTCUSDT")
    said = texts(panel)
    for words in (
        "Ask 40,020.50 × 1.00000 Bid 40,019.50 × 3.00000 Spread 1.00 Microprice 40,020.250",
        "Mark 40,020.00 Index 40,000.00 Basis +0.0500 %",
        "Funding −0.0120 % in 1:02:03",
        "Open interest 812.50000 at 00:59:59",
        "Liquidations 01:00:00 short 0.25000 at 39,990.00 sample",
    ):
        assert words in said
    for unknown in ("Imbalance", "Order flow", "Book", "–"):
        assert unknown not in said
    assert panel.strip() in page(client, "/", source="binance_futures")


def test_an_old_mark_says_how_old_it_is(client: Client, house: House) -> None:
    mark = Mark(NEW_YEAR_US + (HOUR_S - 12) * SECOND_US, mark=40_020.0)
    house.live.tickers[PERP[0]].take([("BTCUSDT", mark)])
    panel = page(client, "/market/", source="binance_futures")
    assert '<dd data-side="hole">40,020.00, 12.0 s old</dd>' in panel


def test_the_panel_of_a_name_nobody_knows(client: Client, house: House) -> None:
    assert client.get("/market/", {"symbol": "DOGE"}).status_code == 404


# In a browser


@pytest.mark.browser
@pytest.mark.timeout(120)
def test_the_comparison_goes_on_without_a_new_page(visit) -> None:
    """Prices move, an open list stays open, nothing is thrown away, a phone need not scroll."""
    seen = visit("compare/?symbols=BTCUSDT", width=390, height=844, has_touch=True, is_mobile=True)
    cell = "#instruments td[data-label='Volume']"
    first = seen.text(cell)
    seen.page.click("summary")
    seen.page.evaluate("() => { window.row = document.querySelector('#instruments tbody tr'); }")
    seen.until(
        "([cell, first]) => document.querySelector(cell).textContent !== first", [cell, first]
    )
    assert seen.page.evaluate(
        "() => window.row === document.querySelector('#instruments tbody tr')"
    )
    assert seen.page.locator("form.ask").is_visible()
    assert seen.page.evaluate("() => document.documentElement.scrollWidth") == 390
    assert seen.complaints == []


@pytest.mark.browser
@pytest.mark.timeout(120)
def test_parts_of_a_page_become_what_the_server_says(visit) -> None:
    """Texts, attributes and rows change in place; what stays the same is the same element."""
    seen = visit("notice/")
    told = seen.page.evaluate(
        """async () => {
          const { morph } = await import('/static/marketdata/follow.js');
          const made = (html) => new DOMParser()
            .parseFromString(html, 'text/html').body.firstElementChild;
          const old = made('<ol class="a" data-late=""><li data-side="up">1</li><li>2</li></ol>');
          const [first] = old.children;
          morph(old, made('<ol class="a"><li>1.5</li><li><b>2</b></li><li>3</li></ol>'));
          const grown = old.outerHTML;
          morph(old, made('<ol class="b"><li>1.5</li></ol>'));
          return [grown, old.outerHTML, first === old.children[0]];
        }"""
    )
    grown = '<ol class="a"><li>1.5</li><li><b>2</b></li><li>3</li></ol>'
    assert told == [grown, '<ol class="b"><li>1.5</li></ol>', True]
