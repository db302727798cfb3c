"""The page of health: what everybody sees, and what staff alone see."""

import re
import threading
import time
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest

from marketdata.accounts import watch as module
from marketdata.accounts.base import Account, Balance, Position, Rights
from marketdata.accounts.table import Kind
from marketdata.accounts.watch import AccountWatch
from marketdata.conf import Conf
from marketdata.core.errors import BadInputError, VenueError
from marketdata.rest.client import ClientStatus
from marketdata.rest.host import HostStatus
from marketdata.rest.limiter import LimiterStatus
from marketdata.venues.binance_spot import VENUE
from tests.pages import desk
from tests.rest.hand import HandClock

D = Decimal
PLACE = "/health-board/"
HELD = Account(
    "binance_ws",
    (Balance("BTC", D("0.60000000"), D("0.5")), Balance("USDT", D("25000"), D("25000"))),
    (Position("BTCUSDT", D("-1250.010"), D("64000.0"), None, D("-0.105")),),
    1_764_108_000_000_000,
    "paper",
)


class Opened:
    """An account that answers what it was told to, and can be held up."""

    source, host, kind, settings = "binance_ws", "https://x", "HMAC", ("BINANCE_API_KEY",)

    def __init__(self):
        self.answers = [HELD]
        self.asked = 0
        self.rights_asked = 0
        self.closed = 0
        self.gate = None

    def account(self):
        self.asked += 1
        if self.gate:
            assert self.gate.wait(5)
        answer = self.answers[min(self.asked, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def rights(self):
        self.rights_asked += 1
        return Rights("key", trade=True, withdraw=False)

    def advice(self, code):
        return "copy it again" if code == -1022 else ""

    def close(self):
        self.closed += 1


@pytest.fixture
def opened():
    return Opened()


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def watched(monkeypatch, opened, clock, settings):
    """Watch one account; its settings count as made."""
    settings.BOTCRYPTO = replace(settings.BOTCRYPTO, binance_api_key="canary-key-1")
    kind = Kind(("BINANCE_API_KEY",), lambda conf, stop: opened)
    made = AccountWatch({"binance_ws": kind}, clock)
    monkeypatch.setattr(module, "_watch", [made])
    yield made
    made.close()


def test_connections_hosts_writer_and_disk(client, running):
    running.lines[0].found = [
        desk.Status(state="live", last_message_us=running.clock() - 250_000, reconnects=3),
        desk.Status(channel="trade", symbol="ETHUSDT", state="backoff", last_error="<b>lost</b>"),
    ]
    # Two feeds of a venue share its host.
    running.clients += [_Client(), _Client()]
    page = client.get(PLACE)
    assert page.status_code == 200
    html = page.content.decode()
    rows = re.findall(r"<tr><td data-label=\"Connection\">(.*?)</tr>", html)
    assert len(rows) == 2
    assert "● live" in rows[0]
    assert ">250 ms<" in rows[0]
    assert 'data-health="bad">▲ backoff' in rows[1]
    assert "&lt;b&gt;lost&lt;/b&gt;" in rows[1]
    assert 'data-health="bad">✕ banned, 1.5 s more<' in html
    assert "status 418: too many until 2026-01-01 00:00:00 UTC" in html
    assert html.count("Binance spot <small>api.binance.com</small>") == 1
    assert ">150 of 6,000<" in html
    assert ">40 of 1,200<" in html
    assert "200 12 · lost 1" in html
    assert ">100 ms<" in html
    assert "▲ does not write" in html
    assert "Queue: pipeline" in html
    assert re.search(r"free of [\d,.]+ GB", html)


class _Client:
    venue = VENUE

    def status(self):
        host = HostStatus(
            "api.binance.com", "open", 1.5, "status 418: too many", 1_767_225_600_000_000,
            {"200": 12, "lost": 1}, 1.3, (),
        )  # fmt: skip
        return ClientStatus("", host, LimiterStatus(40, 1200, 1200, 150, 6000, 1, 0, 2, 0), 4)


@dataclass
class _Book:
    source: str
    symbol: str
    is_synced: bool
    why: str = ""
    age_ms: int | None = 12
    updates: int = 1234
    gaps: int = 1
    resyncs: int = 2
    compared: int = 900
    mismatched: int = 0


class _Keeper:
    def statuses(self):
        return [
            _Book("binance_ws", "BTCUSDT", True),
            _Book("binance_ws", "ETHUSDT", False, "a gap"),
        ]


def test_books(client, running):
    assert 'id="books"' not in client.get(PLACE).content.decode()
    running.books["binance_ws"] = _Keeper()
    html = client.get(PLACE).content.decode()
    assert "<bdi>BTCUSDT</bdi> <small>binance_ws</small>" in html
    assert 'data-health="good">● synced' in html
    assert 'data-health="bad">▲ out of sync' in html
    assert ">a gap<" in html
    assert ">0 of 900<" in html


@pytest.mark.django_db
def test_without_feeds_there_is_a_page_all_the_same(client):
    html = client.get(PLACE).content.decode()
    assert "NOT LIVE" in html
    assert "Room" in html
    assert 'id="connections"' not in html


@pytest.mark.django_db
def test_anybody_else_sees_no_account_and_asks_none(client, watched, opened):
    html = client.get(PLACE).content.decode()
    assert "log in" in html
    for word in ("BTC", "25,000", "binance_ws", "paper", "canary"):
        assert word not in html
    assert opened.asked == 0


def test_staff_see_what_accounts_hold(admin_client, watched, opened):
    first = admin_client.get(PLACE)
    assert "It is being asked" in first.content.decode() or opened.asked
    assert watched.wait(5)
    page = admin_client.get(PLACE)
    html = page.content.decode()
    assert page.headers["Cache-Control"] == "no-store"
    assert "<td>BTC</td><td>0.60000000</td><td>0.5</td>" in html
    assert "<td>USDT</td><td>25,000</td><td>25,000</td>" in html
    assert "<td>BTCUSDT</td><td>−1,250.010</td><td>64,000.0</td><td>–</td><td>−0.105</td>" in html
    assert "paper, as of 2025-11-25 22:00:00 UTC" in html
    assert "The key may trade, may not withdraw." in html
    assert "Make the key read-only: nothing here trades." in html
    assert "canary" not in html
    assert "log in" not in html


def test_nobody_waits_for_a_venue(admin_client, watched, opened):
    opened.gate = threading.Event()
    began_s = time.perf_counter()
    html = admin_client.get(PLACE).content.decode()
    assert time.perf_counter() - began_s < 2
    assert "It is being asked" in html
    opened.gate.set()
    assert watched.wait(5)


def test_accounts_are_asked_at_most_once_a_minute(admin_client, watched, opened, clock):
    for _ in range(5):
        admin_client.get(PLACE)
        assert watched.wait(5)
    assert opened.asked == 1
    clock.now_s += 59.9
    admin_client.get(PLACE)
    assert watched.wait(5)
    assert opened.asked == 1
    clock.now_s += 0.2
    admin_client.get(PLACE)
    assert watched.wait(5)
    assert opened.asked == 2
    # What a key may do changes less often than what an account holds.
    assert opened.rights_asked == 1


def test_what_was_known_stays_beside_what_went_wrong(admin_client, watched, opened, clock):
    opened.answers = [HELD, VenueError("x: code -1022: Signature", 400, code=-1022), HELD]
    admin_client.get(PLACE)
    assert watched.wait(5)
    clock.now_s += 61
    admin_client.get(PLACE)
    assert watched.wait(5)
    html = admin_client.get(PLACE).content.decode()
    assert "x: code -1022: Signature <br>Do: copy it again." in html
    assert "<td>BTC</td><td>0.60000000</td>" in html
    clock.now_s += 61
    admin_client.get(PLACE)
    assert watched.wait(5)
    assert "Signature" not in admin_client.get(PLACE).content.decode()


def test_keys_that_cannot_be_used_are_told(admin_client, watched, monkeypatch):
    def refuse(conf, stop):
        raise BadInputError("BINANCE_API_SECRET expected, seen nothing")

    watched._kinds["binance_ws"] = Kind(("BINANCE_API_KEY",), refuse)
    admin_client.get(PLACE)
    assert watched.wait(5)
    html = admin_client.get(PLACE).content.decode()
    assert "BINANCE_API_SECRET expected, seen nothing <br>Do: correct the setting" in html


def test_without_keys_staff_are_told_how(admin_client, watched, settings):
    settings.BOTCRYPTO = replace(settings.BOTCRYPTO, binance_api_key="")
    assert "No feed that is followed has keys" in admin_client.get(PLACE).content.decode()


def test_other_settings_open_other_connections(watched, opened, clock):
    first, second = Conf(binance_api_key="a"), Conf(binance_api_key="b")
    for settings in (first, first, second):
        watched.look(settings)
        assert watched.wait(5)
        clock.now_s += 61
    assert opened.closed == 1
    watched.close()
    assert opened.closed == 2
    watched.look(second)
    assert opened.asked == 3


def test_the_page_needs_no_script_and_has_no_style_of_its_own(client, running):
    html = client.get(PLACE).content.decode()
    assert "<script" not in html
    assert "<style" not in html
    assert " style=" not in html
    assert client.post(PLACE).status_code == 405


@pytest.mark.django_db
def test_every_page_leads_to_it(client, running):
    for place in ("/", "/proof/", "/backfill/"):
        assert '<a href="/health-board/">Health</a>' in client.get(place).content.decode()
