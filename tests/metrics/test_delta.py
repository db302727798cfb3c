from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.path import Path
from marketdata.metrics.delta import CumulativeDelta
from tests.core.invented import steps

# Ids with holes, each with signed lots, and an order in which they arrive.
ARRIVALS = st.dictionaries(
    st.integers(1, 40), st.integers(-50, 50).filter(bool), min_size=1, max_size=30
).flatmap(lambda held: st.tuples(st.just(held), st.permutations(list(held))))


def delta(*batches):
    made = CumulativeDelta()
    for batch in batches:
        made.update(batch)
    return made


def running(held):
    """The running sum in the order of ids."""
    values, total = [], 0
    for id in sorted(held):
        total += held[id]
        values.append(total)
    return Path(total, min(values), max(values))


def test_before_the_first_trade_everything_is_zero():
    assert delta().value() == Path(0, 0, 0)
    assert delta().runs() == []


def test_extremes_are_of_values_after_a_trade_and_not_of_the_start():
    """A delta that only rose has a lowest value above zero: that after the first trade."""
    assert delta(steps((1, 100, 5), (2, 100, 3))).value() == Path(8, 5, 8)
    assert delta(steps((1, 100, -5), (2, 100, 1))).value() == Path(-4, -5, -4)


def test_a_late_trade_takes_its_place_by_id():
    made = delta(steps((1, 100, 10)), steps((3, 100, 10)))
    assert made.value() == Path(20, 10, 20)
    made.update(steps((2, 100, -25)))
    assert made.value() == Path(-5, -15, 10)
    assert made.runs() == [(1, 3)]


@given(arrivals=ARRIVALS, sizes=st.lists(st.integers(1, 7), min_size=30, max_size=30))
def test_any_order_and_any_batches_give_the_sum_in_order_of_ids(arrivals, sizes):
    held, order = arrivals
    made, seen, at = CumulativeDelta(), {}, 0
    for size in sizes:
        part = sorted(order[at : at + size])
        at += size
        if part:
            made.update(steps(*((id, 100, held[id]) for id in part)))
            seen.update((id, held[id]) for id in part)
            assert made.value() == running(seen)
    runs = [id for first, last in made.runs() for id in range(first, last + 1)]
    assert runs == sorted(held)
    assert all(a[1] + 1 < b[0] for a, b in zip(made.runs(), made.runs()[1:], strict=False))


def test_a_tape_without_holes_is_one_run():
    made = delta(*(steps((id, 100, 1)) for id in (2, 4, 3, 1, 5)))
    assert made.runs() == [(1, 5)]


def test_a_finer_grid_recounts_all():
    made = delta(steps((1, 100, 5)), steps((3, 100, -8)))
    made.scale(100)
    assert made.value() == Path(-300, -300, 500)


def test_reset_forgets_everything():
    made = delta(steps((1, 100, 5)))
    made.reset()
    assert (made.value(), made.runs()) == (Path(0, 0, 0), [])
