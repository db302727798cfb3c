import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from marketdata.core.errors import BadInputError, StoppedError
from marketdata.rest.limiter import Limiter, Priority
from tests.rest.hand import HandClock, ScaledClock, in_thread, until

NEVER = threading.Event()
LIVE, BACKFILL = Priority.LIVE, Priority.BACKFILL


def limiter(limit=100, venue_limit=6000, clock=None, **kwargs):
    return Limiter(limit, venue_limit, clock=clock or HandClock(), **kwargs)


def took(limiter, weight, priority=LIVE):
    """Acquire and answer at once, as a venue without headers would."""
    admission = limiter.acquire(weight, priority, NEVER)
    limiter.answered(admission)
    return admission


def most_in_a_minute(admissions):
    return max(
        sum(other.weight for other in admissions if end.at_s - 60 < other.at_s <= end.at_s)
        for end in admissions
    )


def test_1300_requests_in_a_minute_never_exceed_1200_and_all_are_served():
    limiter = Limiter(1200, 6000, clock=ScaledClock(200))
    offered = [LIVE if number % 3 == 0 else BACKFILL for number in range(1300)]
    with ThreadPoolExecutor(16) as threads:
        admissions = list(threads.map(lambda priority: took(limiter, 1, priority), offered))
    assert len(admissions) == 1300
    assert 1080 <= most_in_a_minute(admissions) <= 1200
    ends = sorted(admission.at_s for admission in admissions)
    assert 60 <= ends[-1] - ends[0] < 120
    assert limiter.status().waiting == 0


def test_mixed_weights_under_concurrency_never_exceed():
    limiter = Limiter(100, 6000, clock=ScaledClock(1000))
    weights = [(number * 7) % 25 + 1 for number in range(120)]
    with ThreadPoolExecutor(12) as threads:
        admissions = list(threads.map(lambda weight: took(limiter, weight), weights))
    assert sorted(admission.weight for admission in admissions) == sorted(weights)
    assert most_in_a_minute(admissions) <= 100


def test_it_waits_exactly_until_the_first_one_is_a_minute_old():
    clock = HandClock()
    busy = limiter(clock=clock)
    took(busy, 60)
    clock.now_s += 20
    took(busy, 40)
    assert took(busy, 1).at_s == pytest.approx(1060.0)
    assert took(busy, 59).at_s == pytest.approx(1060.0)


def test_backfill_leaves_a_tenth_to_live_repair():
    clock = HandClock()
    busy = limiter(clock=clock)
    took(busy, 90, BACKFILL)
    assert took(busy, 10, LIVE).at_s == 1000.0
    assert took(busy, 1, BACKFILL).at_s == pytest.approx(1060.0)


def test_a_weight_that_fits_only_an_empty_minute_is_served_to_backfill_too():
    clock = HandClock()
    busy = limiter(clock=clock)
    took(busy, 1, LIVE)
    assert took(busy, 100, BACKFILL).at_s == pytest.approx(1060.0)


def queue(limiter, order, *names_and_priorities):
    """Let requests of the whole limit wait in line, one after the other."""
    threads = []
    for name, priority in names_and_priorities:

        def run(name=name, priority=priority):
            took(limiter, 100, priority)
            order.append(name)

        waiting = limiter.status().waiting
        threads.append(in_thread(run))
        until(lambda waiting=waiting: limiter.status().waiting > waiting)
    return threads


def serve_all(clock, threads, order):
    for served in range(len(threads)):
        clock.now_s += 60
        until(lambda served=served: len(order) > served)
    for thread in threads:
        thread.join(5)


def test_live_repair_goes_before_backfill_that_came_earlier():
    clock = HandClock(is_held=True)
    busy, order = limiter(clock=clock), []
    took(busy, 100)
    threads = queue(busy, order, ("b1", BACKFILL), ("b2", BACKFILL), ("l1", LIVE), ("l2", LIVE))
    serve_all(clock, threads, order)
    # After two minutes everybody stands in line by arrival, so that nobody starves.
    assert order == ["l1", "b1", "b2", "l2"]


def test_stop_ends_a_wait_in_time():
    stop = threading.Event()
    busy = Limiter(100, 6000)
    took(busy, 100)
    ended = []

    def wait():
        with pytest.raises(StoppedError):
            busy.acquire(50, LIVE, stop)
        ended.append(True)

    thread = in_thread(wait)
    until(lambda: busy.status().waiting == 1)
    stop.set()
    thread.join(0.5)
    assert ended == [True]
    assert busy.status().waiting == 0
    assert busy.status().used == 100


def test_a_weight_beyond_the_limit_is_refused_at_once():
    with pytest.raises(BadInputError, match="at most 100 expected"):
        limiter().acquire(101, LIVE, NEVER)


def test_the_venue_s_limit_is_the_ceiling_less_a_fifth():
    assert limiter(limit=9999, venue_limit=6000).status().full_limit == 4800
    known = limiter(limit=1200)
    known.grant(1000)
    assert (known.status().full_limit, known.status().venue_limit) == (800, 1000)
    known.grant(0)
    assert known.status().venue_limit == 1000
    known.grant(6000)
    assert known.status().full_limit == 1200


def test_others_on_our_address_are_respected():
    clock = HandClock()
    shared = limiter(limit=1200, venue_limit=2400, clock=clock)
    first = shared.acquire(4, LIVE, NEVER)
    # 80 % of 2,400 is 1,920. The header counts what another program used, too.
    shared.answered(first, used=1918, second=30)
    assert shared.status().venue_used == 1918
    assert took(shared, 2).at_s == 1000.0
    assert took(shared, 1).at_s == pytest.approx(1031.0)


def test_a_refusal_halves_and_quiet_minutes_bring_back():
    clock = HandClock()
    slowed = limiter(limit=4000, clock=clock)
    for expected in (2000, 1000, 600, 600):
        slowed.refused(took(slowed, 1))
        assert slowed.status().limit == expected
        clock.now_s += 1
    assert slowed.status().refusals == 4
    assert slowed.status().recovers_in_s == pytest.approx(9 * 60 - 1)
    clock.now_s += 9 * 60
    assert slowed.status().limit == 4000
    assert slowed.status().recovers_in_s == 0


def test_a_weight_above_the_halved_limit_waits_for_recovery():
    clock = HandClock()
    slowed = limiter(limit=1200, clock=clock)
    slowed.refused(took(slowed, 1))
    # 600 of 1,200 may be used now, 720 and 840 after one and two quiet minutes.
    assert took(slowed, 800).at_s == pytest.approx(1120.0, abs=0.3)


def test_backfill_is_paced_and_live_repair_is_not():
    clock = HandClock()
    paced = limiter(clock=clock, pace_s=0.1)
    times = [took(paced, 1, BACKFILL).at_s for _ in range(3)]
    assert times == pytest.approx([1000.0, 1000.1, 1000.2])
    assert [took(paced, 1, LIVE).at_s for _ in range(2)] == pytest.approx([1000.2, 1000.2])


def test_a_refund_makes_room_at_once():
    full = limiter()
    admission = full.acquire(100, LIVE, NEVER)
    assert full.status().used == 100
    full.refund(admission)
    assert (full.status().used, full.status().venue_used) == (0, 0)
    assert took(full, 100).at_s == 1000.0


def test_reset_by_hand_returns_to_the_full_limit_and_keeps_our_own_count():
    clock = HandClock()
    known = limiter(limit=1200, venue_limit=2400, clock=clock)
    admission = known.acquire(7, LIVE, NEVER)
    known.answered(admission, used=2000, second=0)
    known.refused(admission)
    known.reset()
    status = known.status()
    assert (status.limit, status.venue_used, status.used) == (1200, 0, 7)
    assert status.rate_per_s == pytest.approx(7 / 60)
