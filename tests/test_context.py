from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.context import (
    CURRENT,
    DAY,
    MOST_ROWS,
    Definition,
    MarketContext,
    PreviousDay,
    day_window,
)
from marketdata.core.errors import BadInputError, OffGridError
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.sessions import SessionCalendar, SessionDefinition
from marketdata.metrics.value_area import value_area
from marketdata.pipeline import Pipeline
from tests.core.invented import BTC, DAY_US, HOUR, MINUTE, MONDAY, at, counted, tape, tapes
from tests.fed import fed, ids

# Definitions


@pytest.mark.parametrize("height", ["0", "-0.1", "NaN", "Infinity", "0.005", "0.015"])
def test_a_row_height_that_is_no_positive_multiple_of_the_tick_is_refused_at_once(height):
    with pytest.raises(
        BadInputError, match=r"positive multiple of the venue's tick 0\.01 expected"
    ):
        MarketContext(BTC, definition=Definition(profile_tick_size=Decimal(height)))


@pytest.mark.parametrize(
    "given",
    [
        {"value_area_rule": "three_row"},
        {"value_area_pct": 0.0},
        {"value_area_pct": 1.5},
        {"value_area_pct": float("nan")},
    ],
)
def test_a_definition_that_makes_no_sense_is_refused_with_what_was_seen(given):
    with pytest.raises(BadInputError, match=r"a rule of two_row, one_row and a share .* seen"):
        Definition(**given)


# Scopes


def test_a_trade_counts_for_its_day_and_its_session_or_pause():
    context = fed(
        tape(
            at(1, MONDAY + 8 * HOUR - 1),
            at(2, MONDAY + 8 * HOUR),
            at(3, MONDAY + 12 * HOUR - 1),
            at(4, MONDAY + 12 * HOUR),
            at(5, MONDAY + 13 * HOUR),
        )
    )
    found = {
        (scope.window.name, (scope.window.start_us - MONDAY) // HOUR): scope.trades
        for scope in context.scopes()
    }
    assert found == {
        ("day", 0): 5,
        ("off", 0): 1,
        ("london", 8): 2,
        ("off", 12): 1,
        ("overlap", 13): 1,
    }


def test_days_are_cut_at_midnight_utc():
    context = fed(tape(at(1, MONDAY + DAY_US - 1), at(2, MONDAY + DAY_US)))
    assert context.scope(DAY, MONDAY).trades == 1
    assert context.scope(DAY, MONDAY + DAY_US).trades == 1


def test_a_session_over_midnight_goes_on_while_the_day_rolls():
    night = SessionCalendar([SessionDefinition("night", "Night", "UTC", 22 * 60, 2 * 60)])
    context = fed(
        tape(at(1, MONDAY + 23 * HOUR), at(2, MONDAY + 25 * HOUR), at(3, MONDAY + 26 * HOUR)),
        calendar=night,
    )
    assert context.scope("night", MONDAY + 25 * HOUR).trades == 2
    assert context.scope(DAY, MONDAY + 25 * HOUR).trades == 2


def test_overlapping_sessions_both_count_a_trade():
    calendar = SessionCalendar(
        [
            SessionDefinition("long", "Long", "UTC", 0, 600),
            SessionDefinition("short", "Short", "UTC", 60, 120),
        ]
    )
    context = fed(tape(at(1, MONDAY + 90 * MINUTE)), calendar=calendar)
    assert [context.scope(name, MONDAY + 90 * MINUTE).trades for name in ("long", "short")] == [
        1,
        1,
    ]
    assert context.scope(CURRENT, MONDAY + 90 * MINUTE).window.name == "short"


def test_the_current_scope_is_the_session_or_pause_of_the_moment():
    context = fed(tape(at(1, MONDAY + 9 * HOUR)))
    assert context.scope(CURRENT, MONDAY + 9 * HOUR).trades == 1
    pause = context.scope(CURRENT, MONDAY + 7 * HOUR)
    assert (pause.window.name, pause.trades) == ("off", 0)


def test_a_session_that_has_not_begun_today_is_the_one_of_the_day_before():
    context = fed(
        tape(at(1, MONDAY + 9 * HOUR), at(2, MONDAY + 9 * HOUR), at(3, MONDAY + DAY_US + HOUR))
    )
    before = context.scope("london", MONDAY + DAY_US + 7 * HOUR)
    assert (before.window.start_us, before.trades) == (MONDAY + 8 * HOUR, 2)
    begun = context.scope("london", MONDAY + DAY_US + 8 * HOUR)
    assert (begun.window.start_us, begun.trades) == (MONDAY + DAY_US + 8 * HOUR, 0)


def test_a_weekly_session_is_the_last_one_within_a_week():
    weekly = SessionCalendar([SessionDefinition("open", "Open", "UTC", 0, 60, frozenset({1}))])
    context = fed(tape(at(1, MONDAY + MINUTE)), calendar=weekly)
    assert context.scope("open", MONDAY + 6 * DAY_US).window.start_us == MONDAY


def test_a_session_that_clocks_left_out_is_the_one_before_or_else_the_next():
    left_out = SessionDefinition("x", "X", "America/New_York", 150, 180, frozenset({7}))
    context = fed(calendar=SessionCalendar([left_out]))
    # The clocks go forward on Sunday, 2024-03-10; the hour before is 07:00 UTC, later 06:00.
    sunday, week_us = MONDAY + 69 * DAY_US, 7 * DAY_US
    before_us, next_us = sunday - week_us + 450 * MINUTE, sunday + week_us + 390 * MINUTE
    assert context.scope("x", sunday + 12 * HOUR).window.start_us == before_us
    assert context.scope("x", sunday + 6 * DAY_US).window.start_us == next_us


def test_names_are_day_current_and_the_sessions_and_no_other_is_known():
    context = fed()
    assert context.names() == ["day", "current", "london", "overlap"]
    for unknown in ("off", "tokyo", ""):
        with pytest.raises(KeyError, match=f"^'{unknown}'$"):
            context.scope(unknown, MONDAY)


def test_three_windows_of_each_name_stay_in_memory():
    context = fed(*(ids(n * 10, n * 10 + 3, MONDAY + n * DAY_US, 7 * HOUR) for n in range(5)))
    held = Counter(scope.window.name for scope in context.scopes())
    assert held == {"day": 3, "off": 3, "overlap": 3}
    assert [context.scope(DAY, MONDAY + n * DAY_US).trades for n in range(5)] == [0, 0, 4, 4, 4]


def test_a_late_trade_of_a_day_that_left_memory_brings_back_no_part_of_it():
    context = fed(*(ids(n * 10, n * 10 + 3, MONDAY + n * DAY_US) for n in range(4)))
    pipeline = Pipeline(context)
    assert pipeline.feed(Batch(ids(5, 6, MONDAY + HOUR))) == 2
    assert context.scope(DAY, MONDAY).trades == 0
    assert [scope.trades for scope in context.scopes() if scope.window.name == DAY] == [4, 4, 4]
    # It is held all the same: the store has it, and it is not taken in twice.
    assert 5 in context.held
    assert pipeline.feed(Batch(ids(5, 6, MONDAY + HOUR))) == 0


def test_a_late_trade_across_the_edge_finds_its_day():
    context = fed(ids(1, 3, MONDAY + DAY_US - 3 * MINUTE), ids(5, 7, MONDAY + DAY_US))
    Pipeline(context).feed(Batch(tape(at(4, MONDAY + DAY_US - 1, price=250.0))))
    assert context.scope(DAY, MONDAY).bar.close == 25000
    assert context.scope(DAY, MONDAY + DAY_US).bar.high == 10000
    assert context.previous_day(MONDAY + DAY_US).close == 250.0


# Snapshots


def naive(trades, height):
    """What a day comes to, on Decimals and dicts."""
    rows = sorted(
        zip(trades.id.tolist(), trades.price, trades.qty, trades.is_buy.tolist(), strict=True)
    )
    rows = [(Decimal(repr(float(p))), Decimal(repr(float(q))), b) for _, p, q, b in rows]
    volume = sum(q for _, q, _ in rows)
    profile, running = Counter(), []
    for price, qty, is_buy in rows:
        profile[int(price // height)] += qty
        running.append((running[-1] if running else 0) + (qty if is_buy else -qty))
    low, high = min(profile), max(profile)
    lots = [int(profile[row] * 1000) for row in range(low, high + 1)]
    area = value_area(lots)
    prices = [price for price, _, _ in rows]
    return {
        "VWAP": float(sum(p * q for p, q, _ in rows) / volume),
        "OPEN": float(prices[0]),
        "HIGH": float(max(prices)),
        "LOW": float(min(prices)),
        "LAST": float(prices[-1]),
        "POC": float((low + area.poc) * height),
        "VAL": float((low + area.low) * height),
        "VAH": float((low + area.high) * height),
    }, {
        "volume": float(volume),
        "buy_volume": float(sum(q for _, q, b in rows if b)),
        "sell_volume": float(sum(q for _, q, b in rows if not b)),
        "delta": float(running[-1]),
        "delta_min": float(min(running)),
        "delta_max": float(max(running)),
        "trades": len(rows),
    }


@given(
    trades=tapes(start_us=MONDAY + 2_000_000, span_us=8 * HOUR),
    height=st.sampled_from(["0.01", "0.07", "0.5"]),
)
def test_a_snapshot_is_what_decimals_and_dicts_give(trades, height):
    context = fed(trades, definition=Definition(profile_tick_size=Decimal(height)))
    snapshot = context.snapshot(DAY, MONDAY + HOUR)
    levels, sums = naive(trades, Decimal(height))
    assert {name: snapshot.levels[name] for name in levels} == pytest.approx(levels, rel=1e-15)
    assert {name: getattr(snapshot, name) for name in sums} == sums
    assert snapshot.last_ts_us == trades.ts_us.max()


def test_a_snapshot_carries_what_it_was_computed_by():
    definition = Definition("one_row", 0.68, Decimal("0.5"))
    context = fed(ids(1, 5), definition=definition)
    snapshot = context.snapshot("london", MONDAY + 9 * HOUR)
    assert snapshot.definition == definition
    assert (snapshot.scope, snapshot.window.name) == ("london", "london")
    assert (snapshot.as_of_us, snapshot.instrument) == (MONDAY + 9 * HOUR, BTC)
    assert snapshot.session.name == "london"
    assert snapshot.session_message == "London session, 3 h 00 min left"


def test_the_rule_and_the_share_decide_the_value_area():
    rows = [1, 2, 6, 20, 5, 9, 30, 12, 11, 25, 4, 1]
    trades = tape(*(at(n, MONDAY, 100 + n / 100, lots / 1000) for n, lots in enumerate(rows)))
    tick = Decimal("0.01")
    for rule, pct, high in (("two_row", 0.7, 10), ("one_row", 0.7, 9), ("two_row", 0.42, 8)):
        context = fed(trades, definition=Definition(rule, pct, tick))
        assert context.snapshot(DAY, MONDAY).levels["VAH"] == 100 + high / 100


def test_a_tied_point_of_control_is_said_to_be():
    tied = fed(tape(at(1, MONDAY, 100.0), at(2, MONDAY, 101.0)))
    alone = fed(tape(at(1, MONDAY, 100.0), at(2, MONDAY, 101.0, qty=2.0)))
    assert tied.snapshot(DAY, MONDAY).poc_is_tied
    assert not alone.snapshot(DAY, MONDAY).poc_is_tied


def test_an_empty_scope_has_levels_unknown_and_sums_of_zero():
    snapshot = fed().snapshot(DAY, MONDAY)
    assert set(snapshot.levels.values()) == {None}
    assert (snapshot.volume, snapshot.delta, snapshot.delta_min, snapshot.delta_max) == (0, 0, 0, 0)
    assert (snapshot.trades, snapshot.last_ts_us, len(snapshot.rows.volume)) == (0, 0, 0)
    assert snapshot.coverage.ratio is None
    assert not snapshot.poc_is_tied


def test_a_snapshot_does_not_change_with_later_trades():
    context = fed(ids(1, 3))
    snapshot = context.snapshot(DAY, MONDAY)
    before = snapshot.rows.volume.copy()
    Pipeline(context).feed(Batch(ids(4, 9)))
    assert snapshot.trades == 3
    assert np.array_equal(snapshot.rows.volume, before)


# The day before


def test_the_day_before_is_unknown_until_told_or_traded():
    context = fed(ids(1, 3))
    assert context.previous_day(MONDAY) is None
    levels = context.snapshot(DAY, MONDAY).levels
    assert (levels["PDH"], levels["PDL"], levels["PDC"]) == (None, None, None)


def test_the_day_before_comes_from_its_trades_after_midnight():
    context = fed(
        tape(at(1, MONDAY, 100.0), at(2, MONDAY, 107.0), at(3, MONDAY, 99.0), at(4, MONDAY, 101.0)),
        tape(at(5, MONDAY + DAY_US, 500.0)),
    )
    levels = context.snapshot(DAY, MONDAY + DAY_US).levels
    assert (levels["PDH"], levels["PDL"], levels["PDC"]) == (107.0, 99.0, 101.0)
    assert context.snapshot("london", MONDAY + DAY_US).previous_day.origin == "trades"


def test_what_the_venue_told_of_the_day_before_counts_first():
    context = fed(ids(1, 3), ids(4, 5, MONDAY + DAY_US))
    told = PreviousDay(9.0, 7.0, 8.0, "klines")
    context.set_previous(MONDAY, told)
    assert context.previous_day(MONDAY + DAY_US) == told


def test_the_day_before_is_known_while_the_venue_is_already_a_day_ahead():
    """The venue's clock is ahead of ours: its new day must not drive our day before out."""
    context = fed(
        ids(1, 3, price=111.0), ids(4, 5, MONDAY + DAY_US), ids(6, 7, MONDAY + 2 * DAY_US)
    )
    assert context.previous_day(MONDAY + DAY_US) == PreviousDay(111.0, 111.0, 111.0, "trades")
    assert context.scope(DAY, MONDAY + DAY_US).trades == 2


# Prices that are none


def test_a_price_absurdly_far_from_the_others_is_refused_with_both():
    context = fed(ids(1, 3))
    for price in (100.0 + MOST_ROWS / 10, 1e12):
        with pytest.raises(OffGridError, match=rf"{MOST_ROWS} rows of 0.1 apart .* from 100.0 to"):
            context.check(counted(tape(at(4, MONDAY, price))))
    context.check(counted(tape(at(4, MONDAY, 99.0 + MOST_ROWS / 10))))


def test_one_batch_with_prices_absurdly_far_apart_is_refused():
    with pytest.raises(OffGridError, match=r"apart expected, seen from 1\.0 to 1000000000000"):
        fed().check(counted(tape(at(1, MONDAY, 1.0), at(2, MONDAY, 1e12))))


def test_a_flash_crash_is_no_such_price():
    context = fed(tape(at(1, MONDAY, 65_000.0), at(2, MONDAY, 8_200.0)))
    assert context.snapshot(DAY, MONDAY).levels["LOW"] == 8_200.0


# Hashes and grids


def test_the_hash_speaks_of_one_scope():
    context = fed(ids(1, 3, MONDAY + 9 * HOUR))
    day, london = context.hash(DAY, MONDAY), context.hash("london", MONDAY + 9 * HOUR)
    assert len(day) == 64
    assert day != london
    assert context.hash(CURRENT, MONDAY + 9 * HOUR) == london


@pytest.mark.parametrize(
    "other",
    [
        at(2, MONDAY, 100.01),
        at(2, MONDAY, 100.0, 2.0),
        at(2, MONDAY, 100.0, 1.0, False),
        at(3, MONDAY),
        at(2, MONDAY + DAY_US),
    ],
)
def test_any_other_trade_gives_another_hash(other):
    first = at(1, MONDAY)
    same = fed(tape(first, at(2, MONDAY)))
    assert fed(tape(first, other)).hash(DAY, MONDAY) != same.hash(DAY, MONDAY)


def test_a_finer_grid_changes_no_number_and_no_hash():
    context, moved = fed(ids(1, 9)), fed(ids(1, 9))
    moved.on_grid(Grid(Decimal("0.00001"), Decimal("0.0000001")))
    assert moved.instrument == Instrument(
        "binance_ws", "BTCUSDT", Grid(Decimal("0.00001"), Decimal("0.0000001")), id=1
    )
    for name in (DAY, CURRENT, "london"):
        assert moved.hash(name, MONDAY) == context.hash(name, MONDAY)
        before, after = context.snapshot(name, MONDAY), moved.snapshot(name, MONDAY)
        assert after.levels == before.levels
        assert (after.volume, after.delta) == (before.volume, before.delta)
        assert after.rows.first == before.rows.first


def test_a_day_is_the_window_from_midnight_to_midnight():
    window = day_window(MONDAY + 5)
    assert (window.name, window.title) == (DAY, "UTC day")
    assert (window.start_us, window.end_us) == (MONDAY, MONDAY + DAY_US)
