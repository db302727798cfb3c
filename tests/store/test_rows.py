import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata.core.trades import Trades
from marketdata.store import rows
from tests.core.invented import MONDAY
from tests.store.stored import new_instrument, run_of, store

pytestmark = pytest.mark.django_db


def joined(pages):
    return Trades.concat(pages)


def same(left, right):
    names = ("id", "ts_us", "price", "qty", "is_buy")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


@st.composite
def tapes(draw):
    """Trades in runs with holes, times that go astray by up to 30 ids, and where they came from."""
    jumps = draw(st.lists(st.sampled_from([1] * 6 + [2, 9]), min_size=1, max_size=60))
    ids = np.cumsum(jumps) + 100
    astray = draw(st.lists(st.integers(-30, 30), min_size=len(ids), max_size=len(ids)))
    ts_us = MONDAY + (ids + np.array(astray)) * 1000
    split = draw(st.integers(0, len(ids)))
    trades = Trades.of(ids, ts_us, ids * 0.25, ids * 0.5, ids % 2 == 0)
    return trades, split


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tapes(), st.integers(60, 400), st.integers(0, 200), st.sampled_from([1, 7, 20_000]))
def test_times_are_read_exactly_whatever_the_disorder(given_tape, start, length, size):
    trades, split = given_tape
    instrument_id = new_instrument()
    for part, origin in ((trades[split:], "live"), (trades[:split], "rest")):
        if len(part):
            store(instrument_id, part, origin)
    start_us, end_us = MONDAY + start * 1000, MONDAY + (start + length) * 1000
    pages = list(rows.read_trades(instrument_id, start_us, end_us, size))
    inside = (trades.ts_us >= start_us) & (trades.ts_us < end_us)
    assert same(joined(pages), trades[inside])
    assert all(0 < len(page) <= size for page in pages)


def test_a_late_trade_far_inside_a_long_segment_is_found():
    instrument_id = new_instrument()
    trades = run_of(0, 9000)
    times = trades.ts_us.copy()
    # 1,500 ids after its time, less than what is read around an edge.
    times[5500] = times[4000]
    late = Trades.of(trades.id, times, trades.price, trades.qty, trades.is_buy)
    store(instrument_id, late)
    found = joined(rows.read_trades(instrument_id, MONDAY, MONDAY + 4_001_000))
    assert found.id.tolist() == [*range(4001), 5500]


def test_instruments_are_read_apart():
    first, second = new_instrument(), new_instrument()
    store(first, run_of(0, 10))
    store(second, run_of(5, 10))
    assert joined(rows.read_ids(first, 0, 1 << 50)).id.tolist() == list(range(10))
    assert joined(rows.read_ids(second, 0, 7)).id.tolist() == [5, 6, 7]
    assert rows.latest(first, 3).id.tolist() == [7, 8, 9]
    assert rows.latest(second, 100).id.tolist() == list(range(5, 15))


def test_pages_follow_each_other():
    instrument_id = new_instrument()
    store(instrument_id, run_of(0, 25)[::2])
    pages, after = [], 3
    while len(page := rows.latest(instrument_id, 4, after)):
        pages.append(page.id.tolist())
        after = int(page.id[-1])
    assert pages == [[4, 6, 8, 10], [12, 14, 16, 18], [20, 22, 24]]
    assert [len(page) for page in rows.read_ids(instrument_id, 0, 24, 6)] == [6, 6, 1]


def test_nothing_stored_is_nothing_read():
    instrument_id = new_instrument()
    assert list(rows.read_trades(instrument_id, 0, 1 << 60)) == []
    assert len(rows.latest(instrument_id, 5)) == len(rows.latest(instrument_id, 5, 0)) == 0


def test_what_comes_back_is_bit_for_bit_what_went_in():
    instrument_id = new_instrument()
    trades = Trades.of(
        [1, 2, 3], [MONDAY, MONDAY + 1, MONDAY + 2], [0.1 + 0.2, 5e-324, 123456789.12345679],
        [1e-12, 1 / 3, 2**53 + 2.0], [True, False, True],
    )  # fmt: skip
    store(instrument_id, trades)
    assert same(rows.latest(instrument_id, 3), trades)
