from marketdata.simulator.binance_spot.weights import PATIENCE, Weights
from tests.simulator.conftest import HandClock, at_us


def weights_at(second, limit=100):
    clock = HandClock(at_us(f"2026-03-04T15:20:{second:02d}"))
    return Weights(limit, clock), clock


def test_weight_is_counted_until_the_minute_turns():
    weights, clock = weights_at(59)
    assert [weights.charge(40).status for _ in range(3)] == [200, 200, 429]
    assert weights.used == 120
    clock.now_us += 1_000_000
    assert weights.used == 0
    assert weights.charge(100).status == 200


def test_retry_after_is_the_rest_of_the_minute():
    weights, clock = weights_at(17)
    weights.charge(100)
    clock.now_us += 500_000
    verdict = weights.charge(1)
    assert (verdict.status, verdict.retry_after_s) == (429, 43)


def test_who_ignores_429_is_banned_beyond_the_minute():
    weights, clock = weights_at(0)
    weights.charge(100)
    statuses = [weights.charge(1).status for _ in range(PATIENCE + 1)]
    assert statuses == [429] * PATIENCE + [418]
    clock.now_us += 61_000_000
    verdict = weights.charge(1)
    assert (verdict.status, verdict.retry_after_s) == (418, 59)
    clock.now_us += 59_000_000
    assert weights.charge(1).status == 200
