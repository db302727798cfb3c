"""The pump: plays one market to the clients that follow its trades."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from marketdata.core.trades import Trades
from marketdata.simulator.connection import Connection
from marketdata.simulator.faults import Faults
from marketdata.simulator.markets import Market

# 170 kB of frames: few system calls, and a millisecond of work between two looks at the sockets.
BATCH = 1000
SHORTEST_S = 0.002
LONGEST_S = 0.25
# A reordered trade needs a neighbour in its batch, so trades are gathered meanwhile.
GATHER_S = 0.25
EVERYTHING = 1 << 62


class Pump:
    """Plays one market, for all who listen, once.

    Parameters
    ----------
    market : Market
    faults : Faults
    publish : callable
        Sends a batch to the listeners; gets the trades and the market's time, microseconds.
    patience_s : float
        How long a paced market waits for a listener that takes nothing before it is cut.

    Notes
    -----
    The market is one, as at the venue: its position is shared, and each listener gets what is
    played while it listens. It starts with the first listener. A paced market (speed 0) plays at
    the pace of its slowest listener and stands still while there is none, so one client after
    another goes on where the last one ended. Any other market goes on by its clock, and who does
    not listen misses trades. REST serves what has been played, to whom it has been sent or not.
    """

    def __init__(
        self,
        market: Market,
        faults: Faults,
        publish: Callable[[Trades, int], None],
        patience_s: float,
    ) -> None:
        self.market = market
        self.played_id = market.last_id
        self.played = 0
        self._faults = faults
        self._publish = publish
        self._patience_s = patience_s
        self._listeners: dict[Connection, int] = {}
        self._unseen_id = -1
        self._wanted = asyncio.Event()  # bound to the loop that first waits for it

    def join(self, connection: Connection) -> None:
        """Add a listener; it gets trades from the market's position on."""
        self._listeners.setdefault(connection, self._unseen_id)
        self._wanted.set()

    def leave(self, connection: Connection) -> None:
        """Remove a listener; the fault `skip_while_down` hides trades from the next."""
        if self._listeners.pop(connection, None) is None:
            return
        if not self._listeners:
            self._wanted.clear()
        unseen = int(self._faults.value("skip_while_down"))
        if unseen:
            passing = self.market.after(self.played_id, unseen)
            self._unseen_id = int(passing.id[-1]) if len(passing) else self.played_id
            self._faults.note("skip_while_down", unseen)

    def unseen_by(self, connection: Connection) -> int:
        """Return the id up to which trades are hidden from a listener; -1 for none."""
        return self._listeners.get(connection, -1)

    def status(self) -> dict[str, Any]:
        """Return where the market is, for the simulator's own pages."""
        market = self.market
        return {
            "symbol": market.symbol,
            "now_us": market.now_us(),
            "first_id": market.first_id,
            "last_id": market.last_id,
            "played": self.played,
        }

    async def run(self) -> None:
        """Play until cancelled."""
        self._wanted = asyncio.Event()
        await self._wanted.wait()
        self.market.start()
        is_paced = self.market.is_paced
        if self.played and not is_paced:
            # The venue was down; what traded meanwhile is history, not news.
            self.market.due(EVERYTHING)
        self.played_id = self.market.last_id
        while True:
            await (self._readers() if is_paced else self._clock())
            batch = self.market.due(BATCH)
            if not len(batch):
                # A paced market has nothing more to give; a clock was a little early.
                await asyncio.sleep(LONGEST_S if is_paced else SHORTEST_S)
                continue
            now_us = self.market.now_us()
            self.played_id = int(batch.id[-1])
            self.played += len(batch)
            if not is_paced and (slow_s := self._faults.value("slow")):
                await asyncio.sleep(slow_s)
            if is_paced or (self._listeners and not self._faults.value("stall")):
                self._publish(batch, now_us)

    async def _readers(self) -> None:
        """Wait until somebody listens and everybody has read."""
        await asyncio.sleep(max(self._faults.value("slow"), self._faults.value("stall")))
        await self._wanted.wait()
        await asyncio.gather(*(one.drained(self._patience_s) for one in [*self._listeners]))
        await self._wanted.wait()

    async def _clock(self) -> None:
        """Wait until the next trade is due."""
        shortest_s = GATHER_S if self._faults.value("reorder") else SHORTEST_S
        await asyncio.sleep(max(shortest_s, min(self.market.wait_s(), LONGEST_S)))
