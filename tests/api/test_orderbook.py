"""`/api/orderbook`: levels and metrics of a book in step, and a refusal while it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from marketdata.core.facts import BookUpdate
from marketdata.feeds.books import BookKeeper
from marketdata.venues import VENUES
from tests.api.house import BTC, ETH, House, until
from tests.api.test_openapi import answer_of, check

Get = Callable[..., Any]
TS_US = 1_704_070_800_123_000  # 2024-01-01T01:00:00.123Z
BIDS = [(100.0, 5.0), (99.5, 3.0), (99.0, 2.0)]
ASKS = [(101.0, 4.0), (101.5, 1.0), (103.0, 5.0)]


def update(last: int, bids: list[Any], asks: list[Any], *, is_snapshot: bool = False) -> BookUpdate:
    return BookUpdate(last, last, -1, TS_US, bids, asks, is_snapshot)


@pytest.fixture
def keeper(database: None) -> Iterator[BookKeeper]:
    """A keeper of the house's book of BTCUSDT; ETHUSDT has none."""
    depth = VENUES[BTC[0]].depth
    assert depth is not None
    made = BookKeeper(
        BTC[0],
        depth,
        [BTC[1]],
        snapshot=lambda symbol: update(10, BIDS, ASKS, is_snapshot=True),
    )
    with House([BTC, ETH, ("binance_futures", "BTCUSDT")]) as house:
        house.live.books[BTC[0]] = made
        made.start()
        yield made
        made.stop()
        assert not made.is_alive()


@pytest.fixture
def whole(keeper: BookKeeper) -> BookKeeper:
    """The same, in step: update 11 grew the best bid by three and cut the best ask by one."""
    keeper.put(BTC[1], update(10, [], []))
    until(lambda: keeper.statuses()[0].is_synced)
    keeper.put(BTC[1], update(11, [(100.0, 8.0)], [(101.0, 3.0)]))
    until(lambda: keeper.view(BTC[1]).view.update_id == 11)
    return keeper


def test_a_book_comes_with_what_it_says(whole: BookKeeper, get: Get) -> None:
    answer = get("/api/orderbook")
    assert 0 <= answer.pop("age_ms") < 60_000
    assert answer == {
        "symbol": "BTCUSDT",
        "source": "binance_ws",
        "synced": True,
        "sequence": 11,
        "time": "2024-01-01T01:00:00.123Z",
        "bids": [[100.0, 8.0], [99.5, 3.0], [99.0, 2.0]],
        "asks": [[101.0, 3.0], [101.5, 1.0], [103.0, 5.0]],
        "levels_known": 3,
        "spread": 1.0,
        "mid": 100.5,
        # (101 · 8 + 100 · 3) / 11
        "microprice": pytest.approx(1108 / 11),
        # (13 − 9) / 22
        "imbalance": pytest.approx(4 / 22),
        "imbalance_levels": 10,
        "bid_depth": 13.0,
        "ask_depth": 9.0,
        "ofi": 4.0,
        "ofi_window_s": 60,
    }


def test_an_answer_is_what_the_schema_says(whole: BookKeeper, get: Get) -> None:
    schema = get("/api/openapi.json")
    check(get("/api/orderbook"), answer_of(schema, "/api/orderbook", 200), schema)


def test_no_more_levels_come_than_are_asked_for(whole: BookKeeper, get: Get) -> None:
    answer = get("/api/orderbook", symbol="BTCUSDT", source="binance_ws", depth=1)
    assert (answer["bids"], answer["asks"]) == ([[100.0, 8.0]], [[101.0, 3.0]])
    # What is summed stays the same.
    assert (answer["bid_depth"], answer["imbalance_levels"]) == (13.0, 10)


def test_an_empty_side_is_null_where_it_matters(whole: BookKeeper, get: Get) -> None:
    whole.put(BTC[1], update(12, [], [(price, 0.0) for price, _ in ASKS]))
    until(lambda: whole.view(BTC[1]).view.update_id == 12)
    answer = get("/api/orderbook")
    unknown = [answer[name] for name in ("spread", "mid", "microprice")]
    assert (answer["asks"], unknown, answer["imbalance"]) == ([], [None] * 3, 1.0)


def test_a_book_out_of_step_is_refused_without_any_level(whole: BookKeeper, get: Get) -> None:
    whole.ended([BTC[1]])
    until(lambda: not whole.statuses()[0].is_synced)
    answer = get("/api/orderbook", 503)
    assert answer == {"detail": "the connection ended", "synced": False}


def test_a_book_of_which_nothing_was_heard_is_refused(keeper: BookKeeper, get: Get) -> None:
    answer = get("/api/orderbook", 503)
    assert answer == {"detail": "no update has come yet", "synced": False}


@pytest.mark.parametrize(
    ("source", "symbol"), [("binance_ws", "ETHUSDT"), ("binance_futures", "BTCUSDT")]
)
def test_where_no_book_is_kept_that_is_said(
    keeper: BookKeeper, get: Get, source: str, symbol: str
) -> None:
    answer = get("/api/orderbook", 503, source=source, symbol=symbol)
    detail = f"no book of {symbol} at {source} is kept in this process"
    assert answer == {"detail": detail, "synced": False}


def test_names_nobody_knows_are_answered_with_those_known(keeper: BookKeeper, get: Get) -> None:
    answer = get("/api/orderbook", 404, symbol="DOGEUSDT")
    assert answer["known"] == ["BTCUSDT", "ETHUSDT"]
    assert get("/api/orderbook", 404, source="kraken")["known"] == ["binance_futures", "binance_ws"]


@pytest.mark.parametrize("depth", [0, -1, 1001, "deep"])
def test_a_depth_that_is_none_is_refused_by_name(get: Get, depth: object) -> None:
    answer = get("/api/orderbook", 422, depth=depth)
    assert answer["detail"][0]["loc"][-1] == "depth"
