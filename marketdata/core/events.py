"""Values that travel beside trades: what happened to the stream, the candles and the session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from marketdata.core.trades import Trades

# Where trades came from; the ledger keeps it for each run of ids.
ORIGINS = ("live", "rest", "archive", "file")


@dataclass(frozen=True, slots=True)
class Gap:
    """Ids known to exist at the venue and not held: data, not an exception.

    Parameters
    ----------
    first_id, last_id : int
        Inclusive venue ids.
    reason : str
        `sequence` (ids skipped), `overflow` (a full queue dropped them), `start` (before the feed).
    """

    first_id: int
    last_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Trades with where they came from and when they arrived.

    Parameters
    ----------
    trades : Trades
        Strictly ascending ids.
    origin : str
        One of `ORIGINS`.
    recv_us : int
        Local receive time of the newest trade, microseconds UTC; 0 where it has no meaning.
    """

    trades: Trades
    origin: str = "live"
    recv_us: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as strategy, page and API see it.

    Parameters
    ----------
    kind : str
        `candle_complete`, `candle_restated`, `session_change`, `day_roll`, `gap`, `gap_closed`.
    ts_us : int
        Event time, microseconds UTC.
    detail : dict
        JSON-ready evidence.
    """

    kind: str
    ts_us: int
    detail: dict[str, Any] = field(default_factory=dict)
