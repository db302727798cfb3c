"""The feed is cut: the hole is known, refilled, certified and recorded."""

import time

import pytest

from tests.daemon.outage import drill


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
