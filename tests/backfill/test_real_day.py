"""The recorded day of 863,403 trades, by its file and by 864 pages: the known truth."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import struct
import zipfile
from dataclasses import replace

import pytest

from marketdata.core.sessions import Window
from marketdata.models import Candle, DailyLevel
from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket
from marketdata.store import instruments, ledger
from marketdata.verify import verified
from tests.backfill.conftest import PLENTY, settings_of
from tests.backfill.made import DAY_LONG_US, DAY_US
from tests.backfill.shelf import Shelf

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.realdata]
# From data/README.md of the recordings.
TRADES, FIRST, LAST = 863_403, 2_807_759_891, 2_808_623_293
VWAP, HIGH, LOW = 43055.229529061431, 44184.10, 42180.77


@pytest.fixture(scope="module")
def tape(shared_data):
    return shared_data / "tapes" / "BTCUSDT-aggTrades-2024-01-01.zip"


@pytest.fixture(scope="module")
def truth(tape) -> str:
    """Return the hash of the day's trades, row by row with the csv module."""
    digest, row = hashlib.sha256(), struct.Struct("<qqddq")
    with zipfile.ZipFile(tape) as archive, archive.open(archive.namelist()[0]) as file:
        for id, price, qty, _, _, ts, maker, _ in csv.reader(io.TextIOWrapper(file)):
            is_buy = int(maker != "True")
            digest.update(row.pack(int(id), int(ts) * 1000, float(price), float(qty), is_buy))
    return digest.hexdigest()


@pytest.fixture(scope="module")
def venue(tape):
    market = RecordedMarket.open(tape)
    market.played = len(market)
    with Simulator([market], rules=Rules(weight_per_minute=PLENTY)) as simulator:
        yield simulator


def assert_true(outcome, truth, origin):
    assert (outcome.status, outcome.trades, outcome.missing) == ("completed", TRADES, 0)
    assert outcome.inserted == TRADES
    assert outcome.vwap == pytest.approx(VWAP, rel=1e-12)
    btc = instruments.find("binance_ws", "BTCUSDT")
    assert list(ledger.coverage(btc.id)) == [(FIRST, LAST)]
    answer = verified(btc, Window("day", "", DAY_US, DAY_US + DAY_LONG_US), 0)
    assert (answer["held"], answer["missing"], answer["duplicates"]) == (TRADES, 0, 0)
    assert answer["certificate"]["sha256"] == truth
    assert answer["certificate"]["sources"] == {origin: TRADES}
    level = DailyLevel.objects.get(origin="trades")
    assert (level.high, level.low, level.trades) == (HIGH, LOW, TRADES)
    assert Candle.objects.filter(timeframe="1m").count() == 1440


def test_the_file_of_the_day(run, venue, tape, truth, tmp_path):
    with Shelf(tmp_path / "shelf") as shelf:
        shelf.path().parent.mkdir(parents=True)
        shutil.copy(tape, shelf.path())
        shelf.sum()
        settings = replace(settings_of(venue.rest_url, tmp_path), binance_archive_url=shelf.url)
        assert_true(run(settings), truth, "archive")


@pytest.mark.slow
def test_864_pages_under_faults(run, venue, truth, tmp_path):
    venue.faults.update(
        {"http_429": 1, "http_418": 1, "http_500": 2, "http_truncate": 2, "http_reset": 1,
         "retry_after": 0.2}
    )  # fmt: skip
    settings = settings_of(
        venue.rest_url, tmp_path, backfill_max_retries=8, backfill_cache_enabled=False
    )
    assert_true(run(settings, via="rest", workers=3), truth, "rest")
    assert venue.faults.take_http() is None
