import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata.core.events import ORIGINS
from marketdata.core.trades import Trades
from marketdata.models import ID_BITS, CoverageSegment, Trade
from marketdata.store import ledger
from marketdata.store.ledger import Hole
from marketdata.store.writer import insert_trades
from tests.core.invented import MONDAY
from tests.store.stored import new_instrument, run_of, segments, store

pytestmark = pytest.mark.django_db


@st.composite
def claims(draw):
    """What is handed in one after the other: (ids, origin), often overlapping and with holes."""
    found = []
    for _ in range(draw(st.integers(1, 8))):
        first = draw(st.integers(0, 40))
        jumps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 4]), min_size=1, max_size=15))
        ids = first + np.cumsum([0, *jumps])
        found.append((ids, draw(st.sampled_from(ORIGINS))))
    return found


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(claims())
def test_any_sequence_is_told_exactly(handed_in):
    instrument_id = new_instrument()
    owner: dict[int, str] = {}
    for number, (ids, origin) in enumerate(handed_in):
        # Later tellings of an id carry other times: the first one counts.
        times = MONDAY + ids * 1000 + (ids * 7919 % 13) * 300 + number
        store(instrument_id, Trades.of(ids, times, ids + 1, ids + 1, ids > 0), origin)
        for id in ids.tolist():
            owner.setdefault(id, origin)
        assert ledger.audit(instrument_id) == []
    assert segments(instrument_id) == naive(owner)
    assert ledger.coverage(instrument_id).held == len(owner)
    assert ledger.origins(instrument_id, 0, 1000) == {
        origin: sum(value == origin for value in owner.values()) for origin in owner.values()
    }


def naive(owner):
    """Longest runs of neighbours from one origin."""
    found = []
    for id in sorted(owner):
        if found and found[-1][1] == id - 1 and found[-1][2] == owner[id]:
            found[-1] = (found[-1][0], id, owner[id])
        else:
            found.append((id, id, owner[id]))
    return found


@pytest.mark.parametrize(
    ("held", "new", "expected"),
    [
        ([(5, 9, "live")], (10, 12, "live"), [(5, 12, "live")]),
        ([(5, 9, "live")], (1, 4, "live"), [(1, 9, "live")]),
        ([(5, 9, "live")], (10, 12, "rest"), [(5, 9, "live"), (10, 12, "rest")]),
        ([(5, 9, "live")], (6, 8, "rest"), [(5, 9, "live")]),
        ([(5, 9, "live")], (3, 11, "rest"), [(3, 4, "rest"), (5, 9, "live"), (10, 11, "rest")]),
        ([(5, 9, "live"), (12, 20, "live")], (10, 11, "live"), [(5, 20, "live")]),
        (
            [(5, 9, "live"), (12, 20, "live")],
            (10, 11, "rest"),
            [(5, 9, "live"), (10, 11, "rest"), (12, 20, "live")],
        ),
        ([(5, 9, "live"), (12, 20, "rest")], (8, 14, "rest"), [(5, 9, "live"), (10, 20, "rest")]),
        ([(5, 9, "live")], (11, 12, "live"), [(5, 9, "live"), (11, 12, "live")]),
    ],
)
def test_runs_join_their_own_kind_only(held, new, expected):
    instrument_id = new_instrument()
    for first, last, origin in [*held, new]:
        store(instrument_id, run_of(first, last - first + 1), origin)
    assert segments(instrument_id) == expected
    assert ledger.audit(instrument_id) == []


def test_a_batch_full_of_holes_costs_as_many_questions_as_one_without():
    instrument_id = new_instrument()
    store(instrument_id, run_of(0, 10))
    sieve = run_of(10, 2000)[::2]
    with CaptureQueriesContext(
        connection,
    ) as captured:
        ledger.claim(instrument_id, sieve, "live")
    reads = [query for query in captured.captured_queries if query["sql"].startswith("SELECT")]
    # Of segments and of absences.
    assert len(reads) == 2
    # SQLite takes 999 values a statement, and a segment has six.
    assert len(captured) <= 12
    assert len(segments(instrument_id)) == 1000


def test_only_segments_in_reach_are_read():
    instrument_id = new_instrument()
    for first in range(0, 100, 10):
        store(instrument_id, run_of(first, 5))
    found = {
        (first, last): [
            (s.first_id, s.last_id) for s in ledger.segments(instrument_id, first, last)
        ]
        for first, last in [(0, 4), (5, 9), (4, 10), (14, 14), (22, 31), (95, 1000), (-5, -1)]
    }
    assert found == {
        (0, 4): [(0, 4)],
        (5, 9): [],
        (4, 10): [(0, 4), (10, 14)],
        (14, 14): [(10, 14)],
        (22, 31): [(20, 24), (30, 34)],
        (95, 1000): [],
        (-5, -1): [],
    }
    assert list(ledger.coverage(instrument_id, 2, 21)) == [(2, 4), (10, 14), (20, 21)]
    assert ledger.origins(instrument_id, 2, 21) == {"live": 10}


def test_segments_are_found_by_time():
    instrument_id = new_instrument()
    store(instrument_id, run_of(0, 10))
    store(instrument_id, run_of(20, 10))
    at = MONDAY + 9000
    assert len(ledger.segments_at(instrument_id, at, at + 1)) == 1
    assert ledger.segments_at(instrument_id, at + 1, MONDAY + 20_000) == []
    assert len(ledger.segments_at(instrument_id, at, MONDAY + 20_001)) == 2


def broken_row_gone(instrument_id):
    Trade.objects.filter(id=(instrument_id << ID_BITS) + 5).delete()


def broken_row_unclaimed(instrument_id):
    insert_trades(instrument_id, run_of(50, 1))


def broken_overlap(instrument_id):
    CoverageSegment.objects.create(
        instrument_id=instrument_id, first_id=4, last_id=6, origin="rest",
        first_ts_us=MONDAY + 4000, last_ts_us=MONDAY + 6000,
    )  # fmt: skip


def broken_times(instrument_id):
    CoverageSegment.objects.filter(instrument_id=instrument_id).update(last_ts_us=MONDAY)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (broken_row_gone, "the ledger claims 5..5, the rows do not hold it"),
        (broken_row_unclaimed, "the rows hold 50..50, the ledger does not claim it"),
        (broken_overlap, "overlaps another"),
        (broken_times, "other times"),
    ],
)
def test_the_audit_finds_every_kind_of_damage(damage, word):
    instrument_id = new_instrument()
    store(instrument_id, run_of(0, 10))
    assert ledger.audit(instrument_id) == []
    damage(instrument_id)
    assert [word in line for line in ledger.audit(instrument_id)] == [True]
    # Beside the damage all is well.
    assert ledger.audit(instrument_id, 0, 3) == []


def test_holes_tell_their_neighbours_times_and_who_came_before():
    instrument_id, other = new_instrument(), new_instrument()
    store(other, run_of(1, 50))
    store(instrument_id, run_of(10, 5), "live")
    store(instrument_id, run_of(15, 2), "rest")
    store(instrument_id, run_of(30, 2), "live")
    store(instrument_id, run_of(40, 1), "live")
    assert ledger.holes(instrument_id) == [
        Hole(17, 29, MONDAY + 16_000, MONDAY + 30_000, "rest"),
        Hole(32, 39, MONDAY + 31_000, MONDAY + 40_000, "live"),
    ]
    assert ledger.holes(other) == []
    assert ledger.holes(other + 1) == []
