"""The public archive: a finished UTC day as gzip of CSV, without any checksum."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np

from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Ints, Trades
from marketdata.simulator.bybit.instruments import Instrument
from marketdata.simulator.bybit.numerals import LINEAR, SPOT, directions
from marketdata.simulator.noise import Lane

DAY = r"(?P<day>\d{4}-\d\d-\d\d)\.csv\.gz"
PATHS = {
    LINEAR: re.compile(rf"/trading/(?P<symbol>[^/]+)/(?P=symbol){DAY}"),
    SPOT: re.compile(rf"/spot/(?P<symbol>[^/]+)/(?P=symbol)_{DAY}"),
}
HEADERS = {
    LINEAR: b"timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
    b"foreignNotional,RPI\n",
    SPOT: b"id,timestamp,price,volume,side,rpi\n",
}
EPOCH = date(1970, 1, 1)
ROWS = 50_000
KEPT = 3
# Files of contracts tell more of the time than the streams do.
FINER = Lane.of("bybit archive")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One archive file: a day of a symbol in a category."""

    category: str
    symbol: str
    day: date

    @classmethod
    def at(cls, path: str) -> Wanted | None:
        """Read a path; None where the archive has no such place."""
        for category, pattern in PATHS.items():
            if found := pattern.fullmatch(path):
                try:
                    return cls(category, found["symbol"], date.fromisoformat(found["day"]))
                except ValueError:
                    return None
        return None


class Archive:
    """Files of finished days, built when first asked for; the same bytes every time."""

    def __init__(self, instruments: Mapping[str, Mapping[str, Instrument]]) -> None:
        self._instruments = instruments
        self._built = lru_cache(maxsize=KEPT)(self._build)

    def read(self, wanted: Wanted) -> bytes | None:
        """Return a file, or None where there is none (yet)."""
        instrument = self._instruments[wanted.category].get(wanted.symbol)
        day_us = (wanted.day - EPOCH).days * DAY_US
        ids = instrument.market.archived(day_us) if instrument else None
        return None if ids is None else self._built(wanted, ids)

    def _build(self, wanted: Wanted, ids: tuple[int, int]) -> bytes:
        instrument = self._instruments[wanted.category][wanted.symbol]
        render = contract_rows if wanted.category == LINEAR else spot_rows
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as file:
            file.write(HEADERS[wanted.category])
            for first in range(ids[0], ids[1] + 1, ROWS):
                trades = instrument.market.slice(first, min(first + ROWS - 1, ids[1]))
                if len(trades):
                    file.write(render(instrument, trades, first - ids[0] + 1))
        return packed.getvalue()


def contract_rows(instrument: Instrument, trades: Trades, number: int) -> bytes:
    """Return lines `1700000000.1234,BTCUSDT,Buy,0.001,65114.20,PlusTick,20f4…,6.5e+09,…,0`."""
    numerals = instrument.numerals
    times = _ticks(instrument, trades.ts_us)
    value = trades.price * trades.qty
    columns = zip(
        (f"{time // 10_000}.{time % 10_000:04d}" for time in times.tolist()),
        ("Buy" if is_buy else "Sell" for is_buy in trades.is_buy.tolist()),
        numerals.sizes(trades.qty),
        numerals.prices(trades.price),
        directions(trades.price, instrument.before(trades)),
        numerals.ids(trades),
        value.tolist(),
        numerals.are_rpi(trades).tolist(),
        strict=True,
    )
    symbol = instrument.symbol
    return "".join(
        f"{time},{symbol},{side},{size},{price},{move},{id},{worth * 1e8:.6e},{size},{worth:.6f},"
        f"{is_rpi:d}\n"
        for time, side, size, price, move, id, worth, is_rpi in columns
    ).encode()


def spot_rows(instrument: Instrument, trades: Trades, number: int) -> bytes:
    """Return lines `1,1700000000123,65140.5,0.014,buy,0`; the id counts within the file."""
    numerals = instrument.numerals
    columns = zip(
        range(number, number + len(trades)),
        (trades.ts_us // 1000).tolist(),
        numerals.prices(trades.price),
        numerals.sizes(trades.qty),
        ("buy" if is_buy else "sell" for is_buy in trades.is_buy.tolist()),
        numerals.are_rpi(trades).tolist(),
        strict=True,
    )
    return "".join(
        f"{id},{ms},{price},{size},{side},{is_rpi:d}\n"
        for id, ms, price, size, side, is_rpi in columns
    ).encode()


def cut(data: bytes) -> bytes:
    """Return the first half of a file, as a transfer that broke off at the venue leaves it."""
    return data[: len(data) // 2]


def _ticks(instrument: Instrument, ts_us: Ints) -> Ints:
    """Return times in units of 100 µs; invented ones, whole milliseconds, get a fourth digit."""
    if instrument.market.label != "generated":
        return ts_us // 100
    ms = ts_us // 1000
    return np.asarray(ms * 10 + (FINER.uniform(ms) * 10).astype(np.int64), dtype=np.int64)
