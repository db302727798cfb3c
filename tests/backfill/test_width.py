"""How many requests may be under way: halves under strain, grows back one at a time."""

from __future__ import annotations

from marketdata.backfill.width import CALM, QUICK_S, Width


def test_it_starts_at_the_most_and_is_never_below_one():
    width = Width(5)
    assert width.value == 5
    for expected in (2, 1, 1):
        width.refused()
        assert width.value == expected
    assert Width(0).value == 1


def test_it_grows_back_by_one_after_calm_answers():
    width = Width(4)
    width.refused()
    for _ in range(CALM - 1):
        width.answered(0.06)
    assert width.value == 2
    width.answered(0.06)
    assert width.value == 3
    for _ in range(5 * CALM):
        width.answered(0.06)
    assert width.value == 4


def test_a_refusal_starts_the_count_of_calm_answers_anew():
    width = Width(4)
    width.refused()
    for _ in range(CALM - 1):
        width.answered(0.06)
    width.refused()
    width.answered(0.06)
    assert width.value == 1


def test_a_slow_spell_halves_it_once():
    width = Width(8)
    for _ in range(5):
        width.answered(0.1)
    for _ in range(6):
        width.answered(2.0)
    assert width.value == 4


def test_a_line_that_stays_slower_is_no_strain_in_the_end():
    width = Width(8)
    for _ in range(5):
        width.answered(0.1)
    for _ in range(100):
        width.answered(2.0)
    assert width.value < 8
    for _ in range(30 * CALM):
        width.answered(2.0)
    assert width.value == 8


def test_a_quick_venue_may_jitter():
    width = Width(8)
    width.answered(0.001)
    for _ in range(50):
        width.answered(QUICK_S * 0.9)
    assert width.value == 8
