"""Numbers worked by hand from small books; order flow after the definition's own vector."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.orderbook import BookView
from marketdata.metrics import liquidity
from marketdata.metrics.liquidity import Liquidity, OrderFlow

SECOND_US = 1_000_000
BIDS = ((100.0, 5.0), (99.5, 3.0), (99.0, 2.0))
ASKS = ((101.0, 4.0), (101.5, 1.0), (103.0, 5.0))


def view(bids=BIDS, asks=ASKS):
    return BookView(bids, asks, 7, 0, known=3)


def best(bid, bid_qty, ask, ask_qty):
    return (float(bid), float(bid_qty)), (float(ask), float(ask_qty))


def test_every_metric_of_a_small_book():
    assert liquidity.measured(view(), 2) == Liquidity(
        spread=1.0,
        mid=100.5,
        # (101 · 5 + 100 · 4) / 9
        microprice=pytest.approx(905 / 9),
        # (8 − 5) / 13
        imbalance=pytest.approx(3 / 13),
        bid_depth=8.0,
        ask_depth=5.0,
        levels=2,
    )


def test_an_empty_side_leaves_unknown_what_needs_both():
    assert liquidity.measured(view(asks=()), 10) == Liquidity(None, None, None, 1.0, 10.0, 0.0, 10)
    assert liquidity.measured(view(bids=()), 1).imbalance == -1.0
    assert liquidity.measured(view((), ()), 5) == Liquidity(None, None, None, None, 0.0, 0.0, 5)
    assert liquidity.top(view(bids=())) is None


@pytest.mark.parametrize(
    ("bid", "ask", "expected"),
    [
        (61837.63, 61837.64, 0.01),
        (28145.1, 28145.2, 0.1),
        (0.00000637, 0.00000638, 0.00000001),
        (0.000000012345, 0.000000012346, 0.000000000001),
        (101.0, 100.0, -1.0),
        (9.99, 10.0, 0.01),
        (5.0, 5.0, 0.0),
    ],
)
def test_a_spread_has_the_digits_of_its_prices(bid, ask, expected):
    assert liquidity.spread(best(bid, 1, ask, 1)) == expected


def test_sums_have_no_digits_that_nobody_told():
    assert liquidity.depth(((3.0, 0.1), (2.0, 0.2), (1.0, 7.0)), 2) == 0.3
    assert liquidity.mid(best(98586.86, 1, 98586.87, 1)) == 98586.865
    flow = OrderFlow()
    for size in (0.1, 0.2, 0.5, 0.8):
        flow.update(best(100, size, 101, 4), 0)
    assert flow.value(0) == 0.7


@pytest.mark.parametrize(
    ("bid_qty", "ask_qty", "expected"), [(1, 1, 100.5), (3, 1, 100.75), (1, 3, 100.25)]
)
def test_a_microprice_leans_to_the_side_that_is_about_to_give_way(bid_qty, ask_qty, expected):
    assert liquidity.microprice(best(100, bid_qty, 101, ask_qty)) == expected


BEFORE = best(100, 5, 101, 4)
FLOWS = [
    # Bids grew by three, asks shrank by one: the definition's vector.
    (best(100, 8, 101, 3), 4.0),
    (BEFORE, 0.0),
    # A better bid counts whole; so does one that went away.
    (best(100.5, 2, 101, 4), 2.0),
    (best(99.5, 7, 101, 4), -5.0),
    # A better ask counts against, an ask that went away for.
    (best(100, 5, 100.5, 6), -6.0),
    (best(100, 5, 101.5, 9), 4.0),
    # Both sides up: the new bid and the ask that was taken.
    (best(101, 1, 102, 2), 5.0),
]


@pytest.mark.parametrize(("after", "expected"), FLOWS)
def test_order_flow_between_two_states(after, expected):
    assert liquidity.flow(BEFORE, after) == expected


QTY = st.integers(1, 50)
TOPS = st.builds(
    lambda bid, gap, bid_qty, ask_qty: best(bid, bid_qty, bid + gap, ask_qty),
    st.integers(1, 9),
    st.integers(1, 3),
    QTY,
    QTY,
)


def mirrored(top):
    """Return the state with buyers and sellers changed over."""
    (bid, bid_qty), (ask, ask_qty) = top
    return best(20 - ask, ask_qty, 20 - bid, bid_qty)


@given(before=TOPS, after=TOPS)
def test_buyers_and_sellers_changed_over_turn_the_sign(before, after):
    assert liquidity.flow(mirrored(before), mirrored(after)) == -liquidity.flow(before, after)


@given(sizes=st.lists(st.tuples(QTY, QTY), min_size=2, max_size=20))
def test_at_standing_prices_flows_add_up_to_the_change_of_sizes(sizes):
    flow = OrderFlow()
    for number, (bid_qty, ask_qty) in enumerate(sizes):
        flow.update(best(100, bid_qty, 101, ask_qty), number * 1000)
    (first_bid, first_ask), (last_bid, last_ask) = sizes[0], sizes[-1]
    assert flow.value(0) == (last_bid - first_bid) - (last_ask - first_ask)


@given(steps=st.lists(st.tuples(TOPS, st.integers(0, 2 * SECOND_US)), max_size=30))
def test_the_window_is_the_sum_over_its_seconds(steps):
    flow, now_us, came, before = OrderFlow(window_s=3), 0, [], None
    for top, wait_us in steps:
        now_us += wait_us
        flow.update(top, now_us)
        if before is not None:
            came.append((now_us // SECOND_US, liquidity.flow(before, top)))
        before = top
    expected = [one for second, one in came if second > now_us // SECOND_US - 3]
    assert flow.value(now_us) == (math.fsum(expected) if came else None)


def test_flow_is_unknown_until_there_are_two_states():
    flow = OrderFlow()
    assert flow.value(0) is None
    flow.update(BEFORE, 0)
    assert flow.value(0) is None
    flow.update(BEFORE, 0)
    assert flow.value(0) == 0.0
    flow.update(best(100, 8, 101, 3), 0)
    assert flow.value(59 * SECOND_US) == 4.0
    assert flow.value(60 * SECOND_US) == 0.0


def test_nothing_follows_from_a_book_with_an_empty_side():
    flow = OrderFlow()
    flow.update(BEFORE, 0)
    flow.update(None, 0)
    flow.update(best(100, 50, 101, 4), 0)
    assert flow.value(0) is None
    flow.update(best(100, 51, 101, 4), 0)
    assert flow.value(0) == 1.0
    flow.reset()
    assert flow.value(0) is None
    flow.update(best(100, 99, 101, 4), 0)
    assert flow.value(0) is None
