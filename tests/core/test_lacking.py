"""How many trades are missing, counted by hand."""

from decimal import Decimal

import pytest

from marketdata.core.instrument import Grid, Instrument
from marketdata.core.lacking import lacking, within

GRID = Grid(Decimal("0.01"), Decimal(1))


def of(source, **more):
    return Instrument(source, "X", GRID, id=1, **more)


NUMBERED = of("binance_ws")
COUNTED = of("deriv", is_numbered=False, cadence_us=2_000_000)
LOOSE = of("bybit", is_numbered=False)
HOLES = ((5, 6), (9, 9))


@pytest.mark.parametrize(
    ("instrument", "ranges", "held", "ends", "times", "left_out", "expected"),
    [
        # The venue's ids: 5, 6 and 9.
        (NUMBERED, HOLES, 9, (1, 12), (0, 60), 0, 3),
        # Numbers of ours: two holes, of one trade at least each.
        (LOOSE, HOLES, 9, (1, 12), (0, 60), 0, 2),
        # And what the feed left out besides.
        (LOOSE, HOLES, 9, (1, 12), (0, 60), 7, 9),
        (LOOSE, (), 9, (1, 12), (0, 60), 7, 7),
        # A tick each 2 s: 0, 2, 4, 6, 8 and 10 s; four are held. What the feed left out is among
        # the two that are not.
        (COUNTED, ((5, 6),), 4, (1, 12), (0, 10_000_000), 0, 2),
        (COUNTED, ((5, 6),), 4, (1, 12), (0, 10_000_000), 2, 2),
        # Where nothing is held, a hole is all that is known.
        (COUNTED, ((5, 6),), 0, None, None, 0, 1),
    ],
)
def test_ids_count_then_a_cadence_then_holes_alone(
    instrument, ranges, held, ends, times, left_out, expected
):
    assert lacking(instrument, ranges, held, ends, times, 0, left_out) == expected


def test_ticks_are_due_from_the_windows_beginning_where_a_hole_lies_before_the_first():
    # Held are those of 10, 12 and 14 s; the window begins at 4 s.
    given = (3, (8, 10), (10_000_000, 14_000_000), 4_000_000)
    assert lacking(COUNTED, ((1, 7),), *given) == 3
    assert lacking(COUNTED, (), *given) == 0


def test_a_window_counts_the_times_in_it():
    times = (0, 5, 5, 9)
    assert [within(times, *window) for window in ((0, 10), (0, 9), (5, 6), (6, 9), (9, 5))] == [
        4, 3, 2, 0, 0,
    ]  # fmt: skip
    assert within((), 0, 10) == 0
