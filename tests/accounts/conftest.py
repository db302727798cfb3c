import threading

import pytest

from marketdata.accounts import binance, bybit
from marketdata.accounts.signed_account import SignedAccount
from marketdata.conf import Conf
from marketdata.rest.clock import Clock
from marketdata.rest.pool import Pool, new_limiter
from marketdata.venues import binance_futures, binance_spot
from marketdata.venues.bybit import BYBIT_LINEAR
from tests.accounts.venue import KEY, SECRET, Venue
from tests.rest.hand import MemoryBans

PRIVATE = {
    "binance_ws": (binance.SPOT, binance_spot.VENUE),
    "binance_futures": (binance.FUTURES, binance_futures.VENUE),
    "bybit": (bybit.UNIFIED, BYBIT_LINEAR),
}


@pytest.fixture
def venue():
    with Venue() as venue:
        yield venue


def settings(venue, **more):
    """Return settings whose every host is the venue on loopback."""
    return Conf(**{
        "binance_rest_url": venue.url, "binance_futures_rest_url": venue.url,
        "bybit_rest_base_url": venue.url, "binance_api_key": KEY, "binance_api_secret": SECRET,
        "bybit_api_key": KEY, "bybit_api_secret": SECRET, "backfill_retry_base": 0.01,
        "backfill_public_delay_ms": 0, **more,
    })  # fmt: skip


@pytest.fixture
def opened(venue):
    """Open an account by the name of its feed."""
    found = []

    def make(source="binance_ws", clock=None, **more):
        private, of = PRIVATE[source]
        conf, clock = settings(venue, **more), clock or Clock()
        pool = Pool(conf, new_limiter(of, conf, clock), clock, MemoryBans())
        made = SignedAccount(source, private, of, conf, threading.Event(), pool=pool, clock=clock)
        found.append(made)
        return made

    yield make
    for account in found:
        account.close()
