"""The venues that the simulator speaks."""

from __future__ import annotations

from marketdata.simulator.binance_spot.venue import BinanceSpot
from marketdata.simulator.binance_usdm.venue import BinanceUsdm
from marketdata.simulator.bybit.venue import Bybit
from marketdata.simulator.deriv.venue import Deriv
from marketdata.simulator.room import RoomKind

# Where two venues have the same path, the first one here answers it.
ROOMS: dict[str, RoomKind] = {
    "binance_spot": BinanceSpot,
    "binance_usdm": BinanceUsdm,
    "bybit": Bybit,
    "deriv": Deriv,
}
