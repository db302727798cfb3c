"""Raw frames → events, by the venue's own parsers and the same rules that keep books alive."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from marketdata.bridge.capture_file import DAY_NS, Line, read_lines
from marketdata.bridge.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    DEPTH_SNAPSHOT,
    EVENT,
    SELL,
    TRADE,
    Events,
    Row,
    events_of,
    lifted,
    ordered,
)
from marketdata.bridge.recorder import lost_by
from marketdata.core.booksync import BookSync
from marketdata.core.errors import BadInputError, FrameError
from marketdata.core.facts import BookUpdate, Level
from marketdata.core.trades import Trades
from marketdata.venues.base import Channel, Depth, Received, Venue

# So many lines tell which kind of trades a capture holds.
LOOK_LINES = 20_000
# Any pace: what is recorded is read the same.
PACE_MS = 100
# Rows become columns now and then: as Python's own they take ten times the room.
BATCH_ROWS = 50_000
# Trades that are remembered, so that none is taken twice: minutes of a busy market.
MOST_KNOWN = 20_000
EVER = (0, 1 << 62)


@dataclass(slots=True)
class Counts:
    """What some frames came to.

    Parameters
    ----------
    frames, trades, updates, snapshots : int
        Read; trades, changes of the book and whole books taken.
    gaps : int
        Times the book was lost: from there to the next whole one there is none.
    unanchored : int
        Changes taken although no whole book came before them.
    dropped : int
        Frames that the recorder says it had no room for.
    repeated : int
        Trades that came over two connections.
    misdated : int
        Rows passed over whose time is a day or more from the time of receipt.
    refused : dict of str to int
        Frames that no parser of the venue takes, by reason.
    """

    frames: int = 0
    trades: int = 0
    updates: int = 0
    snapshots: int = 0
    gaps: int = 0
    unanchored: int = 0
    dropped: int = 0
    repeated: int = 0
    misdated: int = 0
    refused: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Converted:
    """Rows in order, and what was met on the way.

    Parameters
    ----------
    about : dict
        JSON-ready: counts, the channel of trades, what became of the book and of the clock.
    """

    events: Events
    about: dict[str, Any]


def convert(
    venue: Venue,
    symbol: str,
    paths: Sequence[Path],
    base_latency_ns: int,
    window_ns: tuple[int, int] = EVER,
) -> Converted:
    """Turn captures of one symbol into events.

    Parameters
    ----------
    paths : sequence of Path
        In any order; lines are joined by their time of receipt.
    base_latency_ns : int
        Latency of the fastest row, where the recorder's clock was behind the exchange.
    window_ns : (start, end)
        Receipt of the rows wanted. What came before it only tells what the book was.

    Raises
    ------
    BadInputError
        A file is no capture, or nothing in it is of the symbol.

    Notes
    -----
    Where no whole book is held for the changes to follow, a second reading takes them as they are,
    and `about` says `"book": "changes"`.
    """
    channel = channel_of(venue, symbol, paths)
    made = _Conversion(venue, channel, symbol, window_ns)
    made.take_all(_joined(paths))
    if made.counts.updates and not made.is_anchored:
        made = _Conversion(venue, channel, symbol, window_ns, is_loose=True)
        made.take_all(_joined(paths))
    events = made.events()
    if not len(events):
        names = ", ".join(path.name for path in paths)
        raise BadInputError(
            f"frames of {symbol} at {venue.title}, received in the time asked for, expected in "
            f"{names}, seen none"
        )
    moved, lift = lifted(events, base_latency_ns)
    rows = ordered(moved)
    about = {
        "channel": channel.name,
        "book": made.book,
        "counts": asdict(made.counts),
        "clock": {
            "base_latency_ns": base_latency_ns,
            "rows_before_their_time": lift.rows,
            "local_ts_moved_by_ns": lift.by_ns,
        },
        "split_rows": len(rows) - len(moved),
    }
    return Converted(rows, about)


def channel_of(venue: Venue, symbol: str, paths: Sequence[Path]) -> Channel:
    """Return the first of the venue's channels whose trades a capture holds; else the first."""
    symbols = frozenset([symbol])
    seen: set[str] = set()
    first = venue.channel()
    for line in islice(_joined(paths), LOOK_LINES):
        for name, channel in venue.channels.items():
            if name not in seen and channel.decode([line.frame], symbols).trades:
                seen.add(name)
        if first.name in seen:
            break
    return next((channel for name, channel in venue.channels.items() if name in seen), first)


def _joined(paths: Sequence[Path]) -> Iterator[Line]:
    return heapq.merge(*(read_lines(path) for path in paths), key=attrgetter("local_ns"))


class _Conversion:
    """One reading of some lines.

    Parameters
    ----------
    is_loose : bool
        Changes of the book are taken whether they follow on something or not.
    """

    def __init__(
        self,
        venue: Venue,
        channel: Channel,
        symbol: str,
        window_ns: tuple[int, int],
        *,
        is_loose: bool = False,
    ) -> None:
        self.depth = venue.depth
        self.symbols = frozenset([symbol])
        self.start_ns, self.end_ns = window_ns
        self.is_loose = is_loose
        self.is_anchored = False
        self.counts = Counts()
        self._decoders = [channel.decode]
        stream = self.depth.stream(PACE_MS) if self.depth else None
        if stream is not None and stream.decode is not channel.decode:
            self._decoders.append(stream.decode)
        self._sync = _sync_of(self.depth) if self.depth else None
        self._snapshot: BookUpdate | None = None
        self._rows: list[Row] = []
        self._parts: list[Events] = []
        self._is_begun = False
        self._known: dict[int | bytes, None] = {}
        self._lowest_bid, self._highest_ask = float("inf"), 0.0
        self._now_ns = 0
        # A book's changes follow one another, whatever their times say.
        self._book_exch_ns = self._book_local_ns = 0

    @property
    def book(self) -> str:
        """What is told of the book: `whole`, `changes` alone, or `none`."""
        if not self.counts.updates and not self.counts.snapshots:
            return "none"
        return "changes" if self.is_loose else "whole"

    def events(self) -> Events:
        """Return the rows as they came."""
        self._pack()
        return np.concatenate(self._parts) if self._parts else np.zeros(0, EVENT)

    def take_all(self, lines: Iterable[Line]) -> None:
        """Take lines in order of receipt, up to the end of the window."""
        for line in lines:
            if line.local_ns >= self.end_ns:
                break
            if not self._is_begun and line.local_ns >= self.start_ns:
                self._begin()
            self._now_ns = line.local_ns
            self._take(line.frame)
            if len(self._rows) >= BATCH_ROWS:
                self._pack()

    def _pack(self) -> None:
        if self._rows:
            self._parts.append(events_of(self._rows))
            self._rows = []

    def _begin(self) -> None:
        """Begin the window with the book as it stands."""
        self._is_begun = True
        self._now_ns = self.start_ns
        if self._sync is not None and self._sync.is_synced:
            self._say_book(self._sync)

    def _take(self, frame: bytes) -> None:
        lost = lost_by(frame)
        if lost:
            self.counts.dropped += lost
            return
        self.counts.frames += 1
        received = self._read(frame)
        for trades in received.trades.values():
            self._say_trades(trades)
        for _, fact in received.facts:
            if isinstance(fact, BookUpdate):
                self._follow(fact)

    def _read(self, frame: bytes) -> Received:
        """Return what the first parser makes of a frame that makes anything of it."""
        first: FrameError | None = None
        for decode in self._decoders:
            received = decode([frame], self.symbols)
            if received.trades or received.facts or not received.errors:
                return received
            first = first or received.errors[0]
        if first is not None and not self._is_answer(frame):
            refused = self.counts.refused
            refused[first.reason] = refused.get(first.reason, 0) + 1
        return Received()

    def _is_answer(self, frame: bytes) -> bool:
        """Take a whole book as REST answers it; tell whether the frame is one."""
        if self.depth is None or self.depth.snapshot_of is None:
            return False
        try:
            self._snapshot = self.depth.snapshot_of(frame)
        except FrameError:
            return False
        self._offer()
        return True

    def _follow(self, update: BookUpdate) -> None:
        """Take a change of the book as the live feed would, and say what it comes to."""
        sync, exch_ns = self._sync, update.ts_us * 1000
        if sync is None or self._is_misdated(exch_ns):
            return
        self._book_exch_ns = max(self._book_exch_ns, exch_ns or self._now_ns)
        self.counts.updates += not update.is_snapshot
        if self.is_loose and not update.is_snapshot:
            self.counts.unanchored += 1
            self._say_changes(update)
            return
        was_synced, held_id = sync.is_synced, sync.book.update_id
        if sync.put(update, update.ts_us):
            is_whole = update.is_snapshot or update.last_id < held_id
            self._say_book(sync) if is_whole else self._say_changes(update)
        if was_synced and not sync.is_synced:
            self._say_lost()
        sync.tend(update.ts_us)
        self._offer()

    def _offer(self) -> None:
        """Offer the newest whole book that was asked for, once, as soon as one is wanted."""
        sync, snapshot = self._sync, self._snapshot
        if sync is None or snapshot is None or not sync.wants_snapshot:
            return
        # One that is refused now has lost the changes that follow it, and always will have.
        self._snapshot = None
        if sync.offer(snapshot, snapshot.ts_us):
            self._book_exch_ns = max(self._book_exch_ns, snapshot.ts_us * 1000)
            self._say_book(sync)

    def _is_misdated(self, exch_ns: int) -> bool:
        """Tell of a time so far off that it would move all that comes after it."""
        is_odd = exch_ns > 0 and abs(exch_ns - self._now_ns) >= DAY_NS
        self.counts.misdated += is_odd
        return is_odd

    # What becomes rows.

    def _say_trades(self, trades: Trades) -> None:
        names = trades.id if trades.ref is None else trades.ref
        columns = (names, trades.ts_us, trades.price, trades.qty, trades.is_buy)
        for name, ts_us, price, qty, is_buy in zip(*map(_listed, columns), strict=True):
            if not self._is_begun or self._is_known(name) or self._is_misdated(ts_us * 1000):
                continue
            flags = TRADE | (BUY if is_buy else SELL)
            self._rows.append((flags, ts_us * 1000, self._now_ns, price, qty))
            self.counts.trades += 1

    def _is_known(self, name: int | bytes) -> bool:
        """Tell of a trade that came before: while a connection is replaced there are two."""
        is_known = name in self._known
        self.counts.repeated += is_known
        self._known[name] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return is_known

    def _say_changes(self, update: BookUpdate) -> None:
        self._say_levels(DEPTH | BUY, update.bids)
        self._say_levels(DEPTH | SELL, update.asks)

    def _say_book(self, sync: BookSync) -> None:
        """Say a whole book: nothing of before holds."""
        self.is_anchored = True
        view = sync.book.view(len(sync.book))
        bids, asks = list(view.bids), list(view.asks)
        self.counts.snapshots += 1
        self._say_cleared(bids, asks)
        self._say_levels(DEPTH_SNAPSHOT | BUY, bids)
        self._say_levels(DEPTH_SNAPSHOT | SELL, asks)
        self._lowest_bid = min((price for price, _ in bids), default=float("inf"))
        self._highest_ask = max((price for price, _ in asks), default=0.0)

    def _say_lost(self) -> None:
        self.counts.gaps += 1
        self._say_cleared([], [])
        self._lowest_bid, self._highest_ask = float("inf"), 0.0

    def _say_cleared(self, bids: list[Level], asks: list[Level]) -> None:
        """Clear both sides up to the farthest price that either book has."""
        lowest = min([self._lowest_bid, *(price for price, _ in bids)])
        highest = max([self._highest_ask, *(price for price, _ in asks)])
        self._say_levels(DEPTH_CLEAR | BUY, [(0.0 if lowest == float("inf") else lowest, 0.0)])
        self._say_levels(DEPTH_CLEAR | SELL, [(highest, 0.0)])

    def _say_levels(self, flags: int, levels: Sequence[Level]) -> None:
        if not self._is_begun:
            return
        self._book_local_ns = max(self._book_local_ns, self._now_ns)
        exch_ns, local_ns = self._book_exch_ns, self._book_local_ns
        self._rows.extend((flags, exch_ns, local_ns, price, qty) for price, qty in levels)
        if flags == DEPTH | BUY:
            self._lowest_bid = min([self._lowest_bid, *(price for price, _ in levels)])
        elif flags == DEPTH | SELL:
            self._highest_ask = max([self._highest_ask, *(price for price, _ in levels)])


def _listed(column: Any) -> list[Any]:
    values: list[Any] = column.tolist()
    return values


def _sync_of(depth: Depth) -> BookSync:
    return BookSync(depth.sequencer, depth.levels, is_asked=depth.snapshot is not None)
