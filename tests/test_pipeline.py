"""Batches in; fresh trades, candles and events out."""

from decimal import Decimal

import pytest

from marketdata.context import DAY, MarketContext
from marketdata.core.errors import OffGridError
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.pipeline import GRACE_US, Pipeline
from tests.core.invented import BTC, DAY_US, HOUR, MINUTE, MONDAY, at, tape
from tests.fed import Kept, ids


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def pipeline(kept):
    return Pipeline(MarketContext(BTC), [kept])


def told(kept, *kinds):
    """Events of some kinds as (kind, minutes or hours since Monday, what differs)."""
    return [
        (event.kind, event.detail.get("timeframe"), (event.ts_us - MONDAY) / MINUTE)
        for event in kept.events
        if event.kind in kinds
    ]


# Fresh trades


def test_sinks_are_told_of_new_trades_once_ascending_with_origin_and_receipt(pipeline, kept):
    assert pipeline.feed(Batch(tape(at(3, MONDAY), at(1, MONDAY)), "rest", recv_us=77)) == 2
    assert pipeline.feed(Batch(tape(at(1, MONDAY), at(2, MONDAY), at(3, MONDAY)))) == 1
    assert [batch.trades.id.tolist() for batch in kept.batches] == [[1, 3], [2]]
    assert [(batch.origin, batch.recv_us) for batch in kept.batches] == [("rest", 77), ("live", 0)]


def test_duplicates_change_nothing_and_are_counted(pipeline, kept):
    pipeline.feed(Batch(ids(1, 9)))
    before = pipeline.context.hash(DAY, MONDAY), pipeline.bars("1m", 99), list(kept.events)
    assert pipeline.feed(Batch(ids(1, 9))) == 0
    assert pipeline.feed(Batch(ids(4, 4))) == 0
    assert (pipeline.context.hash(DAY, MONDAY), pipeline.bars("1m", 99), kept.events) == before
    assert (pipeline.counts.trades, pipeline.counts.duplicates) == (9, 10)
    assert len(kept.batches) == 1


def test_an_id_twice_in_one_batch_counts_once_and_the_first_row_stands(pipeline):
    twice = tape(at(2, MONDAY, 101.0), at(1, MONDAY), at(2, MONDAY, 999.0))
    assert pipeline.feed(Batch(twice)) == 2
    assert pipeline.counts.duplicates == 1
    assert pipeline.context.scope(DAY, MONDAY).bar.high == 10100


def test_no_trades_are_nothing(pipeline, kept):
    assert pipeline.feed(Batch(tape())) == 0
    assert (kept.batches, kept.events, pipeline.watermark_us) == ([], [], 0)


def test_every_sink_is_told_in_order():
    heard = []

    class Named(Kept):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def trades(self, instrument, batch):
            heard.append(self.name)

    Pipeline(MarketContext(BTC), [Named("writer"), Named("rules")]).feed(Batch(ids(1, 1)))
    assert heard == ["writer", "rules"]


def test_stored_trades_are_taken_in_without_telling_anyone(pipeline, kept):
    pipeline.feed(Batch(ids(1, 9), "rest"), is_stored=True)
    assert (kept.batches, kept.events) == ([], [])
    assert pipeline.context.scope(DAY, MONDAY).sources == {"rest": 9}
    pipeline.feed(Batch(ids(8, 12)))
    assert [batch.trades.id.tolist() for batch in kept.batches] == [[10, 11, 12]]


# Candles


def test_a_candle_is_complete_when_a_trade_passes_its_end(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY), at(2, MONDAY + MINUTE - 1))))
    assert kept.of("candle_complete") == []
    pipeline.feed(Batch(tape(at(3, MONDAY + MINUTE))))
    assert told(kept, "candle_complete") == [("candle_complete", "1m", 1)]
    assert kept.events[0].detail == {"timeframe": "1m", "open_us": MONDAY}


def test_candles_of_all_timeframes_complete_in_order_of_their_end(pipeline, kept):
    pipeline.feed(
        Batch(tape(at(1, MONDAY), at(2, MONDAY + 4 * MINUTE), at(3, MONDAY + 7 * MINUTE)))
    )
    assert told(kept, "candle_complete") == [
        ("candle_complete", "1m", 1),
        ("candle_complete", "1m", 5),
        ("candle_complete", "5m", 5),
    ]


def test_the_clock_completes_a_candle_after_its_end_and_the_grace(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY))))
    pipeline.advance(MONDAY + MINUTE + GRACE_US - 1)
    assert kept.of("candle_complete") == []
    pipeline.advance(MONDAY + MINUTE + GRACE_US)
    assert told(kept, "candle_complete") == [("candle_complete", "1m", 1)]
    pipeline.advance(MONDAY + MINUTE + GRACE_US)
    pipeline.feed(Batch(tape(at(2, MONDAY + MINUTE))))
    assert len(kept.of("candle_complete")) == 1


def test_a_trade_within_the_grace_is_not_late(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY))))
    pipeline.advance(MONDAY + MINUTE + GRACE_US - 1)
    pipeline.feed(Batch(tape(at(2, MONDAY + MINUTE - 1, 105.0))))
    assert kept.of("candle_restated") == []
    assert pipeline.counts.late == 0


def test_a_late_trade_restates_each_candle_it_changes(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY), at(3, MONDAY + 6 * MINUTE))))
    pipeline.feed(Batch(tape(at(2, MONDAY + 30_000_000, 150.0))))
    assert told(kept, "candle_restated") == [
        ("candle_restated", "1m", 0),
        ("candle_restated", "5m", 0),
    ]
    assert pipeline.series["5m"].bar(MONDAY).high == 15000
    assert kept.of("candle_restated")[0].detail["origin"] == "live"
    assert pipeline.counts.late == 2


def test_a_candle_the_clock_completed_is_restated_by_a_late_trade(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY))))
    pipeline.advance(MONDAY + MINUTE + GRACE_US)
    pipeline.feed(Batch(tape(at(2, MONDAY + MINUTE - 1))))
    assert told(kept, "candle_complete", "candle_restated") == [
        ("candle_complete", "1m", 1),
        ("candle_restated", "1m", 0),
    ]
    assert pipeline.series["1m"].bar(MONDAY).trades == 2


def test_a_late_trade_of_an_empty_minute_restates_it_into_being(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY), at(9, MONDAY + 3 * MINUTE))))
    pipeline.feed(Batch(tape(at(5, MONDAY + MINUTE))))
    assert ("candle_restated", "1m", 1) in told(kept, "candle_restated")
    assert [start for start, _ in pipeline.bars("1m", 9)] == [
        MONDAY,
        MONDAY + MINUTE,
        MONDAY + 3 * MINUTE,
    ]


def test_stored_trades_are_never_late(pipeline):
    pipeline.advance(MONDAY + DAY_US)
    pipeline.feed(Batch(ids(1, 9)), is_stored=True)
    assert pipeline.counts.late == 0


def test_other_timeframes_are_folded_from_minutes(pipeline):
    pipeline.feed(Batch(ids(1, 200)))
    hours = pipeline.bars("1h", 99)
    assert [(start - MONDAY) // HOUR for start, _ in hours] == [0, 1, 2, 3]
    assert [bar.trades for _, bar in hours] == [60, 60, 60, 20]
    assert [bar.trades for _, bar in pipeline.bars("5m", 2)] == [5, 5]
    assert [start for start, _ in pipeline.bars("1w", 5)] == [MONDAY]
    assert pipeline.bars("1h", 2) == hours[-2:]
    assert pipeline.bars("1h", 0) == pipeline.bars("1m", 0) == []
    with pytest.raises(KeyError, match="7m"):
        pipeline.bars("7m", 1)


def test_a_folded_candle_whose_beginning_left_memory_is_not_shown(pipeline):
    pipeline.series["1m"].keep = 150
    pipeline.feed(Batch(ids(1, 200)))
    assert [(start - MONDAY) // HOUR for start, _ in pipeline.bars("1h", 99)] == [1, 2, 3]
    pipeline.feed(Batch(ids(201, 220, MONDAY + 200 * MINUTE)))
    assert [(start - MONDAY) // HOUR for start, _ in pipeline.bars("1h", 99)] == [2, 3]


# Sessions and days


def changes(kept):
    return [
        (event.detail.get("from", "roll"), event.detail.get("to"), (event.ts_us - MONDAY) / HOUR)
        for event in kept.events
        if event.kind in ("session_change", "day_roll")
    ]


def test_sessions_and_days_change_with_the_trades(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY + HOUR), at(2, MONDAY + 14 * HOUR))))
    pipeline.feed(Batch(tape(at(3, MONDAY + 25 * HOUR))))
    assert changes(kept) == [
        ("off", "london", 8),
        ("london", "off", 12),
        ("off", "overlap", 13),
        ("overlap", "off", 17),
        ("roll", None, 24),
    ]
    assert kept.of("session_change")[0].detail["until_us"] == MONDAY + 12 * HOUR


def test_sessions_change_with_the_clock_where_no_trade_comes(pipeline, kept):
    pipeline.advance(MONDAY + 8 * HOUR)
    assert changes(kept) == []
    pipeline.advance(MONDAY + 8 * HOUR + GRACE_US)
    assert changes(kept) == [("off", "london", 8)]


def test_the_first_trade_ever_changes_nothing(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY + 9 * HOUR))))
    assert changes(kept) == []


def test_time_that_goes_backwards_changes_nothing_twice(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY + 7 * HOUR), at(2, MONDAY + 8 * HOUR))))
    pipeline.feed(Batch(tape(at(3, MONDAY + 7 * HOUR))))
    pipeline.advance(MONDAY)
    pipeline.feed(Batch(tape(at(4, MONDAY + 8 * HOUR))))
    assert changes(kept) == [("off", "london", 8)]
    assert pipeline.watermark_us == MONDAY + 8 * HOUR


def test_every_day_that_passed_in_silence_is_told(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY))))
    pipeline.feed(Batch(tape(at(2, MONDAY + 10 * DAY_US))))
    assert len(kept.of("day_roll")) == 10


def test_a_time_years_ahead_is_not_told_day_by_day(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY))))
    pipeline.feed(Batch(tape(at(2, MONDAY + 70 * 366 * DAY_US))))
    assert len(kept.of("day_roll")) == 366


# Gaps


def gaps(kept):
    return [
        (event.kind, event.detail["first_id"], event.detail["last_id"])
        for event in kept.events
        if event.kind in ("gap", "gap_closed")
    ]


def test_a_jump_in_ids_is_a_gap_at_the_trade_that_jumped(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY), at(2, MONDAY + 5), at(6, MONDAY + 9))))
    event = kept.of("gap")[0]
    assert event.detail == {"first_id": 3, "last_id": 5, "reason": "sequence"}
    assert event.ts_us == MONDAY + 9


def test_every_jump_is_a_gap_of_its_own(pipeline, kept):
    pipeline.feed(Batch(ids(1, 3)))
    pipeline.feed(Batch(tape(at(5, MONDAY), at(6, MONDAY), at(9, MONDAY))))
    assert gaps(kept) == [("gap", 4, 4), ("gap", 7, 8)]


def test_a_gap_is_closed_by_the_last_of_its_ids_and_under_its_own_name(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY), at(12, MONDAY + MINUTE))))
    # From the left, from the right, from the middle: no part of it closes it.
    for first, last in ((2, 3), (11, 11), (6, 7), (4, 5), (8, 9)):
        pipeline.feed(Batch(ids(first, last), "rest"))
        assert gaps(kept) == [("gap", 2, 11)]
    pipeline.feed(Batch(tape(at(10, MONDAY + 7)), "rest"))
    assert gaps(kept) == [("gap", 2, 11), ("gap_closed", 2, 11)]
    assert kept.of("gap_closed")[0].ts_us == MONDAY + 7
    pipeline.feed(Batch(ids(1, 12)))
    assert len(gaps(kept)) == 2


def test_one_page_closes_several_gaps(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY), at(4, MONDAY), at(7, MONDAY))))
    pipeline.feed(Batch(ids(1, 9), "rest"))
    assert gaps(kept)[2:] == [("gap_closed", 2, 3), ("gap_closed", 5, 6)]


def test_older_trades_than_the_first_are_neither_gap_nor_closed(pipeline, kept):
    pipeline.feed(Batch(ids(100, 102)))
    pipeline.feed(Batch(ids(50, 59), "rest"))
    pipeline.feed(Batch(ids(60, 99), "rest"))
    assert gaps(kept) == []


def test_a_gap_between_stored_trades_is_closed_when_it_is_refilled(pipeline, kept):
    pipeline.feed(Batch(ids(1, 3)), is_stored=True)
    pipeline.feed(Batch(ids(6, 8)), is_stored=True)
    pipeline.feed(Batch(ids(4, 5), "rest"))
    assert gaps(kept) == [("gap_closed", 4, 5)]


def test_a_gap_that_the_venue_cannot_fill_is_closed_without_a_word(pipeline, kept):
    pipeline.feed(Batch(tape(at(1, MONDAY), at(4, MONDAY), at(8, MONDAY))))
    pipeline.lack([(2, 3), (5, 6)])
    # The rest of the second one comes, and only that was refilled.
    pipeline.feed(Batch(ids(7, 7), "rest"))
    assert gaps(kept)[2:] == [("gap_closed", 5, 7)]


# The grid


def test_a_finer_price_refines_the_grid_and_recounts_everything(pipeline, kept):
    pipeline.feed(Batch(ids(1, 70)))
    pipeline.feed(Batch(tape(at(71, MONDAY + HOUR, 100.001, 0.00005))))
    assert pipeline.instrument.grid == Grid(Decimal("0.001"), Decimal("0.00001"))
    assert kept.of("grid_refined")[0].detail == {"tick": "0.001", "lot": "0.00001"}
    snapshot = pipeline.context.snapshot(DAY, MONDAY)
    assert (snapshot.levels["HIGH"], snapshot.levels["LOW"]) == (100.001, 100.0)
    assert snapshot.volume == 70.00005
    assert pipeline.series["5m"].bar(MONDAY).open == 100_000


def test_sinks_hear_of_the_finer_grid_before_the_trades_on_it():
    class Grids(Kept):
        def trades(self, instrument, batch):
            self.batches.append(instrument.grid.tick)

    kept = Grids()
    Pipeline(MarketContext(BTC), [kept]).feed(Batch(tape(at(1, MONDAY, 1.005))))
    assert [event.kind for event in kept.events] == ["grid_refined"]
    assert kept.batches == [Decimal("0.001")]


@pytest.mark.parametrize(
    ("price", "qty", "message"),
    [
        (1e-13, 1.0, "price with at most 12 decimals"),
        (100.0, 1 / 3, "quantity with at most 12 decimals"),
        (100.0, 9e14, "quantity with at most 12 decimals and 15 digits"),
        (4e13, 8e11, r"below 2\*\*53 steps"),
        # Nine digits are enough for any venue's tick.
        (43000.123456, 1.0, "of a finer tick with at most nine digits, expected"),
        (9e11, 1.0, "rows of 0.1 apart expected"),
    ],
)
def test_what_cannot_be_counted_is_refused_and_leaves_everything_as_it_was(
    pipeline, kept, price, qty, message
):
    pipeline.feed(Batch(ids(1, 3)))
    before = pipeline.context.hash(DAY, MONDAY), pipeline.instrument, len(kept.events)
    with pytest.raises(OffGridError, match=message):
        pipeline.feed(Batch(tape(at(3, MONDAY), at(4, MONDAY), at(5, MONDAY, price, qty))))
    after = pipeline.context.hash(DAY, MONDAY), pipeline.instrument, len(kept.events)
    assert after == before
    assert 4 not in pipeline.context.held
    assert (pipeline.counts.trades, pipeline.counts.duplicates) == (3, 0)
    assert pipeline.feed(Batch(tape(at(4, MONDAY)))) == 1


def test_a_cheap_coin_has_as_many_decimals_as_it_needs():
    pepe = Instrument("binance_ws", "PEPEUSDT", Grid(Decimal("1E-8"), Decimal(1)))
    pipeline = Pipeline(MarketContext(pepe))
    pipeline.feed(Batch(tape(at(1, MONDAY, 0.00001234, 9_000_000.0))))
    pipeline.feed(Batch(tape(at(2, MONDAY, 0.0000123456, 1.0))))
    assert pipeline.instrument.grid.tick == Decimal("1E-10")
