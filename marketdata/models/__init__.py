"""The tables. Times are integer microseconds UTC, prices and quantities float64."""

from marketdata.models.feeds import (
    Event,
    FeedState,
    HostState,
    Reading,
)
from marketdata.models.jobs import (
    BackfillChunk,
    BackfillJob,
)
from marketdata.models.ledger import (
    Absence,
    Certificate,
    CoverageSegment,
    Edge,
    Omission,
    Refusal,
    Restatement,
)
from marketdata.models.market import (
    ID_BITS,
    MOST_INSTRUMENTS,
    Candle,
    DailyLevel,
    Instrument,
    Levels,
    RowIdField,
    SessionStat,
    Trade,
    TradeRef,
    TradingSession,
    told,
)

__all__ = [
    "ID_BITS",
    "MOST_INSTRUMENTS",
    "Absence",
    "BackfillChunk",
    "BackfillJob",
    "Candle",
    "Certificate",
    "CoverageSegment",
    "DailyLevel",
    "Edge",
    "Event",
    "FeedState",
    "HostState",
    "Instrument",
    "Levels",
    "Omission",
    "Reading",
    "Refusal",
    "Restatement",
    "RowIdField",
    "SessionStat",
    "Trade",
    "TradeRef",
    "TradingSession",
    "told",
]
