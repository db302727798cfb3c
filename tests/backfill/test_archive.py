"""Archive days: proved on arrival and in the cache, in order, each id once, never half."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from marketdata.backfill.archive import Archive, ArchiveError, Span
from marketdata.backfill.child import FileReader
from marketdata.backfill.files import ArchiveHost, CacheError
from marketdata.core.errors import BlockedError, StoppedError
from marketdata.core.trades import Trades
from marketdata.rest.pool import Pool, new_limiter
from marketdata.store import lake
from marketdata.venues.binance_spot import AGG_TRADE, TRADE, VENUE
from tests.backfill.conftest import settings_of
from tests.backfill.made import DAY_LONG_US, DAY_US, csv, line, made, same, sha256
from tests.backfill.shelf import Shelf
from tests.rest.hand import MemoryBans

SPAN = Span("BTCUSDT", DAY_US, DAY_US, DAY_US + DAY_LONG_US)
LONG_AFTER = DAY_US + 100 * DAY_LONG_US
TRADES = made(range(500, 3_500))


@pytest.fixture
def shelf(tmp_path):
    with Shelf(tmp_path / "shelf") as shelf:
        yield shelf


@pytest.fixture
def reader():
    reader = FileReader()
    yield reader
    reader.close()


@pytest.fixture
def archive(shelf, reader, tmp_path):
    """Return an archive over the shelf, with a pool of its own."""
    hosts = []

    def make(channel=AGG_TRADE, stop=None, **settings) -> Archive:
        conf = settings_of(shelf.url, tmp_path, backfill_max_retries=1, **settings)
        pool = Pool(conf, new_limiter(VENUE, conf), bans=MemoryBans())
        stop = stop or threading.Event()
        hosts.append(ArchiveHost(VENUE, shelf.url, conf, stop, pool=pool))
        return Archive("binance_ws", channel, hosts[-1], reader, conf)

    yield make
    for host in hosts:
        host.close()


def into(taken, origins=None):
    def take(trades, origin):
        taken.append(trades)
        if origins is not None:
            origins.add(origin)

    return take


def read(archive, span=SPAN, now_us=LONG_AFTER):
    taken = []
    told = archive.day(span, now_us, into(taken))
    return told, Trades.concat(taken)


def cached(tmp_path):
    return lake.day_path(tmp_path / "cache", "binance_ws", "BTCUSDT", DAY_US)


def quarantined(tmp_path):
    folder = tmp_path / "cache" / "quarantine"
    return [item.name for item in folder.iterdir()] if folder.exists() else []


def test_a_day_is_handed_on_and_kept(archive, shelf, tmp_path):
    path = shelf.put(TRADES)
    told, trades = read(archive())
    assert same(trades, TRADES)
    assert (told.rows, told.first_id, told.last_id) == (3_000, 500, 3_499)
    assert told.made_from == sha256(path)
    says = lake.proved(cached(tmp_path))
    assert (says.sha256, says.made_from, says.channel) == (told.sha256, told.made_from, "aggTrade")
    # The zip has served its purpose.
    assert list((tmp_path / "cache").rglob("*.zip")) == []
    assert list((tmp_path / "cache").rglob("*.part")) == []


def test_the_cache_answers_without_the_venue(archive, shelf):
    shelf.put(TRADES)
    reading = archive()
    first, _ = read(reading)
    shelf.asked.clear()
    again, trades = read(reading)
    assert shelf.asked == []
    assert same(trades, TRADES)
    assert again == first


def test_a_range_within_the_day_is_all_that_is_handed_on(archive, shelf, tmp_path):
    shelf.put(TRADES)
    start = int(TRADES.ts_us[1_000])
    span = Span("BTCUSDT", DAY_US, start, start + 3_600_000_000)
    expected = TRADES[(TRADES.ts_us >= span.start_us) & (TRADES.ts_us < span.end_us)]
    reading = archive()
    for _ in ("fetched", "cached"):
        told, trades = read(reading, span)
        assert same(trades, expected)
        assert (told.first_id, told.last_id) == (int(expected.id[0]), int(expected.id[-1]))
    # The whole day is kept all the same.
    assert lake.proved(cached(tmp_path)).rows == 3_000


def test_a_day_that_is_not_there_is_none_and_leaves_nothing(archive, shelf, tmp_path):
    assert read(archive())[0] is None
    assert shelf.asked == ["/data/spot/daily/aggTrades/BTCUSDT/"
                           "BTCUSDT-aggTrades-2024-01-01.zip.CHECKSUM"]  # fmt: skip
    shelf.put(TRADES)
    shelf.path().unlink()
    assert read(archive())[0] is None
    assert [item for item in (tmp_path / "cache").rglob("*") if item.is_file()] == []


def test_a_file_that_does_not_match_its_checksum_is_put_aside_and_fetched_again(
    archive, shelf, tmp_path
):
    path = shelf.put(TRADES)
    shelf.sum(text="0" * 64 + "  x\n")
    with pytest.raises(ArchiveError, match="3 tries"):
        read(archive())
    assert shelf.asked.count("/" + str(path.relative_to(shelf.root))) == 3
    assert len(quarantined(tmp_path)) == 3
    assert not cached(tmp_path).exists()
    shelf.sum()
    assert same(read(archive())[1], TRADES)


def test_a_checksum_file_of_something_else_is_no_checksum(archive, shelf):
    shelf.put(TRADES)
    shelf.sum(text="hello")
    with pytest.raises(ArchiveError, match="SHA-256 expected"):
        read(archive())
    # A page of HTML is a firewall's: nothing more is asked of the host.
    shelf.sum(text="<html>hello</html>")
    with pytest.raises(BlockedError):
        read(archive())


def test_a_damaged_cache_file_is_found_before_a_trade_leaves_and_fetched_again(
    archive, shelf, tmp_path
):
    shelf.put(TRADES)
    reading = archive()
    first, _ = read(reading)
    path = cached(tmp_path)
    whole = path.read_bytes()
    # In the columns, and in what the footer says.
    for at in (len(whole) // 8, whole.index(b"aggTrade")):
        damaged = bytearray(whole)
        damaged[at : at + 4] = bytes(byte ^ 1 for byte in damaged[at : at + 4])
        path.write_bytes(damaged)
        shelf.asked.clear()
        told, trades = read(reading)
        assert same(trades, TRADES)
        assert told == first
        assert len(shelf.asked) == 2
    assert len(quarantined(tmp_path)) == 2
    assert lake.proved(path).rows == 3_000


def test_the_quarantine_does_not_grow_for_ever(archive, shelf, tmp_path):
    shelf.put(TRADES)
    shelf.sum(text="0" * 64)
    for _ in range(5):
        with pytest.raises(ArchiveError):
            read(archive())
    assert len(quarantined(tmp_path)) == 10


def test_a_recent_file_that_the_venue_replaced_is_fetched_again(archive, shelf, tmp_path):
    shelf.put(TRADES[:1_000])
    reading, soon = archive(), DAY_US + 2 * DAY_LONG_US
    assert read(reading, now_us=soon)[0].rows == 1_000
    shelf.put(TRADES)
    # Weeks later nobody asks any more; within days the checksum decides.
    assert read(reading, now_us=LONG_AFTER)[0].rows == 1_000
    assert same(read(reading, now_us=soon)[1][-3_000:], TRADES)
    assert lake.proved(cached(tmp_path)).rows == 3_000


def test_without_the_cache_nothing_is_kept(archive, shelf, tmp_path):
    shelf.put(TRADES)
    reading = archive(backfill_cache_enabled=False)
    for _ in range(2):
        told, trades = read(reading)
        assert same(trades, TRADES)
        assert told.sha256
    assert [item for item in (tmp_path / "cache").rglob("*") if item.is_file()] == []
    assert len(shelf.asked) == 4


def test_rows_out_of_order_and_repeated_come_once_and_in_order(archive, shelf, tmp_path, caplog):
    rows = [line(TRADES, at) for at in range(len(TRADES))]
    moved = [*rows[2_000:], *rows[:2_000], *rows[1_990:2_010]]
    shelf.put("\n".join(moved) + "\n")
    told, _ = read(archive())
    # What was handed on before the disorder showed comes again; the writer takes each id once.
    assert lake.proved(cached(tmp_path)).rows == told.rows == 3_000
    assert same(Trades.concat(lake.batches(cached(tmp_path))), TRADES)
    assert told.sha256 == lake.manifest(cached(tmp_path)).sha256
    assert "ids repeated" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (csv(made(range(10), DAY_US + DAY_LONG_US)), "trades of 2024-01-01 expected"),
        ("1,nan,1,1,1,1704067200000,True,True\n", "above zero expected as price"),
        ("1,5,-1,1,1,1704067200000,True,True\n", "above zero expected as qty"),
        ("1,5,1,1,1,999,True,True\n", "time between 2010 and 2100"),
        ("hello\n", "expected"),
        ("1,5,1,1,1704067200000,True,True\n", "aggTrade ids expected, seen trade ids"),
    ],
)
def test_a_file_of_something_else_is_refused_in_words(archive, shelf, tmp_path, text, words):
    shelf.put(text)
    with pytest.raises(ArchiveError, match=words):
        read(archive())
    assert not cached(tmp_path).exists()
    assert list((tmp_path / "cache").rglob("*.tmp")) == []


def test_microseconds_are_cut_and_a_mixed_file_is_read_row_by_row(archive, shelf):
    fine = replace(TRADES, ts_us=TRADES.ts_us + 999)
    rows = [line(fine, at, 1 if at % 2 else 1000) for at in range(len(fine))]
    shelf.put("\n".join(rows) + "\n")
    assert same(read(archive())[1], TRADES)


def test_a_header_is_no_trade(archive, shelf):
    header = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
    rows = [line(TRADES, at).rsplit(",", 1)[0] for at in range(len(TRADES))]
    shelf.put("\n".join([header, *rows]) + "\n")
    assert same(read(archive())[1], TRADES)


def test_single_trades_have_files_of_their_own():
    assert TRADE.archive.path("币安USDT", "2024-01-01") == (
        "/data/spot/daily/trades/%E5%B8%81%E5%AE%89USDT/%E5%B8%81%E5%AE%89USDT-trades-2024-01-01.zip"
    )


def test_a_reader_that_is_killed_is_started_again(archive, shelf, reader):
    shelf.put(TRADES)
    reading, taken = archive(), []

    def take(trades, origin):
        if not taken:
            reader.kill()
        taken.append(trades)

    told = reading.day(SPAN, LONG_AFTER, take)
    assert told.rows == 3_000
    assert set(np.concatenate([part.id for part in taken]).tolist()) == set(range(500, 3_500))


def test_stop_ends_a_read_at_once(archive, shelf, reader):
    shelf.put(TRADES)
    reading = archive()

    def take(trades, origin):
        raise StoppedError("enough")

    with pytest.raises(StoppedError):
        reading.day(SPAN, LONG_AFTER, take)
    # And from another thread, as a job is stopped.
    with pytest.raises(StoppedError):
        reading.day(SPAN, LONG_AFTER, lambda trades, origin: reader.close())


def test_a_cache_that_cannot_be_written_is_said(archive, shelf, tmp_path):
    shelf.put(TRADES)
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(CacheError, match="can be written"):
        read(archive())


def test_a_full_disk_in_the_reader_is_no_damage(archive, shelf, tmp_path):
    shelf.put(TRADES)
    (tmp_path / "cache" / "trades").mkdir(parents=True)
    (tmp_path / "cache" / "trades" / "binance_ws").write_text("in the way")
    with pytest.raises(CacheError):
        read(archive())


def test_what_a_killed_process_left_is_swept_away_after_a_day(archive, tmp_path):
    old = tmp_path / "cache" / "archive" / "binance_ws" / "BTCUSDT" / "2024-01-01.zip.1.part"
    new = old.with_name("2024-01-02.zip.2.part")
    old.parent.mkdir(parents=True)
    for path, age_s in ((old, 2 * 86_400), (new, 60)):
        path.write_bytes(b"half")
        import os

        os.utime(path, (time.time() - age_s,) * 2)
    archive()
    assert (old.exists(), new.exists()) == (False, True)


def test_a_day_that_came_by_pages_is_kept_and_says_so(archive, shelf, tmp_path):
    reading, taken, origins = archive(), [], set()
    assert reading.keep(SPAN, TRADES.batches(700))
    assert lake.proved(cached(tmp_path)).made_from == ""
    # It is recent, and the venue has a file by now: pages and file tell the same trades.
    shelf.put(TRADES)
    told = reading.day(SPAN, DAY_US + 2 * DAY_LONG_US, into(taken, origins))
    assert (told.rows, told.made_from, origins) == (3_000, "", {"rest"})
    assert same(Trades.concat(taken), TRADES)
    # Who wants the venue's own file gets it, and it takes the other's place.
    told = reading.day(SPAN, LONG_AFTER, into([], origins), only_files=True)
    assert told.made_from == lake.manifest(cached(tmp_path)).made_from == sha256(shelf.path())
    assert origins == {"rest", "archive"}
    # What is there stays; without the cache nothing is kept.
    assert not reading.keep(SPAN, [])
    cached(tmp_path).unlink()
    assert not archive(backfill_cache_enabled=False).keep(SPAN, TRADES.batches(700))
    assert not cached(tmp_path).exists()


def test_a_day_that_cannot_be_kept_leaves_nothing_half(archive, tmp_path):
    reading = archive()

    def broken():
        yield TRADES[:100]
        raise StoppedError("enough")

    with pytest.raises(StoppedError):
        reading.keep(SPAN, broken())
    assert not cached(tmp_path).exists()
    (tmp_path / "cache" / "trades").mkdir(parents=True)
    (tmp_path / "cache" / "trades" / "binance_ws").write_text("in the way")
    with pytest.raises(CacheError):
        reading.keep(SPAN, TRADES.batches(700))
    # The reader serves on.
    (tmp_path / "cache" / "trades" / "binance_ws").unlink()
    assert reading.keep(SPAN, TRADES.batches(700))


@pytest.mark.parametrize("name", ["BTCUSDT-aggTrades-2024-01-01.csv", "anything.csv"])
def test_a_local_file_is_cut_to_the_range(archive, tmp_path, name):
    path = tmp_path / name
    path.write_text(csv(TRADES))
    taken = []
    told = archive().file(path, replace(SPAN, end_us=DAY_US + DAY_LONG_US // 2), into(taken))
    assert same(Trades.concat(taken), TRADES[TRADES.ts_us < DAY_US + DAY_LONG_US // 2])
    assert (told.rows, told.first_id) == (sum(len(part) for part in taken), 500)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("ETHUSDT-aggTrades-2024-01-01.csv", csv(TRADES), "seen ETHUSDT at binance_ws"),
        (
            "BTCUSDT-aggTrades-2024-01-02.csv",
            csv(made(range(9), DAY_US + DAY_LONG_US)),
            "range asked for expected, seen trades from 2024-01-02T",
        ),
        (
            "BTCUSDT-trades-2024-01-01.csv",
            "1,5,1,5,1704067200000,True,True\n",
            "aggTrade ids expected, seen trade ids",
        ),
        (
            "BTCUSDT-aggTrades-2024-01-01.csv",
            "1,5,1,1,1,1704067200000,true\n",
            "seen BTCUSDT at binance_futures",
        ),
        ("BTCUSDT-aggTrades-2024-01-01.csv", "", "empty"),
    ],
)
def test_a_local_file_of_something_else_is_refused(archive, tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ArchiveError, match=words):
        archive().file(path, SPAN, into([]))


def test_a_file_of_the_lake_and_one_that_is_not_there(archive, shelf, tmp_path):
    shelf.put(TRADES)
    reading, taken = archive(), []
    read(reading)
    reading.file(cached(tmp_path), SPAN, into(taken))
    assert same(Trades.concat(taken), TRADES)
    with pytest.raises(ArchiveError, match="there is none"):
        reading.file(tmp_path / "nowhere.zip", SPAN, into(taken))
