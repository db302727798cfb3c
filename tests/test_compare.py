"""Instruments side by side: days one can add up by hand, the basis between them, who leads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from marketdata import answers, compare
from marketdata.core.events import Batch
from marketdata.core.trades import Trades
from marketdata.feeds.ingestor import FeedStatus
from marketdata.metrics.lead import KEEP_S
from marketdata.models import Instrument as InstrumentRow
from marketdata.store import instruments
from tests.api.house import GRID, NEW_YEAR_US, House, trades

SPOT = ("binance_ws", "BTCUSDT")
PERP = ("binance_futures", "BTCUSDT")
OVERLAP = ("bybit", "BTCUSDT")
TICKS = ("deriv", "cryBTCUSD")
ETH = ("binance_ws", "ETHUSDT")
ALL = [SPOT, PERP, OVERLAP, TICKS, ETH]
HOUR_S = 3600


@pytest.fixture
def house(transactional_db: None) -> Iterator[House]:
    """A house of four venues at one o'clock; every feed is live."""
    with House(ALL) as made:
        made.lines.found = [
            FeedStatus(name[0], "trades", name[1], "live", last_message_us=made.now_us - 250_000)
            for name in ALL
        ]
        yield made


def told(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the instruments of an answer by name."""
    return {f"{item['source']}:{item['symbol']}": item for item in answer["instruments"]}


def spoil(house: House, source: str, state: str) -> None:
    """Put a source's connections into a state."""
    house.lines.found = [
        replace(status, state=state) if status.source == source else status
        for status in house.lines.found
    ]


def test_a_day_is_told_as_its_trades_come_to(house: House) -> None:
    """VWAP (100·1 + 102·2 + 101·1) / 4 = 101.25; delta 1 − 2 + 1; from 100 to 101 is 1 %."""
    house.open(SPOT)
    house.feed(
        trades(1, [(10, 100.0, 1.0, True), (20, 102.0, 2.0, False), (30, 101.0, 1.0, True)]), SPOT
    )
    (row,) = compare.compare_answer(["binance_ws:BTCUSDT"])["instruments"]
    assert row["vwap"] == pytest.approx(101.25)
    assert row["vwap_distance_pct"] == pytest.approx(-100 * 0.25 / 101.25)
    expected = {
        "price": 101.0, "open": 100.0, "change": 1.0, "change_pct": 1.0, "vwap_distance": -0.25,
        "cumulative_delta": 0.0, "volume": 4.0, "trades": 3, "coverage": 1.0, "missing": 0,
        "holes": 0, "is_sized": True, "proof": "id_exact", "precision": "exact", "state": "live",
        "data_age_ms": 250, "last_trade_at": "2024-01-01T00:00:30.000Z", "base": "BTC",
        "quote": "USDT", "venue": "Binance spot", "basis": None, "reference": None,
        "is_reference": True,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_what_the_first_one_trades_is_compared_unless_more_is_said(house: House) -> None:
    answer = compare.compare_answer()
    btc = ["binance_ws:BTCUSDT", "binance_futures:BTCUSDT", "bybit:BTCUSDT", "deriv:cryBTCUSD"]
    assert list(told(answer)) == btc
    # None has traded yet: its feed is told, its numbers are not.
    assert {row["price"] for row in answer["instruments"]} == {None}
    assert {row["state"] for row in answer["instruments"]} == {"live"}
    assert compare.bases() == ["BTC", "ETH"]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["ETHUSDT"], ["binance_ws:ETHUSDT"]),
        (["deriv:cryBTCUSD", "ETHUSDT"], ["deriv:cryBTCUSD", "binance_ws:ETHUSDT"]),
        (["BTCUSDT", "binance_ws:BTCUSDT"],
         ["binance_ws:BTCUSDT", "binance_futures:BTCUSDT", "bybit:BTCUSDT"]),
    ],
)  # fmt: skip
def test_a_symbol_stands_for_every_venue_that_has_it(
    house: House, asked: list[str], names: list[str]
) -> None:
    assert list(told(compare.compare_answer(asked))) == names


@pytest.mark.parametrize("asked", ["DOGE", "bybit:DOGE", "kraken:BTCUSDT"])
def test_names_nobody_knows_are_refused_with_those_known(house: House, asked: str) -> None:
    with pytest.raises(answers.UnknownNameError, match="BTCUSDT"):
        compare.compare_answer([asked])


def test_nothing_at_all_is_not_ready(transactional_db: None) -> None:
    with pytest.raises(answers.NotReadyError, match="no instrument"):
        compare.compare_answer()


def test_lists_are_taken_apart() -> None:
    assert compare.listed(["a, b", "c", " ,"]) == ["a", "b", "c"]


def test_too_many_are_cut_and_counted(transactional_db: None) -> None:
    with House([("binance_ws", f"BTC{n:02}-USDT") for n in range(14)]):
        answer = compare.compare_answer([f"BTC{n:02}-USDT" for n in range(14)])
    assert (len(answer["instruments"]), answer["left_out"]) == (12, 2)


@pytest.fixture
def priced(house: House) -> House:
    """Spot at 40,000, the perpetual at 40,020, the ticks at 39,980; Bybit has a hole."""
    for name, price in ((SPOT, 40_000.0), (PERP, 40_020.0), (TICKS, 39_980.0)):
        house.open(name)
        house.feed(trades(1, [(10, price, 1.0, True), (HOUR_S - 1, price, 1.0, True)]), name)
    house.open(OVERLAP, is_start_known=False)
    house.feed(trades(1, [(10, 40_010.0, 2.0, True)]), OVERLAP)
    house.feed(trades(5000, [(HOUR_S - 1, 40_010.0, 2.0, False)]), OVERLAP)
    return house


def test_basis_is_measured_against_spot_proved_by_id(priced: House) -> None:
    """40,020 / 40,000 − 1 = 0.0005."""
    found = told(compare.compare_answer())
    assert {name: row["reference"] for name, row in found.items()} == {
        "binance_ws:BTCUSDT": None,
        "binance_futures:BTCUSDT": "binance_ws:BTCUSDT",
        "bybit:BTCUSDT": "binance_ws:BTCUSDT",
        "deriv:cryBTCUSD": "binance_ws:BTCUSDT",
    }
    basis = [row["basis"] for row in found.values()]
    assert basis[0] is None
    assert basis[1:] == [pytest.approx(x, abs=1e-15) for x in (0.0005, 0.00025, -0.0005)]
    # Without a spot market among them there is nothing to measure against.
    perps = told(compare.compare_answer(["binance_futures:BTCUSDT", "bybit:BTCUSDT"]))
    assert {row["basis"] for row in perps.values()} == {None}


@pytest.mark.parametrize("source", ["binance_ws", "binance_futures"])
@pytest.mark.parametrize("state", ["stale", "backoff", "connecting", "stopped"])
def test_a_price_that_may_not_hold_any_more_has_no_basis(
    priced: House, source: str, state: str
) -> None:
    spoil(priced, source, state)
    found = told(compare.compare_answer())
    assert found["binance_futures:BTCUSDT"]["basis"] is None
    assert found[f"{source}:BTCUSDT"]["state"] == state


def test_ticks_without_size_have_no_volume_no_delta_and_no_vwap(priced: House) -> None:
    row = told(compare.compare_answer())["deriv:cryBTCUSD"]
    sized = ("volume", "cumulative_delta", "vwap", "vwap_distance", "vwap_distance_pct")
    assert {row[name] for name in sized} == {None}
    assert (row["is_sized"], row["trades"], row["price"]) == (False, 2, 39_980.0)


def test_a_hole_of_unknown_size_makes_coverage_unknown(priced: House) -> None:
    row = told(compare.compare_answer())["bybit:BTCUSDT"]
    assert (row["coverage"], row["missing"], row["holes"]) == (None, None, 1)
    assert (row["proof"], row["precision"]) == ("overlap", "degraded")


def test_the_first_trade_held_is_not_the_open_while_earlier_ones_miss(house: House) -> None:
    """Id 1 began the day; held are 3 and later, then all of them."""
    pipeline = house.open(SPOT)
    pipeline.context.set_edge(NEW_YEAR_US, 1)
    house.feed(trades(3, [(30, 100.0, 1.0, True), (40, 101.0, 1.0, True)]), SPOT)
    row = told(compare.compare_answer())["binance_ws:BTCUSDT"]
    assert (row["open"], row["change"], row["missing"], row["price"]) == (None, None, 2, 101.0)
    house.feed(trades(1, [(10, 98.0, 1.0, True), (20, 99.0, 1.0, True)]), SPOT)
    row = told(compare.compare_answer())["binance_ws:BTCUSDT"]
    assert (row["open"], row["change"], row["missing"]) == (98.0, 3.0, 0)


def test_a_feed_that_hears_nothing_is_degraded(priced: House) -> None:
    assert told(compare.compare_answer())["binance_ws:BTCUSDT"]["precision"] == "exact"
    spoil(priced, "binance_ws", "backoff")
    assert told(compare.compare_answer())["binance_ws:BTCUSDT"]["precision"] == "degraded"


def test_a_source_fares_as_its_worst_connection_does(priced: House) -> None:
    InstrumentRow.objects.create(source="hft_connector", symbol="X", tick="1", lot="1")
    spoil(priced, "deriv", "stale")
    priced.lines.found.append(FeedStatus("binance_ws", "trades", "ETHUSDT", "backoff"))
    assert compare.source_states() == {
        "binance_ws": "backoff", "binance_futures": "live", "bybit": "live", "deriv": "stale",
        "hft_connector": "stored",
    }  # fmt: skip


def fill(house: House, name: tuple[str, str], prices: list[float]) -> None:
    """Write an instrument's last prices, the newest in the second of the house's clock."""
    track, second = house.flow.lanes[name].track, house.now_us // 1_000_000

    def write() -> None:
        track.newest_s = 0
        for at, price in enumerate(prices):
            track.put(second - len(prices) + 1 + at, price)

    house.flow.ask(write)


def test_who_leads_is_said_of_each_pair(priced: House) -> None:
    """The perpetual is the spot market two seconds before; Bybit stands still; ticks are few."""
    steps = np.cumsum(np.random.default_rng(1).normal(0, 1e-4, KEEP_S + 2))
    market = (40_000 * np.exp(steps)).tolist()
    priced.now_us += 5_000_000
    fill(priced, SPOT, market[:-2])
    fill(priced, PERP, market[2:])
    fill(priced, OVERLAP, [40_010.0] * KEEP_S)
    fill(priced, TICKS, market[:60])
    found = {tuple(item["pair"]): item for item in compare.compare_answer()["leads"]}
    assert len(found) == 6
    first = found["binance_ws:BTCUSDT", "binance_futures:BTCUSDT"]
    assert first.pop("correlation") == pytest.approx(1.0, abs=1e-9)
    assert first == {
        "pair": ["binance_ws:BTCUSDT", "binance_futures:BTCUSDT"],
        "leader": "binance_futures:BTCUSDT", "lag_s": 2, "seconds": KEEP_S - 3, "reason": None,
    }  # fmt: skip
    still = found["binance_ws:BTCUSDT", "bybit:BTCUSDT"]
    assert (still["leader"], still["reason"]) == (None, "no movement")
    few = found["binance_ws:BTCUSDT", "deriv:cryBTCUSD"]
    assert (few["leader"], few["reason"], few["seconds"]) == (None, "too few seconds", 59)


def test_leads_are_found_once_a_second_for_all_who_ask(priced: House, monkeypatch: Any) -> None:
    calls: list[int] = []
    real = compare._leads
    monkeypatch.setattr(compare, "_leads", lambda series: calls.append(1) or real(series))
    for _ in range(3):
        compare.compare_answer()
    assert len(calls) == 1
    compare.compare_answer(["BTCUSDT"])
    priced.now_us += 1_000_000
    compare.compare_answer(["BTCUSDT"])
    assert len(calls) == 3


def last_prices(house: House, name: tuple[str, str], count: int) -> list[float]:
    """Return the last prices sampled by the flow, up to the second of the house's clock."""
    second = house.now_us // 1_000_000
    track = house.flow.lanes[name].track
    found: list[float] = house.flow.ask(lambda: track.series(second))[-count:].tolist()
    return found


def sampled(house: House, name: tuple[str, str]) -> None:
    """Have the flow look at an instrument now."""
    house.flow.ask(lambda: house.flow._check_coverage(name))


def test_the_flow_notes_the_last_price_of_each_second(house: House) -> None:
    house.open(SPOT)
    house.feed(trades(1, [(HOUR_S - 1, 100.0, 1.0, True)]), SPOT)
    house.now_us += 1_000_000
    sampled(house, SPOT)
    house.feed(trades(2, [(HOUR_S + 1.5, 101.0, 1.0, True)]), SPOT)
    house.now_us += 1_000_000
    sampled(house, SPOT)
    assert last_prices(house, SPOT, 2) == [100.0, 101.0]
    # After ten seconds without a trade nobody knows the price any more.
    house.now_us += 9_000_000
    sampled(house, SPOT)
    assert last_prices(house, SPOT, 1) == [101.0]
    house.now_us += 1_000_000
    sampled(house, SPOT)
    assert np.isnan(last_prices(house, SPOT, 1)).all()


def test_where_nothing_runs_stored_days_are_compared(transactional_db: None) -> None:
    with House([SPOT]) as house:
        house.open(SPOT)
        house.feed(trades(1, [(10, 100.0, 1.0, True), (20, 101.0, 3.0, False)]), SPOT)
        house.store()
    instruments.remember(*ETH, GRID)
    answer = compare.compare_answer()
    (row,) = answer["instruments"]
    assert (row["price"], row["vwap"], row["volume"], row["state"]) == (101, 100.75, 4, "stored")
    assert (row["data_age_ms"], answer["as_of"], answer["leads"]) == (None, None, [])
    both = compare.compare_answer(["BTCUSDT", "ETHUSDT"])
    (pair,) = both["leads"]
    assert (pair["leader"], pair["reason"], pair["seconds"]) == (None, "too few seconds", 0)
    assert told(both)["binance_ws:ETHUSDT"]["price"] is None


def test_a_stored_instrument_stands_beside_the_live_ones(house: House) -> None:
    other = instruments.remember("bybit", "XRPUSDT", GRID)
    batch = Trades.of([1], [NEW_YEAR_US], [2.0], [1.0], [True])
    house.writer.put_trades(other.id, Batch(batch, "rest"))
    house.store()
    (row,) = compare.compare_answer(["XRPUSDT"])["instruments"]
    assert (row["price"], row["state"], row["precision"]) == (2.0, "stored", "exact")
