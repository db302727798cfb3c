"""Trades a second through the pipeline (profile, delta, VWAP, 1m and 5m candles), and the levels.

Usage: python bench/pipeline.py [--trades N] [--runs N] [TAPE]
Beside it a plain loop of floats and dicts does the same for the same trades, in the same minute.
Goals: 10 M trades/s in batches of 20,000, 100 µs for a batch of one, 0.5 ms for a value area.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from marketdata.context import DAY, MarketContext
from marketdata.core.events import Batch
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.trades import Trades
from marketdata.metrics.value_area import value_area
from marketdata.pipeline import Pipeline

DAY_US = 86_400_000_000
START_US = 1_704_067_200_000_000
MINUTE_US = 60_000_000
GRID = Grid(Decimal("0.01"), Decimal("0.00001"))
# Small batches cost by the batch: so many of them tell their price.
MOST_BATCHES = 5_000
# Trades that warm up a pipeline before small batches are timed, so that its profile is a day's.
WARM = 100_000


def invented(count: int) -> Trades:
    """Return a day of trades with the shape of a busy spot market."""
    random = np.random.default_rng(7)
    price = 43_000 + np.cumsum(random.normal(0, 0.9, count))
    return Trades.of(
        np.arange(2_807_759_891, 2_807_759_891 + count),
        START_US + np.sort(random.integers(0, DAY_US, count)) // 1000 * 1000,
        price.round(2),
        random.integers(1, 100_000, count) / 1e5,
        random.random(count) < 0.5,
    )


def recorded(path: str) -> Trades:
    """Return the trades of a tape."""
    from marketdata.store.tape import open_tape

    return Trades.concat(open_tape(path).batches())


def pipeline() -> Pipeline:
    """Return an empty pipeline."""
    return Pipeline(MarketContext(Instrument("binance_ws", "BTCUSDT", GRID)))


def ours(trades: Trades, size: int) -> tuple[float, Pipeline]:
    """Return seconds for all trades in batches of `size`, after a warm-up where batches are few."""
    made = pipeline()
    if size < WARM < len(trades) and len(trades) // size > MOST_BATCHES:
        made.feed(Batch(trades[:WARM]))
        trades = trades[WARM : WARM + size * MOST_BATCHES]
    batches = [Batch(part) for part in trades.batches(size)]
    began = time.perf_counter()
    for batch in batches:
        made.feed(batch)
    return (time.perf_counter() - began) / len(trades), made


def plain(trades: Trades) -> float:
    """Return seconds a trade of a plain loop that keeps the same numbers in floats and dicts."""
    columns = (trades.ts_us, trades.price, trades.qty, trades.is_buy)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    profile: dict[float, list[float]] = {}
    candles: dict[tuple[int, int], list[float]] = {}
    notional = volume = delta = lowest = highest = 0.0
    began = time.perf_counter()
    for ts_us, price, qty, is_buy in rows:
        notional += price * qty
        volume += qty
        delta += qty if is_buy else -qty
        lowest, highest = min(lowest, delta), max(highest, delta)
        profile.setdefault(price, [0.0, 0.0])[is_buy] += qty
        for length_us in (MINUTE_US, 5 * MINUTE_US):
            key = (length_us, ts_us // length_us)
            bar = candles.get(key)
            if bar is None:
                candles[key] = [price, price, price, price, qty]
                continue
            bar[1], bar[2] = max(bar[1], price), min(bar[2], price)
            bar[3] = price
            bar[4] += qty
    return (time.perf_counter() - began) / len(rows)


def seconds_of(work: Callable[[], object], times: int = 20) -> float:
    """Return the median of a few timings of something short."""
    work()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def line(what: str, value: float, unit: str, note: str = "") -> None:
    """Print one result."""
    print(f"{what:<40}{value:>10.2f} {unit:<12}{note}".rstrip())


def main(trades: Trades, runs: int) -> None:
    """Print medians of several runs, and their ratio to the plain loop's."""
    print(f"{platform.machine()}, CPython {platform.python_version()}, numpy {np.__version__}")
    print(f"{len(trades):,} trades, medians of {runs} runs")
    simple, large, hundred, one = [], [], [], []
    for _ in range(runs):
        simple.append(plain(trades))
        seconds, made = ours(trades, 20_000)
        large.append(seconds)
        hundred.append(ours(trades, 100)[0])
        one.append(ours(trades, 1)[0])
    ratio = statistics.median(a / b for a, b in zip(simple, large, strict=True))
    line("pipeline, batches of 20,000", 1e-6 / statistics.median(large), "M trades/s", "goal 10")
    line("plain loop", 1e-6 / statistics.median(simple), "M trades/s", f"1 to {ratio:.0f}")
    line("pipeline, a batch of 100", statistics.median(hundred) * 1e8, "us")
    line("pipeline, a batch of one", statistics.median(one) * 1e6, "us", "goal 100")
    rows = np.random.default_rng(7).integers(0, 1_000_000, 5_000)
    line("value area of 5,000 rows", seconds_of(lambda: value_area(rows)) * 1e3, "ms", "goal 0.5")
    context, now_us = made.context, made.watermark_us
    line("snapshot of the day", seconds_of(lambda: context.snapshot(DAY, now_us)) * 1e3, "ms")
    line("hash of the day", seconds_of(lambda: context.hash(DAY, now_us)) * 1e3, "ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tape", nargs="?", help="a recorded day instead of an invented one")
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    main(recorded(asked.tape) if asked.tape else invented(asked.trades), asked.runs)
