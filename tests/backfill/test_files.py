"""Files over HTTP: whole and hashed, or an error in words; never half, never for ever."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest

from marketdata.backfill import files
from marketdata.backfill.files import ArchiveHost, CacheError
from marketdata.core.errors import (
    BannedError,
    BlockedError,
    ConnectionLostError,
    StoppedError,
)
from marketdata.rest.pool import Pool, new_limiter
from marketdata.venues.binance_spot import AGG_TRADE, VENUE
from tests.backfill.conftest import settings_of
from tests.rest.hand import MemoryBans

PATH = AGG_TRADE.archive.path("BTCUSDT", "2024-01-01")
SUM = AGG_TRADE.archive.checksum("BTCUSDT", "2024-01-01")


@pytest.fixture
def bans():
    return MemoryBans()


@pytest.fixture
def host(venue, tmp_path, bans):
    made = []

    def make(stop=None, **settings) -> ArchiveHost:
        conf = settings_of(venue.rest_url, tmp_path, **settings)
        pool = Pool(conf, new_limiter(VENUE, conf), bans=bans)
        stop = stop or threading.Event()
        made.append(ArchiveHost(VENUE, venue.rest_url, conf, stop, pool=pool))
        return made[-1]

    yield make
    for item in made:
        item.close()


def test_a_file_is_written_and_its_hash_is_that_of_the_checksum(host, tmp_path):
    asked = host()
    seen = asked.save(PATH, tmp_path / "new" / "day.zip")
    assert seen == hashlib.sha256((tmp_path / "new" / "day.zip").read_bytes()).hexdigest()
    assert asked.text(SUM).split()[0] == seen
    # The venue says by itself that it plays a tape.
    assert asked.label == "recorded"


def test_no_such_file_is_none(host, tmp_path):
    other = AGG_TRADE.archive.path("BTCUSDT", "2031-01-01")
    assert host().save(other, tmp_path / "day.zip") is None
    assert not (tmp_path / "day.zip").exists()
    assert host().text(other + ".CHECKSUM") is None


@pytest.mark.parametrize("fault", ["http_truncate", "http_reset", "http_500", "http_429"])
def test_what_passes_is_asked_for_again(host, venue, tmp_path, fault):
    venue.faults.update({fault: 2, "retry_after": 0.1})
    asked = host()
    assert asked.save(PATH, tmp_path / "day.zip") == asked.text(SUM).split()[0]


def test_what_does_not_pass_is_given_up(host, venue, tmp_path):
    venue.faults.set("http_truncate", 10)
    with pytest.raises(ConnectionLostError):
        host(backfill_max_retries=1).save(PATH, tmp_path / "day.zip")


@pytest.mark.parametrize("fault", ["http_451", "http_403html", "http_200html"])
def test_a_closed_door_is_not_knocked_at_again(host, venue, tmp_path, fault):
    venue.faults.set(fault, 1)
    asked = host()
    for _ in range(2):
        with pytest.raises(BlockedError):
            asked.save(PATH, tmp_path / "day.zip")
    assert venue.faults.done[fault] == 1


def test_a_ban_is_kept_for_the_next_process(host, venue, tmp_path, bans):
    venue.faults.update({"http_418": 1, "retry_after": 600})
    with pytest.raises(BannedError):
        host().save(PATH, tmp_path / "day.zip")
    with pytest.raises(BannedError):
        host().save(PATH, tmp_path / "day.zip")
    assert venue.faults.done["http_418"] == 1


def test_a_drip_ends_at_the_deadline_of_a_step(host, venue, tmp_path):
    venue.faults.set("http_drip", 1)
    began = time.monotonic()
    with pytest.raises(ConnectionLostError):
        host(binance_api_timeout=0.5, backfill_max_retries=0).save(PATH, tmp_path / "day.zip")
    assert time.monotonic() - began < 5


def test_stop_ends_a_transfer(host, venue, tmp_path):
    venue.faults.set("http_drip", 1)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        host(stop).save(PATH, tmp_path / "day.zip")
    assert time.monotonic() - began < 4


def test_a_file_that_never_ends_is_cut_off(host, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 1_000)
    with pytest.raises(CacheError, match="at most 1000 bytes"):
        host().save(PATH, tmp_path / "day.zip")


def test_a_full_disk_is_said_and_not_tried_again(host, tmp_path, monkeypatch):
    class Full:
        def __init__(self, *args):
            self.calls = 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.open", Full)
    with pytest.raises(CacheError, match="No space left"):
        host().save(PATH, tmp_path / "day.zip")
