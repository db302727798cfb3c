"""Invented trades, and archive files of them as the venue lays them out."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from marketdata.core.trades import Trades

# 2024-01-01T00:00:00Z
DAY_US = 1_704_067_200_000_000
DAY_LONG_US = 86_400_000_000


def made(ids, day_us: int = DAY_US, spread_us: int | None = None) -> Trades:
    """Return trades of one day, evenly spread over it, in whole milliseconds."""
    ids = np.asarray(list(ids), dtype=np.int64)
    count = len(ids)
    step_us = (spread_us or DAY_LONG_US // max(count, 1)) // 1000 * 1000
    return Trades.of(
        ids,
        day_us + np.arange(count) * step_us,
        100.0 + (ids * 7 % 50) / 100,
        (1 + ids % 9) / 1000,
        ids % 3 == 0,
    )


def line(trades: Trades, at: int, unit: int = 1000) -> str:
    """Return one trade as a row of the archive: no header, `True` where the buyer is the maker."""
    id, price, qty = int(trades.id[at]), float(trades.price[at]), float(trades.qty[at])
    is_maker = not bool(trades.is_buy[at])
    ts = int(trades.ts_us[at]) // unit
    return f"{id},{price:.8f},{qty:.8f},{id},{id},{ts},{is_maker},True"


def csv(trades: Trades, unit: int = 1000) -> str:
    return "".join(line(trades, at, unit) + "\n" for at in range(len(trades)))


def zipped(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.stem + ".csv", text)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same(one: Trades, other: Trades) -> bool:
    """Tell whether two batches hold the same rows."""
    names = ("id", "ts_us", "price", "qty", "is_buy")
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)
