"""What the simulated venue asks of a market, whether its trades are invented or recorded."""

from __future__ import annotations

from typing import Protocol

from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.simulator.fills import Fills


class Market(Protocol):
    """The trades of one symbol: played forward for streams, read by id and by time for REST.

    Attributes
    ----------
    label : str
        `generated` or `recorded`; goes out with every answer.
    fills : Fills
        How its aggregates are made of raw trades.
    is_paced : bool
        Such a market stands still while nobody reads.
    """

    symbol: str
    grid: Grid
    label: str
    fills: Fills

    @property
    def is_paced(self) -> bool:
        """Whether readers set the pace."""

    def now_us(self) -> int:
        """Return the market's clock, microseconds since the epoch, UTC."""

    @property
    def first_id(self) -> int:
        """The oldest id served."""

    @property
    def last_id(self) -> int:
        """The newest id that is public."""

    def id_at(self, ts_us: int) -> int:
        """Return the first id whose time is at or after `ts_us`."""

    def slice(self, first: int, last: int) -> Trades:
        """Return the trades with ids in [first, last], public or not."""

    def after(self, id: int, limit: int) -> Trades:
        """Return the next `limit` trades with a greater id, public or not."""

    def archived(self, day_us: int) -> tuple[int, int] | None:
        """Return first and last id of the archived UTC day that opens at `day_us`, or None."""

    def start(self) -> None:
        """Begin to play, or go on after a pause."""

    def due(self, at_most: int) -> Trades:
        """Play the trades whose time has come, `at_most` at once, and return them."""

    def wait_s(self) -> float:
        """Return the wall seconds until the next trade is due; 0 when that is now."""
