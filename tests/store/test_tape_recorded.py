"""Every recorded tape against what is known of it (see the README beside the tapes)."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest

from marketdata.core.coverage import runs_of
from marketdata.core.trades import Trades
from marketdata.store.tape import open_tape

pytestmark = pytest.mark.realdata
DAY = "tapes/BTCUSDT-aggTrades-2024-01-01.zip"
# name → source, symbol, trades, first and last id, volume, bought, VWAP, high, low
TRUTHS = {
    DAY: (
        "binance_ws", "BTCUSDT", 863_403, 2807759891, 2808623293,
        27174.29903, 14331.7318, 43055.229529061431, 44184.10, 42180.77,
    ),
    "tapes/BTCUSDT-aggTrades-sample-10k.csv": (
        "binance_ws", "BTCUSDT", 10_001, 3664796852, 3664806852,
        329.88379, 73.136, 108104.24573741, 108332.35, 107983.00,
    ),
    "tapes/tardis_binance-futures_trades_BTCUSDT_2020-02-22.csv": (
        "binance_futures", "BTCUSDT", 9_999, 42377944, 42387942,
        4024.301, 2059.537, 9683.355188498574, None, None,
    ),
    "tapes/bybit_spot_1INCHUSDT_2025-05-19.csv": (
        "bybit", "1INCHUSDT", 6_682, 1, 6682,
        2212863.02, 1088360.31, 0.2170845455, None, None,
    ),
}  # fmt: skip


def read(path):
    return Trades.concat(open_tape(path).batches())


@pytest.mark.parametrize("name", TRUTHS)
def test_archives_come_to_the_known_truth(shared_data, name):
    source, symbol, count, first, last, volume, bought, vwap, high, low = TRUTHS[name]
    tape = open_tape(shared_data / name)
    trades = Trades.concat(tape.batches())
    assert (tape.source, tape.symbol) == (source, symbol)
    assert (len(trades), trades.id.min(), trades.id.max()) == (count, first, last)
    assert trades.qty.sum() == pytest.approx(volume, rel=1e-12)
    assert trades.qty[trades.is_buy].sum() == pytest.approx(bought, rel=1e-12)
    assert (trades.price * trades.qty).sum() / volume == pytest.approx(vwap, rel=1e-9)
    if high:
        assert (trades.price.max(), trades.price.min()) == (high, low)


def test_times_in_microseconds_are_of_their_day(shared_data):
    trades = read(shared_data / "tapes/BTCUSDT-aggTrades-sample-10k.csv")
    # The first row says 1756684800178247, which is 2025-09-01T00:00:00.178247Z.
    assert trades.ts_us[0] == 1756684800178247
    assert trades.ts_us.max() < 1756684800_000000 + 86_400_000_000


def test_the_hours_of_the_day_are_the_venues_own(shared_data):
    trades = read(shared_data / DAY)
    told = json.loads((shared_data / "tapes/BTCUSDT_2024-01-01_1h_from_tape.json").read_text())
    assert len(told) == 24
    for start_ms, hour in told.items():
        part = trades[trades.ts_us // 3_600_000_000 == int(start_ms) // 3_600_000]
        prices = [part.price[0], part.price.max(), part.price.min(), part.price[-1]]
        assert prices == [float(hour[name]) for name in "ohlc"]
        bought = part.qty[part.is_buy].sum()
        sums = [part.qty.sum(), bought, (part.price * part.qty).sum()]
        assert sums == pytest.approx([float(hour[name]) for name in ("v", "tbv", "qv")], rel=1e-12)
        assert len(part) == hour["rows"]


@pytest.mark.parametrize("hour", ["06h", "09h", "12h", "15h", "18h"])
def test_gappy_recordings_miss_what_an_independent_count_says(shared_data, hour):
    path = shared_data / f"tapes/ltcusdt_gappy/LTCUSDT_2025-06-21_{hour}_trades.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ids = {int(row["tradeId"]) for row in rows}
    missing = [id for id in range(min(ids), max(ids) + 1) if id not in ids]
    trades = read(path)
    assert len(trades) == len(rows)
    assert trades.is_buy.sum() == sum(row["side"] == "buy" for row in rows)
    runs = runs_of(np.unique(trades.id))
    between = [id for (_, last), (first, _) in pairwise(runs) for id in range(last + 1, first)]
    assert between == missing


def test_spot_captures_run_on_over_midnight(shared_data):
    parts = [
        read(shared_data / f"captures/binance_spot_btcusdt_{day}.gz")
        for day in ("20240808", "20240809")
    ]
    both = Trades.concat(parts)
    assert runs_of(both.id) == [(both.id[0], both.id[-1])]
    midnight = 1_723_161_600_000_000
    assert parts[0].ts_us.min() < midnight <= parts[1].ts_us.max()
    # The recorder's clock was 1.3 s behind: the venue's day changed within the first file.
    assert (parts[0].ts_us >= midnight).sum() > 0


def test_the_insurance_fund_is_no_trader(shared_data):
    both = Trades.concat(
        [
            read(shared_data / f"captures/binance_usdm_btcusdt_{day}.gz")
            for day in ("20230404", "20230405")
        ]
    )
    # 12,935 ids, of which one is the insurance fund's.
    assert (both.id[0], both.id[-1], len(both)) == (3535186032, 3535198966, 12_934)
    assert both.qty.sum() == pytest.approx(1189.085, rel=1e-12)
    vwap = (both.price * both.qty).sum() / both.qty.sum()
    assert vwap == pytest.approx(28146.00542156, rel=1e-10)
    assert both.price.max() < 28200


def test_a_futures_capture_of_nanoseconds_misses_nothing(shared_data):
    tape = open_tape(shared_data / "captures/binance_usdm_btcusdt_20240718.gz")
    trades = Trades.concat(tape.batches())
    assert (tape.source, tape.symbol, tape.channel) == ("binance_futures", "BTCUSDT", "trade")
    assert runs_of(trades.id) == [(trades.id[0], trades.id[-1])]
