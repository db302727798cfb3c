"""The runner among faults, lacking ids, missing files, stops and cancellations."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from marketdata.backfill import crew
from marketdata.backfill.inlet import Inlet
from marketdata.core.backoff import Backoff
from marketdata.core.sessions import Window
from marketdata.core.trades import Trades
from marketdata.models import (
    BackfillChunk,
    BackfillJob,
    Candle,
    Edge,
    HostState,
)
from marketdata.simulator.rules import Rules
from marketdata.store import instruments
from marketdata.verify import verified
from tests.backfill.conftest import FIRST, SYMBOL, runner_of, settings_of
from tests.backfill.made import DAY_LONG_US, DAY_US, made, same
from tests.backfill.test_runner import TOTAL, certificate, forget, stored

EVERYTHING = {
    "http_429": 1, "http_418": 1, "http_500": 2, "http_truncate": 2, "http_reset": 1,
    "retry_after": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("via", "faults"),
    [
        ("rest", {"http_429": 2, "retry_after": 0.1}),
        ("rest", {"http_418": 1, "retry_after": 0.1}),
        ("rest", {"http_503": 3, "http_truncate": 2}),
        ("rest", EVERYTHING),
        ("archive", EVERYTHING),
    ],
)
def test_faults_on_the_way_lose_nothing(run, venue, settings_at, day, via, faults):
    settings = replace(
        settings_at, backfill_max_retries=8, backfill_cooldown_seconds=0.1,
        backfill_rate_limit_threshold=100,
    )  # fmt: skip
    venue.faults.update(faults)
    outcome = run(settings, via=via)
    assert (outcome.status, outcome.missing, outcome.inserted) == ("completed", 0, TOTAL)
    assert same(stored(), day)
    assert venue.faults.take_http() is None


def test_faults_in_the_middle_of_the_pages(writer, venue, settings_at, day):
    settings = replace(settings_at, backfill_max_retries=8, backfill_cooldown_seconds=0.2)
    runner = runner_of(settings, writer, via="rest", workers=3)
    page = runner.means.client.page
    asked = []

    def page_with_faults(*args, **kwargs):
        asked.append(args)
        if len(asked) in (3, 9, 15):
            venue.faults.update({"http_500": 1, "http_truncate": 1, "http_reset": 1})
        return page(*args, **kwargs)

    runner.means.client.page = page_with_faults
    outcome = runner.run()
    assert (outcome.status, outcome.missing) == ("completed", 0)
    assert same(stored(), day)
    assert venue.faults.done["http_truncate"] == 3


def scripted(runner, answer):
    """Let `answer` see and change every page; it is told how many came before."""
    page, asked = runner.means.client.page, []

    def changed(channel, symbol, first_id, *rest, **options):
        asked.append(first_id)
        return answer(page(channel, symbol, first_id, *rest, **options), len(asked) - 1, first_id)

    runner.means.client.page = changed
    return asked


@pytest.fixture
def hasty(monkeypatch):
    """Let crews try again at once: how long they wait is the backoff's own test."""
    monkeypatch.setattr(crew, "Backoff", lambda **given: Backoff(base_s=0.01, cap_s=0.02))


def test_a_page_of_another_day_is_refused_and_nothing_of_it_is_stored(
    writer, settings_at, day, hasty
):
    runner = runner_of(settings_at, writer, via="rest", workers=1)

    def of_tomorrow(page, number, first_id):
        if first_id != 11_000:
            return page
        return replace(page, ts_us=page.ts_us + 2 * DAY_LONG_US)

    scripted(runner, of_tomorrow)
    outcome = runner.run()
    assert (outcome.status, outcome.missing) == ("failed", 10_000)
    assert "times of" in outcome.error
    assert same(stored(), day[(day.id < 11_000) | (day.id >= 21_000)])
    # Tried three times, and once more in a second round.
    chunks = BackfillChunk.objects.filter(status="failed")
    assert [(chunk.attempts, chunk.first_id) for chunk in chunks] == [(3, 11_000)] * 2
    # The next run completes it.
    assert runner_of(settings_at, writer, via="rest").run().missing == 0


def test_ids_left_out_once_are_not_lacking(writer, settings_at, day, hasty):
    runner = runner_of(settings_at, writer, via="rest", workers=1)
    asked = scripted(runner, lambda page, number, first_id: page[5:] if number == 4 else page)
    outcome = runner.run()
    assert (outcome.status, outcome.missing, outcome.exchange_side) == ("completed", 0, [])
    assert same(stored(), day)
    assert len(asked) > 25


def test_an_empty_page_in_the_middle_is_no_end(writer, settings_at, day, hasty):
    runner = runner_of(settings_at, writer, via="rest", workers=1)
    scripted(runner, lambda page, number, first_id: page[:0] if number == 4 else page)
    outcome = runner.run()
    assert (outcome.status, outcome.missing) == ("completed", 0)
    assert same(stored(), day)


def test_a_long_ban_is_kept_and_no_request_follows(run, venue, settings_at):
    venue.faults.update({"http_418": 1, "retry_after": 3_600})
    outcome = run(settings_at, via="rest", patience_s=1.0)
    assert outcome.status == "failed"
    assert "3600 s" in outcome.error or "418" in outcome.error
    row = HostState.objects.get()
    assert row.banned_until_us > time.time_ns() // 1000 + 3_500_000_000
    before = venue.status()["weight_used"]
    again = run(settings_at, via="rest", patience_s=1.0)
    assert again.status == "failed"
    assert venue.status()["weight_used"] == before


def test_ids_the_venue_does_not_have_are_exchange_side(run, serve, tmp_path):
    ids = [*range(1_000, 3_000), *range(3_010, 6_000)]
    settings = settings_of(serve(made(ids)).rest_url, tmp_path)
    outcome = run(settings, via="rest")
    assert outcome.status == "completed"
    assert outcome.exchange_side == [(3_000, 3_009)]
    assert (outcome.trades, outcome.missing) == (4_990, 0)
    assert BackfillJob.objects.get().exchange_side == [[3_000, 3_009]]
    lacking = [c.lacking for c in BackfillChunk.objects.all() if c.lacking]
    assert lacking == [[[3_000, 3_009]]]


def test_a_file_that_lacks_trades_is_completed_by_pages(run, serve, tmp_path, day):
    venue = serve(day)
    archive = serve(day[(day.id < 9_000) | (day.id > 9_500)])
    settings = replace(settings_of(venue.rest_url, tmp_path), binance_archive_url=archive.rest_url)
    outcome = run(settings)
    assert (outcome.status, outcome.missing, outcome.exchange_side) == ("completed", 0, [])
    assert same(stored(), day)
    assert certificate()["sources"] == {"archive": TOTAL - 501, "rest": 501}


def test_where_pages_do_not_reach_back_the_file_tells_the_rest(run, serve, tmp_path, day):
    # The venue's pages begin with the last ten; its file has the whole day.
    venue, archive = serve(day[-10_000:]), serve(day)
    settings = replace(settings_of(venue.rest_url, tmp_path), binance_archive_url=archive.rest_url)
    outcome = run(settings)
    assert (outcome.status, outcome.trades, outcome.missing) == ("completed", TOTAL, 0)
    assert same(stored(), day)
    assert Edge.objects.get(start_us=DAY_US).first_id == FIRST
    # That is settled now.
    assert run(settings).chunks == 0


def test_the_archive_alone_says_what_it_lacks(run, serve, tmp_path, day):
    archive = serve(day[(day.id < 9_000) | (day.id > 9_500)])
    settings = replace(
        settings_of(serve(day).rest_url, tmp_path), binance_archive_url=archive.rest_url
    )
    outcome = run(settings, via="archive")
    assert (outcome.status, outcome.missing, outcome.trades) == ("failed", 501, TOTAL - 501)


@pytest.mark.parametrize("fault", ["archive_missing", "http_404"])
def test_a_missing_day_is_fetched_by_pages_and_not_taken_for_empty(
    run, venue, settings_at, day, fault, caplog
):
    if fault == "http_404":
        settings_at = replace(settings_at, binance_archive_url=f"{venue.rest_url}/nowhere")
    else:
        venue.faults.set("archive_missing", 10)
    outcome = run(settings_at)
    assert (outcome.status, outcome.missing) == ("completed", 0)
    assert (outcome.chunks, outcome.chunks_ok) == (4, 3)
    assert same(stored(), day)
    assert "pages are asked for" in caplog.text
    assert BackfillChunk.objects.get(origin="archive").status == "absent"


def test_a_missing_day_of_the_archive_alone_fails(run, venue, settings_at):
    venue.faults.set("archive_missing", 10)
    outcome = run(settings_at, via="archive")
    assert (outcome.status, outcome.trades, outcome.missing) == ("failed", 0, TOTAL)
    assert "no file of this day" in outcome.error


def test_the_archive_needs_no_rest(run, serve, tmp_path, day):
    # Where a region rule closes the API, the files may be open.
    venue = serve(day)
    venue.faults.set("http_451", 3)
    settings = replace(
        settings_of("http://127.0.0.1:9", tmp_path), binance_archive_url=serve(day).rest_url,
        backfill_max_retries=0,
    )  # fmt: skip
    outcome = run(settings, via="archive")
    assert (outcome.status, outcome.trades, outcome.missing) == ("completed", TOTAL, 0)
    assert same(stored(), day)


def test_a_symbol_the_venue_does_not_know_fails_in_its_words(writer, settings_at):
    runner = runner_of(settings_at, writer, via="rest")
    runner.job.symbol = runner.target.job.symbol = "NOPEUSDT"
    outcome = runner.run()
    assert outcome.status == "failed"
    assert "Invalid symbol" in outcome.error
    assert (outcome.trades, outcome.missing, outcome.vwap) == (0, 0, None)


def test_microseconds_of_a_file_are_cut_to_the_resolution_of_pages(run, serve, tmp_path):
    # From 2025 on files tell microseconds, pages milliseconds; the certificate must not differ.
    day_us = 1_735_689_600_000_000
    trades = made(range(FIRST, FIRST + 25_000), day_us)
    fine = Trades(trades.id, trades.ts_us + 437, trades.price, trades.qty, trades.is_buy)
    venue = serve(fine)
    span = (day_us, day_us + DAY_LONG_US)
    settings = settings_of(venue.rest_url, tmp_path)
    hashes = []
    for via in ("rest", "archive"):
        assert run(settings, via=via, span=span).status == "completed"
        assert same(stored(), trades)
        btc = instruments.find("binance_ws", SYMBOL)
        hashes.append(verified(btc, Window("range", "", *span), 0)["certificate"]["sha256"])
        forget(btc)
    assert hashes[0] == hashes[1]


def test_a_sample_is_the_newest_page(run, settings_at, day):
    outcome = run(replace(settings_at, context_backfill_test_mode=True))
    assert outcome.status == "completed"
    assert outcome.inserted == 1_000
    assert same(stored(), day[-1_000:])


def test_stop_ends_after_the_page_at_hand_and_the_next_run_goes_on(writer, settings_at, day):
    runner = runner_of(settings_at, writer, via="rest", workers=1)
    page = runner.means.client.page

    def page_then_stop(*args, **kwargs):
        found = page(*args, **kwargs)
        if len(runner._crew.works) and runner._crew.works[0].pages == 3:
            runner.stop()
        return found

    runner.means.client.page = page_then_stop
    outcome = runner.run()
    assert outcome.status == "stopped"
    held = len(stored())
    assert 1_000 <= held < TOTAL
    assert held == outcome.trades
    assert BackfillChunk.objects.get(number=1).status == "stopped"
    outcome = runner_of(settings_at, writer, via="rest").run()
    assert (outcome.status, outcome.inserted) == ("completed", TOTAL - held)
    # The same job, not another one.
    assert BackfillJob.objects.get().attempts == 2
    assert same(stored(), day)


def test_a_cancelled_job_ends_for_good(writer, settings_at):
    runner = runner_of(settings_at, writer, via="rest", workers=1)
    page = runner.means.client.page

    def page_then_cancel(*args, **kwargs):
        runner.cancel()
        return page(*args, **kwargs)

    runner.means.client.page = page_then_cancel
    assert runner.run().status == "cancelled"
    assert BackfillJob.objects.get().status == "cancelled"


def test_days_that_live_pipelines_hold_go_through_them(writer, settings_at, day):
    taken, drained = [], []
    inlet = Inlet(
        writer,
        holds=lambda source, symbol, day_us: day_us == DAY_US,
        deliver=lambda source, symbol, batch: taken.append((source, symbol, batch)),
        drain=lambda: drained.append(len(taken)),
    )
    outcome = runner_of(settings_at, writer, via="rest", inlet=inlet, workers=1).run()
    assert {(source, symbol) for source, symbol, _ in taken} == {("binance_ws", SYMBOL)}
    assert {batch.origin for _, _, batch in taken} == {"rest"}
    assert same(Trades.concat([batch.trades for _, _, batch in taken[:25]]), day)
    # Nothing reached the writer, so nothing is claimed, and nothing is said to be.
    assert (outcome.status, outcome.trades, outcome.missing) == ("failed", 0, TOTAL)
    assert not Candle.objects.exists()
    assert drained[-1] == len(taken)


def test_threads_leave_no_connection_open(writer, settings_at):
    from pathlib import Path

    def files() -> int:
        return sum(
            "sqlite" in str(link.resolve())
            for link in Path("/proc/self/fd").iterdir()
            if link.exists()
        )

    runner_of(settings_at, writer, via="rest", workers=4).run()
    before = files()
    for _ in range(3):
        forget(instruments.find("binance_ws", SYMBOL))
        runner_of(settings_at, writer, via="rest", workers=4).run()
    assert files() <= before
    assert not [t for t in threading.enumerate() if t.name.startswith("backfill")]


def test_the_venue_never_has_to_refuse(run, serve, tmp_path, day):
    # It grants 400 a minute; listing, edges and 25 pages of weight 4 fit into what is left of it.
    venue = serve(day, rules=Rules(weight_per_minute=400))
    settings = settings_of(venue.rest_url, tmp_path, binance_rate_limit_per_minute=300)
    runner_status = run(settings, via="rest", workers=4)
    assert (runner_status.status, runner_status.trades) == ("completed", TOTAL)
    assert venue.status()["weight_used"] <= 300
