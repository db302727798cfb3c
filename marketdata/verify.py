"""The ledger's answer for a range of time: expected, held, missing, and a certificate over it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from marketdata.core.canonical import ROW, canonical
from marketdata.core.instrument import Instrument
from marketdata.payload import iso
from marketdata.store import ledger, rows


@dataclass(frozen=True, slots=True)
class Held:
    """What is stored of a range of time.

    Parameters
    ----------
    trades : int
        Rows inside the range.
    ends : (first, last) or None
        Lowest and highest of their ids.
    sha256 : str
        Over their canonical bytes.
    """

    trades: int
    ends: tuple[int, int] | None
    sha256: str


def verified(instrument: Instrument, start_us: int, end_us: int, proof: str) -> dict[str, Any]:
    """Count what is held in [start_us, end_us) against the venue's ids.

    Notes
    -----
    The range reaches from the trade after the last one held before it to the one before the first
    held after it; with no neighbour, from the first to the last id held. A hole over an edge
    counts whole.
    """
    held = _held(instrument.id, start_us, end_us)
    first_id, last_id, edges = _edges(instrument.id, held, start_us, end_us)
    ranges = list(ledger.coverage(instrument.id, first_id, last_id).holes(first_id, last_id))
    missing = sum(last - first + 1 for first, last in ranges)
    return {
        "source": instrument.source,
        "symbol": instrument.symbol,
        "start": iso(start_us),
        "end": iso(end_us),
        "expected": held.trades + missing,
        "held": held.trades,
        "missing": missing,
        "ranges": [list(run) for run in ranges],
        "exchange_side": [],
        # An id is the row's key: a second row of it cannot be.
        "duplicates": 0,
        "edges": edges,
        "proof": proof,
        "disagreements": ledger.audit(instrument.id, first_id, last_id),
        "certificate": {
            "first_id": first_id if held.trades else None,
            "last_id": last_id if held.trades else None,
            "trades": held.trades,
            "sources": ledger.origins(instrument.id, first_id, last_id) if held.trades else {},
            "sha256": held.sha256,
            "definition": f"SHA-256 over {ROW}, little-endian, row by row",
        },
    }


def _held(instrument_id: int, start_us: int, end_us: int) -> Held:
    trades, digest, ids = 0, hashlib.sha256(), []
    for page in rows.read_trades(instrument_id, start_us, end_us):
        trades += len(page)
        digest.update(canonical(page))
        ids += [int(page.id[0]), int(page.id[-1])]
    return Held(trades, (ids[0], ids[-1]) if ids else None, digest.hexdigest())


def _edges(instrument_id: int, held: Held, start_us: int, end_us: int) -> tuple[int, int, str]:
    """Return the first and last id that the range should hold, and how they are known."""
    if held.ends is None:
        return _silence(instrument_id, start_us, end_us)
    first, last = held.ends
    everything = ledger.coverage(instrument_id)
    before = everything.before(first)
    after = next(iter(everything.within(last + 1, ledger.EVERYTHING[1])), None)
    edges = "held" if before is None and after is None else "neighbour"
    return (
        first if before is None else before + 1,
        last if after is None else after[0] - 1,
        edges,
    )


def _silence(instrument_id: int, start_us: int, end_us: int) -> tuple[int, int, str]:
    """Return the ids of a range in which nothing is held: none, or those of the hole it is in."""
    segments = ledger.segments(instrument_id)
    before = max((s.last_id for s in segments if s.first_ts_us < start_us), default=None)
    after = min((s.first_id for s in segments if s.last_ts_us >= end_us), default=None)
    if before is None or after is None:
        return 0, -1, "held"
    # Where one run of ids spans the range the market was quiet, and nothing can be missing.
    return before + 1, after - 1, "neighbour"
