"""The drawing that needs no script."""

from marketdata.views.sketch import sketch

NO_LEVELS = dict.fromkeys(("VWAP", "POC", "VAH", "VAL", "PDH", "PDL", "PDC"))


def candle(open, high, low, close, time="2024-01-01T10:00:00.000Z"):
    return {"time": time, "open": open, "high": high, "low": low, "close": close}


def test_no_candles_no_drawing():
    assert sketch([], NO_LEVELS, 2) is None


def test_prices_become_heights():
    """Of 400 units 3 % stay free above and below: 110 lies at 12, 100 at 388, 105 at 200."""
    drawn = sketch([candle(100, 110, 100, 105), candle(110, 110, 100, 100)], NO_LEVELS, 2)
    first, second = drawn.bars
    assert (first.high, first.low, first.top, first.bottom) == (12.0, 388.0, 200.0, 188.0)
    assert (first.side, second.side) == ("up", "down")
    assert (first.middle, second.middle) == (250.0, 750.0)
    assert (first.x, first.width) == (75.0, 350.0)
    assert (drawn.low, drawn.high) == ("100.00", "110.00")


def test_only_levels_in_sight_are_drawn():
    levels = {**NO_LEVELS, "VWAP": 105.0, "POC": 111.0}
    assert [(x.name, x.y) for x in sketch([candle(100, 110, 100, 105)], levels, 2).lines] == [
        ("VWAP", 200.0)
    ]


def test_a_flat_market_can_be_drawn():
    bar = sketch([candle(100, 100, 100, 100)], NO_LEVELS, 2).bars[0]
    assert (bar.high, bar.low, bar.bottom) == (12.0, 12.0, 1.0)
