"""The newest candles as a plain SVG drawing, for the page before any script runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from marketdata.views.figures import number

WIDTH, HEIGHT = 1000.0, 400.0
COUNT = 120
# Levels drawn where they fall between the lowest and the highest price shown.
DRAWN = ("VWAP", "POC", "VAH", "VAL", "PDH", "PDL", "PDC")


@dataclass(frozen=True, slots=True)
class Bar:
    """One candle in the drawing's units."""

    x: float
    width: float
    middle: float
    top: float
    bottom: float
    high: float
    low: float
    side: str


@dataclass(frozen=True, slots=True)
class Line:
    """A level in the drawing's units."""

    name: str
    y: float


@dataclass(frozen=True, slots=True)
class Sketch:
    """Candles and levels, ready to be drawn in a box of `WIDTH` by `HEIGHT`."""

    bars: list[Bar]
    lines: list[Line]
    first: str
    last: str
    low: str
    high: str


def sketch(
    candles: Sequence[dict[str, Any]], levels: dict[str, float | None], decimals: int
) -> Sketch | None:
    """Lay out candles, oldest first, prices with so many decimals; None where there are none."""
    if not candles:
        return None
    low, high = min(c["low"] for c in candles), max(c["high"] for c in candles)
    span = (high - low) or 1.0

    def y(price: float) -> float:
        return round(HEIGHT * float(0.03 + 0.94 * (high - price) / span), 1)

    step = WIDTH / len(candles)
    lines = [
        Line(name, y(price))
        for name in DRAWN
        if (price := levels[name]) is not None and low <= price <= high
    ]
    bars = [_bar(candle, at * step, step, y) for at, candle in enumerate(candles)]
    ends = candles[0]["time"], candles[-1]["time"]
    return Sketch(bars, lines, *ends, number(low, decimals), number(high, decimals))


def _bar(candle: dict[str, Any], x: float, step: float, y: Callable[[float], float]) -> Bar:
    is_up = candle["close"] >= candle["open"]
    ends = sorted((y(candle["open"]), y(candle["close"])))
    return Bar(
        x=round(x + 0.15 * step, 1),
        width=round(0.7 * step, 1),
        middle=round(x + step / 2, 1),
        top=ends[0],
        bottom=max(round(ends[1] - ends[0], 1), 1.0),
        high=y(candle["high"]),
        low=y(candle["low"]),
        side="up" if is_up else "down",
    )
