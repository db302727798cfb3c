"""Who leads, on series whose answer is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from marketdata.core.trades import Floats
from marketdata.metrics.lead import (
    CHANCY,
    FEW,
    STILL,
    TOGETHER,
    UNCLEAR,
    WEAK,
    Lead,
    Track,
    lead,
)

UNKNOWN = float("nan")


def walk(seed: int, seconds: int = 900) -> Floats:
    """Return a random walk of prices around 60,000."""
    steps = np.random.default_rng(seed).normal(0, 1e-4, seconds)
    return np.asarray(60_000 * np.exp(np.cumsum(steps)), dtype=np.float64)


def late(prices: Floats, seconds: int) -> Floats:
    """Return the same prices some seconds later; those from before the beginning are unknown."""
    return np.concatenate([np.full(seconds, UNKNOWN), prices[: len(prices) - seconds]])


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_a_series_leads_itself_shifted(lag: int) -> None:
    """900 prices make 899 returns, of which a shift takes as many as its seconds."""
    market = walk(1)
    found = lead(market, late(market, lag))
    assert (found.leader, found.lag_s, found.seconds) == (0, lag, 899 - lag)
    assert found.correlation == pytest.approx(1.0, abs=1e-12)
    other = lead(late(market, lag), market)
    assert (other.leader, other.lag_s, other.seconds) == (1, lag, 899 - lag)
    assert found.reason == other.reason == ""


def test_a_scale_of_its_own_changes_nothing() -> None:
    """Ten times the price, and three times every return."""
    market = walk(2)
    louder = 10 * late(market, 2) ** 3
    found = lead(market, louder)
    assert (found.leader, found.lag_s) == (0, 2)
    assert found.correlation == pytest.approx(1.0, abs=1e-12)


def test_correlation_is_that_of_numpy() -> None:
    """An independent oracle: numpy's corrcoef of the returns, two seconds apart."""
    market = walk(3)
    noisy = late(market, 2) * np.exp(np.random.default_rng(4).normal(0, 5e-5, 900))
    found = lead(market, noisy)
    x, y = np.diff(np.log(market))[:-2], np.diff(np.log(noisy))[2:]
    known = ~np.isnan(y)
    assert (found.leader, found.lag_s) == (0, 2)
    assert found.correlation == pytest.approx(np.corrcoef(x[known], y[known])[0, 1], abs=1e-12)


def test_the_same_second_has_no_leader() -> None:
    market = walk(5)
    assert lead(market, market * 1.001) == Lead(None, 0, 1.0, 899, TOGETHER)


def test_half_at_once_and_half_a_second_later_is_no_clear_order() -> None:
    """Each return is half of the market's and half of the one before: both correlate by 1 / √2."""
    market = walk(5)
    halves = np.sqrt(market * late(market, 1))
    found = lead(market, halves)
    assert found.leader is None
    assert found.reason in (UNCLEAR, TOGETHER)
    assert found.correlation == pytest.approx(2**-0.5, abs=0.03)
    # A tenth at once, the rest a second later.
    mostly = market**0.1 * late(market, 1) ** 0.9
    assert (lead(market, mostly).leader, lead(market, mostly).lag_s) == (0, 1)
    # As before, but a little more of it late than at once.
    leaning = market**0.48 * late(market, 1) ** 0.52
    assert lead(market, leaning).reason == UNCLEAR


@pytest.mark.parametrize("seed", range(10, 30, 2))
def test_noise_has_no_leader(seed: int) -> None:
    found = lead(walk(seed), walk(seed + 1))
    assert (found.leader, found.lag_s) == (None, None)
    assert found.reason in (WEAK, CHANCY)


def test_few_seconds_of_noise_are_told_from_a_finding() -> None:
    """Of a hundred pairs, chance alone gives most more than 0.1, and one of them a leader."""
    found = [lead(walk(seed, 140), walk(seed + 1, 140)) for seed in range(100, 300, 2)]
    assert sum((item.correlation or 0) > 0.1 for item in found) > 50
    assert sum(item.leader is not None for item in found) <= 3
    assert CHANCY in {item.reason for item in found}


def test_fewer_than_two_minutes_say_nothing() -> None:
    """120 prices make 119 returns."""
    market = walk(6, 120)
    assert lead(market, market) == Lead(None, None, None, 119, FEW)
    market = walk(6, 121)
    assert lead(market, market).seconds == 120
    # At lag two only 118 pairs are left: not enough to speak of it.
    assert lead(market, late(market, 2)).leader is None


def test_unknown_seconds_are_left_out() -> None:
    """A hundred prices gone take 101 returns of one, and the same of the other two seconds on."""
    market = walk(7)
    other = late(market, 2)
    market[400:500] = UNKNOWN
    found = lead(market, other)
    assert (found.leader, found.lag_s, found.seconds) == (0, 2, 897 - 101)
    assert found.correlation == pytest.approx(1.0, abs=1e-12)
    nothing = np.full(900, UNKNOWN)
    assert lead(market, nothing) == Lead(None, None, None, 0, FEW)


def test_without_movement_there_is_no_leader() -> None:
    still = np.full(900, 100.0)
    assert lead(walk(8), still) == Lead(None, None, None, 899, STILL)
    # A price that grows at one rate has returns that differ by rounding alone.
    steady = 100.0 * np.exp(1e-6 * np.arange(900))
    assert lead(steady, walk(8)).reason == STILL


def test_opposite_movements_are_no_lead() -> None:
    market = walk(9)
    assert lead(market, 1 / market).reason in (WEAK, CHANCY)


def test_a_track_keeps_the_newest_seconds() -> None:
    track = Track(4)
    for second, price in ((100, 1.0), (101, 2.0), (103, 4.0)):
        track.put(second, price)
    np.testing.assert_array_equal(track.series(103), [1.0, 2.0, UNKNOWN, 4.0])
    # What is said again, or of a second that has passed, changes nothing.
    track.put(103, 9.0)
    track.put(102, 9.0)
    np.testing.assert_array_equal(track.series(103), [1.0, 2.0, UNKNOWN, 4.0])
    track.put(104, None)
    np.testing.assert_array_equal(track.series(104), [2.0, UNKNOWN, 4.0, UNKNOWN])
    np.testing.assert_array_equal(track.series(106), [4.0] + 3 * [UNKNOWN])
    # Asked for an earlier moment, it says what it still has.
    np.testing.assert_array_equal(track.series(102), [UNKNOWN, UNKNOWN, 2.0, UNKNOWN])


def test_a_track_forgets_what_is_older_than_it_keeps() -> None:
    track = Track(3)
    track.put(10, 1.0)
    track.put(1_000_000, 2.0)
    np.testing.assert_array_equal(track.series(1_000_000), [UNKNOWN, UNKNOWN, 2.0])
    assert np.isnan(Track(3).series(5)).all()
