"""Frames and pages into columns: ours beside plain msgspec, orjson, json with float and Decimal.

Usage: python bench/decode.py [ROUNDS]
Goals: a frame of a drain at most 1.3 of plain typed msgspec; a page of 1,000 at most 0.35 ms.
"""

import importlib
import importlib.util
import json
import random
import statistics
import sys
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from marketdata.venues.binance_spot import AGG_TRADE

DRAIN, PAGE = 400, 1000
SYMBOLS = frozenset(["BTCUSDT"])
EVENT = (
    '{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,"p":"%.8f","q":"%.8f","f":%d,"l":%d,"T":%d,'
    '"m":%s,"M":true}'
)
ROW = '{"a":%d,"p":"%.8f","q":"%.8f","f":%d,"l":%d,"T":%d,"m":%s,"M":true}'


class Row(msgspec.Struct):
    """An aggregate as REST sends it, read as plainly as can be."""

    a: int
    p: float
    q: float
    f: int
    l: int  # noqa: E741
    T: int
    m: bool
    M: bool


class Event(Row):
    """The same as the socket sends it."""

    e: str
    E: int
    s: str


def trades(count: int) -> list[tuple]:
    """Invent trades of today's size: ids of ten digits, prices and quantities of eight decimals."""
    chance, first, now = random.Random(7), 3_000_000_000, 1_760_000_000_000
    return [
        (
            first + n,
            64_000 + chance.randrange(-9999, 9999) / 100,
            chance.randrange(1, 200_000) / 100_000,
            5_000_000_000 + 2 * n,
            5_000_000_001 + 2 * n,
            now + 3 * n,
            chance.choice(("true", "false")),
        )
        for n in range(count)
    ]


def others() -> dict:
    """Return the readers of people's own: how a text is loaded, and how a number is made."""
    readers = {"json, float": (json.loads, float), "json, Decimal": (json.loads, Decimal)}
    if importlib.util.find_spec("orjson"):
        readers["orjson, float"] = (importlib.import_module("orjson").loads, float)
    else:
        print("orjson is not installed and left out")
    return readers


def plainly(rows, number) -> list[tuple]:
    """Turn decoded rows into tuples."""
    return [(row["a"], number(row["p"]), number(row["q"]), row["T"], not row["m"]) for row in rows]


def measured(readers: dict, data, rounds: int) -> dict[str, float]:
    """Run all readers in turn, round after round; return the median seconds of each."""
    times = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            began = time.perf_counter()
            read(data)
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def report(title: str, medians: dict[str, float], unit: str, scale: float) -> None:
    """Print medians and their ratio to plain msgspec."""
    plain = medians["msgspec, typed"]
    print(title)
    for name, seconds in medians.items():
        print(f"  {name:28} {seconds * scale:9.3f} {unit}   {seconds / plain:6.2f} x")


def main(rounds: int = 300) -> None:
    """Print what a frame and a page cost each way."""
    events = [(EVENT % (row[5] + 2, *row)).encode() for row in trades(DRAIN)]
    grown = [event[:-1] + b',"nq":"0.03"}' for event in events]
    page = f"[{','.join(ROW % row for row in trades(PAGE))}]".encode()
    typed = msgspec.json.Decoder(Event, strict=False).decode
    typed_page = msgspec.json.Decoder(list[Row], strict=False).decode
    frames = {
        "msgspec, typed": lambda data: [typed(frame) for frame in data],
        "ours, to columns": lambda data: AGG_TRADE.decode(data, SYMBOLS),
        "ours, with a new field": lambda _: AGG_TRADE.decode(grown, SYMBOLS),
        "ours, frame by frame": lambda data: [AGG_TRADE.decode([f], SYMBOLS) for f in data],
    }
    pages = {"msgspec, typed": typed_page, "ours, to columns": AGG_TRADE.by_id.page_of}
    for name, (loads, number) in others().items():
        frames[name] = lambda data, f=loads, n=number: plainly(map(f, data), n)
        pages[name] = lambda data, f=loads, n=number: plainly(f(data), n)
    title = f"a frame of {len(events[0])} bytes, in drains of {DRAIN}"
    report(title, measured(frames, events, rounds), "µs", 1e6 / DRAIN)
    report(f"a page of {PAGE}", measured(pages, page, rounds), "ms", 1e3)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
