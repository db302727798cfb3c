"""Pieces of a tape become the tape again, or say that something may be missing."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from marketdata.core.coverage import runs_of
from marketdata.core.splice import Joint, Splice
from marketdata.core.trades import Trades

START_US = 1_786_233_600_000_000
PAGE = 30


def tape(count: int, seed: int = 0) -> Trades:
    """Return trades in match order, several to a millisecond now and then."""
    rng = np.random.default_rng(seed)
    ts_us = START_US + 1000 * np.cumsum(rng.integers(0, 3, count))
    refs = np.array([b"ref-%d" % n for n in range(count)])
    prices = np.arange(1, count + 1, dtype=np.float64)
    return Trades.of(np.arange(count), ts_us, prices, prices, rng.random(count) < 0.5, ref=refs)


WHOLE = tape(400)


def places(pieces: list[Trades]) -> list[int]:
    """Return which rows of the tape were handed on, in order."""
    return [int(price) - 1 for piece in pieces for price in piece.price.tolist()]


def ids(pieces: list[Trades]) -> list[int]:
    return [id for piece in pieces for id in piece.id.tolist()]


def joined(splice: Splice, live: Trades, page: Trades) -> tuple[Joint, Trades]:
    splice.opened()
    assert len(splice.live(live).trades) == 0
    joint, piece = splice.join(page)
    return joint, piece.trades


def test_the_first_page_and_what_comes_live_are_one_stretch():
    splice = Splice()
    splice.opened()
    splice.live(WHOLE[20:25])
    joint, piece = splice.join(WHOLE[0:24])
    assert joint is Joint.BEGUN
    assert piece.paged == 20
    first = piece.trades
    later = splice.live(WHOLE[25:40]).trades
    assert places([first, later]) == list(range(40))
    assert len(runs_of(np.array(ids([first, later])))) == 1


def test_a_pause_that_a_page_spans_leaves_no_hole():
    splice = Splice()
    _, before = joined(splice, WHOLE[20:50], WHOLE[0:30])
    joint, after = joined(splice, WHOLE[70:80], WHOLE[45:75])
    assert joint is Joint.PROVEN
    assert places([before, after]) == list(range(80))
    assert len(runs_of(np.array(ids([before, after])))) == 1


def test_a_pause_longer_than_a_page_is_a_hole():
    splice = Splice()
    _, before = joined(splice, WHOLE[20:50], WHOLE[0:30])
    joint, after = joined(splice, WHOLE[170:180], WHOLE[150:175])
    assert joint is Joint.BEGUN
    assert places([before, after]) == [*range(50), *range(150, 180)]
    assert len(runs_of(np.array(ids([before, after])))) == 2


def test_a_page_that_ends_before_what_came_proves_nothing_yet():
    splice = Splice()
    joined(splice, WHOLE[20:50], WHOLE[0:30])
    splice.opened()
    splice.live(WHOLE[70:80])
    joint, piece = splice.join(WHOLE[40:69])
    assert (joint, len(piece.trades)) == (Joint.AGAIN, 0)
    joint, piece = splice.join(WHOLE[45:71])
    assert joint is Joint.PROVEN
    assert places([piece.trades]) == list(range(50, 80))


def test_without_any_page_what_came_begins_a_new_stretch():
    splice = Splice()
    _, before = joined(splice, WHOLE[20:50], WHOLE[0:30])
    splice.opened()
    splice.live(WHOLE[60:70])
    piece = splice.give_up()
    assert places([piece.trades]) == list(range(60, 70))
    assert piece.trades.id[0] > before.id[-1] + 1
    assert splice.is_joined


def test_a_quiet_line_hands_on_the_page_and_waits_for_the_first_trade():
    splice = Splice()
    splice.opened()
    joint, early = splice.join(WHOLE[0:10])
    assert joint is Joint.EARLY
    assert not splice.is_joined
    # What traded between that page and the subscription came nowhere: the next page has it.
    splice.live(WHOLE[15:18])
    joint, piece = splice.join(WHOLE[5:17])
    assert joint is Joint.PROVEN
    assert places([early.trades, piece.trades]) == list(range(18))
    assert len(runs_of(np.array(ids([early.trades, piece.trades])))) == 1


def test_what_both_connections_of_a_roll_bring_comes_once():
    splice = Splice()
    _, before = joined(splice, WHOLE[20:50], WHOLE[0:30])
    splice.opened()
    splice.live(WHOLE[52:56])  # the new connection is ahead
    splice.live(WHOLE[50:54])  # of the old one
    joint, piece = splice.join(WHOLE[30:55])
    assert joint is Joint.PROVEN
    tail = splice.live(WHOLE[54:60]).trades
    assert places([before, piece.trades, tail]) == list(range(60))
    assert splice.duplicates == 2


def test_what_neither_connection_of_a_roll_brought_is_taken_from_the_page():
    splice = Splice()
    _, before = joined(splice, WHOLE[20:50], WHOLE[0:30])
    splice.opened()
    splice.live(WHOLE[50:52])  # the old connection, which ends then
    splice.live(WHOLE[60:62])  # the first that its successor brings
    joint, piece = splice.join(WHOLE[40:62])
    assert joint is Joint.PROVEN
    assert places([before, piece.trades]) == list(range(62))
    assert piece.paged == 8


def test_a_stretch_of_older_times_is_a_hole_before_the_next_trade():
    """A trade stamped ahead of its time is held; then more is lost than a page has."""
    splice = Splice()
    ts_us = WHOLE.ts_us[:50].copy()
    ts_us[-1] = WHOLE.ts_us[200]
    ahead = replace(WHOLE[:50], ts_us=ts_us)
    joined(splice, ahead[20:50], ahead[0:30])
    joint, after = joined(splice, WHOLE[170:180], WHOLE[150:175])
    assert joint is Joint.BEGUN
    assert len(after) == 0
    last = splice.last
    assert splice.live(WHOLE[250:252]).trades.id[0] > last + 1


def test_two_connections_that_wait_are_joined_by_a_page_that_spans_both():
    splice = Splice()
    _, before = joined(splice, WHOLE[20:50], WHOLE[0:30])
    splice.opened()
    splice.live(WHOLE[55:58])
    splice.opened()  # lost and made anew before any page was had
    splice.live(WHOLE[65:70])
    joint, piece = splice.join(WHOLE[45:68])
    assert joint is Joint.PROVEN
    assert places([before, piece.trades]) == list(range(70))
    assert len(runs_of(np.array(ids([before, piece.trades])))) == 1


def test_what_is_lost_between_two_connections_that_wait_is_a_hole():
    splice = Splice()
    _, before = joined(splice, WHOLE[20:50], WHOLE[0:30])
    splice.opened()
    splice.live(WHOLE[55:58])
    splice.opened()
    splice.live(WHOLE[65:70])
    joint, piece = splice.join(WHOLE[60:68])
    assert joint is Joint.BEGUN
    had = ids([before, piece.trades])
    assert places([before, piece.trades]) == [*range(50), 55, 56, 57, *range(60, 70)]
    runs = runs_of(np.array(had))
    assert [last - first + 1 for first, last in runs] == [50, 3, 10]


def test_without_a_page_each_connection_is_a_stretch_of_its_own():
    splice = Splice()
    splice.opened()
    splice.live(WHOLE[0:10])
    splice.opened()
    splice.live(WHOLE[20:30])
    piece = splice.give_up()
    assert places([piece.trades]) == [*range(10), *range(20, 30)]
    assert len(runs_of(np.array(ids([piece.trades])))) == 2
    assert splice.is_joined


def test_a_tick_that_a_cadence_misses_is_looked_for_before_it_is_handed_on():
    ticks = Trades.of(
        range(20),
        START_US + 1_000_000 * np.arange(20),
        np.arange(1, 21),
        np.ones(20),
        np.ones(20),
        ref=np.array([b"%d" % n for n in range(20)]),
    )
    splice = Splice(cadence_us=1_000_000)
    joined(splice, ticks[2:4], ticks[0:3])
    assert places([splice.live(ticks[4:6]).trades]) == [4, 5]
    # One tick is left out between two batches, and one within a batch.
    assert len(splice.live(ticks[7:8]).trades) == 0
    assert not splice.is_joined
    _, again = splice.join(ticks[2:8])
    assert places([again.trades]) == [6, 7]
    assert len(splice.live(ticks[[8, 10]]).trades) == 0
    joint, last = splice.join(ticks[5:11])
    assert (joint, places([last.trades])) == (Joint.PROVEN, [8, 9, 10])
    # What the venue itself never had is no hole.
    splice.live(ticks[15:16])
    joint, last = splice.join(ticks[[8, 9, 10, 15]])
    assert (joint, places([last.trades])) == (Joint.PROVEN, [15])
    assert len(splice.left_out(ticks[[8, 9, 10, 15]])) == 0


def test_a_restart_goes_on_where_the_store_ends():
    first = Splice()
    _, before = joined(first, WHOLE[20:50], WHOLE[0:30])
    again = Splice(int(before.id[-1]), int(before.ts_us[-1]), before.ref.tolist())
    joint, after = joined(again, WHOLE[60:70], WHOLE[40:65])
    assert joint is Joint.PROVEN
    assert after.id[0] == before.id[-1] + 1
    assert places([before, after]) == list(range(70))


def test_a_restart_without_refs_counts_nothing_twice():
    again = Splice(10**12, int(WHOLE.ts_us[49]))
    joint, after = joined(again, WHOLE[60:70], WHOLE[40:65])
    assert joint is Joint.BEGUN
    assert min(places([after])) > 49


def test_trades_that_a_live_feed_left_out_are_named():
    splice = Splice()
    joined(splice, WHOLE[20:40], WHOLE[0:30])
    splice.live(WHOLE[45:60])
    # A page may be ahead of what is on its way.
    assert len(splice.left_out(WHOLE[30:58])) == 0
    assert splice.is_in_doubt
    assert places([splice.left_out(WHOLE[30:58])]) == [40, 41, 42, 43, 44]
    # It is told once: later pages have the same trades.
    assert len(splice.left_out(WHOLE[30:60])) == 0
    assert not splice.is_in_doubt
    # What is before all that is remembered, or after it, is not the feed's fault.
    assert len(splice.left_out(WHOLE[50:70])) == 0


def test_an_empty_page_proves_nothing():
    splice = Splice()
    splice.opened()
    assert splice.join(WHOLE[0:0])[0] is Joint.EARLY
    splice.live(WHOLE[0:2])
    assert splice.join(WHOLE[0:0])[0] is Joint.AGAIN
    assert len(Splice().give_up().trades) == 0


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("marketdata.core.splice.REMEMBERED", 50)
    splice = Splice()
    joined(splice, WHOLE[20:120], WHOLE[0:30])
    assert len(splice.refs) == 50
    assert splice.refs[-1] == b"ref-119"


def test_nothing_is_forgotten_before_there_are_too_many(monkeypatch):
    monkeypatch.setattr("marketdata.core.splice.REMEMBERED", 100)
    splice = Splice()
    joined(splice, WHOLE[20:30], WHOLE[0:30])
    for row in range(30, 90):
        splice.live(WHOLE[row : row + 1])
        assert len(splice.refs) == row + 1
    assert len(splice.live(WHOLE[0:90]).trades) == 0


@pytest.mark.parametrize("seed", range(40))
def test_any_cuts_give_the_tape_or_a_hole_where_trades_are_lost(seed):
    rng = random.Random(seed)
    splice, pieces, at = Splice(), [], 0
    lost: set[int] = set()
    while at < len(WHOLE):
        splice.opened()
        begin = min(len(WHOLE), at + rng.choice([0, 0, 3, 10, 60]))
        until = min(len(WHOLE), begin + rng.randint(1, 60))
        seen = rng.randint(begin, until)
        parts = (WHOLE[start : min(start + 7, seen)] for start in range(begin, seen, 7))
        pieces.extend(splice.live(part).trades for part in parts)
        if rng.random() < 0.3 and seen > begin:
            # Lost and made anew before a page was had, with or without a loss.
            splice.opened()
            seen = min(until, seen + rng.choice([0, 1, 5, 40]))
            begin, seen = seen, rng.randint(seen, until)
            pieces.append(splice.live(WHOLE[begin:seen]).trades)
        newest = min(len(WHOLE), seen + rng.randint(0, 2))
        joint, piece = splice.join(WHOLE[max(0, newest - PAGE) : newest])
        pieces.append(piece.trades)
        if joint in (Joint.AGAIN, Joint.EARLY):
            pieces.append(splice.live(WHOLE[seen:until]).trades)
            joint, piece = splice.join(WHOLE[max(0, until - PAGE) : until])
            pieces.append(piece.trades)
        if not splice.is_joined:
            pieces.append(splice.give_up().trades)
        pieces.append(splice.live(WHOLE[min(seen, until) : until]).trades)
        at = until
    had = places(pieces)
    assert had == sorted(set(had))
    lost = set(range(len(WHOLE))) - set(had)
    numbers = dict(zip(had, ids(pieces), strict=True))
    for first, second in pairwise(had):
        is_dense = numbers[second] == numbers[first] + 1
        # A jump is stated wherever something is lost; never the other way round.
        assert not is_dense or second == first + 1
    assert lost == set(range(len(WHOLE))) - numbers.keys()
