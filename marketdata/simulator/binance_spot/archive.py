"""The public archive: a closed UTC day of aggregates as a zip, and its checksum."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from aiohttp import web

from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot import http_faults
from marketdata.simulator.binance_spot.wire import MICROSECONDS, MILLISECONDS
from marketdata.simulator.faults import Faults
from marketdata.simulator.listing import Listing
from marketdata.simulator.markets import Market
from marketdata.simulator.spoil import sent

NAME = re.compile(
    r"(?P<symbol>[^/]+)/(?P<stem>(?P=symbol)-aggTrades-(?P<day>\d{4}-\d\d-\d\d))"
    r"\.zip(?P<sum>\.CHECKSUM)?"
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
        """Read what stands after `…/aggTrades/`; None where the archive has no such place."""
        found = NAME.fullmatch(path)
        if not found:
            return None
        try:
            day = date.fromisoformat(found["day"])
        except ValueError:
            return None
        return cls(found["symbol"], found["stem"], day, bool(found["sum"]))


@dataclass(frozen=True)
class Layout:
    """How the files of one of Binance's markets are written.

    Parameters
    ----------
    rows : callable
        (trades, market, what times are divided by) → the lines.
    header : bytes
        The first line, where there is one.
    is_fine : bool
        Whether times are in microseconds since 2025.
    """

    rows: Callable[[Trades, Market, int], bytes]
    header: bytes = b""
    is_fine: bool = False


class Archive:
    """Zips of closed days, built when first asked for; the same bytes every time."""

    def __init__(self, listings: Mapping[str, Listing], layout: Layout) -> None:
        self._listings = listings
        self._layout = layout
        self._built = lru_cache(maxsize=KEPT)(self._build)

    async def answer(self, request: web.Request, faults: Faults, limit: int) -> web.StreamResponse:
        """Answer the request of a file, whose `path` begins after `…/aggTrades/`."""
        fault = faults.take_http()
        spoiled = http_faults.answered(fault, faults, limit)
        whole = spoiled or await self._file(request.match_info["path"], faults)
        return await sent(fault, request, whole)

    async def _file(self, path: str, faults: Faults) -> web.Response:
        wanted = Wanted.at(path)
        if wanted is None or faults.take("archive_missing"):
            return _absent()
        data = await asyncio.to_thread(self.read, wanted)
        if data is None:
            return _absent()
        if not wanted.is_sum and faults.take("archive_corrupt"):
            data = corrupted(data)
        kind = "text/plain" if wanted.is_sum else "application/zip"
        return web.Response(body=data, content_type=kind)

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
        is_fine = self._layout.is_fine and day >= FIRST_MICROSECONDS
        unit = MICROSECONDS if is_fine else MILLISECONDS
        packed = io.BytesIO()
        entry = zipfile.ZipInfo(f"{stem}.csv", (day.year, day.month, day.day, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        with (
            zipfile.ZipFile(packed, "w", compresslevel=1) as archive,
            archive.open(entry, "w", force_zip64=True) as file,
        ):
            file.write(self._layout.header)
            for first in range(ids[0], ids[1] + 1, ROWS):
                trades = market.slice(first, min(first + ROWS - 1, ids[1]))
                file.write(self._layout.rows(trades, market, unit))
        return packed.getvalue()


def corrupted(data: bytes) -> bytes:
    """Return the data with one bit flipped in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]


def _absent() -> web.Response:
    text = (
        "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
    )
    return web.Response(status=404, text=text, content_type="application/xml")
