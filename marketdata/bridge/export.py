"""A stored or recorded day for others: what it becomes, and how whole it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from marketdata.bridge import npz, tables
from marketdata.bridge.capture_file import files_of
from marketdata.bridge.events import Events, ordered, traded
from marketdata.bridge.raw_events import convert
from marketdata.bridge.tables import Table
from marketdata.conf import Conf
from marketdata.context import day_window
from marketdata.core.errors import BadInputError
from marketdata.core.instrument import Instrument
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.models import Instrument as InstrumentRow
from marketdata.payload import iso
from marketdata.store import rows
from marketdata.store.lake import day_name
from marketdata.venues import venue_of
from marketdata.verify import certified, public, wall_us

FORMAT = "hftbacktest event_dtype, times in nanoseconds UTC"
# Of a certificate, what says how whole a day is.
COVERAGE = ("expected", "held", "missing", "counted", "edges", "proof")


@dataclass(frozen=True, slots=True)
class Day:
    """What is exported.

    Parameters
    ----------
    day_us : int
        Start of the UTC day.
    """

    source: str
    symbol: str
    day_us: int

    @property
    def name(self) -> str:
        """The date."""
        return day_name(self.day_us)

    def about(self) -> dict[str, Any]:
        """Return what every file says."""
        return {"source": self.source, "symbol": self.symbol, "day": self.name}


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to.

    Parameters
    ----------
    answer : dict
        JSON-ready: rows, path, first and last time, coverage.
    warnings : list of str
        What is not whole, in words.
    """

    answer: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def coverage_of(instrument: Instrument, day: Day) -> tuple[dict[str, Any], list[str]]:
    """Return how whole a stored day is, and what is to be said of it."""
    window, now_us = day_window(day.day_us), wall_us()
    told = certified(instrument, window, now_us)
    is_over, is_edged = window.end_us <= now_us, told["edges"] != "held"
    is_complete = bool(is_over and is_edged and not told["missing"] and told["held"])
    shown = public(told)
    coverage = {name: shown[name] for name in COVERAGE} | {"is_complete": is_complete}
    if is_complete:
        return coverage, []
    return coverage, [f"{day.name} is not complete: {_why(told, is_over=is_over)}"]


def _why(told: dict[str, Any], *, is_over: bool) -> str:
    """Say in words what a day lacks."""
    if told["missing"]:
        holes = f"{len(told['ranges']):,} holes"
        count = f"{told['missing']:,} trades in {holes}" if told["counted"] else holes
        return f"{count} missing; manage.py verify --repair fetches what can be had"
    if not is_over:
        return "it is not over"
    return "nobody has told which trades begin and end it; a backfill of the day does"


def table(instrument: Instrument, day: Day, path: Path, timeframe: str | None = None) -> Exported:
    """Write a day's trades, or its candles of a timeframe. Raises BadInputError, OSError."""
    coverage, warnings = coverage_of(instrument, day)
    window = day_window(day.day_us)
    about = {**day.about(), **_kind(instrument, warnings), "coverage": coverage}
    if timeframe is None:
        made = tables.trades_of(instrument, window)
    else:
        made = tables.candles_of(instrument, window, timeframe, wall_us())
        about["timeframe"] = timeframe
    tables.write(path, _some(made, day), about)
    return Exported(_answer(day, path, made, coverage), warnings)


def _kind(instrument: Instrument, warnings: list[str]) -> dict[str, Any]:
    """Return what numbers its trades, and whether they are invented; say so where they are."""
    row = InstrumentRow.objects.get(pk=instrument.id)
    if row.simulated:
        warnings.append(f"{instrument.symbol} at {instrument.source} is simulated")
    return {"channel": row.channel, "simulated": row.simulated}


def _some(made: Table, day: Day) -> Table:
    """Return a table that is refused before anything is written where it is empty."""
    parts = iter(made.parts)
    first = next(parts, None)
    if first is None:
        raise _nothing(day)
    made.parts = (part for group in ((first,), parts) for part in group)
    return made


def _nothing(day: Day) -> BadInputError:
    return BadInputError(f"no trade of {day.symbol} at {day.source} is stored for {day.name}")


def _answer(day: Day, path: Path, made: Table, coverage: dict[str, Any]) -> dict[str, Any]:
    return {
        **day.about(),
        "path": str(path),
        "rows": made.rows,
        "first": iso(made.first_us) if made.first_us is not None else None,
        "last": iso(made.last_us) if made.last_us is not None else None,
        "coverage": coverage,
    }


def frames_of(settings: Conf, day: Day) -> list[Path]:
    """Return the recorded files of a day, with those of the day before, which began its book."""
    folder = settings.data_dir / "frames" / day.source
    today = [day.name.replace("-", "")]
    if not files_of(folder, day.symbol, today):
        return []
    yesterday = day_name(day.day_us - DAY_US).replace("-", "")
    return files_of(folder, day.symbol, [yesterday, *today])


def recorded(
    settings: Conf, day: Day, paths: Sequence[Path], path: Path, latency_ns: int
) -> Exported:
    """Write a day of recorded frames as events. Raises BadInputError, OSError."""
    venue = venue_of(day.source, settings.hosts(day.source).variant)
    window_ns = day.day_us * 1000, (day.day_us + DAY_US) * 1000
    made = convert(venue, day.symbol, paths, latency_ns, window_ns)
    files = [each.name for each in paths]
    about = {**day.about(), "format": FORMAT, "made_from": "frames", "files": files, **made.about}
    npz.write_npz(path, made.events, about)
    answer = _told(day, path, made.events)
    return Exported({**answer, "made_from": "frames", **made.about}, _complaints(made.about))


def _complaints(about: dict[str, Any]) -> list[str]:
    """Say in words what the frames lack."""
    counts, moved_ns = about["counts"], about["clock"]["local_ts_moved_by_ns"]
    refused = sum(counts["refused"].values())
    told = {
        "no frame of a book is there: rows are trades alone": about["book"] == "none",
        "no whole book is there: its levels are known only where they changed": (
            about["book"] == "changes"
        ),
        f"the book was lost {counts['gaps']} times, and is empty until it came whole": (
            counts["gaps"]
        ),
        f"the recorder dropped {counts['dropped']} frames": counts["dropped"],
        f"{refused} frames were refused by the venue's parsers": refused,
        f"{counts['misdated']} rows with a time of another day were left out": counts["misdated"],
        f"the recorder's clock was behind: receipt is moved by {moved_ns} ns": moved_ns,
    }
    return [words for words, is_so in told.items() if is_so]


def from_trades(instrument: Instrument, day: Day, path: Path, latency_ns: int) -> Exported:
    """Write a day of stored trades as events: no book, receipt assumed. Raises as `recorded`."""
    if not instrument.is_sized:
        raise BadInputError(
            f"trades with size and side expected, {day.symbol} at {day.source} has ticks alone"
        )
    coverage, warnings = coverage_of(instrument, day)
    window = day_window(day.day_us)
    trades = Trades.concat(rows.read_trades(instrument.id, window.start_us, window.end_us))
    if not len(trades):
        raise _nothing(day)
    events = ordered(traded(trades, latency_ns))
    about = {
        **day.about(),
        **_kind(instrument, warnings),
        "format": FORMAT,
        "made_from": "stored trades",
        "book": "none",
        "latency_ns": latency_ns,
        "local_ts": "exch_ts and the latency: receipt was not kept",
        "coverage": coverage,
    }
    npz.write_npz(path, events, about)
    warnings.append("made from stored trades: there is no book, and receipt is assumed")
    more = {"made_from": "stored trades", "book": "none", "coverage": coverage}
    return Exported({**_told(day, path, events), **more}, warnings)


def _told(day: Day, path: Path, events: Events) -> dict[str, Any]:
    exch_us: Any = np.sort(events["exch_ts"]) // 1000
    return {
        **day.about(),
        "path": str(path),
        "rows": len(events),
        "first": iso(int(exch_us[0])),
        "last": iso(int(exch_us[-1])),
    }
