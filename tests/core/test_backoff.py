import pytest

from marketdata.core.backoff import Backoff
from marketdata.core.errors import BadInputError


def delays(backoff, count, random01=0.5):
    return [backoff.next(random01) for _ in range(count)]


def test_delays_double_up_to_the_cap():
    backoff = Backoff(base_s=0.5, factor=2.0, cap_s=5.0, jitter=0.0)
    assert delays(backoff, 6) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_reset_starts_anew():
    backoff = Backoff(base_s=1.0, jitter=0.0)
    delays(backoff, 4)
    backoff.reset()
    assert backoff.attempts == 0
    assert delays(backoff, 2) == [1.0, 2.0]


@pytest.mark.parametrize(("random01", "delay_s"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_jitter_spreads_evenly_around_the_delay(random01, delay_s):
    assert Backoff(base_s=1.0, jitter=0.2).next(random01) == pytest.approx(delay_s)


def test_a_steep_factor_reaches_the_cap_and_never_overflows():
    backoff = Backoff(base_s=1.0, factor=1e10, cap_s=30.0, jitter=0.0)
    assert delays(backoff, 1000)[-1] == 30.0
    assert backoff.attempts == 1000


@pytest.mark.parametrize(
    "values",
    [
        {"base_s": 0.0},
        {"base_s": -1.0},
        {"base_s": float("nan")},
        {"base_s": 31.0, "cap_s": 30.0},
        {"factor": 0.5},
        {"jitter": -0.1},
        {"jitter": 1.0},
    ],
)
def test_values_out_of_bounds_are_refused_with_what_was_seen(values):
    with pytest.raises(BadInputError, match=r"0 < base_s <= cap_s.* expected, seen"):
        Backoff(**values)
