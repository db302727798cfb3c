"""The accounts of the simulated venues, which check signatures by their own code."""

import threading
from decimal import Decimal

import pytest

from marketdata.accounts.signed_account import SignedAccount
from marketdata.accounts.trial import Trial
from marketdata.conf import Conf
from marketdata.rest.clock import Clock
from marketdata.rest.pool import Pool, new_limiter
from marketdata.simulator.server import Simulator
from tests.accounts.conftest import PRIVATE
from tests.rest.hand import MemoryBans

VENUES = ["binance_spot", "binance_usdm", "bybit"]


@pytest.fixture(scope="module")
def simulated():
    with Simulator.generated(["BTCUSDT"], venues=VENUES, seed=3, rate=2.0) as simulator:
        yield simulator


@pytest.fixture
def trial(simulated):
    """Try the keys of a feed's account."""
    found = []

    def make(source, **more):
        url, clock = simulated.rest_url, Clock()
        conf = Conf(**{
            "binance_rest_url": url, "binance_futures_rest_url": url, "bybit_rest_base_url": url,
            "binance_api_key": "SIMKEY", "binance_api_secret": "SIMSECRET",
            "bybit_api_key": "SIMKEY", "bybit_api_secret": "SIMSECRET", **more,
        })  # fmt: skip
        private, venue = PRIVATE[source]
        pool = Pool(conf, new_limiter(venue, conf, clock), clock, MemoryBans())
        opened = SignedAccount(source, private, venue, conf, threading.Event(), pool=pool)
        found.append(opened)
        return Trial(opened)

    yield make
    for opened in found:
        opened.close()


@pytest.mark.parametrize("source", list(PRIVATE))
def test_the_keys_of_every_simulated_venue_are_proved(trial, source):
    tried = trial(source)
    assert [(step.name, step.ok) for step in tried.steps()] == [
        (name, True) for name in ("keys", "host", "clock", "balances", "permissions")
    ]
    assert tried.account.mode == "simulated"
    totals = {row.asset: row.total for row in tried.account.balances}
    assert totals["USDT"] > Decimal(1000)
    has_positions = source != "binance_ws"
    assert len(tried.account.positions) == has_positions


@pytest.mark.parametrize(
    ("source", "setting", "code"),
    [
        ("binance_ws", "binance_api_key", "-2015"),
        ("binance_ws", "binance_api_secret", "-1022"),
        ("binance_futures", "binance_api_secret", "-1022"),
        ("bybit", "bybit_api_key", "10003"),
        ("bybit", "bybit_api_secret", "10004"),
    ],
)
def test_wrong_keys_are_refused_by_every_simulated_venue(trial, source, setting, code):
    steps = {step.name: step for step in trial(source, **{setting: "WRONG-KEY"}).steps()}
    assert steps["balances"].ok is False
    assert f"code {code}" in steps["balances"].told
    assert steps["balances"].todo
    assert steps["permissions"].ok is None
