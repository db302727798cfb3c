"""Numbers, ids and sequences as Bybit writes them; all of them follow from our own trade id."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from marketdata.core.instrument import Grid
from marketdata.core.trades import Bools, Floats, Ints, Trades
from marketdata.simulator.noise import Lane

LINEAR, SPOT = "linear", "spot"
CATEGORIES = (LINEAR, SPOT)
# The counter of spot runs over all symbols: one symbol's trades leave holes in it.
SPOT_FIRST, SPOT_STRIDE = 2_280_000_000_000_000_000, 1000
# Both grow with time and are shared by all symbols; a sweep of one instant has one.
SEQ_SINCE_MS = {LINEAR: 1_000_000_000_000, SPOT: 1_600_000_000_000}
RPI_SHARE = 0.05


def places(step: Decimal) -> int:
    """Return the decimals a step is written with: `0.10` has two."""
    exponent = step.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def stripped(text: str) -> str:
    """Return a decimal without zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Numerals:
    """How one symbol's numbers are written.

    Notes
    -----
    Linear writes every decimal of the step (`65114.20`), spot as few as the value needs
    (`65140`). Candles do the latter in both.
    """

    category: str
    symbol: str
    grid: Grid

    @property
    def lane(self) -> Lane:
        """Randomness of this symbol's ids."""
        return Lane.of("bybit", self.category, self.symbol)

    def price(self, ticks: int) -> str:
        """Return a price of so many ticks."""
        return self._written(ticks * self.grid.tick, self.grid.tick)

    def size(self, lots: int) -> str:
        """Return a size of so many lots."""
        return self._written(lots * self.grid.lot, self.grid.lot)

    def prices(self, column: Floats) -> list[str]:
        """Return a column of prices."""
        return self._column(column, self.grid.tick)

    def sizes(self, column: Floats) -> list[str]:
        """Return a column of sizes."""
        return self._column(column, self.grid.lot)

    def ids(self, trades: Trades) -> list[str]:
        """Return the public id of each trade: a UUID, or a number of the common counter."""
        if self.category == LINEAR:
            return uuids(self.lane, trades.id)
        slot = SPOT_FIRST + zlib.crc32(self.symbol.encode()) % SPOT_STRIDE
        return [str(slot + SPOT_STRIDE * id) for id in trades.id.tolist()]

    def seqs(self, ts_us: Ints) -> Ints:
        """Return the cross sequence at each time."""
        return ts_us // 1000 - SEQ_SINCE_MS[self.category]

    def are_rpi(self, trades: Trades) -> Bools:
        """Return which trades met a retail-price-improvement order."""
        return np.asarray(self.lane.uniform(-trades.id) < RPI_SHARE, dtype=np.bool_)

    def _written(self, value: Decimal, step: Decimal) -> str:
        text = f"{value:.{places(step)}f}"
        return text if self.category == LINEAR else stripped(text)

    def _column(self, column: Floats, step: Decimal) -> list[str]:
        template = f"%.{places(step)}f"
        texts = [template % value for value in column.tolist()]
        return texts if self.category == LINEAR else [stripped(text) for text in texts]


def uuids(lane: Lane, ids: Ints) -> list[str]:
    """Return a UUID per id: of version 5 by its look, and always the same."""
    halves = np.empty((len(ids), 2), dtype=">u8")
    for half in (0, 1):
        # 53 bits are random, the rest stirs in the id.
        word = (lane.uniform(2 * ids + half) * 2.0**53).astype(np.uint64)
        halves[:, half] = (word << np.uint64(11)) | (ids.astype(np.uint64) & np.uint64(0x7FF))
    octets = halves.view(np.uint8).reshape(len(ids), 16)
    octets[:, 6] = (octets[:, 6] & 0x0F) | 0x50
    octets[:, 8] = (octets[:, 8] & 0x3F) | 0x80
    text = octets.tobytes().hex()
    return [
        f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}"
        for one in (text[at : at + 32] for at in range(0, len(text), 32))
    ]


def directions(price: Floats, before: Floats) -> list[str]:
    """Return each trade's tick direction, given some prices before the first."""
    moves = np.diff(np.concatenate((before, price))).tolist()
    found, is_up = [], True
    for move in moves if len(before) else [0.0, *moves]:
        is_up = move > 0 if move else is_up
        found.append(("" if move else "Zero") + ("PlusTick" if is_up else "MinusTick"))
    return found[max(0, len(before) - 1) :]
