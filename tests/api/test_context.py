"""`/api/context`: every field, every way to ask, live and stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from marketdata import rebuild
from marketdata.context import PreviousDay
from marketdata.core.events import Batch
from marketdata.core.trades import Trades
from marketdata.store import instruments
from tests.api.house import BTC, DAY_US, ETH, GRID, NEW_YEAR_US, House, line, trades, until

Get = Callable[..., Any]

# Worked by hand below: four trades of 5.0, bought 3.0, sold 2.0.
FOUR = [(10, 100.00, 1.0, True), (20, 100.10, 2.0, False), (70, 100.05, 0.5, True)]
FOUR += [(130, 100.20, 1.5, True)]


def four() -> Trades:
    return trades(1, FOUR)


def test_every_field_of_the_contract_is_there_and_right(house: House, get: Get) -> None:
    house.open()
    house.feed(four())
    answer = get("/api/context")
    assert (answer["source"], answer["symbol"]) == BTC
    assert answer["scope"] == "day"
    assert answer["as_of"] == "2024-01-01T01:00:00.000Z"
    assert answer["session"] == {
        "name": "off",
        "start": "2024-01-01T00:00:00.000Z",
        "end": "2024-01-01T08:00:00.000Z",
        "active": False,
        "message": "Off hours, London opens in 7 h 00 min",
    }
    levels = answer["levels"]
    # 100 * 1 + 100.1 * 2 + 100.05 * 0.5 + 100.2 * 1.5 = 500.525
    assert levels.pop("VWAP") == pytest.approx(100.105, rel=1e-12)
    # (0.105² * 1 + 0.005² * 2 + 0.055² * 0.5 + 0.095² * 1.5) / 5 = 0.005225
    assert levels.pop("VWAP_SD") == pytest.approx(0.005225**0.5, rel=1e-9)
    # Rows of 0.1 from 100.0: 1.5, 2.0, 1.5. The area takes the upper of two equal neighbours.
    assert levels == {
        "POC": 100.1,
        "VAH": 100.2,
        "VAL": 100.1,
        "PDH": None,
        "PDL": None,
        "PDC": None,
        "OPEN": 100.0,
        "HIGH": 100.2,
        "LOW": 100.0,
        "LAST": 100.2,
    }
    assert answer["volume_profile"] == [
        {"price": 100.0, "volume": 1.5, "buy_vol": 1.5, "sell_vol": 0.0},
        {"price": 100.1, "volume": 2.0, "buy_vol": 0.0, "sell_vol": 2.0},
        {"price": 100.2, "volume": 1.5, "buy_vol": 1.5, "sell_vol": 0.0},
    ]
    assert (answer["volume"], answer["buy_volume"], answer["sell_volume"]) == (5.0, 3.0, 2.0)
    # The running delta is 1, -1, -0.5, 1.
    assert answer["cumulative_delta"] == 1.0
    assert (answer["delta_min"], answer["delta_max"]) == (-1.0, 1.0)
    assert answer["trades"] == 4
    assert answer["coverage"] == {
        "expected": 4,
        "held": 4,
        "missing": 0,
        "holes": 0,
        "left_out": 0,
        "ratio": 1.0,
        "proof": "id_exact",
        "edges": "venue",
        "has_first": True,
        "ranges": [],
        "exchange_side": [],
        "sources": {"live": 4},
    }
    definition = answer["definition"]
    assert definition["value_area_rule"] == "two_row"
    assert definition["value_area_pct"] == 0.7
    assert definition["profile_tick_size"] == 0.1
    assert definition["anchor"] == "2024-01-01T00:00:00.000Z"
    assert answer["precision"] == "exact"
    assert (answer["simulated"], answer["mode"]) == (False, "live")
    assert answer["health"] == {"state": "live", "data_age_ms": 40}


def test_an_empty_scope_has_no_levels_and_no_rows(house: House, get: Get) -> None:
    house.open()
    house.feed(four())
    answer = get("/api/context", scope="london")
    assert set(answer["levels"].values()) == {None}
    assert answer["volume_profile"] == []
    assert (answer["volume"], answer["delta_min"], answer["delta_max"]) == (0.0, 0.0, 0.0)
    assert answer["coverage"]["ratio"] is None
    assert answer["last_trade_at"] is None


def test_levels_of_the_day_before_tell_where_they_are_from(house: House, get: Get) -> None:
    pipeline = house.open()
    previous = PreviousDay(110.0, 90.0, 95.5, "klines")
    house.flow.ask(lambda: pipeline.context.set_previous(NEW_YEAR_US - DAY_US, previous))
    house.feed(four())
    answer = get("/api/context")
    assert [answer["levels"][name] for name in ("PDH", "PDL", "PDC")] == [110.0, 90.0, 95.5]
    assert answer["definition"]["previous_day"] == "klines"


@pytest.mark.parametrize(
    ("rows", "prices", "height"),
    [(3, [100.0, 100.1, 100.2], 0.1), (2, [100.0, 100.2], 0.2), (1, [100.0], 0.4)],
)
def test_a_profile_is_regrouped_to_fewer_rows(
    house: House, get: Get, rows: int, prices: list[float], height: float
) -> None:
    house.open()
    house.feed(four())
    answer = get("/api/context", rows=rows)
    assert [row["price"] for row in answer["volume_profile"]] == prices
    assert answer["definition"]["profile_tick_size"] == height
    assert sum(row["volume"] for row in answer["volume_profile"]) == 5.0
    # Regrouping is for looking at: the levels stay those of the full profile.
    assert answer["levels"]["POC"] == 100.1


def test_missing_trades_are_named_and_degrade(house: House, get: Get) -> None:
    house.open()
    house.feed(four())
    house.feed(trades(7, [(200, 100.0, 1.0, True)]))
    answer = get("/api/context")
    coverage = answer["coverage"]
    assert (coverage["expected"], coverage["held"], coverage["missing"]) == (7, 5, 2)
    assert coverage["ranges"] == [[5, 6]]
    assert coverage["ratio"] == pytest.approx(5 / 7)
    assert answer["precision"] == "degraded"


def test_precision_says_what_is_known(house: House, get: Get) -> None:
    house.open()
    house.feed(four())
    lane = house.flow.lanes[BTC]

    def precision() -> str:
        return str(get("/api/context")["precision"])

    assert precision() == "exact"
    for state in ("connecting", "backoff", "stopped"):
        house.lines.found = [line(state)]
        assert precision() == "degraded"
    # A silent market is not a lost connection.
    house.lines.found = [line("stale", last_message_us=1)]
    assert precision() == "exact"
    house.flow.ask(lambda: setattr(lane, "is_backfilling", True))
    house.feed(trades(5, [(210, 100.0, 1.0, True)]))
    until(lambda: precision() == "backfilling")
    house.flow.ask(lambda: setattr(lane, "damage", "ValueError: x"))
    house.feed(trades(6, [(220, 100.0, 1.0, True)]))
    until(lambda: precision() == "degraded")


def test_a_day_whose_start_nobody_told_is_not_exact(house: House, get: Get) -> None:
    house.open(is_start_known=False)
    house.feed(four())
    answer = get("/api/context")
    assert (answer["coverage"]["missing"], answer["coverage"]["edges"]) == (0, "held")
    assert answer["precision"] == "degraded"


def test_of_several_connections_the_one_that_hears_counts(house: House, get: Get) -> None:
    house.open()
    house.feed(four())
    house.lines.found = [
        line("stale", "ETHUSDT,BTCUSDT", last_message_us=house.now_us - 9_000_000),
        line("live", "BTCUSDT", last_message_us=house.now_us - 5_000),
        line("backoff", "ETHUSDT", last_message_us=house.now_us),
    ]
    assert get("/api/context")["health"] == {"state": "live", "data_age_ms": 5}


def test_what_is_simulated_says_so(database: None, get: Get) -> None:
    with House(label="simulated") as house:
        house.open()
        house.feed(four())
        answer = get("/api/context")
        assert (answer["simulated"], answer["mode"]) == (True, "simulated")


# Names


def test_the_first_configured_instrument_is_the_default(database: None, get: Get) -> None:
    with House([ETH, BTC]) as house:
        house.open(BTC)
        house.open(ETH)
        assert get("/api/context")["symbol"] == "ETHUSDT"
        assert get("/api/context", symbol="BTCUSDT")["symbol"] == "BTCUSDT"
        assert get("/api/context", source="binance_ws")["symbol"] == "ETHUSDT"


def test_unknown_names_are_answered_with_the_known_ones(house: House, get: Get) -> None:
    house.open()
    for name, seen, known in (
        ("symbol", "DOGE", ["BTCUSDT"]),
        ("source", "nasdaq", ["binance_ws"]),
        ("scope", "tokyo", ["current", "day", "london", "overlap"]),
    ):
        answer = get("/api/context", 404, **{name: seen})
        assert answer["known"] == known
        assert repr(seen) in answer["detail"]


@pytest.mark.parametrize("rows", ["0", "-1", "abc", "100001", "1.5", ""])
def test_a_malformed_parameter_is_named(house: House, get: Get, rows: str) -> None:
    house.open()
    answer = get("/api/context", 422, rows=rows)
    assert [item["loc"][-1] for item in answer["detail"]] == ["rows"]


def test_nothing_seen_yet_means_come_again(house: House) -> None:
    response = Client().get("/api/context")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert "no trade of BTCUSDT" in response.json()["detail"]


def test_a_process_without_feeds_knows_nothing_but_what_is_stored(database: None, get: Get) -> None:
    assert get("/api/context", 404)["known"] == []


def test_a_broken_database_does_not_touch_what_is_live(
    house: House, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open()
    house.feed(four())
    with monkeypatch.context() as patched:
        patched.setattr("django.db.connection.cursor", broken)
        assert get("/api/context")["trades"] == 4
        assert get("/api/strategy/candles", count=1)["candles"]
        assert "database" in get("/api/trades", 503)["detail"]


def broken(*args: object) -> None:
    from django.db import OperationalError

    raise OperationalError("disk I/O error")


# Stored


def put(house: House, name: tuple[str, str], batch: Trades) -> None:
    instrument = instruments.remember(*name, GRID)
    house.writer.put_trades(instrument.id, Batch(batch, "file"))
    assert house.writer.flush()


def test_a_stored_instrument_answers_from_storage(house: House, get: Get) -> None:
    put(house, ETH, four())
    answer = get("/api/context", symbol="ETHUSDT", source="binance_ws")
    assert answer["levels"]["VWAP"] == pytest.approx(100.105, rel=1e-12)
    assert answer["as_of"] == "2024-01-01T00:02:10.000Z"
    assert (answer["mode"], answer["simulated"]) == ("stored", False)
    assert answer["health"] == {"state": "stopped", "data_age_ms": None}
    assert answer["coverage"]["sources"] == {"file": 4}
    assert answer["precision"] == "exact"


def test_a_stored_day_is_rebuilt_once_and_again_when_it_grows(
    house: House, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(house, ETH, four())
    built: list[tuple[str, str]] = []
    real = rebuild.newest_day

    def counting(source: str, symbol: str) -> object:
        built.append((source, symbol))
        return real(source, symbol)

    monkeypatch.setattr(rebuild, "newest_day", counting)
    for _ in range(3):
        assert get("/api/context", symbol="ETHUSDT")["trades"] == 4
        assert get("/api/context", symbol="ETHUSDT", scope="current")["trades"] == 4
    assert built == [ETH]
    put(house, ETH, trades(5, [(140, 100.0, 1.0, True)]))
    assert get("/api/context", symbol="ETHUSDT")["trades"] == 5
    assert built == [ETH, ETH]


def test_before_the_feed_is_open_the_stored_day_is_shown(house: House, get: Get) -> None:
    put(house, BTC, four())
    assert get("/api/context")["mode"] == "stored"
    house.open()
    house.restore()
    answer = get("/api/context")
    assert (answer["mode"], answer["trades"]) == ("live", 4)
