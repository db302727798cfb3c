import numpy as np
import pytest

from marketdata.simulator.noise import Lane, normal

# SplitMix64 from seed 1234567, as published with the algorithm's reference code.
SPLITMIX = (
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
)


def test_a_lane_is_splitmix64_read_at_any_index():
    got = Lane(1234567).uniform(np.arange(1, 6))
    assert got.tolist() == [(word >> 11) * 2.0**-53 for word in SPLITMIX]


def test_reading_a_part_equals_reading_the_whole():
    lane = Lane.of(1, "BTCUSDT", "time")
    whole = lane.uniform(np.arange(1000))
    assert lane.uniform(np.array([417])).tolist() == [whole[417]]
    assert (whole >= 0).all()
    assert (whole < 1).all()
    assert whole.mean() == pytest.approx(0.5, abs=0.03)


def test_other_names_are_other_lanes():
    assert Lane.of(1, "a") == Lane.of(1, "a")
    assert len({Lane.of(1, "a"), Lane.of(2, "a"), Lane.of(1, "b")}) == 3


def test_a_smooth_curve_has_no_jumps_and_stays_within_one():
    times = np.arange(0, 10_000_000, 1000)
    curve = Lane.of("curve").smooth(times, 1_000_000)
    assert np.abs(curve).max() < 1
    # Steepest slope of the smoothstep is 1.5 per period between levels at most 2 apart.
    assert np.abs(np.diff(curve)).max() < 3.1 / 1000
    again = Lane.of("curve").smooth(times[5000:], 1_000_000)
    assert again.tolist() == curve[5000:].tolist()


def test_normal_numbers_are_standard():
    index = np.arange(20_000)
    drawn = normal(Lane.of("a").uniform(index), Lane.of("b").uniform(index))
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.std() == pytest.approx(1, abs=0.03)
