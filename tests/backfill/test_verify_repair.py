"""`manage.py verify --repair`: fetches what is missing, and says so where it cannot."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from marketdata.core.events import Batch
from marketdata.core.instrument import Grid
from marketdata.models import BackfillJob
from marketdata.store import instruments
from marketdata.store.lock import DatabaseLock
from tests.backfill.conftest import FIRST, LAST, SYMBOL, settings_of

pytestmark = pytest.mark.django_db(transaction=True)
TOTAL = LAST - FIRST + 1


@pytest.fixture
def stored(writer, day):
    """Store the day, but for two holes."""
    btc = instruments.remember("binance_ws", SYMBOL, Grid.of_values(day.price, day.qty))
    held = ((day.id < 2_000) | (day.id > 2_099)) & (day.id != 20_000)
    writer.put_trades(btc.id, Batch(day[held]))
    assert writer.flush()
    return btc


def verify(settings, *options):
    out, code = StringIO(), 0
    with override_settings(BOTCRYPTO=settings):
        try:
            call_command(
                "verify", "--symbol", SYMBOL, "--date", "2024-01-01", "--json", *options,
                stdout=out, skip_checks=True,
            )  # fmt: skip
        except SystemExit as end:
            code = end.code
    return json.loads(out.getvalue()), code


@pytest.fixture
def settings_here(venue, tmp_path):
    """Return settings of the venue, with the test's own database."""
    return settings_of(venue.rest_url, tmp_path, database_url=f"sqlite:///{tmp_path}/b.sqlite3")


def test_what_is_missing_is_fetched_and_counted_again(stored, settings_here):
    before, code = verify(settings_here)
    assert (before["missing"], before["ranges"], code) == (101, [[2000, 2099], [20000, 20000]], 1)
    assert not BackfillJob.objects.exists()
    after, code = verify(settings_here, "--repair")
    assert (after["missing"], after["held"], after["edges"], code) == (0, TOTAL, "venue", 0)
    # The tape's first trade has none before it: whether pages reach back, only the file can tell.
    assert after["certificate"]["sources"] == {"live": TOTAL - 101, "archive": 101}
    job = BackfillJob.objects.get()
    assert (job.asked_by, job.inserted) == ("verify", 101)
    # Nothing is missing: nothing is asked for.
    verify(settings_here, "--repair")
    assert BackfillJob.objects.count() == 1


def test_what_cannot_be_fetched_stays_missing(stored, settings_here, venue):
    venue.faults.set("http_451", 100)
    answer, code = verify(settings_here, "--repair")
    assert (answer["missing"], code) == (101, 1)


def test_a_daemon_that_holds_the_database_is_named(stored, settings_here):
    holder = DatabaseLock(settings_here.database_path, "manage.py run")
    with holder, pytest.raises(CommandError, match=r"manage\.py run") as caught:
        verify(settings_here, "--repair")
    assert "POST /api/backfill/jobs" in str(caught.value)
