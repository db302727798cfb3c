"""One symbol at the venue, and the frames and rows that tell of it."""

from __future__ import annotations

from typing import Any

from marketdata.core.timeframe import SECOND_US
from marketdata.core.trades import Trades
from marketdata.simulator.deriv.past import Candle
from marketdata.simulator.deriv.quotes import Nature
from marketdata.simulator.markets import Market

# Half of bid to ask, as a fraction of price.
HALF_SPREAD = 1e-5


class Listed:
    """One symbol: its market and how its numbers are written."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.symbol = market.symbol
        self.nature = Nature.of(market.symbol)
        exponent = market.grid.tick.as_tuple().exponent
        self.decimals = max(0, -int(exponent))

    def newest(self) -> Trades:
        """Return the last public tick; the first one of a tape that has not begun."""
        id = max(self.market.last_id, self.market.first_id)
        return self.market.slice(id, id)

    def ticks(self, trades: Trades) -> list[dict[str, Any]]:
        """Return what stands under `tick` for each, without the stream's id."""
        half = max(1, round(float(trades.price[0]) * HALF_SPREAD / self.market.grid.tick_size))
        pips = self.market.grid.ticks(trades.price).tolist()
        price = self.market.grid.price
        return [
            {
                "symbol": self.symbol,
                "epoch": ts_us // SECOND_US,
                "quote": price(at),
                "bid": price(at - half),
                "ask": price(at + half),
                "pip_size": self.decimals,
            }
            for ts_us, at in zip(trades.ts_us.tolist(), pips, strict=True)
        ]

    def ohlc(self, candle: Candle, granularity: int, epoch: int) -> dict[str, Any]:
        """Return what stands under `ohlc`: prices are text here."""
        prices = {name: f"{getattr(candle, name):.{self.decimals}f}" for name in Candle._fields[1:]}
        return {
            "symbol": self.symbol,
            "epoch": epoch,
            "open_time": candle.epoch,
            "granularity": granularity,
            **prices,
            "pip_size": self.decimals,
        }

    def row(self, *, is_open: bool) -> dict[str, Any]:
        """Return the row of `active_symbols`."""
        nature = self.nature
        return {
            "underlying_symbol": self.symbol,
            "underlying_symbol_name": nature.name,
            "underlying_symbol_type": nature.kind,
            "market": nature.market,
            "submarket": nature.submarket,
            "subgroup": nature.subgroup,
            "pip_size": self.market.grid.tick_size,
            "exchange_is_open": int(is_open),
            "is_trading_suspended": 0,
            "trade_count": 0,
        }

    def legacy_row(self, order: int, *, is_open: bool) -> dict[str, Any]:
        """Return the row of `active_symbols` in the legacy dialect."""
        nature = self.nature
        return {
            "symbol": self.symbol,
            "display_name": nature.name,
            "display_order": order,
            "symbol_type": nature.kind,
            "market": nature.market,
            "market_display_name": nature.market.replace("_", " ").title(),
            "submarket": nature.submarket,
            "submarket_display_name": nature.submarket.replace("_", " ").title(),
            "subgroup": nature.subgroup,
            "subgroup_display_name": nature.subgroup.title(),
            "pip": self.market.grid.tick_size,
            "exchange_is_open": int(is_open),
            "is_trading_suspended": 0,
            "allow_forward_starting": 1,
        }

    def contracts(self) -> dict[str, Any]:
        """Return what stands under `contracts_for`: two kinds, which nobody can buy here."""
        return {
            "available": [
                {
                    "contract_category": "callput",
                    "contract_type": kind,
                    "underlying_symbol": self.symbol,
                    "market": self.nature.market,
                    "submarket": self.nature.submarket,
                    "expiry_type": "tick",
                    "min_contract_duration": "1t",
                    "max_contract_duration": "10t",
                }
                for kind in ("CALL", "PUT")
            ],
            "hit_count": 2,
            "spot": float(self.newest().price[0]),
        }
