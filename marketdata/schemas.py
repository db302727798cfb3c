"""The shapes of the JSON answers, for OpenAPI. Numbers are never NaN; unknown is null."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Schema

Precision = Literal["exact", "backfilling", "degraded"]
Proof = Literal["id_exact", "overlap", "cadence", "none"]
State = Literal["connecting", "live", "stale", "backoff", "stopped"]
Mode = Literal["live", "simulated", "replay", "stored"]


class Detail(Schema):
    """An error in words."""

    detail: str


class Unknown(Schema):
    """A name nobody knows, with those that are known."""

    detail: str
    known: list[str]


class Refusal(Schema):
    """One parameter that is not as it should be; `loc` ends with its name."""

    type: str
    loc: list[str | int]
    msg: str
    ctx: dict[str, Any] | None = None


class Malformed(Schema):
    """What is wrong with the question."""

    detail: list[Refusal]


class Session(Schema):
    """The trading session at the time of the answer."""

    name: str
    start: str
    end: str
    active: bool
    message: str


class Levels(Schema):
    """Prices, quote per base."""

    VWAP: float | None
    VWAP_SD: float | None
    POC: float | None
    VAH: float | None
    VAL: float | None
    PDH: float | None
    PDL: float | None
    PDC: float | None
    OPEN: float | None
    HIGH: float | None
    LOW: float | None
    LAST: float | None


class ProfileRow(Schema):
    """One price row that traded; `price` is its lower edge."""

    price: float
    volume: float
    buy_vol: float | None
    sell_vol: float | None


class Coverage(Schema):
    """Which of the venue's trades are held.

    `expected` and `missing` are null where holes are known and nobody can say how many trades they
    had: the venue numbers none, so that ids are ours. Of the missing, `left_out` are those that the
    feed did not bring between two that it did, as the venue's own pages tell. `ranges` are missing
    ids, `exchange_side` those the venue itself does not have; a hundred each. `has_first` says
    that the first trade held is the scope's first, so that its opening price is known.
    """

    expected: int | None
    held: int
    missing: int | None
    holes: int
    left_out: int
    ratio: float | None
    proof: Proof
    edges: Literal["venue", "neighbour", "held"]
    has_first: bool
    ranges: list[list[int]]
    exchange_side: list[list[int]]
    sources: dict[str, int]


class ContextDefinition(Schema):
    """How the levels were computed."""

    value_area_rule: str
    value_area_pct: float
    value_area_tie: str
    poc_tie: str
    poc_is_tied: bool
    profile_tick_size: float
    anchor: str
    previous_day: str | None
    tick_size: float
    lot_size: float
    basis: Literal["volume", "ticks"]


class Ticks(Schema):
    """Ticks of a feed that tells no size and no side, counted; `delta` is up less down, a guess."""

    count: int
    delta: float


class FeedHealth(Schema):
    """State and age of the connection that feeds the numbers."""

    state: State
    data_age_ms: int | None


class Context(Schema):
    """Levels, profile, delta and coverage of one scope.

    `restatements`: published numbers of the scope that have changed since; the events tell which.
    """

    symbol: str
    source: str
    scope: str
    as_of: str
    start: str
    end: str
    session: Session
    levels: Levels
    volume_profile: list[ProfileRow]
    volume: float | None
    buy_volume: float | None
    sell_volume: float | None
    cumulative_delta: float | None
    delta_min: float | None
    delta_max: float | None
    trades: int
    last_trade_at: str | None
    coverage: Coverage
    definition: ContextDefinition
    estimated: list[str]
    ticks: Ticks | None = None
    precision: Precision
    restatements: int
    simulated: bool
    mode: Mode
    health: FeedHealth


class Candle(Schema):
    """One candle; `time` is its opening.

    `coverage` is held over expected trades. Those missing between two candles count for both, so
    that only what is proved complete is 1; it is null where the beginning is unknown.
    """

    time: str
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    buy_volume: float | None
    sell_volume: float | None
    delta: float | None
    trades: int
    vwap: float | None
    coverage: float | None
    closed: bool


class CandleList(Schema):
    """Candles, oldest first. An interval without trades has none."""

    symbol: str
    source: str
    timeframe: str
    candles: list[Candle]


class Trade(Schema):
    """One public trade; `is_buy`: the aggressor bought.

    `venue_id` is the venue's own id where that is no number to count by: `trade_id` then is ours.
    Ticks of a quote feed have no size and no side.
    """

    trade_id: int
    time: str
    price: float
    qty: float | None
    is_buy: bool | None
    venue_id: str | None


class TradeList(Schema):
    """Trades, ascending ids."""

    symbol: str
    source: str
    trades: list[Trade]


class Connection(Schema):
    """One venue connection."""

    source: str
    channel: str
    symbol: str
    state: State
    connected_at: str | None
    last_message_age_ms: int | None
    reconnects: int
    gaps: int
    proof: Proof
    rejected: int
    last_error: str


class Health(Schema):
    """Every venue connection."""

    connections: list[Connection]


class SessionWindow(Schema):
    """One session of today."""

    name: str
    title: str
    start: str
    end: str
    active: bool


class SessionList(Schema):
    """Today's sessions."""

    sessions: list[SessionWindow]


class EventItem(Schema):
    """Something that happened, with its evidence."""

    kind: str
    ts: str
    detail: dict[str, Any]


class EventList(Schema):
    """Events, newest first."""

    events: list[EventItem]


class Progress(Schema):
    """How far a fetch of missing trades is."""

    current: int
    total: int
    percentage: float
    estimated_seconds_remaining: float | None


class Checks(Schema):
    """What must answer before the process is ready."""

    database: bool
    writer: bool


class Ready(Schema):
    """Whether the process can be relied on, and how far its numbers can."""

    status: Literal["ready", "starting", "unavailable"]
    checks: Checks
    session: str
    session_message: str
    is_trading_active: bool
    trading_enabled: bool
    backfill_complete: bool
    backfill_status: Literal["idle", "running", "completed"]
    backfill_progress: Progress
    metrics_precision: Precision


class Status(Schema):
    """Alive."""

    status: Literal["ok"]


class Latency(Schema):
    """Exchange time to context, of the newest live trades, milliseconds."""

    p50: float | None
    p99: float | None


class Metrics(Schema):
    """What the process measures of itself."""

    trades_per_second: float
    depth_updates_per_second: float
    queue_sizes: dict[str, int]
    latency_ms: Latency
    trades: int
    duplicates: int
    late: int
    dropped: int
    refused: int
    rejected: int
    errors: int
    last_error: str
    rows_written: int
    clients: int
