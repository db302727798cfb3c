"""`/api/trades` and `/api/strategy/events`: newest, paged, since, live and stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Instrument
from marketdata.store import instruments
from tests.api.house import BTC, ETH, GRID, NEW_YEAR_US, House, trades

Get = Callable[..., Any]


@pytest.fixture
def stored(house: House) -> House:
    """A house with ids 1 to 1200 stored, one a second."""
    house.open()
    house.feed(trades(1, [(n, 100 + n / 100, n / 1000, n % 3 == 0) for n in range(1, 1201)]))
    house.store()
    return house


def ids(answer: dict[str, Any]) -> list[int]:
    return [trade["trade_id"] for trade in answer["trades"]]


def test_the_newest_trades_come_ascending(stored: House, get: Get) -> None:
    answer = get("/api/trades")
    assert (answer["source"], answer["symbol"]) == BTC
    assert ids(answer) == list(range(1101, 1201))
    assert answer["trades"][-1] == {
        "trade_id": 1200,
        "time": "2024-01-01T00:20:00.000Z",
        "price": 112.0,
        "qty": 1.2,
        "is_buy": True,
        "venue_id": None,
    }
    assert ids(get("/api/trades", limit=1)) == [1200]


def test_pages_go_on_after_an_id_until_there_are_no_more(stored: House, get: Get) -> None:
    seen: list[int] = []
    while page := ids(get("/api/trades", limit=500, after_id=seen[-1] if seen else 0)):
        seen += page
    assert seen == list(range(1, 1201))


def test_nothing_stored_yet_is_no_trades(house: House, get: Get) -> None:
    assert get("/api/trades")["trades"] == []
    house.open()
    assert get("/api/trades")["trades"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": 10**9},
        {"limit": "all"},
        {"after_id": -1},
        {"after_id": 2**51},
        {"after_id": 10**30},
        {"after_id": "x"},
    ],
)
def test_limits_are_kept_and_the_parameter_named(
    house: House, get: Get, query: dict[str, Any]
) -> None:
    answer = get("/api/trades", 422, **query)
    assert answer["detail"][0]["loc"] == ["query", next(iter(query))]


def test_unknown_names(house: House, get: Get) -> None:
    assert get("/api/trades", 404, symbol="DOGE")["known"] == ["BTCUSDT"]
    assert get("/api/trades", 404, source="nasdaq")["known"] == ["binance_ws"]
    assert get("/api/strategy/events", 404, symbol="DOGE")["known"] == ["BTCUSDT"]


# Events


def kinds(answer: dict[str, Any]) -> list[str]:
    return [event["kind"] for event in answer["events"]]


def test_events_of_now_and_of_earlier_runs_are_one_list(database: None, get: Get) -> None:
    with House(seconds=1000) as house:
        house.open()
        house.feed(trades(1, [(10, 100.0, 1.0, True)]))
        house.feed(trades(4, [(20, 100.0, 1.0, True)]))
        house.store()
    with House(seconds=9 * 3600) as house:
        house.open()
        house.restore()
        house.feed(trades(9, [(8 * 3600 + 5, 100.0, 1.0, True)]))
        # Stored or not, the new ones come once.
        for _ in range(2):
            answer = get("/api/strategy/events")
            assert kinds(answer) == ["gap", "session_change", "gap"]
            house.store()
        newest = answer["events"][0]
        assert newest["ts"] == "2024-01-01T08:00:05.000Z"
        assert newest["detail"] == {"first_id": 5, "last_id": 8, "reason": "sequence"}
        assert kinds(get("/api/strategy/events", limit=1)) == ["gap"]
    # Where nothing runs, what is stored is known all the same.
    assert kinds(get("/api/strategy/events", symbol="BTCUSDT"))[-1] == "gap"


def test_events_since_a_time(house: House, get: Get) -> None:
    house.open()
    instrument = Instrument(*BTC, GRID)
    for minute in range(5):
        event = Event("noise", NEW_YEAR_US + minute * 60_000_000, {"minute": minute})
        house.tape.event(instrument, event)
    for since in (
        "2024-01-01T00:03:00Z",
        "2024-01-01T00:03:00",
        "2024-01-01T01:03:00+01:00",
        "2024-01-01T00:02:00.000001Z",
        NEW_YEAR_US + 180_000_000,
    ):
        answer = get("/api/strategy/events", since=since)
        assert [event["detail"]["minute"] for event in answer["events"]] == [4, 3]
    assert len(get("/api/strategy/events", since="2024-01-01")["events"]) == 5


def test_events_of_another_instrument_are_not_mixed_in(house: House, get: Get) -> None:
    house.open()
    other = instruments.remember(*ETH, GRID)
    house.writer.put_events(other.id, [Event("gap", NEW_YEAR_US, {"first_id": 1})])
    assert house.writer.flush()
    house.tape.event(Instrument(*ETH, GRID), Event("day_roll", NEW_YEAR_US))
    assert kinds(get("/api/strategy/events")) == []
    assert kinds(get("/api/strategy/events", symbol="ETHUSDT")) == ["day_roll", "gap"]


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"since": "1969-12-31"},
        {"since": "9" * 30},
        {"since": "-5"},
        {"since": "２０２４"},
        {"limit": 501},
    ],
)
def test_a_malformed_question_about_events_is_named(
    house: House, get: Get, query: dict[str, Any]
) -> None:
    answer = get("/api/strategy/events", 422, **query)
    assert answer["detail"][0]["loc"] == ["query", next(iter(query))]


def test_sessions_of_the_day(database: None, get: Get) -> None:
    with House(seconds=14 * 3600) as house:
        house.open()
        sessions = get("/api/sessions")["sessions"]
        assert [(item["name"], item["active"]) for item in sessions] == [
            ("london", False),
            ("overlap", True),
        ]
        assert sessions[1]["start"] == "2024-01-01T13:00:00.000Z"
        instrument = instruments.remember(*ETH, GRID)
        house.writer.put_trades(instrument.id, Batch(trades(1, [(9 * 3600, 1.0, 1.0, True)])))
        assert house.writer.flush()
        # A stored instrument's present is its last trade's.
        sessions = get("/api/sessions", symbol="ETHUSDT")["sessions"]
        assert [item["name"] for item in sessions if item["active"]] == ["london"]
