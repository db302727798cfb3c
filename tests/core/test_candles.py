from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.candles import Candle, CandleSeries, candle
from marketdata.core.errors import BadInputError
from marketdata.core.instrument import Grid
from marketdata.core.timeframe import TIMEFRAMES
from tests.core.invented import GRID, MINUTE, MONDAY, counted, shuffled, steps, tapes

FIVE = TIMEFRAMES["5m"]


def bar(id, ticks=100, lots=1):
    return steps((id, ticks, lots)).bar


def series(keep=2880):
    return CandleSeries(MINUTE, keep)


def opens(bars):
    return [start for start, _ in bars]


def test_a_candle_is_its_bar_in_prices_and_quantities():
    both = steps((5, 4305522, 1500), (6, 4305499, -250)).bar
    assert candle(MONDAY, both, GRID) == Candle(
        open_us=MONDAY,
        open=43055.22,
        high=43055.22,
        low=43054.99,
        close=43054.99,
        volume=1.75,
        buy_volume=1.5,
        quote_volume=43055.22 * 1.5 + 43054.99 * 0.25,
        trades=2,
        first_id=5,
        last_id=6,
    )


def test_numbers_of_a_candle_are_rounded_once():
    lots, tick = 2717429903, 4305523
    total = steps((1, tick, lots)).bar
    made = candle(0, total, Grid(Decimal("0.01"), Decimal("0.00001")))
    assert made.volume == 27174.29903
    assert made.quote_volume == float(Decimal("0.0000001") * tick * lots)


@pytest.mark.parametrize(("length_us", "keep"), [(0, 10), (-MINUTE, 10), (MINUTE, 0)])
def test_a_series_without_length_or_room_is_refused(length_us, keep):
    with pytest.raises(BadInputError, match=f"seen {length_us} microseconds and {keep}"):
        CandleSeries(length_us, keep)


def test_an_interval_without_trades_has_no_candle():
    minutes = series()
    minutes.update([(MONDAY, bar(1)), (MONDAY + 3 * MINUTE, bar(2))])
    assert opens(minutes.bars()) == [MONDAY, MONDAY + 3 * MINUTE]
    assert minutes.bar(MONDAY + MINUTE) is None
    assert len(minutes) == 2


def test_a_candle_closes_when_time_passes_its_end_and_only_once():
    minutes = series()
    minutes.update([(MONDAY, bar(1)), (MONDAY + MINUTE, bar(2))])
    assert minutes.advance(MONDAY + MINUTE - 1) == []
    assert not minutes.is_closed(MONDAY)
    assert minutes.advance(MONDAY + MINUTE) == [MONDAY]
    assert minutes.is_closed(MONDAY)
    assert minutes.advance(MONDAY + MINUTE + 1) == []
    assert minutes.advance(MONDAY + 5 * MINUTE) == [MONDAY + MINUTE]


def test_time_never_opens_a_closed_candle_again():
    minutes = series()
    minutes.advance(MONDAY + MINUTE)
    assert minutes.advance(MONDAY) == []
    assert minutes.is_closed(MONDAY)


def test_a_late_trade_restates_a_closed_candle():
    minutes = series()
    minutes.update([(MONDAY, bar(5, ticks=100))])
    minutes.advance(MONDAY + MINUTE)
    assert minutes.update([(MONDAY, bar(4, ticks=90))]) == [MONDAY]
    restated = minutes.bar(MONDAY)
    assert (restated.open, restated.low, restated.close, restated.trades) == (90, 90, 100, 2)
    assert minutes.advance(MONDAY + 2 * MINUTE) == []


def test_a_trade_for_an_open_candle_restates_nothing():
    minutes = series()
    assert minutes.update([(MONDAY, bar(5))]) == []
    assert minutes.update([(MONDAY, bar(4))]) == []


def test_a_late_trade_of_an_empty_interval_makes_its_candle():
    minutes = series()
    minutes.advance(MONDAY + 10 * MINUTE)
    assert minutes.update([(MONDAY + MINUTE, bar(5)), (MONDAY, bar(4))]) == [
        MONDAY,
        MONDAY + MINUTE,
    ]
    assert opens(minutes.bars()) == [MONDAY, MONDAY + MINUTE]


def test_shorter_bars_are_folded_into_the_timeframe():
    five = CandleSeries(FIVE)
    five.update([(MONDAY + n * MINUTE, bar(n, ticks=100 + n)) for n in range(7)])
    assert opens(five.bars()) == [MONDAY, MONDAY + FIVE]
    assert five.bar(MONDAY).high == 104


def test_the_oldest_leave_first_and_the_series_says_since_when_it_is_whole():
    minutes = series(keep=3)
    minutes.update([(MONDAY + n * MINUTE, bar(n)) for n in range(3)])
    assert minutes.since_us == 0
    minutes.update([(MONDAY + n * MINUTE, bar(n)) for n in range(3, 5)])
    assert opens(minutes.bars()) == [MONDAY + n * MINUTE for n in (2, 3, 4)]
    assert minutes.since_us == MONDAY + 2 * MINUTE
    assert minutes.advance(MONDAY + 9 * MINUTE) == [MONDAY + n * MINUTE for n in (2, 3, 4)]


def test_a_late_trade_of_a_candle_that_left_brings_back_no_part_of_it():
    minutes = series(keep=2)
    minutes.update([(MONDAY + n * MINUTE, bar(n)) for n in range(4)])
    minutes.advance(MONDAY + 9 * MINUTE)
    assert minutes.update([(MONDAY, bar(99))]) == []
    assert minutes.bar(MONDAY) is None
    assert opens(minutes.bars()) == [MONDAY + 2 * MINUTE, MONDAY + 3 * MINUTE]


def test_the_newest_are_given_oldest_first():
    minutes = series()
    minutes.update([(MONDAY + n * MINUTE, bar(n)) for n in (2, 0, 1)])
    assert opens(minutes.bars(2)) == [MONDAY + MINUTE, MONDAY + 2 * MINUTE]
    assert opens(minutes.bars(0)) == []
    assert len(minutes.bars(99)) == 3


def test_a_bar_handed_in_is_not_changed_later():
    first = bar(1)
    minutes = series()
    minutes.update([(MONDAY, first)])
    minutes.update([(MONDAY, bar(2))])
    assert first == bar(1)


def test_a_finer_grid_recounts_all():
    minutes = series()
    minutes.update([(MONDAY, bar(1, ticks=100, lots=7))])
    minutes.scale(10, 100)
    assert minutes.bar(MONDAY) == bar(1, ticks=1000, lots=700)


@given(
    trades=tapes(span_us=30 * MINUTE),
    sizes=st.lists(st.integers(0, 9), max_size=9),
    order=st.integers(),
)
def test_any_split_and_order_gives_the_same_candles(trades, sizes, order):
    whole, split = CandleSeries(FIVE), CandleSeries(FIVE)
    whole.update(counted(trades).bars(MINUTE))
    for part in shuffled(trades, sizes, order):
        split.update(counted(part).bars(MINUTE))
    assert split.bars() == whole.bars()
