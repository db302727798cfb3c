"""Order books: a diff from frame to best prices, beside dictionaries people keep; then 500 books.

Every way decodes the frame, changes the book and knows best bid and ask after each diff; all must
agree on them. The captures are read where they are; without any, diffs are invented.

Usage: python bench/book.py [RUNS] [SECONDS]
Goals: at most 20 µs for a diff of 44 levels; 500 books of 10 diffs a second in one process, with
nothing dropped.
"""

import gzip
import importlib
import importlib.util
import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from marketdata.core import sequencer
from marketdata.core.backoff import Backoff
from marketdata.core.facts import BookUpdate
from marketdata.core.orderbook import OrderBook
from marketdata.feeds.book_desk import Desk
from marketdata.feeds.books import BookKeeper
from marketdata.venues.base import Depth, Question
from marketdata.venues.binance_depth import book_of, decode_book
from marketdata.venues.binance_spot import BOOK_LEVELS, VENUE

CAPTURES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "captures"
NAMES = [
    "binance_spot_btcusdt_20240808", "binance_usdm_btcusdt_20230404",
    "binance_usdm_btcusdt_20240718",
]  # fmt: skip
SYMBOLS = frozenset(["BTCUSDT"])
GOAL_LEVELS, GOAL_US = 44, 20.0
BOOKS, PER_SECOND = 500, 10
Frames = tuple[bytes, list[bytes]]
Tops = list[tuple[float, float]]


class Data(msgspec.Struct):
    """A diff read as plainly as can be."""

    b: list[tuple[float, float]]
    a: list[tuple[float, float]]


class Frame(msgspec.Struct):
    """The same with the name of its stream."""

    data: Data


class Whole(msgspec.Struct):
    """A snapshot read as plainly as can be."""

    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


def recorded(name: str) -> Frames:
    """Return the snapshot of a capture and the diffs that came after it."""
    snapshot, diffs = b"", []
    with gzip.open(CAPTURES / f"{name}.gz") as lines:
        for line in lines:
            frame = line.partition(b" ")[2].strip()
            if b'"lastUpdateId"' in frame[:20]:
                snapshot, diffs = frame, []
            elif b"@depth" in frame[:60]:
                diffs.append(frame)
    return snapshot, diffs


def invented(count: int = 3000, levels: int = GOAL_LEVELS) -> Frames:
    """Return a snapshot and diffs of so many levels, most of them near the best price."""
    chance, middle = random.Random(5), 6_400_000
    bids = [[f"{(middle - n) / 100:.2f}", "1.00000000"] for n in range(BOOK_LEVELS)]
    asks = [[f"{(middle + 1 + n) / 100:.2f}", "1.00000000"] for n in range(BOOK_LEVELS)]
    snapshot = json.dumps({"lastUpdateId": 1, "bids": bids, "asks": asks}).encode()

    def side(sign: int) -> list[list[str]]:
        # The best five stay, so that the book never crosses.
        steps = [5 + min(900, int(chance.expovariate(1 / 60))) for _ in range(levels // 2)]
        sizes = [chance.choice(("0.00000000", f"{chance.random():.8f}")) for _ in steps]
        start = middle if sign < 0 else middle + 1
        return [
            [f"{(start + sign * step) / 100:.2f}", size]
            for step, size in zip(steps, sizes, strict=True)
        ]

    event = {"e": "depthUpdate", "E": 1_760_000_000_000, "s": "BTCUSDT"}
    diffs = []
    for n in range(2, count + 2):
        data = {**event, "U": n, "u": n, "b": side(-1), "a": side(1)}
        wrapped = {"stream": "btcusdt@depth@100ms", "data": data}
        diffs.append(json.dumps(wrapped, separators=(",", ":")).encode())
    return snapshot, diffs


def levels_of(diffs: list[bytes]) -> float:
    """Return the mean count of levels in a diff."""
    read = msgspec.json.Decoder(Frame, strict=False).decode
    return statistics.fmean(len(frame.data.b) + len(frame.data.a) for frame in map(read, diffs))


def ours(frames: Frames) -> Callable[[], Tops]:
    """Return our decoder and book, without rules and metrics."""

    def run() -> Tops:
        book = OrderBook(BOOK_LEVELS)
        book.replace(book_of(frames[0]))
        tops = []
        for frame in frames[1]:
            ((_, update),) = decode_book([frame], SYMBOLS).facts
            book.apply(update)
            tops.append((book.bid[0], book.ask[0]))
        return tops

    return run


def desk(frames: Frames) -> Callable[[], Tops]:
    """Return the same with all a feed does: rule, crossing, best prices, order flow."""

    def any_order(update: BookUpdate, last_id: int, is_snapshot: bool) -> sequencer.Step:
        return sequencer.Step.APPLY

    def run() -> Tops:
        place = Depth(VENUE.depth.stream, any_order, lambda s: Question("/"), book_of, BOOK_LEVELS)
        made = Desk("bench", "BTCUSDT", place, Backoff(), time.monotonic)
        first, *more = frames[1]
        ((_, update),) = decode_book([first], SYMBOLS).facts
        made.fact(update)
        made.tend()
        made.answer(book_of(frames[0]))
        book = made.sync.book
        tops = [(book.bid[0], book.ask[0])]
        for frame in more:
            ((_, update),) = decode_book([frame], SYMBOLS).facts
            made.fact(update)
            tops.append((book.bid[0], book.ask[0]))
        return tops

    return run


def kept_in_dicts(frames: Frames, read: Callable, number: Callable, best: Callable) -> Callable:
    """Return the way people keep a book: a dictionary a side, and the best price looked for.

    `read` is bytes → (bids, asks); `best` is dictionary, whether of bids → price.
    """

    def change(side: dict, levels: list) -> None:
        for price, size in levels:
            level, amount = number(price), number(size)
            if amount:
                side[level] = amount
            else:
                side.pop(level, None)

    def run() -> Tops:
        bids, asks = {}, {}
        for body in (frames[0], *frames[1]):
            told = read(body)
            change(bids, told[0])
            change(asks, told[1])
            if body is frames[0]:
                tops = []
            else:
                tops.append((float(best(bids, True)), float(best(asks, False))))
        return tops

    return run


def plain(loads: Callable) -> Callable:
    """Return a reader of snapshots and diffs over `loads`."""

    def read(body: bytes) -> tuple[list, list]:
        told = loads(body)
        return (told["bids"], told["asks"]) if "bids" in told else (
            told["data"]["b"], told["data"]["a"],
        )  # fmt: skip

    return read


def typed() -> Callable:
    """Return a reader over msgspec, straight to floats."""
    diff = msgspec.json.Decoder(Frame, strict=False).decode
    whole = msgspec.json.Decoder(Whole, strict=False).decode

    def read(body: bytes) -> tuple[list, list]:
        if b'"lastUpdateId"' in body[:20]:
            snapshot = whole(body)
            return snapshot.bids, snapshot.asks
        data = diff(body).data
        return data.b, data.a

    return read


def by_sorting(side: dict, is_bid: bool) -> float:
    """Return the best price as the first of all, sorted."""
    return sorted(side, reverse=is_bid)[0]


def by_looking(side: dict, is_bid: bool) -> float:
    """Return the best price as the highest or lowest of all."""
    return max(side) if is_bid else min(side)


def never(side: dict, is_bid: bool) -> float:
    """Look for no best price: what decoding and the dictionary cost alone."""
    return 0.0


def same(value: float) -> float:
    """Return a number that is one already."""
    return value


def ways(frames: Frames) -> dict[str, Callable[[], Tops]]:
    """Return every way to keep the book."""
    found = {
        "ours, frame to best prices": ours(frames),
        "ours, with rule, checks and order flow": desk(frames),
        "msgspec, float, dict alone": kept_in_dicts(frames, typed(), same, never),
        "msgspec, float, dict, max and min": kept_in_dicts(frames, typed(), same, by_looking),
        "msgspec, float, dict, sorted": kept_in_dicts(frames, typed(), same, by_sorting),
        "json, float, dict, max and min": kept_in_dicts(
            frames, plain(json.loads), float, by_looking
        ),
        "json, Decimal, dict alone": kept_in_dicts(frames, plain(json.loads), Decimal, never),
        "json, Decimal, dict, max and min": kept_in_dicts(
            frames, plain(json.loads), Decimal, by_looking
        ),
    }
    if importlib.util.find_spec("orjson"):
        loads = importlib.import_module("orjson").loads
        found["orjson, float, dict alone"] = kept_in_dicts(frames, plain(loads), float, never)
    return found


def compare(name: str, frames: Frames, runs: int) -> float:
    """Print what a diff costs each way, and return ours in µs."""
    found, times, tops = ways(frames), {}, {}
    for _ in range(runs):
        for way, run in found.items():
            began = time.perf_counter()
            tops[way] = run()
            times.setdefault(way, []).append(time.perf_counter() - began)
    known = {str(value) for way, value in tops.items() if not way.endswith("alone")}
    count = len(frames[1])
    medians = {way: statistics.median(values) / count * 1e6 for way, values in times.items()}
    mine = next(iter(medians.values()))
    print(
        f"{name}: {count} diffs of {levels_of(frames[1]):.1f} levels; all agree: {len(known) == 1}"
    )
    for way, micros in medians.items():
        print(f"  {way:40} {micros:8.2f} µs a diff   {micros / mine:6.2f} x")
    return mine


class Market:
    """So many books that all change by the same diffs, as fast as a venue sends them."""

    def __init__(self, frames: Frames) -> None:
        self.snapshot, self.diffs = book_of(frames[0]), frames[1]
        self.names = [f"S{n}" for n in range(BOOKS)]
        depth = Depth(
            VENUE.depth.stream, self.follow, lambda s: Question("/"), book_of, BOOK_LEVELS
        )
        self.keeper = BookKeeper("bench", depth, self.names, snapshot=lambda s: self.snapshot)
        self.most_waiting = 0

    @staticmethod
    def follow(update: BookUpdate, last_id: int, is_snapshot: bool) -> sequencer.Step:
        """Take whatever comes: the diffs begin anew when they end."""
        return sequencer.Step.APPLY

    def send(self, name: str, at: int) -> None:
        """Decode one diff and hand it in, as a feed's thread does."""
        ((_, update),) = decode_book([self.diffs[at % len(self.diffs)]], SYMBOLS).facts
        self.keeper.put(name, update)

    def start(self) -> None:
        """Bring every book in step."""
        self.keeper.start()
        for name in self.names:
            self.send(name, 0)
        while not all(status.is_synced for status in self.keeper.statuses()):
            time.sleep(0.05)

    def sustain(self, seconds: float) -> tuple[int, float]:
        """Send at the pace of the venue; return diffs and the seconds of CPU they took."""
        pace, sent = BOOKS * PER_SECOND, 0
        began, began_cpu = time.perf_counter(), time.process_time()
        while (passed := time.perf_counter() - began) < seconds:
            for _ in range(int(passed * pace) - sent):
                self.send(self.names[sent % BOOKS], 1 + sent // BOOKS)
                sent += 1
            self.most_waiting = max(self.most_waiting, self.keeper.waiting)
            time.sleep(0.005)
        while self.keeper.waiting:
            time.sleep(0.005)
        return sent, time.process_time() - began_cpu


def five_hundred(frames: Frames, seconds: float) -> None:
    """Print what 500 books cost, from frames to books, in one process."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    market = Market(frames)
    market.start()
    sent, cpu_s = market.sustain(seconds)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    keeper = market.keeper
    fell = sum(not status.is_synced for status in keeper.statuses())
    keeper.stop()
    print(f"{BOOKS} books x {PER_SECOND} diffs of {levels_of(frames[1]):.0f} levels a second")
    print(f"  sent {sent} in {seconds:.0f} s, {sent / seconds:.0f}/s; dropped {keeper.dropped}")
    print(f"  {cpu_s / sent * 1e6:.1f} µs CPU a diff: {cpu_s / seconds:.0%} of one core")
    print(
        f"  most waiting {market.most_waiting} of {keeper.most_waiting}; memory {grown_mb:.0f} MB"
    )
    is_met = not keeper.dropped and not fell and cpu_s < seconds
    print(f"  goal: nothing dropped, no book lost, one core: {'met' if is_met else 'MISSED'}")


def main(runs: int = 5, seconds: float = 10.0) -> None:
    """Compare on each capture and on invented diffs, then keep 500 books."""
    made = invented()
    mine = compare(f"invented, {GOAL_LEVELS} levels", made, runs)
    print(f"  goal <= {GOAL_US:.0f} µs: {'met' if mine <= GOAL_US else 'MISSED'}")
    load = made
    for name in NAMES:
        if not (CAPTURES / f"{name}.gz").exists():
            print(f"{name}: the capture is not here, left out")
            continue
        frames = recorded(name)
        compare(name, frames, runs)
        load = load if load is not made else frames
    five_hundred(load, seconds)


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:3], strict=False)))
