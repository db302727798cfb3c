"""`/api/strategy/candles`: any timeframe, memory and storage joined, against a naive oracle."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from marketdata import answers
from marketdata.core.events import Batch
from marketdata.core.timeframe import TIMEFRAMES
from marketdata.core.trades import Trades
from marketdata.models import CoverageSegment
from marketdata.payload import iso
from marketdata.store import bars, instruments
from tests.api.house import BTC, DAY_US, GRID, NEW_YEAR_US, House, trades

Get = Callable[..., Any]
MONDAY_US = NEW_YEAR_US  # 2024-01-01 was one
LONGEST_US = 7 * DAY_US


def naive(all_trades: Sequence[Trades], timeframe: str) -> list[dict[str, Any]]:
    """Build candles trade by trade, in decimals."""
    length_us = TIMEFRAMES[timeframe]
    found: dict[int, dict[str, Any]] = {}
    rows = sorted(
        row
        for part in all_trades
        for row in zip(
            *(c.tolist() for c in (part.id, part.ts_us, part.price, part.qty)), strict=True
        )
    )
    bought = {
        id: is_buy
        for part in all_trades
        for id, is_buy in zip(part.id.tolist(), part.is_buy.tolist(), strict=True)
    }
    for id, ts_us, price, qty in rows:
        start = ts_us - (ts_us - MONDAY_US) % length_us
        exact, side = Decimal(str(qty)), 1 if bought[id] else -1
        bar = found.setdefault(
            start,
            {"open": price, "high": price, "low": price, "volume": Decimal(0), "trades": 0}
            | {"delta": Decimal(0), "quote": Decimal(0)},
        )
        bar["high"], bar["low"] = max(bar["high"], price), min(bar["low"], price)
        bar["close"] = price
        bar["volume"] += exact
        bar["delta"] += side * exact
        bar["quote"] += exact * Decimal(str(price))
        bar["trades"] += 1
    return [
        {
            "time": iso(start),
            "vwap": pytest.approx(float(bar["quote"] / bar["volume"]), rel=1e-12),
            "volume": float(bar.pop("volume")),
            "delta": float(bar.pop("delta")),
            **{name: value for name, value in bar.items() if name != "quote"},
        }
        for start, bar in sorted(found.items())
    ]


def same(answer: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    seen = [{name: candle[name] for name in expected[0]} for candle in answer["candles"]]
    assert seen == expected


def walk(first_id: int, start_us: int, minutes: int, seed: int = 1, step: int = 1) -> Trades:
    """Invent up to three trades in every minute, or in every `step`-th."""
    rng = random.Random(seed)
    rows, price = [], 10_000
    for minute in range(0, minutes, step):
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            price += rng.randint(-30, 30)
            at_s = (start_us - NEW_YEAR_US) / 1e6 + minute * 60 + rng.random() * 59
            rows.append((at_s, price / 100, rng.randint(1, 10**6) / 1e5, rng.random() < 0.5))
    rows.sort()
    return trades(first_id, rows)


# Memory alone


def test_candles_are_cut_by_event_time_and_closed_by_it(house: House, get: Get) -> None:
    house.open(is_start_known=False)
    house.feed(
        trades(
            1,
            [
                (10, 100.00, 1.0, True),
                (20, 100.10, 2.0, False),
                (70, 100.05, 0.5, True),
                (130, 100.20, 1.5, True),
            ],
        )
    )
    answer = get("/api/strategy/candles")
    assert (answer["source"], answer["symbol"]) == BTC
    assert answer["timeframe"] == "1m"
    first, second, third = answer["candles"]
    assert first == {
        "time": "2024-01-01T00:00:00.000Z",
        "open": 100.0,
        "high": 100.1,
        "low": 100.0,
        "close": 100.1,
        "volume": 3.0,
        "buy_volume": 1.0,
        "sell_volume": 2.0,
        "delta": -1.0,
        "trades": 2,
        "vwap": pytest.approx(300.2 / 3, rel=1e-12),
        "coverage": None,
        "closed": True,
    }
    assert (second["open"], second["coverage"], second["closed"]) == (100.05, 1.0, True)
    # The clock has closed it: it is an hour later.
    assert third["closed"]


def test_a_running_candle_is_not_closed(database: None, get: Get) -> None:
    with House(seconds=70) as house:
        house.open()
        house.feed(trades(1, [(10, 100.0, 1.0, True), (65, 100.0, 1.0, True)]))
        assert [c["closed"] for c in get("/api/strategy/candles")["candles"]] == [True, False]


def test_every_timeframe_is_what_a_naive_fold_says(house: House, get: Get) -> None:
    house.open()
    tape = walk(1, MONDAY_US + 3 * DAY_US - 600_000_000, 700)
    house.feed(tape)
    for timeframe in TIMEFRAMES:
        answer = get("/api/strategy/candles", timeframe=timeframe, count=3000)
        same(answer, naive([tape], timeframe))


def test_the_newest_are_asked_for(house: House, get: Get) -> None:
    house.open()
    tape = walk(1, MONDAY_US, 300)
    house.feed(tape)
    for timeframe, count in (("1m", 7), ("5m", 3), ("15m", 2), ("1h", 1)):
        expected = naive([tape], timeframe)[-count:]
        same(get("/api/strategy/candles", timeframe=timeframe, count=count), expected)


# Coverage


def test_ids_missing_between_candles_count_for_both(house: House, get: Get) -> None:
    house.open(is_start_known=False)
    house.feed(trades(11, [(10, 100.0, 1.0, True), (20, 100.0, 1.0, True)]))
    house.feed(trades(15, [(70, 100.0, 1.0, True)]))
    house.feed(trades(16, [(130, 100.0, 1.0, True)]))
    found = [candle["coverage"] for candle in get("/api/strategy/candles")["candles"]]
    # 13 and 14 are missing; nobody knows what came before 11.
    assert found == [None, pytest.approx(1 / 3), 1.0]


def test_a_known_first_id_makes_the_first_candle_provable(house: House, get: Get) -> None:
    pipeline = house.open()
    house.feed(trades(11, [(10, 100.0, 1.0, True), (70, 100.0, 1.0, True)]))

    def coverage() -> list[float]:
        return [candle["coverage"] for candle in get("/api/strategy/candles")["candles"]]

    house.flow.ask(lambda: pipeline.context.set_edge(NEW_YEAR_US, 11))
    assert coverage() == [1.0, 1.0]
    house.flow.ask(lambda: pipeline.context.set_edge(NEW_YEAR_US, 8))
    assert coverage() == [0.25, 1.0]


def test_a_candle_that_began_before_what_is_known_is_not_called_complete(
    database: None, get: Get
) -> None:
    # It is Wednesday, and the venue has told the first trade of that day alone.
    with House(seconds=2 * 86400 + 3600) as house:
        pipeline = house.open()
        house.feed(trades(11, [(2 * 86400 + 10, 100.0, 1.0, True)]))
        house.flow.ask(lambda: pipeline.context.set_edge(NEW_YEAR_US + 2 * DAY_US, 11))
        for timeframe, coverage in (("1m", 1.0), ("1d", 1.0), ("1w", None)):
            (candle,) = get("/api/strategy/candles", timeframe=timeframe)["candles"]
            assert candle["coverage"] == coverage


# Beyond memory


@pytest.fixture
def tapes(database: None) -> list[Trades]:
    """Store four days, each by a process that is stopped within their last minute."""
    found: list[Trades] = []
    for day in range(4):
        next_id = 1 + sum(map(len, found))
        start_us = MONDAY_US + (5 + day) * DAY_US
        found.append(walk(next_id, start_us, 1440, seed=day, step=7))
        end = trades(int(found[-1].id[-1]) + 1, [((6 + day) * 86400 - 5, 100.5, 1.25, True)])
        found[-1] = Trades.concat([found[-1], end])
        with House(seconds=(6 + day) * 86400 - 4) as house:
            house.open()
            house.feed(found[-1])
            house.store()
    return found


def test_a_restart_on_another_day_joins_what_is_stored(tapes: list[Trades], get: Get) -> None:
    # The fourth day goes on in a new process that has read back that day alone.
    with House(seconds=9 * 86400) as house:
        house.open()
        house.restore(day_us=MONDAY_US + 8 * DAY_US)
        late = trades(
            int(tapes[-1].id[-1]) + 1,
            [(8 * 86400 + 600.5, 99.0, 2.0, False), (8 * 86400 + 86399, 101.0, 1.0, True)],
        )
        house.feed(late)
        assert len(house.flow.lanes[BTC].pipeline.series["1m"].bars()) < 250
        for timeframe, count in (
            ("1m", 3000),
            ("1m", 300),
            ("5m", 600),
            ("30m", 130),
            ("4h", 20),
            ("1d", 3),
            ("1w", 9),
        ):
            answer = get("/api/strategy/candles", timeframe=timeframe, count=count)
            same(answer, naive([*tapes, late], timeframe)[-count:])
            times = [candle["time"] for candle in answer["candles"]]
            assert times == sorted(set(times))
            assert {candle["coverage"] for candle in answer["candles"][1:]} <= {1.0}


def test_without_feeds_the_newest_stored_day_and_those_before_it(
    tapes: list[Trades], get: Get
) -> None:
    answer = get("/api/strategy/candles", symbol="BTCUSDT", timeframe="1h", count=3000)
    same(answer, naive(tapes, "1h"))
    assert answer["candles"][-2]["closed"]


def test_a_hole_in_what_is_stored_shows(tapes: list[Trades], get: Get) -> None:
    middle = int(tapes[1].id[100])
    held = CoverageSegment.objects.get(first_id__lte=middle, last_id__gte=middle)
    instrument_id, last_id = held.instrument_id, held.last_id
    CoverageSegment.objects.filter(id=held.id).update(last_id=middle - 1)
    CoverageSegment.objects.create(
        instrument_id=instrument_id,
        first_id=middle + 4,
        last_id=last_id,
        origin="live",
        first_ts_us=held.first_ts_us,
        last_ts_us=held.last_ts_us,
    )
    candles = get("/api/strategy/candles", symbol="BTCUSDT", timeframe="1d", count=10)["candles"]
    assert [candle["coverage"] == 1.0 for candle in candles] == [False, False, True, True]
    assert candles[0]["coverage"] is None
    assert candles[1]["coverage"] == pytest.approx(len(tapes[1]) / (len(tapes[1]) + 4))


def test_memory_that_begins_inside_a_minute_does_not_hide_the_stored_one(
    tapes: list[Trades], get: Get
) -> None:
    with House(seconds=9 * 86400) as house:
        # Nothing was read back, and what comes in is not stored yet.
        house.open().sinks = ()
        house.feed(tapes[-1][-1:])
        answer = get("/api/strategy/candles", count=2)
    same(answer, naive(tapes, "1m")[-2:])


def test_a_late_trade_restates_a_candle_here_and_in_storage(tapes: list[Trades], get: Get) -> None:
    with House(seconds=9 * 86400) as house:
        house.open()
        house.restore(day_us=MONDAY_US + 8 * DAY_US)
        late = trades(int(tapes[-1].id[-1]) + 1, [(8 * 86400 + 30, 500.0, 3.0, True)])
        house.feed(late)
        expected = naive([*tapes, late], "1m")[-500:]
        assert max(candle["high"] for candle in expected) == 500.0
        same(get("/api/strategy/candles", count=500), expected)
        house.store()
    # Without feeds, from what was stored.
    same(get("/api/strategy/candles", symbol="BTCUSDT", count=500), expected)


def test_more_than_memory_keeps(house: House, get: Get) -> None:
    for series in house.open().series.values():
        series.keep = 200
    tape = walk(1, MONDAY_US, 600)
    for part in tape.batches(100):
        house.feed(part)
    house.store()
    assert len(house.flow.lanes[BTC].pipeline.series["1m"]) == 200
    same(get("/api/strategy/candles", count=450), naive([tape], "1m")[-450:])
    same(get("/api/strategy/candles", timeframe="1h", count=100), naive([tape], "1h"))


def test_trades_without_finished_minutes_are_counted_up_to_a_bound(
    house: House, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file of trades: its minutes were never finished by anybody.
    tape = walk(1, MONDAY_US, 200)
    instrument = instruments.remember(*BTC, GRID)
    house.writer.put_trades(instrument.id, Batch(tape, "file"))
    assert house.writer.flush()
    pipeline = house.open()
    minutes = naive([tape], "1m")
    same(get("/api/strategy/candles", count=3000), minutes)
    same(get("/api/strategy/candles", timeframe="1h", count=3000), naive([tape], "1h"))
    # Of the oldest bar that is reached a part is left out, so that it is left out whole.
    monkeypatch.setattr(bars, "MOST_TRADES", 100)
    answer = get("/api/strategy/candles", count=3000)
    same(answer, minutes[-len(answer["candles"]) :])
    assert 95 <= sum(candle["trades"] for candle in answer["candles"]) < 100
    assert pipeline.counts.trades == 0


# Names and limits


def test_an_unknown_timeframe_is_answered_with_the_known_ones(house: House, get: Get) -> None:
    house.open()
    answer = get("/api/strategy/candles", 404, timeframe="7m")
    assert answer["known"] == sorted(TIMEFRAMES)
    assert "'7m'" in answer["detail"]


@pytest.mark.parametrize("count", ["0", "3001", "1000000000", "x", "-5"])
def test_count_has_limits(house: House, get: Get, count: str) -> None:
    answer = get("/api/strategy/candles", 422, count=count)
    assert answer["detail"][0]["loc"][-1] == "count"


def test_an_instrument_without_trades_has_no_candles(house: House, get: Get) -> None:
    house.open()
    assert get("/api/strategy/candles")["candles"] == []


def test_a_busy_pipeline_is_not_waited_for_long(
    house: House, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open()
    house.feed(trades(1, [(1, 100.0, 1.0, True)]))
    monkeypatch.setattr(answers, "ASK_S", 0.05)
    gate = threading.Event()
    threading.Thread(target=lambda: house.flow.ask(gate.wait)).start()
    assert "busy" in get("/api/strategy/candles", 503)["detail"]
    gate.set()
    assert get("/api/strategy/candles")["candles"]
