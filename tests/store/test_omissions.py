"""Trades that feeds did not bring: each once, counted by when they were traded."""

from __future__ import annotations

import numpy as np
import pytest

from marketdata.core.trades import Trades
from marketdata.store import omissions
from tests.core.invented import DAY_US, HOUR, MONDAY
from tests.store.stored import Immediate, new_instrument

pytestmark = pytest.mark.django_db


def lost(*places):
    """Trades of (ref, hours after Monday)."""
    at = np.arange(len(places))
    times = [MONDAY + round(hours * HOUR) for _, hours in places]
    refs = np.array([ref.encode() for ref, _ in places])
    return Trades.of(at, times, at + 1.0, at + 1.0, at > 0, ref=refs)


def test_each_is_noted_once_and_only_for_its_instrument():
    one, other, writer = new_instrument(), new_instrument(), Immediate()
    writer.put_omissions(one, lost(("a", 2), ("b", 1)))
    writer.put_omissions(one, lost(("b", 1), ("c", 25)))
    writer.put_omissions(other, lost(("a", 2)))
    assert list(omissions.times(one)) == [MONDAY + round(h * HOUR) for h in (1, 2, 25)]
    assert len(omissions.times(other)) == 1
    assert omissions.newest_refs(one, 10) == [b"b", b"a", b"c"]
    assert omissions.newest_refs(one, 2) == [b"a", b"c"]


def test_a_window_counts_what_was_traded_in_it():
    one = new_instrument()
    Immediate().put_omissions(one, lost(("a", 0), ("b", 1), ("c", 1.5), ("d", 24)))
    assert omissions.count(one, MONDAY, MONDAY + DAY_US) == 3
    assert omissions.count(one, MONDAY + DAY_US, MONDAY + 2 * DAY_US) == 1
    found = omissions.by_span(one, MONDAY, MONDAY + DAY_US, HOUR)
    assert found == {MONDAY: 1, MONDAY + HOUR: 2}


def test_an_event_names_some_of_many():
    told = omissions.event(lost(*((str(n), n / 100) for n in range(50))), 7)
    assert (told.kind, told.ts_us, told.detail["trades"]) == ("left_out", 7, 50)
    assert told.detail["refs"] == [str(n) for n in range(20)]
