import math

import pytest

from marketdata.core.errors import TapeError
from marketdata.core.trades import Trades
from marketdata.simulator import tape as tape_module
from marketdata.simulator.tape import RecordedMarket
from tests.simulator.conftest import DAY_US, at_us, tape

MIDNIGHT = at_us("2024-01-01T00:00:00")


@pytest.fixture
def monotonic(monkeypatch):
    """Return a list whose only number is the seconds that `time.monotonic` tells."""
    now = [100.0]
    monkeypatch.setattr(tape_module.time, "monotonic", lambda: now[0])
    return now


def test_nothing_is_public_and_no_time_passes_before_the_start(monotonic):
    market = RecordedMarket("BTCUSDT", tape(10))
    monotonic[0] += 1000
    assert len(market.due(100)) == 0
    assert (market.now_us(), market.last_id) == (MIDNIGHT, 999)


def test_trades_become_due_at_the_tapes_pace(monotonic):
    market = RecordedMarket("BTCUSDT", tape(10, step_us=1_000_000), speed=2.0)
    market.start()
    assert market.due(100).id.tolist() == [1000]
    assert market.wait_s() == pytest.approx(0.5)
    monotonic[0] += 1.25
    assert market.due(1).id.tolist() == [1001]
    assert market.due(100).id.tolist() == [1002]
    assert market.last_id == 1002
    # Half way between the third and the fourth trade; never past what was not played.
    assert market.now_us() == MIDNIGHT + 2_500_000
    monotonic[0] += 100
    assert market.now_us() == MIDNIGHT + 3_000_000
    assert market.due(100).id.tolist() == list(range(1003, 1010))
    assert market.wait_s() == math.inf


def test_at_speed_zero_everything_is_due():
    market = RecordedMarket("BTCUSDT", tape(10), speed=0)
    assert market.is_paced
    assert market.wait_s() == 0
    assert market.due(7).id.tolist() == list(range(1000, 1007))
    assert market.due(7).id.tolist() == [1007, 1008, 1009]


def test_ids_are_found_by_time_even_where_a_recorder_wrote_out_of_order():
    trades = tape(6)
    trades.ts_us[3] = MIDNIGHT + 1500
    market = RecordedMarket("BTCUSDT", trades)
    assert market.id_at(MIDNIGHT) == 1000
    assert market.id_at(MIDNIGHT + 2000) == 1002
    assert market.id_at(MIDNIGHT + 4000) == 1004
    assert market.id_at(MIDNIGHT + 99_000) == 1006


def test_missing_ids_stay_missing():
    trades = tape(10)
    market = RecordedMarket("BTCUSDT", Trades.concat([trades[:3], trades[6:]]))
    assert market.slice(1001, 1007).id.tolist() == [1001, 1002, 1006, 1007]
    assert market.after(1002, 2).id.tolist() == [1006, 1007]


def test_the_days_of_the_tape_are_archived():
    market = RecordedMarket("BTCUSDT", tape(4, step_us=DAY_US // 2))
    assert market.archived(MIDNIGHT) == (1000, 1001)
    assert market.archived(MIDNIGHT + DAY_US) == (1002, 1003)
    assert market.archived(MIDNIGHT - DAY_US) is None


def test_an_empty_tape_is_refused():
    with pytest.raises(TapeError, match="at least one trade expected"):
        RecordedMarket("BTCUSDT", Trades.empty())
