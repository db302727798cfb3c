"""Our events in the real package, where it is installed: its book ends as ours does.

hftbacktest is no requirement of the project: it wants an older numpy. To try it, install it beside
the requirements in an environment of its own and run `pytest -m slow tests/bridge`.
"""

import gzip
import json

import numpy as np
import pytest

from marketdata.bridge.events import DEPTH_SNAPSHOT, EVENT, KIND
from marketdata.bridge.npz import write_npz
from marketdata.bridge.raw_events import convert
from marketdata.core.booksync import BookSync
from marketdata.core.facts import BookUpdate
from marketdata.venues import VENUES
from tests.bridge.sessions import bybit_session

pytestmark = pytest.mark.slow
BASE_NS = 1_000_000
DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="module")
def hft():
    return pytest.importorskip("hftbacktest")


def ended(hft, path, tick, lot):
    """Run the package's backtest to the end of the data: its best prices and its last trade."""
    asset = (
        hft.BacktestAsset()
        .data([str(path)])
        .linear_asset(1.0)
        .constant_order_latency(10_000_000, 10_000_000)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(tick)
        .lot_size(lot)
        .last_trades_capacity(1_000_000)
    )
    test = hft.HashMapMarketDepthBacktest([asset])
    try:
        while test.elapse(3_600_000_000_000) == 0:
            pass
        depth, trades = test.depth(0), test.last_trades(0)
        last = (float(trades[-1]["px"]), float(trades[-1]["qty"])), len(trades)
        # The package counts in ticks and multiplies again: 61602.020000000004 is 6160202 ticks.
        prices = depth.best_bid_tick, depth.best_ask_tick
        return (prices, (depth.best_bid_qty, depth.best_ask_qty)), last
    finally:
        test.close()


def book_of(depth, frames, tick):
    """Return the best prices, in ticks, and sizes after a session, by our own book alone."""
    sync = BookSync(depth.sequencer, depth.levels, is_asked=depth.snapshot is not None)
    snapshot = None
    for frame in frames:
        if b'"lastUpdateId"' in frame:
            snapshot = depth.snapshot_of(frame)
        if snapshot is not None and not sync.is_synced:
            sync.offer(snapshot, 0)
        for _, fact in depth.stream(100).decode([frame], frozenset(["BTCUSDT"])).facts:
            if isinstance(fact, BookUpdate):
                sync.put(fact, 0)
    assert sync.is_synced
    (bid, bid_qty), (ask, ask_qty) = sync.book.bid, sync.book.ask
    return (round(bid / tick), round(ask / tick)), (bid_qty, ask_qty)


def frames_of(path):
    with gzip.open(path) as lines:
        return [line.partition(b" ")[2].strip() for line in lines]


def test_the_row_is_laid_out_as_the_packages(hft):
    from hftbacktest.types import event_dtype

    assert event_dtype == EVENT
    assert event_dtype.itemsize == 64


def test_a_made_session_ends_with_our_book(hft, tmp_path):
    capture = bybit_session(tmp_path, seed=3)
    made = convert(VENUES["bybit"], "BTCUSDT", [capture], BASE_NS)
    write_npz(tmp_path / "made.npz", made.events, made.about)
    best, (_, count) = ended(hft, tmp_path / "made.npz", 0.1, 0.001)
    assert best == book_of(VENUES["bybit"].depth, frames_of(capture), 0.1)
    assert count == made.about["counts"]["trades"] > 100
    # More than one whole book came: a level of the first must not live on in the second.
    assert made.about["counts"]["snapshots"] > 1


CAPTURES = [
    ("binance_ws", "binance_spot_btcusdt_20240808 binance_spot_btcusdt_20240809", 0.01, 0.00001),
    ("binance_futures", "binance_usdm_btcusdt_20230404 binance_usdm_btcusdt_20230405", 0.1, 0.001),
    ("binance_futures", "binance_usdm_btcusdt_20240718", 0.1, 0.001),
]


@pytest.mark.realdata
@pytest.mark.parametrize(("source", "names", "tick", "lot"), CAPTURES)
def test_a_recorded_session_ends_with_our_book(
    hft, shared_data, tmp_path, source, names, tick, lot
):
    paths = [shared_data / "captures" / f"{name}.gz" for name in names.split()]
    made = convert(VENUES[source], "BTCUSDT", paths, BASE_NS)
    write_npz(tmp_path / "real.npz", made.events, made.about)
    best, (last, count) = ended(hft, tmp_path / "real.npz", tick, lot)
    frames = [frame for path in paths for frame in frames_of(path)]
    assert best == book_of(VENUES[source].depth, frames, tick)
    told = [json.loads(frame) for frame in frames if b'"e":"trade"' in frame]
    market = [row["data"] for row in told if row["data"].get("X", "MARKET") == "MARKET"]
    assert count == len(market)
    assert last == (float(market[-1]["p"]), float(market[-1]["q"]))


@pytest.mark.realdata
def test_a_window_begins_with_the_book_of_before(hft, shared_data, tmp_path):
    captures = shared_data / "captures"
    paths = [captures / f"binance_spot_btcusdt_2024080{day}.gz" for day in (8, 9)]
    # 2024-08-09 by the time of receipt.
    start_ns = 1_723_161_600_000_000_000
    window = (start_ns, start_ns + DAY_NS)
    made = convert(VENUES["binance_ws"], "BTCUSDT", paths, BASE_NS, window)
    assert (made.events["ev"][2] & np.uint64(KIND)) == DEPTH_SNAPSHOT
    write_npz(tmp_path / "day.npz", made.events, made.about)
    best, _ = ended(hft, tmp_path / "day.npz", 0.01, 0.00001)
    frames = [frame for path in paths for frame in frames_of(path)]
    assert best == book_of(VENUES["binance_ws"].depth, frames, 0.01)
