"""The invented markets of Bybit: linear and spot of a symbol, each with trades of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from marketdata.core.instrument import Grid
from marketdata.simulator.bybit.numerals import CATEGORIES, LINEAR, SPOT
from marketdata.simulator.generator import Character, GeneratedMarket
from marketdata.simulator.markets import Market

STEPS = {
    (LINEAR, "BTCUSDT"): ("0.10", "0.001"),
    (LINEAR, "ETHUSDT"): ("0.01", "0.01"),
    (LINEAR, "SOLUSDT"): ("0.010", "0.1"),
    (LINEAR, "BNBUSDT"): ("0.10", "0.01"),
    (SPOT, "BTCUSDT"): ("0.01", "0.000001"),
    (SPOT, "ETHUSDT"): ("0.01", "0.00001"),
    (SPOT, "SOLUSDT"): ("0.01", "0.001"),
    (SPOT, "BNBUSDT"): ("0.1", "0.0001"),
}
# Contracts trade in larger pieces.
VALUES = {LINEAR: 600.0, SPOT: 150.0}


class BybitMarket(GeneratedMarket):
    """The invented trades of one symbol in one category; see GeneratedMarket."""

    def __init__(
        self, category: str, symbol: str, seed: int, rate: float, clock_us: Callable[[], int]
    ) -> None:
        known = Character.of(symbol)
        steps = STEPS.get((category, symbol))
        grid = Grid(*map(Decimal, steps)) if steps else known.grid
        character = Character(known.price, grid, VALUES[category])
        super().__init__(
            symbol, seed, rate, clock_us, venue=f"bybit {category}", character=character
        )
        self.category = category


def invented(
    symbols: Sequence[str], seed: int, rate: float, clock_us: Callable[[], int]
) -> list[Market]:
    """Return a market per category and symbol."""
    return [
        BybitMarket(category, symbol, seed, rate, clock_us)
        for category in CATEGORIES
        for symbol in symbols
    ]


def category_of(market: Market) -> str:
    """Return where a market is listed; a tape is of contracts."""
    return market.category if isinstance(market, BybitMarket) else LINEAR
