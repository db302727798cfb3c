"""The canonical bytes of trades, so that two stores can be compared by a hash."""

from __future__ import annotations

import numpy as np

from marketdata.core.trades import Trades

ROW = "id, ts_us, price, qty, is_buy in ascending id: int64, int64, float64, float64, int64"


def canonical(trades: Trades) -> bytes:
    """Return trades row by row as five 8-byte little-endian numbers.

    Notes
    -----
    Cutting a tape differently gives the same bytes, so a hash can be fed batch by batch.
    """
    table = np.empty(len(trades), dtype="<i8,<i8,<f8,<f8,<i8")
    columns = (trades.id, trades.ts_us, trades.price, trades.qty, trades.is_buy)
    for name, column in zip(table.dtype.names or (), columns, strict=True):
        table[name] = column
    return table.tobytes()
