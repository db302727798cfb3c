import threading

import pytest

from marketdata.conf import Conf
from marketdata.rest.client import VenueClient
from marketdata.rest.pool import Pool, new_limiter
from marketdata.venues.binance_spot import VENUE as BINANCE
from tests.rest.hand import HandClock, MemoryBans
from tests.rest.server import Server


@pytest.fixture
def server():
    with Server() as server:
        yield server


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def bans():
    return MemoryBans()


@pytest.fixture
def made(server, clock, bans):
    """Make clients that share a pool, or with `restarted=True` nothing but the bans.

    The jitter stands in its middle, so that delays are 0.5, 1, 2, 4 and 8 s.
    """
    clients = []
    pools = {}

    def make(venue=BINANCE, restarted=False, clock=clock, random01=0.5, stop=None, **settings):
        conf = Conf(backfill_public_delay_ms=0, **settings)
        pool = Pool(conf, new_limiter(venue, conf, clock), clock, bans)
        pool = pool if restarted else pools.setdefault("shared", pool)
        stop = stop or threading.Event()
        client = VenueClient(venue, server.url, conf, stop, pool=pool, random01=lambda: random01)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
