"""What a venue must be to be served: its doors, its work by the clock, its state."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from aiohttp import web

from marketdata.simulator.faults import Faults
from marketdata.simulator.markets import Market
from marketdata.simulator.rules import Rules


class Room(Protocol):
    """One venue on the simulator's port.

    Attributes
    ----------
    name : str
        As in `rooms.ROOMS`.
    """

    name: str

    def routes(self) -> list[web.RouteDef]:
        """Return the venue's own paths; a path that two venues have is the first one's."""

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the venue is open."""

    def status(self) -> dict[str, Any]:
        """Return what the venue does, for the simulator's own pages."""

    def dismiss(self) -> None:
        """End every connection, as the server stops."""


class RoomKind(Protocol):
    """The class of a room.

    Attributes
    ----------
    name : str
        As in `rooms.ROOMS`.
    source : str
        Name of the feed in settings: a tape of this source is played here.
    RULES : Rules
        The limits that the venue documents.
    """

    name: str
    source: str
    RULES: Rules

    def __call__(
        self,
        markets: Sequence[Market],
        faults: Faults,
        rules: Rules,
        clock_us: Callable[[], int],
    ) -> Room:
        """Return the venue with its markets: at least one, all of one label."""

    def invented(
        self, symbols: Sequence[str], seed: int, rate: float, clock_us: Callable[[], int]
    ) -> list[Market]:
        """Return the venue's own markets for symbols as Binance spells them.

        Parameters
        ----------
        seed : int
            Another seed is another world; within one, all venues see the same price courses.
        rate : float
            Mean trades per second of each, > 0.
        """
