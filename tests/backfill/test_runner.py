"""Jobs: every way to a day gives the same rows, whatever happens on the way."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import time as clock

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
    DailyLevel,
    Edge,
    HostState,
    SessionStat,
    TradingSession,
)
from marketdata.simulator.rules import Rules
from marketdata.store import instruments, lake, ledger, rows
from marketdata.verify import verified
from tests.backfill.conftest import FIRST, LAST, SYMBOL, runner_of, settings_of
from tests.backfill.made import DAY_LONG_US, DAY_US, csv, made, same, zipped

pytestmark = pytest.mark.django_db(transaction=True)
TOTAL = LAST - FIRST + 1
HALF_US = DAY_LONG_US // 2
HOUR_US = DAY_LONG_US // 24


def stored() -> Trades:
    btc = instruments.find("binance_ws", SYMBOL)
    return Trades.concat(rows.read_ids(btc.id, 0, 1 << 50))


def certificate() -> dict:
    btc = instruments.find("binance_ws", SYMBOL)
    assert ledger.audit(btc.id) == []
    return verified(btc, Window("day", "", DAY_US, DAY_US + DAY_LONG_US), 0)["certificate"]


def vwap_of(trades: Trades) -> float:
    return float((trades.price * trades.qty).sum() / trades.qty.sum())


@pytest.mark.parametrize(
    ("via", "origin", "chunks"), [("rest", "rest", 3), ("archive", "archive", 1)]
)
def test_a_day_is_fetched_whole(run, settings_at, day, via, origin, chunks):
    outcome = run(settings_at, via=via)
    assert outcome.status == "completed"
    assert (outcome.trades, outcome.inserted, outcome.missing) == (TOTAL, TOTAL, 0)
    assert (outcome.chunks, outcome.chunks_ok) == (chunks, chunks)
    assert outcome.vwap == pytest.approx(vwap_of(day), rel=1e-12)
    assert same(stored(), day)
    assert certificate()["sources"] == {origin: TOTAL}
    job = BackfillJob.objects.get()
    assert (job.status, job.trades, job.missing, job.vwap) == ("completed", TOTAL, 0, outcome.vwap)
    assert {chunk.status for chunk in job.chunks.all()} == {"done"}


def test_auto_takes_the_file_of_a_finished_day(run, settings_at):
    assert run(settings_at).status == "completed"
    assert certificate()["sources"] == {"archive": TOTAL}
    assert len(BackfillChunk.objects.get().sha256) == 64


def test_every_way_and_any_mixture_gives_the_same_certificate(run, settings_at, day, tmp_path):
    hashes = set()
    path = zipped(tmp_path / f"{SYMBOL}-aggTrades-2024-01-01.zip", csv(day))
    btc = None
    for way in ("rest", "archive", "file", "mixed"):
        if btc:
            forget(btc)
        if way == "mixed":
            # Pages of the first hours, a file's last ones, and the archive joins them by id.
            run(settings_at, via="rest", span=(DAY_US, DAY_US + DAY_LONG_US // 20))
            evening = (DAY_US + DAY_LONG_US * 19 // 20, DAY_US + DAY_LONG_US)
            run(settings_at, via="file", path=str(path), span=evening)
            assert run(settings_at).status == "completed"
            assert set(certificate()["sources"]) == {"rest", "file", "archive"}
        else:
            outcome = run(settings_at, via=way, path=str(path) if way == "file" else "")
            assert outcome.status == "completed"
        hashes.add(certificate()["sha256"])
        btc = instruments.find("binance_ws", SYMBOL)
    assert len(hashes) == 1


def forget(btc) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for table in ("trade", "coveragesegment", "candle", "dailylevel", "sessionstat"):
            cursor.execute(f"DELETE FROM marketdata_{table} WHERE instrument_id = %s", [btc.id])


def test_candles_levels_and_sessions_of_the_day_are_written(run, settings_at, day):
    for name, hour in (("london", 8), ("overlap", 13), ("night", 22)):
        # The last one ends the next day, and began the day before.
        TradingSession.objects.create(
            name=name, title=name, start=clock(hour), end=clock((hour + 4) % 24)
        )
    run(settings_at)
    level = DailyLevel.objects.get(origin="trades")
    assert (level.trades, level.expected, level.held) == (TOTAL, TOTAL, TOTAL)
    assert (level.high, level.low) == (day.price.max(), day.price.min())
    assert (level.open, level.close) == (day.price[0], day.price[-1])
    assert Candle.objects.filter(timeframe="1m").count() == 1440
    assert sum(Candle.objects.values_list("trades", flat=True)) == TOTAL
    # Half-open sessions of 4 hours each, over evenly spread trades.
    hours = {"night before": -2, "london": 8, "overlap": 13, "night": 22}
    starts = {name: DAY_US + hour * HOUR_US for name, hour in hours.items()}
    assert {(s.name, s.start_us, s.trades) for s in SessionStat.objects.all()} == {
        (
            name.split()[0],
            start,
            int(((day.ts_us >= start) & (day.ts_us < start + 4 * HOUR_US)).sum()),
        )
        for name, start in starts.items()
    }


def test_what_is_held_is_not_fetched_again(run, settings_at, venue):
    run(settings_at, via="rest", span=(DAY_US, DAY_US + HALF_US))
    held = len(stored())
    assert 0 < held < TOTAL
    outcome = run(settings_at, via="rest")
    assert (outcome.trades, outcome.inserted) == (TOTAL, TOTAL - held)
    outcome = run(settings_at, via="rest")
    assert (outcome.status, outcome.chunks, outcome.inserted) == ("completed", 0, 0)


def test_levels_of_a_day_that_did_not_change_are_left_as_they_are(run, settings_at, day):
    first = run(settings_at)
    DailyLevel.objects.update(poc=1.0)
    again = run(settings_at)
    assert (again.chunks, again.vwap) == (0, pytest.approx(first.vwap, rel=1e-12))
    assert DailyLevel.objects.get(origin="trades").poc == 1.0


def test_candles_a_killed_run_did_not_come_to_are_written_by_the_next(run, settings_at):
    run(settings_at)
    Candle.objects.all().delete()
    DailyLevel.objects.all().delete()
    outcome = run(settings_at)
    assert (outcome.status, outcome.chunks) == ("completed", 0)
    assert Candle.objects.count() == 1440
    assert DailyLevel.objects.get(origin="trades").trades == TOTAL


def test_a_day_that_came_by_pages_is_read_from_the_cache_the_next_time(
    run, settings_at, day, tmp_path
):
    assert run(settings_at, via="rest").status == "completed"
    path = lake.day_path(tmp_path / "cache", "binance_ws", SYMBOL, DAY_US)
    assert lake.proved(path).sha256 == certificate()["sha256"]
    forget(instruments.find("binance_ws", SYMBOL))
    nowhere = replace(settings_at, binance_archive_url="http://127.0.0.1:9")
    assert run(nowhere).status == "completed"
    assert same(stored(), day)
    # The ledger says where the trades came from in the first place.
    assert certificate()["sources"] == {"rest": TOTAL}


def test_a_part_of_a_day_ends_where_it_was_asked_to(run, settings_at, day):
    start, end = DAY_US + 3_600_000_000, DAY_US + 2 * 3_600_000_000
    outcome = run(settings_at, via="rest", span=(start, end))
    inside = day[(day.ts_us >= start) & (day.ts_us < end)]
    assert same(stored(), inside)
    assert (outcome.trades, outcome.missing) == (len(inside), 0)
    assert outcome.vwap == pytest.approx(vwap_of(inside), rel=1e-12)


def test_today_so_far_ends_with_the_newest_trade(run, serve, tmp_path):
    # Noon of the tape's day; the venue has nothing later.
    trades = made(range(FIRST, FIRST + 4_000), spread_us=10_800_000)
    settings = settings_of(serve(trades).rest_url, tmp_path)
    now = DAY_US + HALF_US
    outcome = run(settings, span=(DAY_US, now), clock=lambda: now)
    assert (outcome.status, outcome.trades, outcome.missing) == ("completed", 4_000, 0)
    assert same(stored(), trades)
    # A minute that the clock has not ended is no finished candle.
    assert Candle.objects.count() == len(
        {ts // 60_000_000 for ts in trades.ts_us.tolist() if ts // 60_000_000 * 60_000_000 < now}
    )


def test_a_range_of_days_joins_files_and_pages_by_id(run, serve, tmp_path):
    days = [DAY_US + number * DAY_LONG_US for number in range(3)]
    trades = Trades.concat(
        [
            made(range(1_000, 23_000), days[0]),
            made(range(23_000, 46_000), days[1]),
            # Noon of the third day.
            made(range(46_000, 50_000), days[2], spread_us=10_800_000),
        ]
    )
    settings = settings_of(serve(trades).rest_url, tmp_path)
    now = days[2] + HALF_US
    outcome = run(settings, span=(DAY_US, now), clock=lambda: now, workers=3)
    assert (outcome.status, outcome.trades, outcome.missing) == ("completed", 49_000, 0)
    assert same(stored(), trades)
    btc = instruments.find("binance_ws", SYMBOL)
    assert ledger.origins(btc.id, 0, 60_000) == {"archive": 45_000, "rest": 4_000}
    assert outcome.vwap == pytest.approx(vwap_of(trades), rel=1e-12)
    levels = DailyLevel.objects.filter(origin="trades").order_by("day_us")
    assert [(row.day_us, row.trades, row.is_final) for row in levels] == [
        (days[0], 22_000, True),
        (days[1], 23_000, True),
        (days[2], 4_000, False),
    ]


def test_no_trade_yet_is_done_at_once(run, settings_at):
    span = (DAY_US + DAY_LONG_US, DAY_US + DAY_LONG_US + 300_000_000)
    outcome = run(settings_at, span=span, clock=lambda: span[1])
    assert (outcome.status, outcome.trades, outcome.missing, outcome.vwap) == (
        "completed", 0, 0, None,
    )  # fmt: skip


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
