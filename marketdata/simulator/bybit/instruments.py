"""One symbol in one category: its market, its numerals, its ladders, and what a contract has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from marketdata.core.timeframe import HOUR_US, MINUTE_US
from marketdata.core.trades import Floats, Trades
from marketdata.simulator.bybit.ladder import DEEPEST, DEPTHS, Ladder, Step
from marketdata.simulator.bybit.numerals import LINEAR, Numerals
from marketdata.simulator.listing import Levels, Listing
from marketdata.simulator.markets import Market
from marketdata.simulator.noise import Lane

FUNDING_US = 8 * HOUR_US
FUNDING_CAP = 0.005
# A contract's own rates go back to here, whatever is left of its trades.
LAUNCH_MS = 1_585_526_400_000
OPEN_VALUE = 2e9  # quote units held on both sides, about
LOOKBACK = 32
# How many beats of 20 ms lie between two updates of a depth.
EVERY = dict(zip(DEPTHS, (1, 1, 5, 10), strict=True))
# One trade in so many closes somebody's position by force.
LIQUIDATION_SHARE = 1 / 300
BANKRUPT = 0.005  # how far beyond the fill the bankruptcy price lies, as a fraction
# A liquidation: milliseconds, whether a long ended, size, bankruptcy price.
Forced = tuple[int, bool, str, str]


class Instrument:
    """One symbol in one category."""

    def __init__(self, category: str, market: Market) -> None:
        self.category = category
        self.symbol = market.symbol
        self.market = market
        self.listing = Listing(market)
        self.numerals = Numerals(category, market.symbol, market.grid)
        self.ladders: dict[int, Ladder] = {}
        self.first: Step | None = None
        self.liquidated: list[Forced] = []
        self._lane = Lane.of("bybit contract", market.symbol)

    def now_ms(self) -> int:
        """Return the market's clock, milliseconds."""
        return self.market.now_us() // 1000

    def seq(self) -> int:
        """Return the cross sequence of now."""
        return int(self.numerals.seqs(np.array([self.market.now_us()]))[0])

    def last_price(self) -> float:
        """Return the price of the newest trade, or of the first that will be."""
        newest = self.listing.history.last_trade()
        if not len(newest):
            newest = self.market.after(self.market.first_id - 1, 1)
        return float(newest.price[0])

    def before(self, trades: Trades) -> Floats:
        """Return prices before a batch, so many that they moved where they did."""
        first, back = int(trades.id[0]), LOOKBACK
        while True:
            oldest = max(self.market.first_id, first - back)
            prices = self.market.slice(oldest, first - 1).price
            if oldest == self.market.first_id or (prices != prices[-1]).any():
                return prices
            back *= 8

    def ladder(self, depth: int) -> Ladder:
        """Return the ladder of a depth, made at the first call."""
        if depth not in self.ladders:
            born = max(2, self.market.now_us() // 1_000_000 - 1_500_000_000) + depth
            made = self.ladders[depth] = Ladder(depth, born)
            made.advance(Levels.of(self.listing.made_book(), DEEPEST))
            if depth == DEEPEST:
                self.first = made.snapshot()
        return self.ladders[depth]

    def climb(self, beat: int) -> Iterator[tuple[Ladder, Step]]:
        """Move the ladders whose turn it is to the newest book; gives what each has to say."""
        due = [one for depth, one in self.ladders.items() if beat % EVERY[depth] == 0]
        if not due:
            return
        book = self.listing.made_book()
        levels = Levels.of(book, DEEPEST)
        book.change()
        for ladder in due:
            if step := ladder.advance(levels):
                yield ladder, step

    def funding(self, ts_us: int) -> float:
        """Return the rate of the coming funding as it stands at a time; final when it is due."""
        at = np.array([max(0, ts_us // MINUTE_US * MINUTE_US)])
        return float(1e-4 + 2e-4 * self._lane.smooth(at, FUNDING_US)[0])

    def open_interest(self, ts_us: int) -> float:
        """Return what is held at a time, both sides counted, base units, on whole lots."""
        reference = float(self.market.after(self.market.first_id - 1, 1).price[0])
        step = float(self.market.grid.lot) * 2
        at = np.array([ts_us // MINUTE_US * MINUTE_US])
        swing = 1.0 + 0.1 * float(self._lane.smooth(at, 6 * HOUR_US)[0])
        magnitude = float(f"{OPEN_VALUE / reference:.1g}")
        return round(magnitude * swing / step) * step

    def notes(self, trades: Trades) -> list[Forced]:
        """Return the liquidations among trades: a few of contracts, none of spot."""
        if self.category != LINEAR:
            return []
        return self.forced(trades[self._lane.uniform(trades.id) < LIQUIDATION_SHARE])

    def forced(self, trades: Trades) -> list[Forced]:
        """Return trades as liquidations: who sold ended a long."""
        beyond = np.where(trades.is_buy, 1 + BANKRUPT, 1 - BANKRUPT)
        tick = float(self.market.grid.tick)
        prices = self.numerals.prices(np.rint(trades.price * beyond / tick) * tick)
        times, longs = (trades.ts_us // 1000).tolist(), (~trades.is_buy).tolist()
        return [*zip(times, longs, self.numerals.sizes(trades.qty), prices, strict=True)]
