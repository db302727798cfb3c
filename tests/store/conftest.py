"""Fixtures of the store's tests."""

from decimal import Decimal

import pytest
from django.db import connections

from marketdata.core.instrument import Grid
from marketdata.store import instruments
from marketdata.store.writer import Writer


@pytest.fixture
def btc():
    """Return a stored instrument; the test's own mark gives the database."""
    return instruments.remember("binance_ws", "BTCUSDT", Grid(Decimal("0.01"), Decimal("0.001")))


@pytest.fixture
def writer(transactional_db):
    """Return a running writer with quick flushes."""
    found = Writer(flush_s=0.01)
    found.start()
    yield found
    found.stop(5)


@pytest.fixture
def impatient(monkeypatch):
    """Let new connections wait 50 ms for a locked database instead of ten seconds."""
    options = connections.settings["default"]["OPTIONS"]
    monkeypatch.setitem(options, "timeout", 0.05)
