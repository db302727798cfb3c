"""Several venues on one port: who is open, what they share, and what is their own."""

import pytest
import requests

from marketdata.core.errors import TapeError
from marketdata.simulator.rooms import ROOMS
from marketdata.simulator.server import Simulator

ROW = "7,70.01,0.500,9,9,1704067200000,true\n"
HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"


def test_all_venues_are_open_unless_some_are_named():
    with Simulator.generated(["BTCUSDT"]) as venue:
        told = requests.get(f"{venue.rest_url}/sim/status").json()
        assert list(told["rooms"]) == list(ROOMS) == [room.name for room in venue.rooms.values()]
        assert all(room["markets"] for room in told["rooms"].values())
        # What stood there when spot was alone still does.
        assert told["markets"] == told["rooms"]["binance_spot"]["markets"]
        assert {"label", "weight_used", "clients", "connections", "ended", "faults"} <= set(told)
        for path in ("/api/v3/ping", "/fapi/v1/ping"):
            assert requests.get(venue.rest_url + path).json() == {}
    with Simulator.generated(["BTCUSDT"], venues=["binance_usdm"]) as futures:
        assert list(futures.status()["rooms"]) == ["binance_usdm"]
        assert requests.get(f"{futures.rest_url}/api/v3/ping").status_code == 404


def test_weight_is_each_venues_own_and_faults_are_shared():
    with Simulator.generated(["BTCUSDT"], weight_limit=10) as venue:
        spent = f"{venue.rest_url}/api/v3/exchangeInfo"
        assert requests.get(spent).status_code == 429
        assert requests.get(f"{venue.rest_url}/fapi/v1/ping").status_code == 200
        venue.faults.set("http_502", 1)
        assert requests.get(f"{venue.rest_url}/fapi/v1/ping").status_code == 502
        assert requests.get(f"{venue.rest_url}/fapi/v1/ping").status_code == 200


def test_futures_are_not_spot_but_near_it():
    with Simulator.generated(["BTCUSDT"], venues=["binance_spot", "binance_usdm"]) as venue:
        spot, futures = (
            requests.get(f"{venue.rest_url}{path}/aggTrades?symbol=BTCUSDT&limit=1").json()[0]
            for path in ("/api/v3", "/fapi/v1")
        )
    assert spot["a"] != futures["a"]
    assert float(futures["p"]) != float(spot["p"])
    assert float(futures["p"]) == pytest.approx(float(spot["p"]), rel=2.5e-3)


OF_SPOT = ROW.replace("true", "True,True")


@pytest.mark.parametrize(
    ("text", "name"), [(HEADER + ROW, "binance_usdm"), (OF_SPOT, "binance_spot")]
)
def test_a_tape_opens_the_venue_it_was_recorded_from(tmp_path, text, name):
    path = tmp_path / "LTCUSDT-aggTrades-2024-01-01.csv"
    path.write_text(text)
    with Simulator.recorded(path, speed=0.0) as venue:
        assert list(venue.rooms) == [name]
        assert list(venue.markets) == ["LTCUSDT"]


def test_a_tape_of_no_venue_here_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "LTCUSDT-aggTrades-2024-01-01.csv"
    path.write_text(OF_SPOT)
    rooms = {name: kind for name, kind in ROOMS.items() if name != "binance_spot"}
    monkeypatch.setattr("marketdata.simulator.server.ROOMS", rooms)
    with pytest.raises(TapeError, match="seen one of binance_ws"):
        Simulator.recorded(path)


def test_the_order_in_which_venues_are_named_changes_no_path():
    with Simulator.generated(["BTCUSDT"], venues=("binance_usdm", "binance_spot")) as venue:
        assert list(venue.rooms) == ["binance_spot", "binance_usdm"]
        told = requests.get(f"{venue.rest_url}/sim/status", timeout=5).json()
        assert list(told["rooms"]) == ["binance_spot", "binance_usdm"]
