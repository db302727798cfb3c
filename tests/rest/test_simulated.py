"""The client against the simulated venue, whose own count and word are the judge."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from marketdata.conf import Conf
from marketdata.rest.client import VenueClient
from marketdata.rest.clock import Clock
from marketdata.rest.limiter import Priority
from marketdata.rest.pool import Pool, new_limiter
from marketdata.simulator.rules import Rules
from marketdata.simulator.server import Simulator
from marketdata.venues.base import Question
from marketdata.venues.binance_spot import VENUE as BINANCE
from tests.rest.hand import MemoryBans, ScaledClock

PING = Question("/api/v3/ping")
SPEED = 40


def client(simulator, clock, **settings):
    conf = Conf(backfill_public_delay_ms=0, **settings)
    pool = Pool(conf, new_limiter(BINANCE, conf, clock), clock, MemoryBans())
    return VenueClient(BINANCE, simulator.rest_url, conf, threading.Event(), pool=pool)


def test_the_venue_is_known_to_be_simulated_and_its_limits_are_kept():
    with Simulator.generated(["BTCUSDT"], seed=7, rules=Rules(weight_per_minute=1000)) as simulator:
        ours = client(simulator, Clock())
        assert ours.listing("BTCUSDT").status == "TRADING"
        assert ours.is_simulated
        assert ours.label == simulator.label
        status = ours.status().limiter
        assert (status.venue_limit, status.full_limit) == (1000, 800)
        # The venue's header and our own count agree.
        assert status.venue_used == status.used == 20
        assert abs(ours.clock_offset_us()) < 500_000
        ours.close()


@pytest.mark.parametrize(
    "fault", ["429", "418", "500", "502", "503", "truncate", "reset"], ids=lambda name: name
)
def test_every_passing_fault_of_the_venue_is_survived(fault):
    with Simulator.generated(["BTCUSDT"], seed=7) as simulator:
        simulator.faults.set("retry_after", 1)
        ours = client(simulator, Clock(), backfill_retry_base=0.02)
        first_id = ours.first_id("aggTrade", "BTCUSDT", time.time_ns() // 1000 - 3_600_000_000)
        times = 1 if fault in {"429", "418"} else 2
        simulator.faults.set(f"http_{fault}", times)
        page = ours.page("aggTrade", "BTCUSDT", first_id)
        assert page.id[0] == first_id
        assert len(page) == 1000
        assert ours.status().retries == times
        ours.close()


@pytest.mark.slow
def test_1300_requests_in_a_minute_are_all_served_and_the_venue_refuses_none():
    """A venue that grants 1,200 a minute is offered 1,300 at once; minutes are 1.5 s here."""
    clock = ScaledClock(SPEED)
    start_s = clock.monotonic_s()

    def venue_us():
        return int((clock.monotonic_s() - start_s) * 1e6) + 1_760_000_400_000_000

    simulator = Simulator.generated(
        ["BTCUSDT"], seed=7, rules=Rules(weight_per_minute=1200), clock_us=venue_us
    )
    with simulator:
        ours = client(simulator, clock, binance_rate_limit_per_minute=1200)
        ours.listing("BTCUSDT")
        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(lambda _: ours.ask(PING, Priority.LIVE), range(1300)))
        told = [int(reply.headers["X-MBX-USED-WEIGHT-1M"]) for reply in replies]
        assert {reply.status for reply in replies} == {200}
        assert len(replies) == 1300
        assert max(told) <= 1200
        assert ours.status().limiter.refusals == 0
        assert clock.monotonic_s() - start_s > 60
        ours.close()
