"""The public archive: a closed UTC day of aggregates as a zip, and its checksum."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from marketdata.core.timeframe import DAY_US
from marketdata.simulator.binance_spot.wire import MICROSECONDS, MILLISECONDS, archive_rows
from marketdata.simulator.listing import Listing

PATH = re.compile(
    r"/data/spot/daily/aggTrades/(?P<symbol>[^/]+)/"
    r"(?P<stem>(?P=symbol)-aggTrades-(?P<day>\d{4}-\d\d-\d\d))\.zip(?P<sum>\.CHECKSUM)?"
)
EPOCH = date(1970, 1, 1)
# From this day on the archive of spot writes microseconds.
FIRST_MICROSECONDS = date(2025, 1, 1)
ROWS = 50_000
KEPT = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """One archive file: a day of a symbol, or its checksum."""

    symbol: str
    stem: str
    day: date
    is_sum: bool

    @classmethod
    def at(cls, path: str) -> Wanted | None:
        """Read a path; None where the archive has no such place."""
        found = PATH.fullmatch(path)
        if not found:
            return None
        try:
            day = date.fromisoformat(found["day"])
        except ValueError:
            return None
        return cls(found["symbol"], found["stem"], day, bool(found["sum"]))


class Archive:
    """Zips of closed days, built when first asked for; the same bytes every time."""

    def __init__(self, listings: Mapping[str, Listing]) -> None:
        self._listings = listings
        self._built = lru_cache(maxsize=KEPT)(self._build)

    def read(self, wanted: Wanted) -> bytes | None:
        """Return a file, or None where there is none (yet)."""
        listing = self._listings.get(wanted.symbol)
        day_us = (wanted.day - EPOCH).days * DAY_US
        ids = listing.market.archived(day_us) if listing else None
        if ids is None:
            return None
        data = self._built(wanted.symbol, wanted.stem, wanted.day, ids)
        if not wanted.is_sum:
            return data
        return f"{hashlib.sha256(data).hexdigest()}  {wanted.stem}.zip\n".encode()

    def _build(self, symbol: str, stem: str, day: date, ids: tuple[int, int]) -> bytes:
        market = self._listings[symbol].market
        unit = MICROSECONDS if day >= FIRST_MICROSECONDS else MILLISECONDS
        packed = io.BytesIO()
        entry = zipfile.ZipInfo(f"{stem}.csv", (day.year, day.month, day.day, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        with (
            zipfile.ZipFile(packed, "w", compresslevel=1) as archive,
            archive.open(entry, "w", force_zip64=True) as file,
        ):
            for first in range(ids[0], ids[1] + 1, ROWS):
                trades = market.slice(first, min(first + ROWS - 1, ids[1]))
                file.write(archive_rows(trades, market.fills, unit))
        return packed.getvalue()


def corrupted(data: bytes) -> bytes:
    """Return the data with one bit flipped in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]
