"""The feed is cut: the hole is known, refilled, certified and recorded."""

import time

import pytest

from marketdata.simulator.server import Simulator
from tests.daemon.outage import FIRST_ID, Happening, drill, trades_from, wall_us
from tests.daemon.process import manage, running, until


def is_near_midnight(seconds: float) -> bool:
    return time.time() % 86_400 > 86_400 - seconds


@pytest.mark.slow
@pytest.mark.parametrize(("outage_s", "rate"), [(3.0, 200.0)])
def test_an_outage_is_refilled_certified_and_recorded(tmp_path, outage_s, rate):
    if is_near_midnight(90):
        pytest.skip("the day ends while this runs")
    told = drill(tmp_path, outage_s, rate, before_s=2.0)
    # The venue was away for so long, and a connection takes some more.
    assert told.hole >= 0.9 * outage_s * rate
    assert told.known_s < 5
    assert told.refilled_s < 15
    proof = told.certificate
    assert (proof["missing"], proof["edges"], proof["disagreements"]) == (0, "venue", [])
    assert proof["certificate"]["sources"]["rest"] >= told.hole
    assert proof["certificate"]["sha256"] == told.truth_sha256
    assert told.restatements >= 1
    assert "refill" in told.causes


@pytest.mark.slow
def test_ids_the_venue_does_not_have_are_told_apart_and_remembered(tmp_path):
    if is_near_midnight(90):
        pytest.skip("the day ends while this runs")
    trades = trades_from(wall_us(), 100.0, 120)
    gone = [FIRST_ID + 300, FIRST_ID + 304]
    trades = trades[(trades.id < gone[0]) | (trades.id > gone[1])]
    with Simulator([Happening("BTCUSDT", trades)]) as venue:
        settings = {"BINANCE_REST_URL": venue.rest_url, "BINANCE_WS_URL": venue.ws_url}
        for _ in range(2):
            with running(tmp_path, **settings) as daemon:
                until(lambda: coverage_of(daemon)["exchange_side"] == [gone], "told apart")
                until(lambda: daemon.get("/ready")["metrics_precision"] == "exact", "exact")
                assert coverage_of(daemon)["missing"] == 0
                until(lambda: daemon.get("/api/metrics")["queue_sizes"]["writer"] == 0, "written")
                daemon.kill()
    day = time.strftime("%Y-%m-%d", time.gmtime())
    proof = manage(tmp_path, "verify", "--symbol", "BTCUSDT", "--date", day, "--json")
    assert (proof["missing"], proof["exchange_side"]) == (0, [gone])
    assert proof["reasons"][0]["reason"] == "the venue does not have them"


def coverage_of(daemon):
    found = daemon.get("/api/context?rows=1")
    return found.get("coverage", {"exchange_side": [], "missing": -1})
