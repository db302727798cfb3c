"""Trades that fill a hole: all of them, none twice, and the numbers that stay empty are named."""

from __future__ import annotations

import random

import numpy as np
import pytest

from marketdata.core.errors import BadInputError
from marketdata.core.fit import fitted, reaches
from marketdata.core.trades import Trades

US = 1_786_233_600_000_000
NONE = Trades.empty()


def rows(*places: tuple[int, float], first: int = 0) -> Trades:
    """Return trades at (millisecond, price), each of one unit bought."""
    count = len(places)
    ts_us = [US + 1000 * ms for ms, _ in places]
    return Trades.of(
        range(first, first + count),
        ts_us,
        [price for _, price in places],
        [1.0] * count,
        [True] * count,
    )


FILE = rows((0, 1), (1, 2), (1, 3), (2, 4), (5, 5), (5, 6), (5, 5), (9, 7))


def prices(trades: Trades) -> list[float]:
    return trades.price.tolist()


def test_a_day_of_which_nothing_is_held_is_taken_whole():
    found, unused = fitted(FILE, (100, 999), NONE, NONE)
    assert prices(found) == [1, 2, 3, 4, 5, 6, 5, 7]
    assert found.id.tolist() == list(range(100, 108))
    assert unused == (108, 999)


def test_between_two_pieces_comes_what_neither_holds():
    found, unused = fitted(FILE, (50, 60), rows((0, 1), (1, 2), first=48), rows((9, 7), first=61))
    assert prices(found) == [3, 4, 5, 6, 5]
    assert unused == (55, 60)


def test_equal_trades_of_one_time_are_taken_as_often_as_they_are_not_held():
    # Of three at 5 ms, two of which are alike, the later piece holds one of those and the other.
    found, _ = fitted(FILE, (50, 60), rows((2, 4)), rows((5, 6), (5, 5), (9, 7)))
    assert prices(found) == [5]


def test_both_edges_may_be_one_time():
    found, unused = fitted(FILE, (50, 50), rows((5, 5)), rows((5, 5), (9, 7)))
    assert prices(found) == [6]
    assert unused is None


def test_a_file_in_any_order_is_put_in_order():
    found, _ = fitted(FILE[::-1], (0, 99), NONE, NONE)
    assert (np.diff(found.ts_us) >= 0).all()
    assert sorted(prices(found)) == sorted(prices(FILE))


def test_more_trades_than_numbers_are_refused():
    with pytest.raises(
        BadInputError, match="at most 3 trades expected between numbers 7 and 9, seen 8"
    ):
        fitted(FILE, (7, 9), NONE, NONE)


def test_a_file_without_trades_leaves_all_numbers_unused():
    assert fitted(NONE, (7, 9), NONE, NONE)[1] == (7, 9)


@pytest.mark.parametrize("seed", range(30))
def test_any_two_pieces_and_what_is_fitted_are_the_tape(seed):
    rng = random.Random(seed)
    tape = rows(*((ms, float(rng.randint(1, 3))) for ms in sorted(rng.choices(range(12), k=40))))
    low, high = sorted(rng.sample(range(41), 2))
    before, after = tape[:low], tape[high:]
    found, _ = fitted(tape, (1000, 1999), before, after)
    assert len(found) == high - low
    whole = Trades.concat([before, found, after])
    at = sorted(zip(whole.ts_us.tolist(), prices(whole), strict=True))
    assert at == sorted(zip(tape.ts_us.tolist(), prices(tape), strict=True))


def test_an_estimated_side_tells_nothing_apart():
    held = rows((1, 2))
    ticks = rows((1, 2), (3, 4))
    other = Trades(ticks.id, ticks.ts_us, ticks.price, ticks.qty, ~ticks.is_buy)
    assert prices(fitted(other, (50, 60), held, NONE, is_sided=False)[0]) == [4]
    assert prices(fitted(other, (50, 60), held, NONE)[0]) == [2, 4]


def test_what_is_held_out_of_order_is_not_taken_again():
    # Numbered as it came: the old connection's trade of 1 ms after the new one's of 2 ms.
    before = rows((0, 1), (1, 2), (2, 4), (1, 3))
    found, _ = fitted(FILE, (50, 60), before, rows((5, 5), (5, 6), (5, 5), (9, 7)))
    assert prices(found) == []


def test_rows_reach_what_is_held_only_by_a_trade_of_it():
    assert reaches(FILE, rows((2, 4)))
    assert not reaches(FILE, rows((2, 5)))
    assert not reaches(FILE, rows((3, 4)))
    assert not reaches(NONE, rows((2, 4)))
