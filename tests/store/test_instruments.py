from datetime import time
from decimal import Decimal

import pytest

from marketdata.core.errors import BotCryptoError
from marketdata.core.instrument import Grid
from marketdata.core.sessions import SessionDefinition
from marketdata.models import MOST_INSTRUMENTS, Instrument, TradingSession
from marketdata.store import instruments

pytestmark = pytest.mark.django_db


def grid(tick, lot):
    return Grid(Decimal(tick), Decimal(lot))


def test_an_instrument_is_remembered_once():
    first = instruments.remember("binance_ws", "BTCUSDT", grid("0.01", "0.00001"))
    again = instruments.remember("binance_ws", "BTCUSDT", grid("0.01", "0.00001"))
    assert first == again == instruments.find("binance_ws", "BTCUSDT")
    assert instruments.known() == [first]
    assert instruments.find("binance_ws", "ETHUSDT") is None
    row = Instrument.objects.get()
    assert (row.channel, row.simulated, row.is_active) == ("aggTrade", False, True)


def test_an_instrument_put_aside_is_not_offered():
    first = instruments.remember("binance_ws", "BTCUSDT", grid("0.01", "1"))
    Instrument.objects.update(is_active=False)
    assert instruments.known() == []
    # It goes on where it was as soon as it is followed again.
    assert instruments.find("binance_ws", "BTCUSDT") == first
    assert instruments.remember("binance_ws", "BTCUSDT", grid("0.01", "1")) == first


@pytest.mark.parametrize(
    ("stored", "told", "expected"),
    [
        (("0.01", "0.001"), ("0.001", "0.01"), ("0.001", "0.001")),
        (("0.01", "0.001"), ("0.1", "1"), ("0.01", "0.001")),
        (("0.01", "0.001"), ("0.005", "0.001"), ("0.005", "0.001")),
        (("0.02", "1"), ("0.05", "1"), ("0.05", "1")),
    ],
    ids=["one finer", "coarser", "half", "no divisor"],
)
def test_the_finer_grid_is_kept(stored, told, expected):
    instruments.remember("binance_ws", "BTCUSDT", grid(*stored))
    assert instruments.remember("binance_ws", "BTCUSDT", grid(*told)).grid == grid(*expected)


def test_a_grid_found_on_the_way_is_stored():
    found = instruments.remember("binance_ws", "BTCUSDT", grid("0.01", "1"))
    instruments.refine(found.id, grid("0.0001", "0.1"))
    assert instruments.find("binance_ws", "BTCUSDT").grid == grid("0.0001", "0.1")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"simulated": True}, {}, "simulated aggTrade ids.*real aggTrade ones"),
        ({}, {"simulated": True}, "real aggTrade ids.*simulated aggTrade ones"),
        ({}, {"channel": "trade"}, "real aggTrade ids.*real trade ones"),
    ],
)
def test_kinds_do_not_mix(first, second, words):
    instruments.remember("binance_ws", "BTCUSDT", grid("0.01", "1"), **first)
    with pytest.raises(instruments.MixedDataError, match=words) as caught:
        instruments.remember("binance_ws", "BTCUSDT", grid("0.001", "1"), **second)
    assert "DATA_DIR" in str(caught.value)
    # Nothing was changed on the way.
    assert Instrument.objects.get().tick == "0.01"
    # Another venue or symbol may be of another kind.
    instruments.remember("binance_ws", "ETHUSDT", grid("0.01", "1"), **second)


def test_more_instruments_than_keys_are_refused():
    Instrument.objects.create(pk=MOST_INSTRUMENTS, source="x", symbol="last", tick="1", lot="1")
    with pytest.raises(BotCryptoError, match="at most 4095 instruments fit"):
        instruments.remember("x", "one more", grid("1", "1"))
    assert instruments.find("x", "one more") is None


def test_sessions_are_the_active_ones_in_order():
    TradingSession.objects.all().delete()
    for order, name in ((2, "late"), (1, "early"), (0, "off-duty")):
        TradingSession.objects.create(
            name=name, title=name.title(), tz="Europe/London", start=time(8), end=time(16, 30),
            weekdays="12345", order=order, is_active=name != "off-duty",
        )  # fmt: skip
    weekdays = frozenset(range(1, 6))
    assert instruments.trading_sessions() == [
        SessionDefinition("early", "Early", "Europe/London", 480, 990, weekdays),
        SessionDefinition("late", "Late", "Europe/London", 480, 990, weekdays),
    ]
