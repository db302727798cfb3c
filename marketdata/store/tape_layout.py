"""Layouts of CSV tapes: which column is what, told by the header or by the first row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column is what.

    Parameters
    ----------
    source : str
        Feed name.
    symbol : str
        What the rows say, empty where they do not.
    channel : {"aggTrade", "trade", "ticks"}
        What the ids count.
    names : tuple of str
        Every column of the file, in order.
    id, ts, price, qty, side : str
        Columns that matter; `id` is empty where trades carry no number and are counted, `qty` and
        `side` where rows are ticks, which have neither.
    side_means : {"maker", "taker"}
        Whether `side` says that the buyer was the maker, or which side the taker was on.
    has_header : bool
    ref : str
        The venue's own id where it is no number to count by; empty where there is none.
    named : str
        The column that names the symbol; empty where there is none.
    """

    source: str
    symbol: str
    channel: str
    names: tuple[str, ...]
    id: str
    ts: str
    price: str
    qty: str
    side: str
    side_means: str
    has_header: bool
    ref: str = ""
    named: str = ""


AGG, SINGLE, TICKS = "aggTrade", "trade", "ticks"
SPOT, FUTURES, BYBIT, DERIV = "binance_ws", "binance_futures", "bybit", "deriv"
# Archives of Binance without a header.
SPOT_AGG = ("id", "price", "qty", "first", "last", "time", "maker", "best")
SPOT_TRADES = ("id", "price", "qty", "quote", "time", "maker", "best")
UM_AGG = SPOT_AGG[:7]
UM_TRADES = SPOT_TRADES[:6]
# Of Bybit; the oldest have no header either, and the last column is a younger one.
BYBIT_LINEAR = (
    "timestamp", "symbol", "side", "size", "price", "tickDirection", "trdMatchID", "grossValue",
    "homeNotional", "foreignNotional", "RPI",
)  # fmt: skip
BYBIT_SPOT = ("id", "timestamp", "price", "volume", "side")
# Columns as (id, time, price, quantity, side), what they mean, and whose they are; the first
# whose columns are all there is taken.
HEADED = (
    (("agg_trade_id", "transact_time", "price", "quantity", "is_buyer_maker"), "maker", AGG, ""),
    (("id", "time", "price", "qty", "is_buyer_maker"), "maker", SINGLE, ""),
    (("id", "timestamp", "price", "amount", "side"), "taker", SINGLE, ""),
    (("tradeId", "timestamp", "price", "quantity", "side"), "taker", SINGLE, SPOT),
    (("id", "timestamp", "price", "volume", "side"), "taker", SINGLE, BYBIT),
    (("", "timestamp", "price", "size", "side"), "taker", SINGLE, BYBIT),
    (("", "unix_time", "price", "", ""), "taker", TICKS, DERIV),
)
# Columns that name the symbol.
NAMED = ("symbol", "instrument")
# Where the id is no number of the file, a UUID.
MATCH_ID = "trdMatchID"
# Tardis names the venue in a column of its own.
EXCHANGES = {"binance": SPOT, "binance-futures": FUTURES, "bybit": BYBIT, "bybit-spot": BYBIT}
# Columns without which Bybit's rows are no trades.
LEAST = len(BYBIT_SPOT)
BOOLEANS = {"true", "false"}
SIDES = {"buy", "sell"}


def layout_of(lines: Sequence[str]) -> Layout | None:
    """Recognise a CSV by its first line, and its first row where that is a header."""
    cells = _cells(lines[0])
    return _headed(cells, _cells(lines[1]) if len(lines) > 1 else ()) or _bare(cells)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.split(","))


def _headed(names: tuple[str, ...], row: tuple[str, ...]) -> Layout | None:
    seen = dict(zip(names, row, strict=False))
    for columns, side_means, channel, source in HEADED:
        if not set(columns) - {""} <= set(names):
            continue
        id, ts, price, qty, side = columns
        # Ids that are words cannot be counted along; the trades are numbered instead.
        is_counted = seen.get(id, "0").isdigit()
        word = MATCH_ID if MATCH_ID in names else id
        named = next((name for name in NAMED if name in names), "")
        return Layout(
            source=source or _source(names, seen),
            symbol=seen.get(named, ""),
            channel=channel,
            names=names,
            id=id if is_counted else "",
            ts=ts,
            price=price,
            qty=qty,
            side=side,
            side_means=side_means,
            has_header=True,
            ref="" if id and is_counted else word,
            named=named,
        )
    return None


def _source(names: tuple[str, ...], seen: dict[str, str]) -> str:
    if "exchange" in seen:
        return EXCHANGES.get(seen["exchange"], seen["exchange"])
    return SPOT if "is_best_match" in names else FUTURES


def _bare(cells: tuple[str, ...]) -> Layout | None:
    lower = tuple(cell.lower() for cell in cells)
    if cells[0].isdigit() and len(cells) in (6, 7, 8):
        return _bare_binance(lower) or _bare_bybit(cells, lower)
    return _bare_bybit(cells, lower)


def _bare_binance(cells: tuple[str, ...]) -> Layout | None:
    is_bool = [cell in BOOLEANS for cell in cells]
    if len(cells) == 7 and is_bool[5]:
        return _binance(SPOT, SINGLE, SPOT_TRADES)
    if len(cells) > 6 and is_bool[6]:
        return _binance(*((SPOT, AGG, SPOT_AGG) if len(cells) == 8 else (FUTURES, AGG, UM_AGG)))
    return _binance(FUTURES, SINGLE, UM_TRADES) if is_bool[5] else None


def _binance(source: str, channel: str, names: tuple[str, ...]) -> Layout:
    return Layout(
        source, "", channel, names, "id", "time", "price", "qty", "maker", "maker", has_header=False
    )


def _bare_bybit(cells: tuple[str, ...], lower: tuple[str, ...]) -> Layout | None:
    for names in (BYBIT_LINEAR, BYBIT_SPOT):
        at = names.index("side")
        if len(cells) >= LEAST and lower[at] in SIDES:
            rest = tuple(f"column {n}" for n in range(len(names) + 1, len(cells) + 1))
            layout = _headed((names + rest)[: len(cells)], cells)
            return layout and replace(layout, has_header=False)
    return None
