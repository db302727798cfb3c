"""Jobs: every way to a day gives the same rows, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import time as clock

import pytest

from marketdata.core.sessions import Window
from marketdata.core.trades import Trades
from marketdata.models import (
    BackfillChunk,
    BackfillJob,
    Candle,
    DailyLevel,
    SessionStat,
    TradingSession,
)
from marketdata.store import instruments, lake, ledger, rows
from marketdata.verify import verified
from tests.backfill.conftest import FIRST, LAST, SYMBOL, settings_of
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
        TradingSession.objects.update_or_create(
            name=name,
            defaults={"title": name, "start": clock(hour), "end": clock((hour + 4) % 24)},
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
