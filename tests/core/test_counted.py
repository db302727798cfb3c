from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given

from marketdata.core.bar import Bar, bar_of, fold
from marketdata.core.counted import count
from marketdata.core.errors import OffGridError
from marketdata.core.instrument import Grid
from marketdata.core.path import Path
from marketdata.core.timeframe import MINUTE_US, TIMEFRAMES
from tests.core.invented import GRID, MINUTE, MONDAY, counted, steps, tape, tapes


def naive_bar(rows):
    """Reduce (id, ticks, lots, is_buy) rows the slow way."""
    rows = sorted(rows)
    ticks = [row[1] for row in rows]
    return Bar(
        open=ticks[0],
        high=max(ticks),
        low=min(ticks),
        close=ticks[-1],
        lots=sum(row[2] for row in rows),
        buy_lots=sum(row[2] for row in rows if row[3]),
        notional=sum(row[1] * row[2] for row in rows),
        trades=len(rows),
        first_id=rows[0][0],
        last_id=rows[-1][0],
    )


def rows_of(batch):
    columns = (batch.id, batch.ticks, batch.lots, batch.is_buy)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def merged(bars):
    """Merge bars of one start, as a series does."""
    found = {}
    for start, bar in bars:
        if start in found:
            found[start].merge(bar)
        else:
            found[start] = bar.copy()
    return found


def test_trades_become_whole_ticks_and_lots():
    batch = counted(tape((7, MONDAY, 100.25, 0.5, True), (8, MONDAY, 99.9, 1.234, False)))
    assert len(batch) == 2
    assert rows_of(batch) == [(7, 10025, 500, True), (8, 9990, 1234, False)]
    assert rows_of(batch[batch.is_buy]) == [(7, 10025, 500, True)]


@pytest.mark.parametrize(
    ("rows", "grid"),
    [
        # Price times quantity above 2**62 steps.
        ([(1, MONDAY, 1e9, 1e9, True)], Grid(Decimal("0.001"), Decimal("0.001"))),
        # Each quantity fits, the sum of lots does not.
        ([(n, MONDAY, 1.0, 9e14, True) for n in range(20)], Grid(Decimal(1), Decimal(1))),
        # So many that whole numbers would wrap round to a small sum.
        ([(n, MONDAY, 1.0, 9e14, True) for n in range(20_497)], Grid(Decimal(1), Decimal(1))),
    ],
)
def test_numbers_too_large_to_be_summed_exactly_are_refused(rows, grid):
    with pytest.raises(OffGridError, match=r"below 2\*\*53 steps .* expected in one batch, seen"):
        count(tape(*rows), grid)


@given(trades=tapes())
def test_a_bar_is_what_a_slow_loop_finds(trades):
    batch = counted(trades)
    assert batch.bar == naive_bar(rows_of(batch))
    assert counted(trades[:1]).bar == naive_bar(rows_of(batch)[:1])


@given(trades=tapes(span_us=20 * MINUTE))
def test_bars_of_a_timeframe_are_what_a_slow_loop_finds(trades):
    batch = counted(trades)
    for length_us in (MINUTE_US, TIMEFRAMES["5m"], TIMEFRAMES["1w"]):
        rows = {}
        for row, ts_us in zip(rows_of(batch), trades.ts_us.tolist(), strict=True):
            origin = 4 * 86_400_000_000 if length_us == TIMEFRAMES["1w"] else 0
            rows.setdefault(ts_us - (ts_us - origin) % length_us, []).append(row)
        expected = {start: naive_bar(found) for start, found in rows.items()}
        assert merged(batch.bars(length_us)) == expected


@given(trades=tapes(span_us=60 * MINUTE))
def test_five_minutes_are_the_fold_of_their_minutes(trades):
    batch = counted(trades)
    folded = fold(batch.bars(MINUTE_US), TIMEFRAMES["5m"])
    assert folded == sorted(merged(batch.bars(TIMEFRAMES["5m"])).items())


@given(trades=tapes())
def test_the_histogram_holds_every_lot_at_its_tick_and_side(trades):
    batch = counted(trades)
    expected = Counter()
    for _, tick, lots, is_buy in rows_of(batch):
        expected[tick, int(is_buy)] += lots
    found = {
        (batch.bar.low + row, side): int(batch.histogram[side, row])
        for side, row in zip(*np.nonzero(batch.histogram), strict=True)
    }
    assert found == expected


def test_the_running_delta_of_a_batch_is_kept_for_each_run_of_ids():
    assert steps((1, 100, 5), (2, 100, -7), (9, 100, 1)).paths == [
        (1, 2, Path(-2, -2, 5)),
        (9, 9, Path(1, 1, 1)),
    ]


def test_merging_takes_open_and_close_by_id_whatever_comes_first():
    early, late = steps((1, 100, 5), (2, 120, -3)), steps((3, 90, 2), (4, 110, 1))
    both = naive_bar(rows_of(early) + rows_of(late))
    forward, backward = early.bar.copy(), late.bar.copy()
    forward.merge(late.bar)
    backward.merge(early.bar)
    assert forward == backward == both
    assert (both.open, both.close, both.high, both.low) == (100, 110, 120, 90)


def test_merging_takes_in_trades_from_between():
    outer, inner = steps((1, 100, 5), (9, 120, 3)).bar, steps((4, 150, -2), (5, 80, 1)).bar
    outer.merge(inner)
    assert (outer.open, outer.close, outer.high, outer.low) == (100, 120, 150, 80)
    assert (outer.first_id, outer.last_id, outer.trades) == (1, 9, 4)


def test_a_finer_grid_scales_prices_sums_and_nothing_else():
    bar = steps((1, 100, 5), (2, 120, -3)).bar
    finer = steps((1, 1000, 500), (2, 1200, -300)).bar
    assert bar.scaled(10, 100) == finer


def test_a_copy_is_independent():
    bar = steps((1, 100, 5)).bar
    twin = bar.copy()
    twin.merge(steps((2, 200, 7)).bar)
    assert bar == steps((1, 100, 5)).bar


def test_whole_sums_stay_exact_where_floats_would_round():
    rows = [(n, 2**40 + n, 2**12 + n) for n in range(1, 200)]
    batch = steps(*rows)
    assert batch.bar.notional == sum(tick * lots for _, tick, lots in rows)
    assert bar_of(batch.id, batch.ticks, batch.lots, batch.is_buy) == batch.bar


def test_folding_leaves_the_bars_it_was_given_alone():
    bars = [(0, steps((1, 100, 5)).bar), (MINUTE_US, steps((2, 110, 5)).bar)]
    folded = fold(bars, TIMEFRAMES["5m"])
    assert [start for start, _ in folded] == [0]
    assert folded[0][1].trades == 2
    assert bars[0][1].trades == 1


def test_a_batch_of_trades_is_counted_on_its_grid():
    assert count(tape((1, MONDAY, 1.0, 1.0, True)), GRID).ticks.tolist() == [100]
