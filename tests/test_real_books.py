"""Books rebuilt from what was recorded at the venues, beside the best prices recorded with them.

Every comparison that the recording allows is made: each best price whose update id is that of an
update of the book. How many there are is counted apart, from the plain JSON.
"""

import gzip
import json
from collections import defaultdict

import pyarrow as pa
import pytest

from marketdata.core.booksync import BookSync, QuoteCheck
from marketdata.core.facts import BookUpdate
from marketdata.venues import VARIANTS, VENUES

pytestmark = pytest.mark.realdata

SPOT, FUTURES = VENUES["binance_ws"].depth, VENUES["binance_futures"].depth


class Desk:
    """One book as a feed keeps it: snapshots are offered as soon as updates are there."""

    def __init__(self, depth):
        is_asked = depth.snapshot is not None
        self.sync = BookSync(depth.sequencer, depth.levels, is_asked=is_asked)
        self.check = QuoteCheck()
        self.snapshot = None

    def take(self, fact, now_us):
        if not isinstance(fact, BookUpdate):
            return self.check.quote(fact, self.sync.book if self.sync.is_synced else None)
        self.sync.put(fact, now_us)
        if self.snapshot is not None and self.sync.wants_snapshot and not self.sync.is_synced:
            self.sync.offer(self.snapshot, now_us)
        return self.check.book(self.sync.book) if self.sync.is_synced else None

    def offer(self, snapshot, now_us):
        self.snapshot = snapshot
        if self.sync.offer(snapshot, now_us):
            self.check.book(self.sync.book)

    def assert_whole(self, comparisons):
        counts = self.sync.counts
        assert self.sync.is_synced, self.sync.why
        assert (counts.gaps, counts.crossed, counts.syncs) == (0, 0, 1)
        assert (self.check.compared, self.check.mismatched) == (comparisons, 0), self.check.last


def captured(shared_data, name):
    """Yield the frames of a capture with `<local time> <frame>` lines."""
    with gzip.open(shared_data / "captures" / f"{name}.gz") as lines:
        for line in lines:
            yield line.partition(b" ")[2].strip()


def recorded(shared_data, name):
    """Return the records of a capture of JSON lines, in order of time."""
    path = str(shared_data / "captures" / f"{name}.jsonl.zst")
    text = pa.input_stream(path, compression="zstd").read()
    return sorted(map(json.loads, text.splitlines()), key=lambda record: float(record.get("ts", 0)))


def comparable(updates, snapshot_id, quotes, first_after):
    """Count quotes that have the id of an update taken from the snapshot on.

    `updates` are last ids in order; those up to index `first_after` came before the snapshot, so
    that only the newest of them is seen as a state of the book.
    """
    before = [last for last in updates[:first_after] if last > snapshot_id]
    states = set(updates[first_after:]) | set(before[-1:] or [snapshot_id])
    return sum(quote in states for quote in quotes)


CAPTURES = [
    (SPOT, ["binance_spot_btcusdt_20240808", "binance_spot_btcusdt_20240809"], 1072),
    (FUTURES, ["binance_usdm_btcusdt_20230404", "binance_usdm_btcusdt_20230405"], 1565),
    (FUTURES, ["binance_usdm_btcusdt_20240718"], 195),
]


@pytest.mark.parametrize(
    ("depth", "names", "comparisons"), CAPTURES, ids=["spot", "futures across midnight", "futures"]
)
def test_a_book_equals_every_best_price_told_of_it(shared_data, depth, names, comparisons):
    desk, symbols = Desk(depth), frozenset(["BTCUSDT"])
    updates, quotes, snapshot_id, first_after = [], [], None, None
    for at, body in enumerate(frame for name in names for frame in captured(shared_data, name)):
        told = json.loads(body)
        if "lastUpdateId" in told:
            snapshot_id, first_after = told["lastUpdateId"], len(updates)
            desk.offer(depth.snapshot_of(body), at)
            continue
        kind = told["stream"].partition("@")[2]
        if kind.startswith("depth"):
            updates.append(told["data"]["u"])
        elif kind == "bookTicker":
            quotes.append(told["data"]["u"])
        else:
            continue
        received = depth.stream(100).decode([body], symbols)
        assert not received.errors
        for _, fact in received.facts:
            desk.take(fact, at)
    assert comparable(updates, snapshot_id, quotes, first_after) == comparisons
    desk.assert_whole(comparisons)


RECORDED = [("BINANCE", SPOT, 26), ("BINANCE_FUTURES", FUTURES, 50)]


@pytest.mark.parametrize(("name", "depth", "comparisons"), RECORDED, ids=["spot", "futures"])
def test_books_of_minor_symbols_equal_every_best_price_told(shared_data, name, depth, comparisons):
    desks = defaultdict(lambda: Desk(depth))
    updates, quotes = defaultdict(list), defaultdict(list)
    snapshots = {}
    for at, record in enumerate(recorded(shared_data, name)):
        body = record.get("data", "").encode()
        if record["t"] == "http" and "/depth?" in record["url"]:
            symbol = record["url"].partition("symbol=")[2].partition("&")[0]
            snapshots[symbol] = json.loads(body)["lastUpdateId"], len(updates[symbol])
            desks[symbol].offer(depth.snapshot_of(body), at)
        elif record["t"] == "recv":
            told = json.loads(body)
            kind, symbol = told["stream"].partition("@")[2], told["data"]["s"]
            if kind.startswith(("depth", "bookTicker")):
                (updates if kind.startswith("depth") else quotes)[symbol].append(told["data"]["u"])
                received = depth.stream(100).decode([body], frozenset([symbol]))
                assert not received.errors
                for _, fact in received.facts:
                    desks[symbol].take(fact, at)
    assert len(snapshots) == 4
    compared = 0
    for symbol, (snapshot_id, first_after) in snapshots.items():
        expected = comparable(updates[symbol], snapshot_id, quotes[symbol], first_after)
        desks[symbol].assert_whole(expected)
        compared += expected
    assert compared == comparisons


BYBIT = {"BYBIT.ws.2": "linear", "BYBIT.ws.3": "spot"}


def test_bybits_ids_rise_by_one_on_every_book(shared_data):
    desks, steps = {}, defaultdict(list)
    for at, record in enumerate(recorded(shared_data, "BYBIT")):
        if record["t"] != "recv" or '"topic":"orderbook.200.' not in record["data"]:
            continue
        message = json.loads(record["data"])
        symbol, book = message["data"]["s"], (record["conn"], message["topic"])
        steps[book].append((message["type"], message["data"]["u"]))
        depth = VARIANTS["bybit", BYBIT[record["conn"]]].depth
        received = depth.stream(100).decode([record["data"].encode()], frozenset([symbol]))
        assert not received.errors
        desk = desks.setdefault(book, Desk(depth))
        for _, fact in received.facts:
            desk.take(fact, at)
        assert len(desk.sync.book) <= 400
    assert len(desks) == 6
    for book, desk in desks.items():
        kinds, ids = zip(*steps[book], strict=True)
        assert (kinds[0], set(kinds[1:])) == ("snapshot", {"delta"})
        assert ids == tuple(range(ids[0], ids[0] + len(ids)))
        desk.assert_whole(0)
        assert desk.sync.counts.updates == len(ids) - 1 > 200
        assert (desk.sync.book.update_id, desk.sync.book.known) == (ids[-1], 200)
