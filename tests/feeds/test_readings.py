"""Series of a venue: whole at the start, later only what is new, no hole where a page ends."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from marketdata.core.errors import ConnectionLostError
from marketdata.core.facts import Reading as Told
from marketdata.feeds import readings as module
from marketdata.feeds.readings import FIRST_DAYS, Readings
from marketdata.models import Instrument, Reading
from marketdata.venues.base import Series

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
NOW_US = 1_786_233_600_000_000
# A page of the venue holds ten readings, the newest of what is asked for.
PAGE = 10


class Client:
    """A venue with a reading an hour; it answers as Bybit does."""

    def __init__(self, first_us: int) -> None:
        self.first_us = first_us
        self.asked: list[tuple[int, int]] = []
        self.error: Exception | None = None
        series = Series(lambda *about: None, lambda body: [], PAGE * HOUR_US)
        self.venue = SimpleNamespace(series={"funding": series})

    def series(self, kind: str, symbol: str, start_us: int, end_us: int) -> list[Told]:
        self.asked.append((start_us, end_us))
        if self.error is not None:
            raise self.error
        begin = max(-(-start_us // HOUR_US) * HOUR_US, self.first_us)
        return [Told(kind, at, at / 1e15) for at in range(begin, end_us, HOUR_US)][-PAGE:]


@pytest.fixture
def kept(db) -> tuple[Client, Readings]:
    instrument = Instrument.objects.create(
        source="bybit", symbol="BTCUSDT", tick="0.1", lot="0.001"
    )
    client = Client(NOW_US - 400 * DAY_US)
    writer = SimpleNamespace(put_row=lambda row: row.save())
    made = Readings(
        client,
        writer,
        lambda: [("BTCUSDT", instrument.pk)],
        threading.Event(),
        lambda: NOW_US,
    )
    return client, made


def times() -> list[int]:
    return sorted(Reading.objects.values_list("ts_us", flat=True))


def test_a_week_is_fetched_whole_though_a_page_holds_hours(kept):
    client, readings = kept
    readings._refresh("funding", "BTCUSDT", readings.symbols()[0][1])
    assert len(client.asked) == -(-FIRST_DAYS * 24 // PAGE)
    assert times() == list(range(NOW_US - FIRST_DAYS * DAY_US, NOW_US, HOUR_US))


def test_later_only_what_is_new_is_asked_for_and_not_at_once(kept, monkeypatch):
    client, readings = kept
    instrument_id = readings.symbols()[0][1]
    readings._refresh("funding", "BTCUSDT", instrument_id)
    before = len(client.asked)
    readings._refresh("funding", "BTCUSDT", instrument_id)
    assert len(client.asked) == before
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    readings.wall_us = lambda: NOW_US + 2 * HOUR_US
    readings._refresh("funding", "BTCUSDT", instrument_id)
    assert client.asked[before:] == [(NOW_US - HOUR_US + 1, NOW_US + 2 * HOUR_US)]
    assert times()[-1] == NOW_US + HOUR_US


def test_a_market_listed_yesterday_is_found(kept):
    client, readings = kept
    client.first_us = NOW_US - DAY_US
    readings._refresh("funding", "BTCUSDT", readings.symbols()[0][1])
    assert times() == list(range(NOW_US - DAY_US, NOW_US, HOUR_US))


@pytest.mark.parametrize("error", [ConnectionLostError("gone"), OperationalError("gone")])
def test_a_venue_or_a_database_that_does_not_answer_is_told_and_asked_again(
    kept, monkeypatch, caplog, error
):
    client, readings = kept
    client.error = error
    readings._refresh("funding", "BTCUSDT", readings.symbols()[0][1])
    assert "series not told kind=funding symbol=BTCUSDT error=gone" in caplog.text
    assert times() == []
    client.error = None
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    readings._refresh("funding", "BTCUSDT", readings.symbols()[0][1])
    assert times()
