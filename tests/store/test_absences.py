import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata.core.coverage import Coverage
from marketdata.models import Absence
from marketdata.store import absences
from marketdata.store.absences import Kind
from tests.core.invented import MONDAY
from tests.store.stored import Immediate, new_instrument, run_of, store

pytestmark = pytest.mark.django_db
IDS = st.tuples(st.integers(0, 30), st.integers(0, 6)).map(lambda pair: (pair[0], sum(pair)))
STEPS = st.lists(st.tuples(st.sampled_from(["told", "given up", "held"]), IDS), max_size=12)


def note(instrument_id, first, last, kind=Kind.EXCHANGE_SIDE, reason="not there"):
    Immediate().put_absence(instrument_id, [(first, last)], kind, reason, MONDAY)


def rows(instrument_id):
    found = Absence.objects.filter(instrument_id=instrument_id).order_by("first_id")
    return list(found.values_list("first_id", "last_id", "kind", "reason"))


def test_ids_that_cannot_be_had_are_kept_with_the_reason(btc):
    note(btc.id, 5, 9)
    note(btc.id, 20, 29, Kind.PERMANENT, "given up after 8 attempts")
    assert rows(btc.id) == [
        (5, 9, "exchange_side", "not there"),
        (20, 29, "permanent", "given up after 8 attempts"),
    ]
    assert Absence.objects.first().found_us == MONDAY
    assert list(absences.coverage(btc.id)) == [(5, 9), (20, 29)]
    assert list(absences.coverage(btc.id, Kind.PERMANENT)) == [(20, 29)]
    assert [str(row) for row in absences.listed(btc.id, 9, 19)] == ["5..9 exchange_side"]


def test_what_turns_up_is_no_longer_absent(btc):
    note(btc.id, 5, 15)
    store(btc.id, run_of(8, 3), "archive")
    assert [row[:2] for row in rows(btc.id)] == [(5, 7), (11, 15)]
    store(btc.id, run_of(1, 7), "archive")
    store(btc.id, run_of(15, 4), "archive")
    assert [row[:2] for row in rows(btc.id)] == [(11, 14)]
    store(btc.id, run_of(11, 4), "archive")
    assert rows(btc.id) == []


def test_what_is_held_is_never_absent(btc):
    store(btc.id, run_of(10, 5))
    note(btc.id, 8, 20)
    assert [row[:2] for row in rows(btc.id)] == [(8, 9), (15, 20)]


def test_what_the_venue_says_replaces_what_was_only_given_up(btc):
    note(btc.id, 1, 10, Kind.PERMANENT, "given up")
    note(btc.id, 4, 6, Kind.EXCHANGE_SIDE, "told")
    note(btc.id, 5, 12, Kind.PERMANENT, "given up again")
    assert rows(btc.id) == [
        (1, 3, "permanent", "given up"),
        (4, 6, "exchange_side", "told"),
        (7, 10, "permanent", "given up"),
        (11, 12, "permanent", "given up again"),
    ]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_each_id_is_held_or_absent_for_one_reason_at_most(steps):
    """Against one word for each id."""
    instrument_id, oracle = new_instrument(), {}
    for what, (first, last) in steps:
        if what == "held":
            store(instrument_id, run_of(first, last - first + 1))
        else:
            kind = Kind.EXCHANGE_SIDE if what == "told" else Kind.PERMANENT
            note(instrument_id, first, last, kind)
        for id in range(first, last + 1):
            rank = ("given up", "told", "held")
            oracle[id] = max(oracle.get(id, what), what, key=rank.index)
    for kind, what in ((Kind.EXCHANGE_SIDE, "told"), (Kind.PERMANENT, "given up")):
        wanted = Coverage((id, id) for id, known in oracle.items() if known == what)
        assert absences.coverage(instrument_id, kind) == wanted
    firsts = [row[0] for row in rows(instrument_id)]
    assert len(set(firsts)) == len(firsts)
