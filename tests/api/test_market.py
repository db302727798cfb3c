"""`/api/market` and `/api/readings`: what venues tell besides trades."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from marketdata.core.facts import BookUpdate, Level, Liquidation, Mark, Quote
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.tickers import Tickers
from marketdata.models import Reading
from marketdata.store import instruments
from marketdata.venues import VENUES
from tests.api.house import GRID, NEW_YEAR_US, House, until

Get = Callable[..., Any]
PERP = ("binance_futures", "BTCUSDT")
NOW_US = NEW_YEAR_US + 3_600_000_000
SECOND_US = 1_000_000
BOOK: tuple[list[Level], list[Level]] = ([(100.0, 3.0), (99.0, 1.0)], [(101.0, 1.0), (102.0, 1.0)])


@pytest.fixture
def house(database: None) -> Iterator[House]:
    """A house that follows a contract, and knows nothing of it yet."""
    with House([PERP]) as made:
        made.live.tickers[PERP[0]] = Tickers(made.writer, lambda symbol: None)
        yield made


@pytest.fixture
def tickers(house: House) -> Tickers:
    return house.live.tickers[PERP[0]]


@pytest.fixture
def keeper(house: House) -> Iterator[BookKeeper]:
    depth = VENUES[PERP[0]].depth
    assert depth is not None
    made = BookKeeper(PERP[0], depth, [PERP[1]], snapshot=lambda symbol: update(10, *BOOK))
    house.live.books[PERP[0]] = made
    made.start()
    yield made
    made.stop()


def update(last: int, bids: list[Level], asks: list[Level], prev: int = -1) -> BookUpdate:
    return BookUpdate(last, last, prev, NOW_US, bids, asks, is_snapshot=prev < 0)


def remember() -> int:
    return instruments.remember(*PERP, GRID).id


def test_nothing_is_said_of_what_is_not_known(house: House, get: Get) -> None:
    answer = get("/api/market")
    assert (answer["symbol"], answer["source"]) == ("BTCUSDT", "binance_futures")
    assert answer["as_of"] == "2024-01-01T01:00:00.000Z"
    assert answer["liquidations"] == []
    reason = "no book of BTCUSDT at binance_futures is kept in this process"
    assert answer["book"] == {"kept": False, "synced": False, "reason": reason, "age_ms": None}
    told = {"symbol", "source", "as_of", "liquidations", "book", "imbalance_levels", "ofi_window_s"}
    assert {name for name, value in answer.items() if value is not None} == told


def test_a_mark_comes_with_its_basis_and_the_time_to_funding(tickers: Tickers, get: Get) -> None:
    """42,063 over 42,000 is 0.15 % more; the mark is 2.5 s old, funding 90 s away."""
    tickers.take(
        [
            (PERP[1], Mark(NOW_US - 5 * SECOND_US, funding_rate=0.0001, open_interest=812.5)),
            (
                PERP[1],
                Mark(
                    NOW_US - 2_500_000,
                    mark=42_063.0,
                    index=42_000.0,
                    next_funding_us=NOW_US + 90 * SECOND_US,
                ),
            ),
        ]
    )
    answer = get("/api/market")
    assert answer["basis"] == pytest.approx(0.0015, abs=1e-15)
    assert (answer["mark"], answer["index"], answer["open_interest"]) == (42_063.0, 42_000.0, 812.5)
    assert (answer["mark_time"], answer["mark_age_ms"]) == ("2024-01-01T00:59:57.500Z", 2500)
    assert (answer["funding_rate"], answer["funding_in_s"]) == (0.0001, 90)
    assert answer["next_funding"] == "2024-01-01T01:01:30.000Z"


def test_a_funding_that_is_over_is_not_the_next_one(tickers: Tickers, get: Get) -> None:
    tickers.take([(PERP[1], Mark(NOW_US - SECOND_US, next_funding_us=NOW_US))])
    answer = get("/api/market")
    assert (answer["next_funding"], answer["funding_in_s"]) == (None, None)


def test_the_book_in_step_is_the_top(tickers: Tickers, keeper: BookKeeper, get: Get) -> None:
    """Microprice (101·3 + 100·1) / 4; imbalance (4 − 2) / 6. A quote says less than the book."""
    tickers.take([(PERP[1], Quote(9, NOW_US, 1.0, 1.0, 2.0, 1.0))])
    keeper.put(PERP[1], update(10, [], [], prev=9))
    keeper.put(PERP[1], update(11, [], [], prev=10))
    until(lambda: keeper.statuses()[0].is_synced)
    answer = get("/api/market")
    assert answer["book"].pop("age_ms") < 60_000
    assert answer["book"] == {"kept": True, "synced": True, "reason": None}
    assert (answer["top_from"], answer["top_time"]) == ("book", "2024-01-01T01:00:00.000Z")
    top = {name: answer[name] for name in ("bid", "bid_qty", "ask", "ask_qty", "spread", "mid")}
    assert top == {"bid": 100, "bid_qty": 3, "ask": 101, "ask_qty": 1, "spread": 1, "mid": 100.5}
    assert answer["microprice"] == 100.75
    assert answer["imbalance"] == pytest.approx(1 / 3)
    assert (answer["bid_depth"], answer["ask_depth"]) == (4.0, 2.0)


def test_out_of_step_a_fresh_quote_is_the_top(
    tickers: Tickers, keeper: BookKeeper, get: Get
) -> None:
    tickers.take([(PERP[1], Quote(9, NOW_US - 10 * SECOND_US, 100.0, 3.0, 101.0, 1.0))])
    answer = get("/api/market")
    assert answer["book"]["reason"] == "no update has come yet"
    assert (answer["book"]["kept"], answer["book"]["synced"]) == (True, False)
    assert (answer["top_from"], answer["top_time"]) == ("quote", "2024-01-01T00:59:50.000Z")
    assert (answer["bid"], answer["ask"], answer["microprice"]) == (100.0, 101.0, 100.75)
    # What only a book can tell.
    assert [answer[name] for name in ("imbalance", "bid_depth", "ofi")] == [None] * 3


@pytest.mark.parametrize("quoted_us", [NOW_US - 10 * SECOND_US - 1, 0])
def test_a_quote_that_is_old_or_of_no_known_time_is_not_shown(
    tickers: Tickers, get: Get, quoted_us: int
) -> None:
    tickers.take([(PERP[1], Quote(9, quoted_us, 100.0, 3.0, 101.0, 1.0))])
    answer = get("/api/market")
    assert [answer[name] for name in ("top_from", "bid", "ask", "spread")] == [None] * 4


def test_liquidations_come_newest_first_and_say_that_they_are_a_sample(
    tickers: Tickers, get: Get
) -> None:
    told = [Liquidation(NOW_US + n, 100.0 + n, 2.0, n % 2 == 0, True) for n in range(12)]
    tickers.take([(PERP[1], item) for item in told])
    answer = get("/api/market")["liquidations"]
    assert [item["price"] for item in answer] == [111.0 - n for n in range(10)]
    newest = answer[0]
    assert (newest["qty"], newest["is_buy"], newest["is_sample"]) == (2.0, False, True)


@pytest.fixture
def series(house: House) -> int:
    """Three rates paid, one open interest and two liquidations of one moment, as stored."""
    instrument_id = remember()
    kind = Reading.Kind
    rows = [
        (kind.FUNDING, 1, 0, 0.0001, {}),
        (kind.FUNDING, 2, 0, -0.0002, {}),
        (kind.FUNDING, 3, 0, 0.0003, {}),
        (kind.OPEN_INTEREST, 2, 0, 90_000.5, {}),
        (kind.LIQUIDATION, 5, 0, -1.5, {"price": 100.0, "sample": False}),
        (kind.LIQUIDATION, 5, 1, 2.5, {"price": 101.0, "sample": False}),
    ]
    for name, seconds, number, value, detail in rows:
        Reading.objects.create(
            instrument_id=instrument_id, kind=name, ts_us=NEW_YEAR_US + seconds * SECOND_US,
            number=number, value=value, detail=detail,
        )  # fmt: skip
    return instrument_id


def test_a_series_comes_newest_first(series: int, get: Get) -> None:
    answer = get("/api/readings", kind="funding", limit=2)
    assert (answer["kind"], answer["symbol"]) == ("funding", "BTCUSDT")
    nothing = {"price": None, "is_sample": None}
    assert answer["readings"] == [
        {"time": "2024-01-01T00:00:03.000Z", "value": 0.0003, **nothing},
        {"time": "2024-01-01T00:00:02.000Z", "value": -0.0002, **nothing},
    ]


def test_liquidations_that_sold_are_below_zero(series: int, get: Get) -> None:
    answer = get("/api/readings", kind="liquidation")["readings"]
    assert [(row["value"], row["price"], row["is_sample"]) for row in answer] == [
        (2.5, 101.0, False),
        (-1.5, 100.0, False),
    ]


def test_what_the_stream_does_not_tell_comes_from_the_series(series: int, get: Get) -> None:
    answer = get("/api/market")
    assert answer["open_interest"] == 90_000.5
    assert answer["open_interest_time"] == "2024-01-01T00:00:02.000Z"
    assert answer["funding_paid"] == {"time": "2024-01-01T00:00:03.000Z", "rate": 0.0003}
    assert answer["funding_rate"] is None
    newest = answer["liquidations"][0]
    assert (newest["price"], newest["qty"], newest["is_buy"]) == (101.0, 2.5, True)


def test_a_series_of_which_nothing_is_stored_is_empty(house: House, get: Get) -> None:
    assert get("/api/readings", kind="open_interest")["readings"] == []


def test_names_nobody_knows_and_kinds_there_are_not_are_refused(house: House, get: Get) -> None:
    assert get("/api/market", 404, symbol="DOGE")["known"] == ["BTCUSDT"]
    assert get("/api/readings", 404, source="kraken")["known"] == ["binance_futures"]
    assert get("/api/readings", 422, kind="tides")["detail"][0]["loc"][-1] == "kind"
    assert get("/api/readings", 422, limit=0)["detail"][0]["loc"][-1] == "limit"


def test_where_nothing_runs_what_is_stored_is_told(database: None, get: Get) -> None:
    Reading.objects.create(
        instrument_id=remember(), kind="funding", ts_us=NEW_YEAR_US, value=0.0001
    )
    answer = get("/api/market")
    assert answer["funding_paid"] == {"time": "2024-01-01T00:00:00.000Z", "rate": 0.0001}
    assert (answer["as_of"], answer["mark"], answer["bid"]) == (None, None, None)
