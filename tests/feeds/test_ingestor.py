"""The ingestor's own judgement of what a venue sends."""

from __future__ import annotations

from marketdata.core.trades import Trades
from marketdata.feeds.ingestor import plausible

NOW_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000


def at(*hours: float) -> Trades:
    count = len(hours)
    times = [NOW_US + int(hour * HOUR_US) for hour in hours]
    return Trades.of(range(1, count + 1), times, [1.0] * count, [1.0] * count, [True] * count)


def test_clocks_may_differ_by_hours_and_history_may_be_old():
    trades, errors = plausible(at(-10_000, 0, 23.9), NOW_US)
    assert len(trades) == 3
    assert errors == []


def test_a_trade_of_the_far_future_is_refused_alone():
    trades, errors = plausible(at(0, 25, 1), NOW_US)
    assert trades.id.tolist() == [1, 3]
    assert [error.reason for error in errors] == ["time"]
    assert "trade 2" in errors[0].detail
