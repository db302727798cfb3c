"""What runs in this process, for the doors that show it. Set by the daemon, empty elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marketdata.backfill.service import BackfillService
    from marketdata.feeds.books import BookKeeper
    from marketdata.feeds.flow import EventTape, Flow
    from marketdata.feeds.link import Line
    from marketdata.feeds.repair import Repair
    from marketdata.feeds.tickers import Tickers
    from marketdata.publisher import Publisher
    from marketdata.rest.client import VenueClient
    from marketdata.store.board import Board
    from marketdata.store.writer import Writer
    from marketdata.telemetry import LagHistogram


@dataclass(slots=True)
class Live:
    """The running parts.

    Parameters
    ----------
    instruments : list of (source, symbol)
        What is configured, in order; the first is the default of every question.
    label : str
        `simulated`, `replay` or empty: what the page must say about the data.
    clock : callable
        Microseconds UTC: the wall clock, or the tape's in a replay.
    wall_clock : callable
        Microseconds UTC of this machine, for ages.
    gaps : callable
        How many gaps a source's feeds have seen.
    rejections : callable
        Frames refused by (source, reason).
    lines : list of Line
        What brings trades.
    book_lines : list of Line
        What brings order books.
    books : dict of str to BookKeeper
        By source.
    tickers : dict of str to Tickers
        By source: marks, quotes, liquidations.
    clients : list of VenueClient
        Who asks the venues by REST.
    backfill : BackfillService or None
        Runs the jobs of the database, where that is wanted.
    """

    board: Board
    flow: Flow
    writer: Writer
    tape: EventTape
    publisher: Publisher
    instruments: list[tuple[str, str]]
    label: str
    clock: Callable[[], int]
    wall_clock: Callable[[], int]
    gaps: Callable[[str], int]
    lines: list[Line]
    repairs: dict[str, Repair]
    lag: LagHistogram
    write_rows: LagHistogram
    write_seconds: LagHistogram
    rejections: Callable[[], dict[tuple[str, str], int]]
    book_lines: list[Line] = field(default_factory=list)
    books: dict[str, BookKeeper] = field(default_factory=dict)
    tickers: dict[str, Tickers] = field(default_factory=dict)
    clients: list[VenueClient] = field(default_factory=list)
    backfill: BackfillService | None = None


class NotRunningError(RuntimeError):
    """A door asked for live data in a process that runs no feeds."""


_live: list[Live] = []


def start(live: Live) -> None:
    """Make the parts known to the doors."""
    _live[:] = [live]


def stop() -> None:
    """Forget the parts."""
    _live.clear()


def now() -> Live:
    """Return the running parts. Raises NotRunningError where nothing runs."""
    if not _live:
        raise NotRunningError("no feeds run in this process; start it with manage.py run")
    return _live[0]


def is_running() -> bool:
    """Tell whether feeds run in this process."""
    return bool(_live)
