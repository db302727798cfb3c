"""What a job leaves besides trades: absences, edges, and records of what it restates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marketdata.models import Absence, BackfillJob, DailyLevel, Edge, Restatement, SessionStat
from marketdata.store import ledger
from tests.backfill.conftest import FIRST, LAST, settings_of
from tests.backfill.made import DAY_LONG_US, DAY_US

pytestmark = pytest.mark.django_db(transaction=True)
TOTAL = LAST - FIRST + 1
HOLE = range(9_000, 9_501)


@pytest.fixture
def gappy(serve, day):
    """Return a venue that lacks 501 trades of the day for good."""
    return serve(day[(day.id < HOLE[0]) | (day.id > HOLE[-1])])


def test_a_day_filled_for_the_first_time_restates_nothing_and_is_final(run, settings_at):
    assert run(settings_at, via="rest").status == "completed"
    assert not Restatement.objects.exists()
    assert DailyLevel.objects.get(origin="trades").is_final
    assert not SessionStat.objects.filter(is_final=False).exists()


def test_the_venues_edges_are_kept(run, settings_at):
    assert run(settings_at, via="rest").status == "completed"
    edges = dict(Edge.objects.values_list("start_us", "first_id"))
    assert edges == {DAY_US: FIRST, DAY_US + DAY_LONG_US: LAST + 1}


def test_what_the_venue_lacks_is_kept_until_a_file_has_it(run, gappy, serve, day, tmp_path):
    settings = settings_of(gappy.rest_url, tmp_path)
    outcome = run(settings, via="rest")
    assert (outcome.status, outcome.missing) == ("completed", 0)
    row = Absence.objects.get()
    assert (row.first_id, row.last_id, row.kind) == (HOLE[0], HOLE[-1], "exchange_side")
    assert DailyLevel.objects.get(origin="trades").is_final
    # The archive has them after all.
    settings = replace(settings, binance_archive_url=serve(day).rest_url)
    outcome = run(settings, via="archive")
    assert (outcome.inserted, outcome.exchange_side) == (len(HOLE), [])
    assert not Absence.objects.exists()
    assert ledger.audit(row.instrument_id) == []
    records = Restatement.objects.order_by("what")
    assert {row.cause for row in records} == {"archive"}
    day_row = records.get(what="day")
    assert (day_row.old["trades"], day_row.new["trades"]) == (TOTAL - len(HOLE), TOTAL)
    assert day_row.start_us == DAY_US
    restated = sum(r.new["trades"] - r.old["trades"] for r in records.filter(what="candle"))
    # Minutes that had no trade at all were never published.
    assert 0 < restated <= len(HOLE)


def test_a_known_absence_does_not_fail_a_job_that_reads_files_alone(run, gappy, tmp_path):
    settings = settings_of(gappy.rest_url, tmp_path)
    assert run(settings, via="rest").status == "completed"
    outcome = run(settings, via="archive")
    assert (outcome.status, outcome.missing) == ("completed", 0)
    assert outcome.exchange_side == [(HOLE[0], HOLE[-1])]
    assert BackfillJob.objects.first().exchange_side == [[HOLE[0], HOLE[-1]]]


def test_a_part_of_a_day_is_not_final(run, settings_at):
    assert run(settings_at, via="rest", span=(DAY_US, DAY_US + DAY_LONG_US // 2)).missing == 0
    assert not DailyLevel.objects.get(origin="trades").is_final
    assert run(settings_at, via="rest").missing == 0
    assert DailyLevel.objects.get(origin="trades").is_final
    assert not Restatement.objects.filter(what="day").exists()


def test_a_hole_that_is_filled_later_restates_by_backfill(run, serve, day, tmp_path):
    archive = serve(day[(day.id < HOLE[0]) | (day.id > HOLE[-1])])
    settings = replace(
        settings_of(serve(day).rest_url, tmp_path), binance_archive_url=archive.rest_url
    )
    assert run(settings, via="archive").missing == len(HOLE)
    assert not DailyLevel.objects.get(origin="trades").is_final
    assert run(settings, via="rest").missing == 0
    assert set(Restatement.objects.values_list("what", "cause")) == {("candle", "backfill")}
