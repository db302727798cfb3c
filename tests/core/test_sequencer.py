"""The rules by which updates follow one another, line by line after the venues' own words."""

import pytest

from marketdata.core.facts import BookUpdate
from marketdata.core.sequencer import Step, futures, increasing, spot

APPLY, STALE, GAP = Step.APPLY, Step.STALE, Step.GAP


def update(first, last, prev=-1, *, is_snapshot=False):
    return BookUpdate(first, last, prev, 0, [], [], is_snapshot)


SPOT = [
    # (first, last, book's id, that is a snapshot's) and what to do
    (157, 160, 156, True, APPLY),
    (157, 160, 158, True, APPLY),
    (157, 160, 159, True, APPLY),
    (157, 160, 160, True, STALE),
    (157, 160, 161, True, STALE),
    (157, 160, 155, True, GAP),
    (157, 160, 156, False, APPLY),
    (157, 160, 155, False, GAP),
    (157, 160, 160, False, STALE),
    # It begins before the book's id and ends after it: what it adds is taken.
    (157, 160, 158, False, APPLY),
    (157, 157, 156, False, APPLY),
    (157, 157, 157, False, STALE),
]


@pytest.mark.parametrize(("first", "last", "held", "is_snapshot", "step"), SPOT)
def test_spot_counts_every_change(first, last, held, is_snapshot, step):
    assert spot(update(first, last), held, is_snapshot) is step


FUTURES = [
    # (first, last, previous, book's id, that is a snapshot's) and what to do
    (157, 160, 149, 156, True, GAP),
    (157, 160, 149, 157, True, APPLY),
    (157, 160, 149, 158, True, APPLY),
    # Unlike spot, the update that ends with the snapshot's id is taken.
    (157, 160, 149, 160, True, APPLY),
    (157, 160, 149, 161, True, STALE),
    (157, 160, 149, 149, True, APPLY),
    (157, 160, 149, 148, True, GAP),
    (157, 160, 149, 149, False, APPLY),
    # Its first id says nothing: ids are shared by all contracts.
    (150, 160, 149, 148, False, GAP),
    (157, 160, 149, 156, False, GAP),
    (157, 160, 149, 160, False, STALE),
    (157, 160, 149, 170, False, STALE),
]


@pytest.mark.parametrize(("first", "last", "prev", "held", "is_snapshot", "step"), FUTURES)
def test_futures_name_the_update_before(first, last, prev, held, is_snapshot, step):
    assert futures(update(first, last, prev), held, is_snapshot) is step


INCREASING = [
    (101, 100, True, APPLY),
    (101, 100, False, APPLY),
    (100, 100, True, STALE),
    (99, 100, False, STALE),
    (102, 100, False, GAP),
    (102, 100, True, GAP),
    # The service has started anew.
    (1, 100, False, APPLY),
    (1, 1, False, APPLY),
]


@pytest.mark.parametrize(("last", "held", "is_snapshot", "step"), INCREASING)
def test_ids_that_rise_by_one(last, held, is_snapshot, step):
    assert increasing(update(last, last), held, is_snapshot) is step


@pytest.mark.parametrize("rule", [spot, futures, increasing])
@pytest.mark.parametrize("last", [1, 50, 100, 500])
def test_a_whole_book_replaces_whatever_is_held(rule, last):
    assert rule(update(last, last, is_snapshot=True), 100, False) is APPLY
