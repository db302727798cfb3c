"""What must hold for any tape, however it is cut, ordered, repeated or counted."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.context import MarketContext, day_window
from marketdata.core.bar import fold
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.path import Path
from marketdata.core.timeframe import TIMEFRAMES
from marketdata.core.trades import Trades
from marketdata.pipeline import Pipeline
from tests.core.invented import DAY_US, GRID, HOUR, MONDAY, counted, cut, shuffled, tapes
from tests.fed import Kept

# Two days and the sessions in them: London, the overlap, pauses, midnight, edges to the second.
NAMES = ["day", "current", "london", "overlap"]
LONG = tapes(start_us=MONDAY + 7 * HOUR, span_us=26 * HOUR)
CUTS = st.tuples(st.lists(st.integers(0, 9), max_size=12), st.integers())
EXAMPLES = settings(max_examples=60)


def run(batches, *, grid=GRID, **options):
    """Feed batches to a new pipeline; return it and what its sink kept."""
    kept = Kept()
    pipeline = Pipeline(MarketContext(Instrument("binance_ws", "BTCUSDT", grid, id=1)), [kept])
    for batch in batches:
        pipeline.feed(Batch(batch, "file"), **options)
    return pipeline, kept


def state(pipeline):
    """Everything a pipeline shows of both days, in comparable values."""
    times = [MONDAY + 9 * HOUR, MONDAY + DAY_US + 8 * HOUR]
    found = [[start, vars_of(bar)] for start, bar in pipeline.series["1m"].bars()]
    for name in NAMES:
        for as_of_us in times:
            shown = pipeline.context.snapshot(name, as_of_us)
            found.append(
                (
                    pipeline.context.hash(name, as_of_us),
                    shown.levels,
                    (shown.volume, shown.buy_volume, shown.sell_volume),
                    (shown.delta, shown.delta_min, shown.delta_max, shown.trades),
                    (shown.rows.first, shown.rows.sell.tolist(), shown.rows.buy.tolist()),
                    shown.coverage,
                    shown.previous_day,
                    shown.last_ts_us,
                )
            )
    return found


def vars_of(bar):
    return [getattr(bar, name) for name in bar.__slots__]


@EXAMPLES
@given(trades=LONG, cuts=CUTS)
def test_any_split_and_any_order_gives_the_same_state(trades, cuts):
    whole, _ = run([trades])
    split, _ = run(shuffled(trades, *cuts))
    assert state(split) == state(whole)
    assert split.context.held == whole.context.held
    assert split.bars("5m", 99) == whole.bars("5m", 99)
    assert split.counts.trades == whole.counts.trades == len(trades)


@EXAMPLES
@given(trades=LONG, sizes=st.lists(st.integers(1, 9), max_size=12))
def test_any_split_in_order_tells_of_the_same_gaps_sessions_and_days(trades, sizes):
    """Only completions differ: within one batch a late trade comes in time."""
    told = {"gap", "gap_closed", "session_change", "day_roll"}
    (_, whole), (_, split) = run([trades]), run(cut(trades, sizes))
    for kind in told:
        assert split.of(kind) == whole.of(kind)


@EXAMPLES
@given(trades=LONG, cuts=CUTS, again=st.lists(st.integers(0, 39), max_size=10))
def test_duplicates_change_nothing(trades, cuts, again):
    rows = [row for row in again if row < len(trades)]
    once, kept = run([trades])
    twice, heard = run([*shuffled(trades, *cuts), trades[rows], trades])
    assert state(twice) == state(once)
    assert twice.counts.duplicates == len(rows) + len(trades)
    ids = [id for batch in heard.batches for id in batch.trades.id.tolist()]
    assert sorted(ids) == trades.id.tolist()
    assert len(kept.batches) == 1


@EXAMPLES
@given(trades=LONG, stored=st.integers(0, 40))
def test_stored_trades_then_live_ones_are_as_if_all_had_been_live(trades, stored):
    live, _ = run([trades])
    restarted, kept = run([trades[:stored]], is_stored=True)
    restarted.feed(Batch(trades, "file"))
    assert state(restarted) == state(live)
    ids = [id for batch in kept.batches for id in batch.trades.id.tolist()]
    assert ids == trades.id[stored:].tolist()


@EXAMPLES
@given(
    trades=LONG,
    finer=tapes(start_us=MONDAY + 8 * HOUR, span_us=20 * HOUR, max_size=9, finest=4),
    before=st.integers(0, 40),
)
def test_a_grid_refined_on_the_way_is_as_if_it_had_been_fine_from_the_start(trades, finer, before):
    finer = Trades(finer.id + 10_000, finer.ts_us, finer.price, finer.qty, finer.is_buy)
    tape = [trades[:before], finer, trades[before:]]
    refined, _ = run(tape)
    fine, _ = run(tape, grid=Grid(Decimal("0.0001"), Decimal("0.00001")))
    for name in NAMES:
        for as_of_us in (MONDAY + 9 * HOUR, MONDAY + DAY_US + 8 * HOUR):
            assert refined.context.hash(name, as_of_us) == fine.context.hash(name, as_of_us)
            a, b = (p.context.snapshot(name, as_of_us) for p in (refined, fine))
            # The deviation alone is a sum of floats.
            deviations = [shown.levels.pop("VWAP_SD") or 0.0 for shown in (a, b)]
            assert deviations[0] == pytest.approx(deviations[1], rel=1e-12)
            assert a.levels == b.levels
            assert (a.volume, a.delta, a.delta_min) == (b.volume, b.delta, b.delta_min)
    assert refined.counts == fine.counts


@EXAMPLES
@given(trades=LONG)
def test_profile_volume_delta_prices_and_value_area_agree_with_one_another(trades):
    pipeline, _ = run([trades])
    for name in NAMES:
        for as_of_us in (MONDAY + 9 * HOUR, MONDAY + DAY_US + 8 * HOUR):
            scope = pipeline.context.scope(name, as_of_us)
            if scope.bar is None:
                continue
            shown, bar = pipeline.context.snapshot_of(scope, name, as_of_us), scope.bar
            levels, rows = shown.levels, shown.rows
            assert (rows.sell + rows.buy).sum() == bar.lots
            assert rows.buy.sum() == bar.buy_lots
            assert shown.delta == GRID.qty(2 * bar.buy_lots - bar.lots)
            assert shown.delta_min <= shown.delta <= shown.delta_max
            assert levels["LOW"] <= levels["VWAP"] <= levels["HIGH"]
            assert levels["LOW"] <= levels["OPEN"] <= levels["HIGH"]
            assert 0 <= levels["VWAP_SD"] <= levels["HIGH"] - levels["LOW"]
            assert levels["VAL"] <= levels["POC"] <= levels["VAH"]
            # Rows of 0.1 and VAL and VAH are lower edges of the first and the last of them.
            first, last = (round(levels[edge] / 0.1) - rows.first for edge in ("VAL", "VAH"))
            inside = int(rows.volume[first : last + 1].sum())
            assert Fraction(inside, bar.lots) >= Fraction("0.7")


@EXAMPLES
@given(trades=LONG, cuts=CUTS)
def test_a_scope_holds_the_trades_of_its_window_and_no_others(trades, cuts):
    pipeline, _ = run(shuffled(trades, *cuts))
    windows = {(scope.window.name, scope.window.start_us) for scope in pipeline.context.scopes()}
    for scope in pipeline.context.scopes():
        window = scope.window
        part = counted(trades[(trades.ts_us >= window.start_us) & (trades.ts_us < window.end_us)])
        assert scope.bar == part.bar
        assert scope.delta.runs() == [(first, last) for first, last, _ in part.paths]
        signed = np.where(part.is_buy, part.lots, -part.lots).cumsum()
        assert scope.delta.value() == Path(signed[-1], signed.min(), signed.max())
        assert scope.last_ts_us == part.ts_us.max()
        assert scope.sources == {"file": len(part)}
    # Every trade found its day and its session; of the pauses only the newest stay in memory.
    calendar = pipeline.context.calendar
    for ts_us in trades.ts_us.tolist():
        expected = [day_window(ts_us), *calendar.at(ts_us)]
        assert {(window.name, window.start_us) for window in expected} <= windows


@EXAMPLES
@given(trades=LONG, cuts=CUTS)
def test_longer_candles_are_the_fold_of_minutes(trades, cuts):
    pipeline, _ = run(shuffled(trades, *cuts))
    minutes = pipeline.series["1m"].bars()
    for name in ("5m", "15m", "1h", "1d", "1w"):
        assert pipeline.bars(name, 9999) == fold(minutes, TIMEFRAMES[name])
    assert sum(bar.trades for _, bar in minutes) == len(trades)
    assert pipeline.series["5m"].bars() == fold(minutes, TIMEFRAMES["5m"])


@EXAMPLES
@given(trades=LONG, cuts=CUTS)
def test_every_minute_is_told_in_the_end_as_it_is(trades, cuts):
    """What sinks last heard of a minute, or the clock's word, covers every candle there is."""
    pipeline, kept = run(shuffled(trades, *cuts))
    pipeline.advance(MONDAY + 3 * DAY_US)
    told = {
        event.detail["open_us"]
        for event in kept.events
        if event.kind in ("candle_complete", "candle_restated")
        and event.detail["timeframe"] == "1m"
    }
    assert told == {start for start, _ in pipeline.series["1m"].bars()}
    completed = [tuple(event.detail.values()) for event in kept.of("candle_complete")]
    assert len(completed) == len(set(completed))


@EXAMPLES
@given(trades=LONG, cuts=CUTS)
def test_gaps_told_are_closed_when_everything_has_come(trades, cuts):
    pipeline, kept = run(shuffled(trades, *cuts))
    missing = list(pipeline.context.held.holes(int(trades.id[0]), int(trades.id[-1])))
    opened, closed = (
        [(event.detail["first_id"], event.detail["last_id"]) for event in kept.of(kind)]
        for kind in ("gap", "gap_closed")
    )
    assert len(closed) == len(set(closed))
    assert set(closed) <= set(opened)
    for first, last in set(opened) - set(closed):
        assert any(first <= low and high <= last for low, high in missing)
