"""The streams of Binance spot: their names, and how trades are written on them."""

from __future__ import annotations

import re
from itertools import cycle

import numpy as np

from marketdata.core.trades import Trades
from marketdata.simulator.binance_spot import wire
from marketdata.simulator.connection import frame, frames
from marketdata.simulator.intervals import INTERVALS
from marketdata.simulator.listing import Listing
from marketdata.simulator.streams import Around, Dialect, Render

NAME = re.compile(
    r"(?P<symbol>.+)@(?P<kind>aggTrade|trade|bookTicker|depth(?:5|10|20)?(?:@1000?ms)?"
    rf"|kline_(?:{'|'.join(INTERVALS)}))"
)
SPOILED = cycle(
    frame(text.encode())
    for text in (
        '{"e":"aggTrade","E":17600000001',
        '{"e":"aggTrade","E":1760000000000,"s":"BTCUSDT","a":1,"p":NaN,"q":"1","f":1,"l":1,'
        '"T":1760000000000,"m":true,"M":true}',
        '{"e":"aggTrade","E":1760000000000,"s":"BTCUSDT","a":"x","p":"-1.0","q":"1","f":1,"l":1,'
        '"T":1760000000000,"m":true,"M":true}',
        "<html><body>502 Bad Gateway</body></html>",
        "[]",
        '{"e":"aggTrade","s":"BTCUSDT"}',
    )
)


def _aggregates(listing: Listing, batch: Trades, now_us: int) -> Render:
    def render(unit: int, around: Around) -> list[bytes]:
        market = listing.market
        return frames(
            wire.agg_trade_events(batch, market.fills, market.symbol, now_us, unit, around)
        )

    return render


def _raw_trades(listing: Listing, batch: Trades, now_us: int) -> Render:
    def render(unit: int, around: Around) -> list[bytes]:
        market = listing.market
        raw = market.fills.split(batch, market.grid)
        made = frames(wire.trade_events(raw, market.symbol, now_us, unit, around))
        begins = np.searchsorted(raw.id, market.fills.first(batch.id)).tolist()
        ends = [*begins[1:], len(made)]
        return [b"".join(made[begin:end]) for begin, end in zip(begins, ends, strict=True)]

    return render


SPOT = Dialect(
    name=NAME,
    trades={"aggTrade": _aggregates, "trade": _raw_trades},
    of_trades=("aggTrade", "trade", "kline_"),
    spoiled=SPOILED,
    wrapper=wire.wrapper,
)
