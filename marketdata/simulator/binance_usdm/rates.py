"""What belongs to a perpetual besides its trades: index, mark, funding, open interest.

All of it is a function of time, so what REST says of the past never changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marketdata.core.timeframe import DAY_US, HOUR_US
from marketdata.simulator.generator import GeneratedMarket
from marketdata.simulator.listing import Listing
from marketdata.simulator.noise import Lane

INTEREST = 1e-4  # what holding quote instead of base is worth each funding
TOLERANCE, CAP = 5e-4, 0.02
FUNDING_HOURS = 8
# Those whose funding is not every eight hours.
ADJUSTED_HOURS = {"SOLUSDT": 4}
OPEN_VALUE = 5e9  # quote
OPEN_SWING = 0.15
JITTER_MS = 10  # a funding is booked so late at most


@dataclass(frozen=True, slots=True)
class Marks:
    """Prices of one moment, quote per base, and the funding that they foretell."""

    index: float
    mark: float
    funding: float


def marks(listing: Listing, ts_us: int) -> Marks:
    """Return what is true at a time; a tape knows nothing but its trades."""
    market = listing.market
    if isinstance(market, GeneratedMarket):
        index, mark = market.course(ts_us)
    else:
        last = max(market.first_id, min(market.id_at(ts_us + 1) - 1, market.last_id))
        index = mark = float(market.after(last - 1, 1).price[0])
    premium = mark / index - 1
    nudge = min(TOLERANCE, max(-TOLERANCE, INTEREST - premium))
    return Marks(index, mark, min(CAP, max(-CAP, premium + nudge)))


def funding_hours(symbol: str) -> int:
    """Return the hours from one funding to the next."""
    return ADJUSTED_HOURS.get(symbol, FUNDING_HOURS)


def next_funding_us(symbol: str, ts_us: int) -> int:
    """Return when the next funding after a time is due."""
    length_us = funding_hours(symbol) * HOUR_US
    return (ts_us // length_us + 1) * length_us


def fundings_us(symbol: str, start_us: int, end_us: int) -> list[int]:
    """Return the times of the fundings in [start, end], ascending."""
    length_us = funding_hours(symbol) * HOUR_US
    return list(range(-(-start_us // length_us) * length_us, end_us + 1, length_us))


def booked_ms(symbol: str, due_us: int) -> int:
    """Return when a funding is booked: some milliseconds after it was due."""
    late = Lane.of("funding", symbol).uniform(np.array([due_us // HOUR_US]))[0]
    return due_us // 1000 + int(late * JITTER_MS)


def open_interest(listing: Listing, ts_us: int) -> float:
    """Return the contracts open, base units."""
    curve = Lane.of("open interest", listing.symbol).smooth(np.array([ts_us]), DAY_US)[0]
    first = listing.market.after(listing.market.first_id - 1, 1)
    level = Lane.of("open level", listing.symbol).uniform(np.array([0]))[0] + 0.5
    # A price level of the symbol, not of the moment, else contracts would follow the price.
    price = _level(listing, float(first.price[0]))
    return float(OPEN_VALUE * level / price * (1 + OPEN_SWING * curve))


def _level(listing: Listing, fallback: float) -> float:
    market = listing.market
    return market.character.price if isinstance(market, GeneratedMarket) else fallback
