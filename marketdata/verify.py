"""The ledger's answer for a range of time: expected, held, missing, and a certificate over it."""

from __future__ import annotations

import hashlib
from typing import Any

from marketdata.core.canonical import ROW, canonical
from marketdata.core.coverage import Coverage
from marketdata.core.instrument import Instrument
from marketdata.core.trades import Trades
from marketdata.payload import iso
from marketdata.store import ledger, rows


def verified(instrument: Instrument, start_us: int, end_us: int, proof: str) -> dict[str, Any]:
    """Count what is held in [start_us, end_us) against the venue's ids.

    Notes
    -----
    The range reaches from the trade after the last one held before it to the one before the first
    held after it; with no neighbour, from the first to the last id held.
    """
    held, digest, total = Coverage(), hashlib.sha256(), 0
    for trades in rows.read_trades(instrument.id, start_us, end_us):
        total += len(trades)
        digest.update(canonical(trades))
        for first, last in ledger.coverage(instrument.id, *_ends(trades)):
            held.add(first, last)
    first_id, last_id, edges = _edges(instrument.id, held)
    ranges = list(held.holes(first_id, last_id)) if total else []
    missing = sum(last - first + 1 for first, last in ranges)
    return {
        "source": instrument.source,
        "symbol": instrument.symbol,
        "start": iso(start_us),
        "end": iso(end_us),
        "expected": total + missing,
        "held": total,
        "missing": missing,
        "ranges": [list(run) for run in ranges],
        "exchange_side": [],
        "duplicates": 0,
        "edges": edges,
        "proof": proof,
        "certificate": {
            "first_id": first_id if total else None,
            "last_id": last_id if total else None,
            "trades": total,
            "sources": ledger.origins(instrument.id, first_id, last_id) if total else {},
            "sha256": digest.hexdigest(),
            "definition": f"SHA-256 over {ROW}, little-endian, row by row",
        },
    }


def _ends(trades: Trades) -> tuple[int, int]:
    return int(trades.id[0]), int(trades.id[-1])


def _edges(instrument_id: int, held: Coverage) -> tuple[int, int, str]:
    if held.first is None or held.last is None:
        return 0, -1, "held"
    everything = ledger.coverage(instrument_id)
    before = everything.before(held.first)
    after = next(iter(everything.within(held.last + 1, 1 << 62)), None)
    first = held.first if before is None else before + 1
    last = held.last if after is None else after[0] - 1
    return first, last, "held" if before is None and after is None else "neighbour"
