"""Venues that number no trades: what a file or pages of a time add to what is held."""

from __future__ import annotations

import gzip
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import requests

from marketdata.backfill.files import ArchiveHost
from marketdata.backfill.inlet import Inlet
from marketdata.core.coverage import Coverage
from marketdata.core.events import Batch
from marketdata.core.instrument import Instrument
from marketdata.core.numbering import begun, day_numbers, number_at, numbered
from marketdata.core.ticks import tick_rule
from marketdata.core.timeframe import DAY_US, HOUR_US, open_us
from marketdata.core.trades import Trades
from marketdata.models import BackfillChunk, BackfillJob
from marketdata.simulator.server import Simulator
from marketdata.store import absences, ledger
from marketdata.store.writer import Writer
from tests.backfill.by_time import (
    BTC,
    DAY,
    NOW_US,
    TODAY_US,
    as_told,
    held_by,
    hold,
    proof,
    remembered,
    runs_into,
    stored,
    traded,
)
from tests.backfill.conftest import Run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(writer: Writer, tmp_path: Path) -> Run:
    """Run a job to its end."""
    return runs_into(writer, tmp_path)


# Bybit: files.


def test_a_days_file_fills_an_empty_day(run, bybit):
    outcome = run(bybit)
    truth = traded(bybit, *DAY)
    assert (outcome.status, outcome.missing, outcome.error) == ("completed", 0, "")
    assert outcome.trades == outcome.inserted == outcome.expected == len(truth) > 3_000
    assert as_told(stored("bybit")) == as_told(truth)
    first, last = day_numbers(DAY[0])
    ids = stored("bybit").id
    assert ids.tolist() == list(range(first, first + len(truth)))
    instrument = held_by("bybit")
    assert list(absences.coverage(instrument.id)) == [(first + len(truth), last)]
    assert outcome.vwap == pytest.approx(
        float((truth.price * truth.qty).sum() / truth.qty.sum()), rel=1e-12
    )
    answer = proof("bybit")
    assert (answer["held"], answer["missing"], answer["counted"]) == (len(truth), 0, True)
    assert (answer["edges"], answer["proof"]) == ("venue", "overlap")
    assert answer["exchange_side"] == []
    assert answer["certificate"]["sources"] == {"archive": len(truth)}
    again = run(bybit)
    assert (again.status, again.chunks, again.inserted) == ("completed", 0, 0)


def test_a_file_fills_every_hole_around_what_is_held(run, bybit, writer):
    truth = traded(bybit, *DAY)
    pieces = truth[1000:1500], truth[1700:1701], truth[1701:3000], truth[4000:4001]
    hold(writer, bybit, "bybit", *pieces)
    before = proof("bybit")
    # The two pieces that follow on each other are a hole all the same: nobody knew.
    assert (before["held"], before["missing"], before["counted"]) == (1801, 3, False)
    outcome = run(bybit)
    assert (outcome.status, outcome.missing) == ("completed", 0)
    assert outcome.inserted == len(truth) - 1801
    assert as_told(stored("bybit")) == as_told(truth)
    answer = proof("bybit")
    assert (answer["held"], answer["missing"], answer["counted"]) == (len(truth), 0, True)
    assert answer["certificate"]["sources"] == {"live": 1801, "archive": len(truth) - 1801}
    assert run(bybit).chunks == 0


def test_trades_of_one_millisecond_on_an_edge_are_told_apart(run, bybit, writer):
    truth = traded(bybit, *DAY)
    ms = truth.ts_us // 1000
    starts = np.flatnonzero(np.diff(ms, prepend=-1))
    sizes = np.diff([*starts.tolist(), len(ms)])
    crowd = int(starts[(sizes > 2) & (starts > 100)][0])
    # Of three or more in one millisecond the first is held, and then the last ones.
    hold(writer, bybit, "bybit", truth[crowd - 20 : crowd + 1], truth[crowd + 2 : crowd + 30])
    assert run(bybit).status == "completed"
    assert sorted(as_told(stored("bybit"))) == sorted(as_told(truth))


def test_two_holes_within_one_millisecond_are_filled_once(run, bybit, writer):
    truth = traded(bybit, *DAY)
    ms = truth.ts_us // 1000
    starts = np.flatnonzero(np.diff(ms, prepend=-1))
    sizes = np.diff([*starts.tolist(), len(ms)])
    crowd = int(starts[(sizes > 3) & (starts > 100)][0])
    pieces = truth[crowd - 20 : crowd], truth[crowd + 1 : crowd + 2], truth[crowd + 3 : crowd + 30]
    hold(writer, bybit, "bybit", *pieces)
    assert run(bybit).status == "completed"
    assert sorted(as_told(stored("bybit"))) == sorted(as_told(truth))


@pytest.mark.slow
def test_a_part_of_a_day_is_filled_and_the_rest_later(run, bybit, writer):
    truth = traded(bybit, *DAY)
    ten, eleven, noon = (DAY[0] + hour * HOUR_US for hour in (10, 11, 12))
    early = traded(bybit, ten - 900_000_000, ten + 1_800_000_000)
    late = traded(bybit, noon, noon + 600_000_000)
    hold(writer, bybit, "bybit", early, late)
    outcome = run(bybit, via="archive", span=(ten, eleven))
    assert (outcome.status, outcome.missing) == ("completed", 0)
    assert outcome.inserted == len(traded(bybit, int(early.ts_us[-1]) + 1, eleven))
    assert run(bybit).status == "completed"
    assert as_told(stored("bybit")) == as_told(truth)
    assert proof("bybit")["missing"] == 0


def test_a_file_that_is_cut_is_fetched_again(run, bybit):
    bybit.faults.set("archive_corrupt", 1)
    outcome = run(bybit)
    assert (outcome.status, outcome.missing) == ("completed", 0)
    assert as_told(stored("bybit")) == as_told(traded(bybit, *DAY))


def test_a_file_that_stays_cut_is_told_and_leaves_nothing(run, bybit):
    bybit.faults.set("archive_corrupt", 100)
    outcome = run(bybit)
    bybit.faults.clear()
    assert (outcome.status, outcome.inserted) == ("failed", 0)
    assert "sound file expected in 3 tries" in outcome.error
    assert ledger.coverage(held_by("bybit").id) == Coverage()
    assert not absences.coverage(held_by("bybit").id)


def test_a_file_that_is_not_there_is_told(run, bybit, writer):
    truth = traded(bybit, *DAY)
    hold(writer, bybit, "bybit", truth[100:200], truth[300:400])
    bybit.faults.set("archive_missing", 100)
    outcome = run(bybit)
    bybit.faults.clear()
    assert (outcome.status, outcome.inserted) == ("failed", 0)
    assert outcome.error == "the venue has no file of this day"
    # Three holes, of which nobody knows how much they hold.
    assert (outcome.trades, outcome.missing, outcome.expected) == (200, 3, 203)
    job = BackfillJob.objects.get()
    assert (job.trades, job.missing, job.expected) == (200, 3, 203)
    assert BackfillChunk.objects.get().status == "absent"
    assert not absences.coverage(held_by("bybit").id)
    assert run(bybit).status == "completed"
    assert as_told(stored("bybit")) == as_told(truth)


@pytest.mark.slow
def test_a_file_of_ones_own_fills_holes_too(run, bybit, writer, tmp_path):
    truth = traded(bybit, *DAY)
    day = time.strftime("%Y-%m-%d", time.gmtime(DAY[0] // 1_000_000))
    path = tmp_path / f"{BTC}{day}.csv.gz"
    path.write_bytes(requests.get(f"{bybit.rest_url}/trading/{BTC}/{path.name}").content)
    hold(writer, bybit, "bybit", truth[1000:1500])
    outcome = run(bybit, via="file", path=str(path))
    assert as_told(stored("bybit")) == as_told(truth)
    # Whether the file begins and ends with the day nobody said: a hole at either end.
    assert (outcome.status, outcome.missing) == ("failed", 2)
    assert proof("bybit")["certificate"]["sources"]["file"] == len(truth) - 500


@pytest.fixture
def early_file(bybit, monkeypatch) -> None:
    """Let the venue's file be one that ends at noon."""
    whole = ArchiveHost.save

    def save(self, path: str, target: Path) -> str | None:
        whole(self, path, target)
        lines = gzip.decompress(target.read_bytes()).splitlines(keepends=True)
        target.write_bytes(gzip.compress(b"".join(lines[: len(lines) // 2])))
        return hashlib.sha256(target.read_bytes()).hexdigest()

    monkeypatch.setattr(ArchiveHost, "save", save)


def test_a_file_that_ends_before_what_is_held_leaves_the_hole_open(run, bybit, writer, early_file):
    truth = traded(bybit, *DAY)
    hold(writer, bybit, "bybit", truth[3000:3200], truth[3600:3800])
    outcome = run(bybit, via="archive")
    assert outcome.status == "failed"
    # Half the lines, one of which is the header.
    assert outcome.inserted == len(truth) // 2 - 1
    assert outcome.missing == 3
    assert not absences.coverage(held_by("bybit").id)


def test_hours_that_are_held_say_nothing_of_a_hole_at_another_time(run, bybit, writer):
    truth = traded(bybit, *DAY)
    ten, noon, one, two = (DAY[0] + hour * HOUR_US for hour in (10, 12, 13, 14))
    hold(writer, bybit, "bybit", traded(bybit, DAY[0], one), traded(bybit, two, DAY[1]))
    assert run(bybit, via="archive", span=(ten, noon)).inserted == 0
    assert not absences.coverage(held_by("bybit").id)
    assert run(bybit).inserted == len(traded(bybit, one, two))
    assert as_told(stored("bybit")) == as_told(truth)


def test_one_hole_that_cannot_be_filled_keeps_no_other_open(run, bybit, writer):
    """The feed left a trade out, then 30 numbers around it were dropped: the file has one more."""
    truth = traded(bybit, *DAY)
    instrument = remembered(bybit, "bybit")
    first, _ = numbered(Trades.concat([truth[:100], truth[101:3000]]), -1)
    later, _ = begun(truth[4000:], int(first.id[-1]))
    for part in (first[:90], first[120:], later):
        writer.put_trades(instrument.id, Batch(part, "live"))
    assert writer.flush(10)
    outcome = run(bybit)
    assert (outcome.status, outcome.missing, outcome.inserted) == ("failed", 1, 1000)
    chunk = BackfillChunk.objects.get()
    assert "at most 30 trades expected" in chunk.error


def test_today_waits_for_its_file(run, bybit, writer):
    held = traded(bybit, TODAY_US, TODAY_US + HOUR_US)
    hold(writer, bybit, "bybit", held[10:20], held[25:30])
    outcome = run(bybit, span=(TODAY_US, NOW_US))
    assert (outcome.status, outcome.inserted, outcome.chunks) == ("failed", 0, 0)
    assert (outcome.trades, outcome.missing) == (15, 3)
    assert "file" in outcome.error
    assert "12 h" in outcome.error


# Deriv: pages of a time.


def test_pages_of_a_time_fill_a_day(run, deriv):
    outcome = run(deriv)
    assert (outcome.status, outcome.missing, outcome.error) == ("completed", 0, "")
    assert outcome.trades == outcome.inserted == 43_200
    assert outcome.vwap is None
    truth, found = traded(deriv, *DAY), stored("deriv")
    assert (found.ts_us.tolist(), found.price.tolist()) == (
        truth.ts_us.tolist(),
        truth.price.tolist(),
    )
    assert int(found.id[0]) == number_at(DAY[0])
    answer = proof("deriv")
    assert (answer["expected"], answer["held"], answer["missing"]) == (43_200, 43_200, 0)
    assert run(deriv).chunks == 0


class Lane:
    """What a live feed holds of today, on its way into the store or there."""

    def __init__(self, writer: Writer, instrument: Instrument) -> None:
        self.writer, self.instrument = writer, instrument
        self.early: list[Trades] = []
        self.inlet = Inlet(writer, holds=self.holds, deliver=self.deliver, drain=self.drain)

    def holds(self, source: str, symbol: str, day_us: int) -> bool:
        return day_us == TODAY_US

    def deliver(self, source: str, symbol: str, batch: Batch) -> None:
        self.writer.put_trades(self.instrument.id, batch)

    def drain(self) -> None:
        while self.early:
            self.writer.put_trades(self.instrument.id, Batch(self.early.pop(0), "live"))


def sided(venue: Simulator, start_us: int, end_us: int) -> Trades:
    """Return ticks with sides as a feed estimates them that listens since the day began."""
    whole = traded(venue, open_us(start_us, DAY_US), end_us)
    whole = replace(whole, is_buy=tick_rule(whole.price))
    return whole[whole.ts_us >= start_us]


def lane_of(writer: Writer, deriv: Simulator, *parts: Trades) -> Lane:
    lane, last = Lane(writer, remembered(deriv, "deriv")), -1
    for part in parts:
        refs = np.array([b"%d" % (ts_us // 1_000_000) for ts_us in part.ts_us.tolist()])
        numbered, _ = begun(replace(part, ref=refs), last)
        last = int(numbered.id[-1])
        lane.early.append(numbered)
    return lane


def test_today_so_far_ends_with_what_the_feed_holds(run, deriv, writer):
    # The feed's ticks are on their way into the store when the job begins.
    now_us = TODAY_US + 3 * HOUR_US
    held = (
        sided(deriv, TODAY_US + HOUR_US, TODAY_US + HOUR_US + 600_000_000),
        sided(deriv, now_us - 600_000_000, now_us - 5_000_000),
    )
    lane = lane_of(writer, deriv, *held)
    outcome = run(deriv, span=(TODAY_US, now_us), inlet=lane.inlet, now_us=now_us)
    assert (outcome.status, outcome.missing) == ("completed", 0)
    truth, found = sided(deriv, TODAY_US, now_us - 5_000_000), stored("deriv")
    assert found.ts_us.tolist() == truth.ts_us.tolist()
    # Estimates go on over the edges of what is filled.
    assert found.is_buy.tolist() == truth.is_buy.tolist()
    # What the feed brings next is no hole, and none of its numbers is said to be absent.
    assert max(absences.coverage(lane.instrument.id).last or 0, 0) < int(found.id[-1])


def test_of_today_nothing_is_fetched_that_the_feed_is_about_to_bring(run, deriv, writer):
    now_us = TODAY_US + 3 * HOUR_US
    lane = lane_of(writer, deriv)
    outcome = run(deriv, span=(TODAY_US, now_us), inlet=lane.inlet, now_us=now_us)
    assert (outcome.status, outcome.inserted) == ("completed", 0)
    assert not absences.coverage(lane.instrument.id)
    # Nor of the last hour, all of which is a stretch that goes on.
    lane.early = lane_of(writer, deriv, traded(deriv, TODAY_US, now_us - 5_000_000)).early
    span = (now_us - HOUR_US, now_us)
    outcome = run(deriv, span=span, inlet=lane.inlet, now_us=now_us)
    assert (outcome.status, outcome.inserted) == ("completed", 0)
    assert len(stored("deriv")) == len(traded(deriv, TODAY_US, now_us - 5_000_000))


@pytest.mark.slow
def test_today_without_a_feed_is_fetched_up_to_now(run, deriv):
    now_us = TODAY_US + 2 * HOUR_US
    first = run(deriv, span=(TODAY_US, now_us - HOUR_US), now_us=now_us - HOUR_US)
    assert first.status == "completed"
    outcome = run(deriv, span=(TODAY_US, now_us), now_us=now_us)
    assert (outcome.status, outcome.missing, outcome.trades) == ("completed", 0, 3_600)
    assert stored("deriv").ts_us.tolist() == traded(deriv, TODAY_US, now_us).ts_us.tolist()


@pytest.mark.slow
def test_a_hole_around_the_end_of_a_range_is_filled_up_to_it(run, deriv, writer):
    now_us = TODAY_US + 4 * HOUR_US
    held = (
        traded(deriv, TODAY_US, TODAY_US + HOUR_US),
        traded(deriv, TODAY_US + 3 * HOUR_US, now_us),
    )
    lane = lane_of(writer, deriv, *held)
    span = (TODAY_US, TODAY_US + 2 * HOUR_US)
    outcome = run(deriv, span=span, inlet=lane.inlet, now_us=now_us)
    assert (outcome.status, outcome.missing, outcome.inserted) == ("completed", 0, 1_800)
    span = (TODAY_US, TODAY_US + 4 * HOUR_US)
    assert run(deriv, span=span, inlet=lane.inlet, now_us=now_us).inserted == 1_800
    assert stored("deriv").ts_us.tolist() == traded(deriv, TODAY_US, now_us).ts_us.tolist()
