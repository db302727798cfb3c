"""History: which ticks and candles come back."""

import pytest

from marketdata.core.trades import Trades
from marketdata.simulator.server import Simulator
from marketdata.simulator.tape import RecordedMarket
from tests.simulator.conftest import at_us
from tests.simulator.deriv.conftest import LEGACY, NOW

DAY, YEAR = 86_400, 365 * 86_400


def ticks(one, symbol="R_100", **asked):
    told = one.ask(ticks_history=symbol, **asked)
    assert told["msg_type"] == "history"
    return told["history"]["times"], told["history"]["prices"]


def candles(one, symbol="R_100", **asked):
    told = one.ask(ticks_history=symbol, style="candles", **asked)
    assert told["msg_type"] == "candles"
    return told["candles"]


def folded(times, prices, length):
    """Fold ticks into candles, one by one."""
    found = {}
    for time, price in zip(times, prices, strict=True):
        bar = found.setdefault(time - time % length, [price, price, price, price])
        bar[1], bar[2], bar[3] = max(bar[1], price), min(bar[2], price), price
    names = ("open", "high", "low", "close")
    return [{"epoch": at, **dict(zip(names, bar, strict=True))} for at, bar in found.items()]


def test_the_latest_ticks_oldest_first(venue, talk):
    one = talk(venue)
    times, prices = ticks(one, end="latest", count=4)
    assert times == [NOW - 7, NOW - 5, NOW - 3, NOW - 1]  # even seconds; NOW is odd
    assert ticks(one, end="latest", count=2) == (times[2:], prices[2:])
    told = one.ask(ticks_history="R_50", end="latest", count=1)
    assert told["pip_size"] == 4


@pytest.mark.parametrize(
    ("asked", "count"), [({}, 1000), ({"count": 5000}, 5000), ({"count": 10_000}, 5000)]
)
def test_how_many(venue, talk, asked, count):
    times, _ = ticks(talk(venue), end="latest", **asked)
    assert len(times) == count


def test_the_newest_that_match_win(venue, talk):
    one = talk(venue)
    start, end = NOW - 1001, NOW - 501
    times, _ = ticks(one, start=start, end=str(end), count=3)
    assert times == [end - 4, end - 2, end]
    times, _ = ticks(one, start=start, end=str(end))
    assert (times[0], times[-1], len(times)) == (start, end, 251)


def test_nothing_is_of_the_future(venue, talk):
    one = talk(venue)
    times, _ = ticks(one, end=str(NOW + 1000), count=1)
    assert times == [NOW - 1]
    assert ticks(one, start=NOW + 10, end="latest") == ([], [])


def test_pages_back_meet_without_hole_or_overlap(venue, talk):
    one = talk(venue)
    whole, _ = ticks(one, "cryBTCUSD", end="latest", count=300)
    paged, end = [], "latest"
    while len(paged) < 300:
        page, _ = ticks(one, "cryBTCUSD", start=NOW - DAY, end=end, count=100)
        paged, end = page + paged, str(page[0] - 1)
    assert paged == whole


def test_ticks_go_a_day_back_unless_told(venue, talk):
    end = NOW - 30 * DAY
    times, _ = ticks(talk(venue), "1HZ100V", end=str(end), count=5000)
    assert (times[0], times[-1]) == (end - 4999, end)


def test_candles_are_what_the_ticks_say(venue, talk):
    one = talk(venue)
    start = NOW - 601 - (NOW - 601) % 60
    for symbol in ("cryBTCUSD", "1HZ100V"):
        expected = folded(*ticks(one, symbol, start=start, end="latest"), 60)
        assert candles(one, symbol, start=start, end="latest", granularity=60) == expected
        assert candles(one, symbol, end="latest", count=4, granularity=60) == expected[-4:]
        # The last one is under way, and an end in its middle cuts it.
        cut = candles(one, symbol, start=start, end=str(start + 90))
        assert cut == folded(*ticks(one, symbol, start=start, end=str(start + 90)), 60)


def test_candles_of_many_chunks_are_those_of_one(venue, talk):
    one = talk(venue)
    hours = candles(one, end="latest", count=200, granularity=3600)
    assert [bar["epoch"] for bar in hours] == [
        NOW // 3600 * 3600 - 3600 * n for n in range(199, -1, -1)
    ]
    last = candles(one, end="latest", count=2, granularity=3600)
    assert hours[-2:] == last
    early = hours[40]
    assert candles(one, end=str(early["epoch"] + 3599), count=1, granularity=3600) == [early]


def test_the_first_candle_begins_in_the_middle_where_the_range_does(venue, talk):
    one, legacy = talk(venue), talk(venue, LEGACY)
    start = NOW // 60 * 60 - 150
    found = candles(one, start=start, end="latest", granularity=60)
    assert [bar["epoch"] for bar in found] == [start, start + 30, start + 90, start + 150]
    aligned = candles(legacy, start=start, end="latest", granularity=60)
    assert [bar["epoch"] for bar in aligned] == [start - 30, start + 30, start + 90, start + 150]


def test_days_of_more_than_a_year_begin_a_year_ago_in_the_middle_of_one(venue, talk):
    one, first = talk(venue), NOW - YEAR
    found = candles(one, start=0, end=str(first + 2 * DAY), count=5000, granularity=DAY)
    midnight = first - first % DAY
    assert [bar["epoch"] for bar in found] == [first, midnight + DAY, midnight + 2 * DAY]


def test_beyond_a_year_legacy_tells_the_latest_without_a_word(venue, talk):
    old = {"start": NOW - YEAR - 5000, "end": str(NOW - YEAR - 1000), "count": 3}
    assert ticks(talk(venue), **old) == ([], [])
    times, _ = ticks(talk(venue, LEGACY), **old)
    assert times == [NOW - 5, NOW - 3, NOW - 1]


def test_a_range_that_begins_too_early_begins_where_history_does(venue, talk):
    old = {"start": NOW - YEAR - 5000, "end": str(NOW - YEAR + 10)}
    times, _ = ticks(talk(venue), **old)
    assert times == [NOW - YEAR + 1 + 2 * n for n in range(5)]


def test_a_recorded_tape_is_told_as_it_is(dial, talk):
    base = at_us("2026-04-03T11:58:00")
    tape = Trades.of(
        range(6),
        [base + second * 1_000_000 for second in (50, 52, 58, 60, 62, 118)],
        [619.51, 619.17, 620.0, 618.0, 618.5, 618.25],
        [1.0] * 6,
        [True] * 6,
    )
    with Simulator({"deriv": [RecordedMarket("R_100", tape, 0.0)]}) as simulator:
        one = talk(simulator)
        first = one.ask(ticks="R_100", subscribe=1)["tick"]
        assert (first["quote"], first["epoch"]) == (619.51, base // 1_000_000 + 50)
        got = [one.next()["tick"]["quote"] for _ in range(5)]
        assert got == [619.17, 620.0, 618.0, 618.5, 618.25]
        minute = base // 1_000_000
        assert candles(one, end="latest", granularity=60) == [
            {"epoch": minute, "open": 619.51, "high": 620.0, "low": 619.17, "close": 620.0},
            {"epoch": minute + 60, "open": 618.0, "high": 618.5, "low": 618.0, "close": 618.25},
        ]
