"""What we send has the shape of what was recorded at the venue: keys, their order, their types."""

import json

import pyarrow as pa
import pytest

from tests.simulator.bybit.conftest import follow, heard

# Fields that the venue sends for contracts that expire, or before they trade.
OTHERS = {"preOpenPrice", "preQty", "curPreListingPhase", "basis", "basisRate", "deliveryTime"}
OTHERS |= {"predictedDeliveryPrice", "deliveryFeeRate", "basisRateYear"}


def shape(value):
    """Return keys in order and kinds of values; numbers as text tell whether they end in zeros."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


@pytest.fixture(scope="module")
def captured(shared_data):
    """Return the first frame of each kind that was recorded, by path and topic."""
    path = shared_data / "captures" / "BYBIT.jsonl.zst"
    with pa.input_stream(str(path), compression="zstd") as stream:
        lines = stream.read().decode().splitlines()
    found, urls = {}, {}
    for line in map(json.loads, lines[1:]):
        if line["t"] == "connect":
            urls[line["conn"]] = line["addr"].rpartition("/")[2]
        if line["t"] != "recv":
            continue
        frame = json.loads(line["data"])
        kind = frame.get("topic", "").partition(".")[0]
        is_btc = frame.get("topic", "").endswith(".BTCUSDT") or kind == "publicTrade"
        has_both = kind != "orderbook" or (frame["data"]["b"] and frame["data"]["a"])
        if is_btc and has_both:
            found.setdefault((urls[line["conn"]], kind, frame["type"]), frame)
    return found


@pytest.mark.realdata
@pytest.mark.parametrize("category", ["linear", "spot"])
def test_frames_look_like_those_recorded(captured, live, dial, category):
    topics = {
        "publicTrade": "publicTrade.BTCUSDT",
        "orderbook": "orderbook.200.BTCUSDT",
        "tickers": "tickers.BTCUSDT",
        "kline": "kline.1.BTCUSDT",
    }
    compared = 0
    for (where, kind, form), recorded in captured.items():
        if where != category:
            continue
        socket = dial(live, f"/v5/public/{category}")
        before = follow(socket, topics[kind])
        early = [one for one in before if one["type"] == form]
        sent = early[0] if early else heard(socket, topics[kind], 1, kind=form)[0]
        assert list(sent) == list(recorded)
        if kind == "tickers" and form == "snapshot":
            assert set(sent["data"]) <= set(recorded["data"])
            assert set(recorded["data"]) - set(sent["data"]) <= OTHERS
        elif kind == "tickers":
            assert {type(one) for one in sent["data"].values()} == {str}
        else:
            assert json.dumps(shape(sent)) == json.dumps(shape(recorded))
        compared += 1
    assert compared >= 4
