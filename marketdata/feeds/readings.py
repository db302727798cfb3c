"""`Readings`: fetches the series that a venue keeps, such as funding and open interest."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.db import DatabaseError, connection
from django.db.models import Max

from marketdata.core.errors import BotCryptoError
from marketdata.core.facts import Reading as Told
from marketdata.core.timeframe import DAY_US, SECOND_US
from marketdata.models import Reading
from marketdata.rest.client import VenueClient
from marketdata.store.writer import Writer, WriterStoppedError

log = logging.getLogger(__name__)

EVERY_S = 300.0
# What is fetched when nothing is stored yet.
FIRST_DAYS = 7
# Pages of one series at a time: the rest comes next time.
MOST_PAGES = 20


class Readings(threading.Thread):
    """Keeps the series of a source's symbols up to date.

    Parameters
    ----------
    client : VenueClient
    writer : Writer
    symbols : callable
        () → (symbol, instrument id) of what is open.
    wall_us : callable
        Microseconds UTC.
    """

    def __init__(
        self,
        client: VenueClient,
        writer: Writer,
        symbols: Callable[[], list[tuple[str, int]]],
        stopping: threading.Event,
        wall_us: Callable[[], int],
        name: str = "readings",
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.client = client
        self.writer = writer
        self.symbols = symbols
        self.stopping = stopping
        self.wall_us = wall_us
        self._done_s: dict[tuple[str, str], float] = {}

    def run(self) -> None:
        """Fetch what is new now and then, until stopped."""
        try:
            while not self.stopping.wait(1.0):
                for symbol, instrument_id in self.symbols():
                    for kind in self.client.venue.series:
                        self._refresh(kind, symbol, instrument_id)
        finally:
            connection.close()

    def _refresh(self, kind: str, symbol: str, instrument_id: int) -> None:
        now_s = time.monotonic()
        if now_s - self._done_s.get((kind, symbol), -EVERY_S) < EVERY_S or self.stopping.is_set():
            return
        self._done_s[kind, symbol] = now_s
        try:
            self._fetch(kind, symbol, instrument_id)
        except (BotCryptoError, WriterStoppedError, DatabaseError) as error:
            if not self.stopping.is_set():
                log.warning("series not told kind=%s symbol=%s error=%s", kind, symbol, error)

    def _fetch(self, kind: str, symbol: str, instrument_id: int) -> None:
        series, now_us = self.client.venue.series[kind], self.wall_us()
        mine = Reading.objects.filter(instrument_id=instrument_id, kind=kind)
        newest = mine.aggregate(newest=Max("ts_us"))["newest"]
        reach_us = int((series.reach_s or FIRST_DAYS * 86_400) * SECOND_US)
        start_us = newest + 1 if newest else now_us - FIRST_DAYS * DAY_US
        start_us = max(start_us, now_us - reach_us)
        for begin_us in range(start_us, now_us, series.span_us)[:MOST_PAGES]:
            end_us = min(begin_us + series.span_us, now_us)
            for reading in self.client.series(kind, symbol, begin_us, end_us):
                if begin_us <= reading.ts_us < end_us:
                    self._keep(instrument_id, reading)

    def _keep(self, instrument_id: int, reading: Told) -> None:
        self.writer.put_row(
            Reading(
                instrument_id=instrument_id,
                kind=reading.kind,
                ts_us=reading.ts_us,
                value=reading.value,
            )
        )
