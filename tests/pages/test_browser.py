"""The page in Chromium, served with trades that go on."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from botcrypto import assets
from marketdata.views.figures import (
    backfill_text,
    connection_text,
    event_text,
    figures,
    ladder,
    open_of,
)
from tests.pages.conftest import STRANGE
from tests.pages.test_figures import BACKFILLS, CONNECTIONS, EMPTY, HOLES, NOTHING, TICKS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE_MS = 20_000


@dataclass
class Served:
    """A desk in a process of its own."""

    port: int
    folder: Path
    process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.pages.served", str(self.port), "simulated"]
        self.process = subprocess.Popen(
            [*command, "BTCUSDT", STRANGE],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": str(self.folder), "DATABASE_URL": ""},
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        if line != "serving\n":
            self.stop()
            pytest.fail(f"'serving' expected, seen {line!r}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(15)
        self.process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture(scope="module")
def served(tmp_path_factory, unused_port) -> Iterator[Served]:
    desk = Served(unused_port, tmp_path_factory.mktemp("desk"))
    desk.start()
    yield desk
    desk.stop()


@pytest.fixture(scope="module")
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def chromium():
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def library() -> None:
    """Have the chart library, or skip what needs it."""
    if not assets.is_current():
        try:
            assets.install()
        except assets.AssetsError as error:
            pytest.skip(f"the chart library cannot be installed here: {error}")


@dataclass
class Visit:
    """A page with what it said and asked for."""

    page: object
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def until(self, script: str, argument: object = None) -> None:
        self.page.wait_for_function(script, arg=argument, timeout=DEADLINE_MS)

    def text(self, selector: str) -> str:
        return " ".join(self.page.locator(selector).first.inner_text().split())


@pytest.fixture
def visit(chromium, served):
    """Return a function that opens a path and watches the page."""
    contexts = []

    def open_page(path: str = "", width: int = 1440, height: int = 900, **options) -> Visit:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        seen = Visit(context.new_page())
        seen.page.on(
            "console",
            lambda told: told.type in {"error", "warning"} and seen.complaints.append(told.text),
        )
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).netloc))
        seen.page.on("websocket", lambda socket: seen.hosts.add(urlsplit(socket.url).netloc))
        seen.page.goto(served.url + path)
        return seen

    yield open_page
    for context in contexts:
        context.close()


IS_LIVE = "() => document.querySelector('#link').dataset.state === 'live'"


def test_numbers_move_and_nothing_foreign_is_asked(visit, served, library):
    seen = visit()
    seen.until(IS_LIVE)
    before = seen.page.evaluate(
        "() => ['trades', 'volume', 'as_of'].map((x) => document.querySelector("
        '`[data-v="${x}"]`).textContent)'
    )
    seen.until(
        "(before) => ['trades', 'volume', 'as_of'].every((x, at) => document.querySelector("
        '`[data-v="${x}"]`).textContent !== before[at])',
        before,
    )
    seen.until("() => document.body.classList.contains('charted')")
    seen.until("() => document.querySelectorAll('#chart canvas').length > 5")
    assert re.fullmatch(r"[▲▼] [+−][\d,.]+ \([+−]\d+\.\d\d %\)", seen.text("[data-v=change]"))
    assert re.fullmatch(r"[\d,]+\.\d\d BTCUSDT · BotCrypto", seen.page.title())
    assert "UTC O " in seen.text("#legend")
    assert seen.hosts == {f"127.0.0.1:{served.port}"}
    assert seen.complaints == []


# Buys, sells, VWAP and POC in their very colours; hatched lines are blended with what they cross.
PAINTED = """() => {
  const found = new Set();
  let hatched = 0;
  for (const canvas of document.querySelectorAll('#chart canvas')) {
    if (!canvas.width || !canvas.height) continue;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
      const [r, g, b] = data.subarray(at, at + 3);
      found.add(`${r},${g},${b}`);
      if (r > 90 && Math.abs(g / r - 0.81) < 0.03 && b / r < 0.4) hatched += 1;
    }
  }
  return hatched > 50 && ['76,179,240', '242,155,75', '169,156,255', '245,221,124']
    .every((colour) => found.has(colour));
}"""


def test_chart_shows_what_the_library_draws(visit, library):
    """Candles, levels, profile, delta and the hole leave pixels of their colours."""
    seen = visit("?timeframe=5m")
    seen.until("() => document.body.classList.contains('charted')")
    seen.until("() => document.querySelector('#legend').textContent.includes('held')")
    seen.until(PAINTED)
    assert seen.page.locator("#chart a[href*='tradingview.com']").count() == 1
    assert seen.complaints == []


CONTEXTS = [
    (EMPTY, None, None),
    (
        {
            **EMPTY,
            "levels": {
                **NOTHING,
                "VWAP": 43055.229529061,
                "VWAP_SD": 211.7,
                "POC": 44000.0,
                "PDH": 42899.0,
                "PDC": 42283.58,
                "OPEN": 42283.58,
                "LAST": 44179.55,
            },
            "volume": 27174.29903,
            "buy_volume": 14331.7318,
            "sell_volume": 12842.56723,
            "cumulative_delta": 1489.16457,
            "delta_min": -210.5,
            "delta_max": 1502.00001,
            "trades": 863403,
            "precision": "degraded",
            "coverage": {
                **EMPTY["coverage"],
                "expected": 863405,
                "held": 863403,
                "missing": 2,
                "ratio": 863403 / 863405,
                "ranges": [[n, n + n] for n in range(1, 9)],
                "sources": {"rest": 1000, "live": 862403},
                "proof": "overlap",
            },
            "session": {
                **EMPTY["session"],
                "active": True,
                "name": "overlap",
                "message": "New York overlap session, 1 h 05 min left",
            },
        },
        42283.58,
        44179.55,
    ),
    (
        {
            **EMPTY,
            "definition": {"tick_size": 1e-08, "lot_size": 1.0},
            "precision": "backfilling",
            "levels": {**NOTHING, "VWAP": 1.2345e-05, "VWAP_SD": 0.0, "LAST": 1.23e-05},
            "volume": 3.0,
            "buy_volume": 0.0,
            "sell_volume": 3.0,
            "cumulative_delta": -3.0,
        },
        1.3e-05,
        1.23e-05,
    ),
    (TICKS, 100.0, 103.0),
    ({**EMPTY, "coverage": HOLES}, None, 1.0),
    ({**EMPTY, "coverage": {**HOLES, "holes": 1, "missing": 0, "expected": 5}}, None, None),
    ({**EMPTY, "coverage": {**HOLES, "left_out": 1234}}, None, None),
    ({**EMPTY, "coverage": {**HOLES, "holes": 0, "left_out": 9, "missing": 9}}, None, None),
]
OPENED = [
    {"coverage": {"has_first": has_first}, "levels": {"OPEN": price}}
    for has_first, price in ((True, 5.5), (False, 5.5), (False, None))
]
EVENTS = [
    {"kind": "gap", "ts": "", "detail": {"first_id": 5, "last_id": 1004}},
    {"kind": "gap_closed", "ts": "", "detail": {"first_id": 5, "last_id": 6}},
    {"kind": "session_change", "ts": "", "detail": {"from": "off", "to": "london"}},
    {"kind": "day_roll", "ts": "", "detail": {}},
    {"kind": "grid_refined", "ts": "", "detail": {"tick": "0.001", "lot": "1"}},
    {"kind": "feed_state", "ts": "", "detail": {}},
    {"kind": "left_out", "ts": "", "detail": {"trades": 1200, "refs": []}},
    {"kind": "left_out", "ts": "", "detail": {"trades": 1, "refs": []}},
    {"kind": "hole_exchange_side", "ts": "", "detail": {"first_id": 5, "last_id": 1004}},
    {"kind": "hole_permanent", "ts": "", "detail": {"first_id": 5, "last_id": 6}},
    *(
        {
            "kind": "restated",
            "ts": "",
            "detail": {
                "what": what,
                "name": name,
                "start_us": 1_704_067_260_000_000,
                "cause": "refill",
                "old": {"trades": 12},
                "new": {"trades": 1024},
            },
        }
        for what, name in (("candle", "1m"), ("day", "day"), ("session", "london"))
    ),
]


def test_browser_says_what_the_server_says(visit):
    """The same context gives the same texts, sides and order on both sides."""
    seen = visit()
    told = seen.page.evaluate(
        """async ([contexts, events, backfills, connections, opened]) => {
          const say = await import('/static/marketdata/figures.js');
          return [
            contexts.map(([context, dayOpen, last]) => [
              say.figures(context, dayOpen, last), say.ladder(context, last),
            ]),
            events.map((event) => say.eventText(event)),
            events.map((event) => say.eventText(event, "overlap")),
            backfills.map(say.backfillText),
            connections.map(say.connectionText),
            opened.map(say.openOf),
          ];
        }""",
        [CONTEXTS, EVENTS, BACKFILLS, CONNECTIONS, OPENED],
    )
    expected = []
    for context, day_open, last in CONTEXTS:
        texts = {
            name: {"text": figure.text, "side": figure.side}
            for name, figure in figures(context, day_open, last).items()
        }
        rows = [
            {
                "name": row.name,
                "price": row.price,
                "distance": {"text": row.distance.text, "side": row.distance.side},
                "share": row.share,
            }
            for row in ladder(context, last)
        ]
        expected.append([texts, rows])
    unnumbered = partial(event_text, proof="overlap")
    texts = (
        (event_text, EVENTS),
        (unnumbered, EVENTS),
        (backfill_text, BACKFILLS),
        (connection_text, CONNECTIONS),
        (open_of, OPENED),
    )
    assert told == [expected, *([say(item) for item in items] for say, items in texts)]


def test_vwap_and_delta_lines_are_counted_back_from_the_totals(visit):
    """Candles (volume 1, 3; vwap 100, 104; Δ +1, −2) and totals 4, 103, −1 of one scope."""
    seen = visit()
    context = {"start": "2024-01-01T00:01:00Z", "end": "2024-01-02T00:00:00Z", "volume": 4.0,
               "cumulative_delta": -1.0, "levels": {"VWAP": 103.0}}  # fmt: skip
    points = seen.page.evaluate(
        """async (context) => {
          const { walk } = await import('/static/marketdata/chart.js');
          const at = Date.parse('2024-01-01T00:00:00Z') / 1000;
          const rows = new Map([
            [at, { volume: 9, vwap: 90, delta: 9 }],
            [at + 60, { volume: 1, vwap: 100, delta: 1 }],
            [at + 120, { volume: 3, vwap: 104, delta: -2 }],
          ]);
          return walk(rows, context, Infinity).map(({ time, vwap, cvd }) => [time - at, vwap, cvd]);
        }""",
        context,
    )
    assert points == [[60, 100, 1], [120, 103, -1]]


def test_keyboard(visit, library):
    seen = visit()
    seen.until(IS_LIVE)
    seen.until("() => document.querySelector('#legend').textContent.includes('held')")
    seen.page.keyboard.press("?")
    assert seen.page.locator("#keys").is_visible()
    seen.page.keyboard.press("Escape")
    assert not seen.page.locator("#keys").is_visible()
    seen.page.keyboard.press("r")
    seen.page.keyboard.press("2")
    seen.page.keyboard.press("s")
    assert "timeframe=5m" in seen.page.url
    assert "scope=current" in seen.page.url
    chosen = seen.page.locator(".switch a[aria-current]").all_inner_texts()
    assert chosen == ["5m", "Current"]
    seen.until(IS_LIVE)
    assert seen.complaints == []


def test_scope_changes_without_a_new_page(visit):
    seen = visit()
    seen.until(IS_LIVE)
    seen.page.evaluate("() => { window.sameDocument = true; }")
    seen.page.click(".switch a[data-scope='london']")
    seen.until(
        "() => document.querySelector('[data-v=scope_window]').textContent.includes('08:00')"
    )
    assert seen.page.evaluate("() => window.sameDocument")
    assert "scope=london" in seen.page.url


def test_strange_symbol_is_text(visit):
    seen = visit(f"?symbol={quote(STRANGE)}")
    seen.until(IS_LIVE)
    seen.until("() => document.title.includes('BotCrypto') && /\\d/.test(document.title)")
    assert seen.text("h1 bdi") == STRANGE
    assert STRANGE in seen.page.title()
    seen.until(
        "(symbol) => document.querySelector('#connections').textContent.includes(symbol)", STRANGE
    )
    assert seen.page.locator("img").count() == 0
    assert seen.complaints == []


def test_without_scripts_the_page_is_complete(visit):
    seen = visit(java_script_enabled=False)
    assert re.fullmatch(r"[\d,]+\.\d\d", seen.text("[data-v=price]"))
    assert seen.page.locator("svg.sketch").is_visible()
    assert seen.page.locator("svg.sketch rect").count() == 120
    assert not seen.page.locator("#help").is_visible()
    assert seen.page.locator("#ladder tbody tr").count() == 17
    assert "SIMULATED" in seen.text(".banner")
    seen.page.click(".switch a[data-timeframe='15m']")
    assert "timeframe=15m" in seen.page.url


@pytest.mark.parametrize("path", ["", "nowhere", "?symbol=NOPE", "notice/"])
def test_phone_needs_no_sideways_scrolling(visit, path):
    seen = visit(path, width=390, height=844, has_touch=True, is_mobile=True)
    if not path:
        seen.until(IS_LIVE)
    assert seen.page.evaluate("() => document.documentElement.scrollWidth") == 390


def test_phone_targets_are_large_enough(visit, library):
    seen = visit(width=390, height=844, has_touch=True, is_mobile=True)
    seen.until("() => document.body.classList.contains('charted')")
    small = seen.page.evaluate(
        """() => [...document.querySelectorAll('a, button, summary')]
          .filter((item) => item.offsetParent && !item.closest('#chart'))
          .map((item) => [item.textContent.trim(), item.getBoundingClientRect()])
          .filter(([, box]) => box.height < 44 || box.width < 24)
          .map(([text, box]) => `${text} ${box.width}x${box.height}`)"""
    )
    assert small == []


def test_silence_is_shown_and_ends(visit, served):
    """A server that hangs: after five seconds the badge says so, the age goes on counting."""
    seen = visit()
    seen.until(IS_LIVE)
    served.process.send_signal(signal.SIGSTOP)
    try:
        seen.until("() => document.querySelector('#link').dataset.state === 'stale'")
        assert "▲ stale" in seen.text("#link")
        seen.until(
            "() => /data [5-9]\\.\\d s old/.test(document.querySelector('#link').textContent)"
        )
        assert re.fullmatch(r"[\d,]+\.\d\d", seen.text("[data-v=price]"))
    finally:
        served.process.send_signal(signal.SIGCONT)
    seen.until(IS_LIVE)


def test_page_comes_back_with_the_server(visit, served):
    """A server that goes away: values stay, the badge counts down, and all is live again."""
    seen = visit()
    seen.until(IS_LIVE)
    served.stop()
    seen.until("() => document.querySelector('#link').textContent.includes('reconnecting in')")
    assert re.fullmatch(r"[\d,]+\.\d\d", seen.text("[data-v=price]"))
    served.start()
    seen.until(IS_LIVE)
