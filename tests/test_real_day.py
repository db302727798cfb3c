"""Recorded tapes through the pipeline: the day of 2024-01-01, and two captures over a midnight."""

import json
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from marketdata.context import DAY, Definition, MarketContext
from marketdata.core.candles import candle
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.trades import Trades
from marketdata.pipeline import Pipeline
from marketdata.store.tape import open_tape
from tests.core.invented import DAY_US, HOUR, MONDAY
from tests.fed import Kept

pytestmark = pytest.mark.realdata

BTC = Instrument("binance_ws", "BTCUSDT", Grid(Decimal("0.01"), Decimal("0.00001")))


def run(batches, height="0.1", **options):
    kept = Kept()
    definition = Definition(profile_tick_size=Decimal(height))
    pipeline = Pipeline(MarketContext(BTC, definition=definition), [kept], **options)
    for batch in batches:
        pipeline.feed(Batch(batch, "file"))
    return pipeline, kept


def trades_of(path):
    return Trades.concat(open_tape(path).batches())


@pytest.fixture(scope="module")
def day(shared_data):
    return trades_of(shared_data / "tapes" / "BTCUSDT-aggTrades-2024-01-01.zip")


@pytest.fixture(scope="module")
def whole(day):
    return run(day.batches(20_000), timeframes=("1m", "5m", "1h"))


def test_the_numbers_of_the_day(whole):
    pipeline, _ = whole
    shown = pipeline.context.snapshot(DAY, MONDAY)
    assert shown.trades == 863_403
    assert shown.volume == 27174.29903
    assert shown.buy_volume == 14331.7318
    assert shown.sell_volume == 12842.56723
    assert shown.delta == 1489.16457
    levels = shown.levels
    assert levels["VWAP"] == pytest.approx(43055.229529061431, rel=1e-15)
    assert (levels["OPEN"], levels["LAST"]) == (42283.58, 44179.55)
    assert (levels["HIGH"], levels["LOW"]) == (44184.10, 42180.77)
    coverage = shown.coverage
    assert (coverage.expected, coverage.held, coverage.missing) == (863_403, 863_403, 0)
    assert pipeline.counts.duplicates == 0


@pytest.mark.parametrize(
    ("height", "poc", "volume", "rows"),
    [("1", 44000.0, 263.14766, 2005), ("10", 42650.0, 521.90456, 201)],
)
def test_the_point_of_control_in_rows_of_one_and_ten_dollars(whole, height, poc, volume, rows):
    context = whole[0].context
    twin = MarketContext(BTC, definition=Definition(profile_tick_size=Decimal(height)))
    twin.held, twin._scopes = context.held, context._scopes
    shown = twin.snapshot(DAY, MONDAY)
    assert shown.levels["POC"] == poc
    assert BTC.grid.qty(shown.rows.volume.max()) == volume
    assert np.count_nonzero(shown.rows.volume) == rows
    assert BTC.grid.qty(shown.rows.volume.sum()) == 27174.29903
    inside = (shown.levels["VAH"] - shown.levels["VAL"]) / float(height)
    first = round(shown.levels["VAL"] / float(height)) - shown.rows.first
    area = shown.rows.volume[first : first + round(inside) + 1].sum()
    assert area / shown.rows.volume.sum() >= 0.7


def test_the_hours_are_those_of_the_reference(whole, shared_data):
    text = (shared_data / "tapes" / "BTCUSDT_2024-01-01_1h_from_tape.json").read_text()
    reference = {int(ms) * 1000: hour for ms, hour in json.loads(text).items()}
    bars = whole[0].bars("1h", 99)
    assert [start for start, _ in bars] == sorted(reference)
    assert len(bars) == 24
    for start, bar in bars:
        made, hour = candle(start, bar, BTC.grid), reference[start]
        assert [made.open, made.high, made.low, made.close, made.volume, made.buy_volume] == [
            float(hour[name]) for name in ("o", "h", "l", "c", "v", "tbv")
        ]
        assert made.quote_volume == float(hour["qv"])
        assert made.trades == hour["rows"]


def test_the_day_tells_of_every_minute_and_session_and_of_no_gap(whole):
    _, kept = whole
    minutes = [e for e in kept.of("candle_complete") if e.detail["timeframe"] == "1m"]
    assert len(minutes) == 1439
    assert [(e.detail["to"], (e.ts_us - MONDAY) // HOUR) for e in kept.of("session_change")] == [
        ("london", 8),
        ("off", 12),
        ("overlap", 13),
        ("off", 17),
    ]
    assert kept.of("gap") == kept.of("candle_restated") == kept.of("day_roll") == []


def test_random_cuts_in_any_order_with_repeats_end_in_the_same_state(day, whole):
    random = np.random.default_rng(20240101)
    cuts = np.sort(random.choice(len(day), 60, replace=False)).tolist()
    bounds = [0, *cuts, len(day)]
    parts = [day[a:b] for a, b in pairwise(bounds)]
    order = random.permutation(len(parts)).tolist()
    pipeline, kept = run([parts[at] for at in [*order, *order[:5]]])
    for name, as_of_us in ((DAY, MONDAY), ("london", MONDAY + DAY_US - 1)):
        assert pipeline.context.hash(name, as_of_us) == whole[0].context.hash(name, as_of_us)
    assert pipeline.bars("1h", 24) == whole[0].bars("1h", 24)
    assert pipeline.counts.trades == len(day)
    assert pipeline.counts.duplicates == sum(len(parts[at]) for at in order[:5])
    opened = {(e.detail["first_id"], e.detail["last_id"]) for e in kept.of("gap")}
    closed = {(e.detail["first_id"], e.detail["last_id"]) for e in kept.of("gap_closed")}
    assert opened == closed != set()


def test_captures_over_midnight_are_one_stream_and_roll_the_day(shared_data):
    files = [f"binance_spot_btcusdt_2024080{day}.gz" for day in (8, 9)]
    before, after = (trades_of(shared_data / "captures" / name) for name in files)
    pipeline, kept = run([*before.batches(500), *after.batches(500)])
    roll = kept.of("day_roll")
    assert len(roll) == 1
    midnight = roll[0].ts_us
    assert midnight % DAY_US == 0
    assert kept.of("gap") == []
    old, new = (pipeline.context.scope(DAY, midnight + shift) for shift in (-1, 0))
    assert old.trades + new.trades == len(before) + len(after)
    assert min(old.trades, new.trades) > 0
    both = Trades.concat([before, after])
    yesterday = both[both.ts_us < midnight]
    levels = pipeline.context.snapshot(DAY, midnight).levels
    assert levels["PDH"] == yesterday.price.max()
    assert levels["PDL"] == yesterday.price.min()
    assert levels["PDC"] == yesterday.price[np.argmax(yesterday.id)]
    assert levels["OPEN"] == both[both.ts_us >= midnight].price[0]
    assert pipeline.context.snapshot(DAY, midnight - 1).levels["PDH"] is None
    coverage = pipeline.context.coverage(new)
    assert (coverage.missing, coverage.edges) == (0, "neighbour")
