"""The streams of Binance USD-M: their names, their routes, and how trades are written on them."""

from __future__ import annotations

import re
from itertools import cycle

import numpy as np

from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot.wire import wrapper
from marketdata.simulator.binance_usdm import wire
from marketdata.simulator.connection import frame, frames
from marketdata.simulator.intervals import INTERVALS
from marketdata.simulator.listing import Listing
from marketdata.simulator.streams import Around, Dialect, Render

PUBLIC, MARKET, PRIVATE = "public", "market", "private"
CANDLES = tuple(interval for interval in INTERVALS if interval != "1s")
# Pace of book changes in a stream's name → in milliseconds.
PACES = {"@100ms": 100, "": 250, "@500ms": 500}
NAME = re.compile(
    r"(?P<symbol>.+)@(?P<kind>aggTrade|trade|bookTicker|forceOrder|markPrice(?:@1s)?"
    rf"|depth(?:5|10|20)?(?:@100ms|@250ms|@500ms)?|kline_(?:{'|'.join(CANDLES)}))"
)
OF_PUBLIC = ("bookTicker", "depth", "trade")
SPOILED = cycle(
    frame(text.encode())
    for text in (
        '{"e":"aggTrade","E":17600000001',
        '{"e":"aggTrade","E":1760000000000,"s":"BTCUSDT","a":1,"p":NaN,"q":"1","nq":"1","f":1,'
        '"l":1,"T":1760000000000,"m":true,"st":1}',
        '{"e":"aggTrade","E":1760000000000,"s":"BTCUSDT","a":"x","p":"-1.0","q":"1","nq":"1",'
        '"f":1,"l":1,"T":1760000000000,"m":true,"st":1}',
        "<html><body>502 Bad Gateway</body></html>",
        "[]",
        '{"e":"aggTrade","s":"BTCUSDT","st":1}',
    )
)


def route_of(kind: str) -> str:
    """Return the route that carries a kind of stream; on the others it stays silent."""
    return PUBLIC if kind.startswith(OF_PUBLIC) else MARKET


def _aggregates(listing: Listing, batch: Trades, now_us: int) -> Render:
    def render(unit: int, around: Around) -> list[bytes]:
        market = listing.market
        return frames(
            wire.agg_trade_events(
                batch, market.fills, market.symbol, market.grid, now_us // unit, around
            )
        )

    return render


def _raw_trades(listing: Listing, batch: Trades, now_us: int) -> Render:
    def render(unit: int, around: Around) -> list[bytes]:
        market = listing.market
        raw = market.fills.split(batch, market.grid)
        events = wire.trade_events(raw, market.symbol, market.grid, now_us // unit, around)
        made = [b"".join(frames(some)) for some in events]
        begins = np.searchsorted(raw.id, market.fills.first(batch.id)).tolist()
        ends = [*begins[1:], len(made)]
        return [b"".join(made[begin:end]) for begin, end in zip(begins, ends, strict=True)]

    return render


USD_M = Dialect(
    name=NAME,
    trades={"aggTrade": _aggregates, "trade": _raw_trades},
    of_trades=("aggTrade", "trade", "kline_"),
    spoiled=SPOILED,
    wrapper=wrapper,
    route=route_of,
)
