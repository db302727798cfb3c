"""The tables. Times are integer microseconds UTC, prices and quantities float64."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from marketdata.core.errors import BadInputError
from marketdata.core.instrument import Grid
from marketdata.core.instrument import Instrument as InstrumentValue
from marketdata.core.sessions import SessionDefinition

# A trade's row id is its instrument's id followed by this many bits of the venue's trade id.
ID_BITS = 51
MOST_INSTRUMENTS = 2 ** (63 - ID_BITS) - 1


def told(ts_us: int) -> str:
    """Return a time as people write it, UTC."""
    return f"{datetime.fromtimestamp(ts_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"


class RowIdField(models.IntegerField):  # type: ignore[type-arg]
    """A 64-bit primary key that is SQLite's own row id, so that a table is one B-tree."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        """Return `integer` where that is an alias of the row id, `bigint` elsewhere."""
        return "integer" if connection.vendor == "sqlite" else "bigint"

    def get_internal_type(self) -> str:
        """Be validated as 64 bits wide."""
        return "BigIntegerField"


class Instrument(models.Model):
    """What is traded at one venue, and the grid it is counted on."""

    source = models.CharField(max_length=32, help_text="feed name, for example binance_ws")
    symbol = models.CharField(max_length=64, help_text="the venue's spelling")
    tick = models.CharField(max_length=32, help_text="smallest price step, quote per base")
    lot = models.CharField(max_length=32, help_text="smallest quantity step, base units")
    channel = models.CharField(
        max_length=16, default="aggTrade", help_text="which of the venue's ids count its trades"
    )
    simulated = models.BooleanField(default=False, help_text="its trades are invented")
    is_active = models.BooleanField(default=True, help_text="offered by pages and API")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "symbol"], name="one_instrument")]
        ordering = ["source", "symbol"]

    def __str__(self) -> str:
        return f"{self.symbol} ({self.source})"

    def value(self) -> InstrumentValue:
        """Return the instrument as the pure rooms know it."""
        grid = Grid(Decimal(self.tick), Decimal(self.lot))
        return InstrumentValue(self.source, self.symbol, grid, self.pk)


class Trade(models.Model):
    """One public trade. Ids ascend with time, so a time is found by bisecting the primary key."""

    id = RowIdField(primary_key=True)
    instrument = models.ForeignKey(
        Instrument, models.DO_NOTHING, db_index=False, db_constraint=False
    )
    trade_id = models.BigIntegerField()
    ts_us = models.BigIntegerField()
    price = models.FloatField()
    qty = models.FloatField()
    is_buy = models.BooleanField()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.trade_id}"


class Candle(models.Model):
    """One finished bar."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    timeframe = models.CharField(max_length=4)
    open_us = models.BigIntegerField()
    open = models.FloatField()
    high = models.FloatField()
    low = models.FloatField()
    close = models.FloatField()
    volume = models.FloatField()
    buy_volume = models.FloatField()
    quote_volume = models.FloatField()
    trades = models.BigIntegerField()
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "timeframe", "open_us"], name="one_candle"
            )
        ]
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.timeframe} {told(self.open_us)}"


class TradingSession(models.Model):
    """When a session is open, half-open, in a zone of its own."""

    name = models.SlugField(unique=True, help_text="scope name in URLs and answers")
    title = models.CharField(max_length=64)
    tz = models.CharField("time zone", max_length=64, default="UTC", help_text="UTC or IANA name")
    start = models.TimeField(help_text="first minute, in that zone")
    end = models.TimeField(help_text="not included; at or before the start means the next day")
    weekdays = models.CharField(
        max_length=7, default="1234567", help_text="days on which it starts, 1 = Monday"
    )
    is_active = models.BooleanField(default=True)
    order = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["order", "start"]

    def __str__(self) -> str:
        return self.title

    def value(self) -> SessionDefinition:
        """Return the definition as the pure rooms know it. Raises BadInputError."""
        return SessionDefinition(
            self.name,
            self.title,
            self.tz,
            self.start.hour * 60 + self.start.minute,
            self.end.hour * 60 + self.end.minute,
            frozenset(int(day) for day in self.weekdays if day.isdigit()),
        )

    def clean(self) -> None:
        """Refuse what the calendar would refuse, in words for the form."""
        errors = dict(self._complaints())
        if errors:
            raise ValidationError(errors)
        try:
            # A form asks even where it has found a time that is none.
            if None not in (self.start, self.end):
                self.value()
        except BadInputError as error:
            raise ValidationError(str(error)) from error

    def _complaints(self) -> Iterator[tuple[str, str]]:
        for name in ("start", "end"):
            time = getattr(self, name)
            if time is not None and (time.second or time.microsecond):
                yield name, f"whole minutes expected, seen {time}"
        if self.tz not in available_timezones():
            yield "tz", f"an IANA time zone expected, seen {self.tz!r}"
        if self.name in {"day", "current", "off"}:
            yield "name", f"{self.name} is the name of a built-in scope"
        if not set(self.weekdays) <= set("1234567"):
            yield "weekdays", f"digits from 1 to 7 expected, 1 = Monday, seen {self.weekdays!r}"


class Levels(models.Model):
    """Levels of a window, and what they stand on."""

    open = models.FloatField(null=True)
    high = models.FloatField(null=True)
    low = models.FloatField(null=True)
    close = models.FloatField(null=True)
    vwap = models.FloatField(null=True)
    poc = models.FloatField(null=True)
    vah = models.FloatField(null=True)
    val = models.FloatField(null=True)
    volume = models.FloatField(default=0)
    buy_volume = models.FloatField(default=0)
    sell_volume = models.FloatField(default=0)
    delta = models.FloatField(default=0)
    delta_min = models.FloatField(default=0)
    delta_max = models.FloatField(default=0)
    trades = models.BigIntegerField(default=0)
    expected = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    is_final = models.BooleanField(default=False, help_text="the window was over, all fetched")
    definition = models.JSONField(default=dict)
    state_hash = models.CharField(max_length=64, blank=True)

    class Meta:
        abstract = True


class DailyLevel(Levels):
    """Levels of one UTC day."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    day_us = models.BigIntegerField()
    origin = models.CharField(max_length=8, help_text="trades or klines")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["instrument", "day_us", "origin"], name="one_day")
        ]
        ordering = ["-day_us"]

    def __str__(self) -> str:
        return told(self.day_us)[:10]


class SessionStat(Levels):
    """Levels of one session that happened."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    name = models.SlugField()
    start_us = models.BigIntegerField()
    end_us = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["instrument", "name", "start_us"], name="one_session")
        ]
        ordering = ["-start_us"]

    def __str__(self) -> str:
        return f"{self.name} {told(self.start_us)}"


class CoverageSegment(models.Model):
    """A run of venue ids that is held, and where it came from; runs are disjoint."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    origin = models.CharField(max_length=8)
    first_ts_us = models.BigIntegerField()
    last_ts_us = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["instrument", "first_id"], name="one_segment")
        ]
        ordering = ["instrument", "first_id"]

    def __str__(self) -> str:
        return f"{self.first_id}..{self.last_id}"


class Absence(models.Model):
    """A run of ids that cannot be had, and why; none of them is held."""

    class Kind(models.TextChoices):
        EXCHANGE_SIDE = "exchange_side", "not at the venue"
        PERMANENT = "permanent", "given up"

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    reason = models.TextField()
    found_us = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instrument", "first_id"], name="absences")]
        ordering = ["instrument", "first_id"]

    def __str__(self) -> str:
        return f"{self.first_id}..{self.last_id} {self.kind}"


class Edge(models.Model):
    """The first id at or after a moment, as the venue told it."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    start_us = models.BigIntegerField()
    first_id = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instrument", "start_us"], name="one_edge")]
        ordering = ["instrument", "start_us"]

    def __str__(self) -> str:
        return f"{told(self.start_us)}: {self.first_id}"


class Refusal(models.Model):
    """How many trades of a minute came again and were not stored twice."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    minute_us = models.BigIntegerField()
    trades = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["instrument", "minute_us"], name="one_minute")
        ]
        ordering = ["instrument", "minute_us"]

    def __str__(self) -> str:
        return f"{told(self.minute_us)}: {self.trades}"


class Restatement(models.Model):
    """A number that was published as final, or without trades that came later, and the new one."""

    class What(models.TextChoices):
        CANDLE = "candle", "candle"
        DAY = "day", "UTC day"
        SESSION = "session", "session"

    class Cause(models.TextChoices):
        LATE = "late", "late in the live feed"
        REFILL = "refill", "a hole of the live feed refilled"
        BACKFILL = "backfill", "a backfill by REST"
        ARCHIVE = "archive", "a backfill from a file"

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    what = models.CharField(max_length=8, choices=What.choices)
    name = models.CharField(max_length=50, help_text="timeframe, day, or the session's name")
    start_us = models.BigIntegerField()
    cause = models.CharField(max_length=8, choices=Cause.choices)
    old: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField()
    new: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField()
    ts_us = models.BigIntegerField(help_text="when it was restated")

    class Meta:
        indexes = [models.Index(fields=["instrument", "start_us"], name="restatements_by_start")]
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.what} {self.name} {told(self.start_us)}"


class Certificate(models.Model):
    """What a window that is over held when it was last counted, row by row."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    scope = models.CharField(max_length=50, help_text="day, or the session's name")
    start_us = models.BigIntegerField()
    end_us = models.BigIntegerField()
    expected = models.BigIntegerField()
    held = models.BigIntegerField()
    missing = models.BigIntegerField()
    refused = models.BigIntegerField(help_text="trades that came again, not stored twice")
    sha256 = models.CharField(max_length=64)
    detail: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField()
    ledger_version = models.CharField(max_length=64, help_text="hash of the ledger it stands on")
    as_of_us = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "scope", "start_us"], name="one_certificate"
            )
        ]
        ordering = ["-start_us", "scope"]

    def __str__(self) -> str:
        return f"{self.scope} {told(self.start_us)}"


class FeedState(models.Model):
    """The last known state of a connection, for whoever reads the database."""

    source = models.CharField(max_length=32)
    channel = models.CharField(max_length=32)
    symbol = models.CharField(max_length=255)
    state = models.CharField(max_length=16)
    since_us = models.BigIntegerField()
    reconnects = models.PositiveIntegerField(default=0)
    gaps = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "channel", "symbol"], name="one_feed")
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.channel} {self.state}"


class HostState(models.Model):
    """What a venue's host has asked of us; a ban outlives the process it was told to."""

    host = models.CharField(max_length=255, unique=True)
    banned_until_us = models.BigIntegerField(default=0)
    reason = models.TextField(blank=True)
    updated_us = models.BigIntegerField()

    class Meta:
        ordering = ["host"]

    def __str__(self) -> str:
        return self.host


class Event(models.Model):
    """Something that happened, with its evidence."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, null=True, db_index=False)
    kind = models.CharField(max_length=32)
    ts_us = models.BigIntegerField()
    detail: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["kind", "id"], name="events_by_kind")]
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.kind


class BackfillJob(models.Model):
    """A fetch of past trades that somebody asked for.

    What is held of the range is the ledger's to say: these rows tell people what was tried.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        COMPLETED = "completed", "completed"
        FAILED = "failed", "failed"
        STOPPED = "stopped", "stopped"
        CANCELLED = "cancelled", "cancelled"

    source = models.CharField(max_length=32)
    symbol = models.CharField(max_length=64)
    start_us = models.BigIntegerField()
    end_us = models.BigIntegerField(help_text="not included")
    via = models.CharField(max_length=8, default="auto", help_text="auto, rest, archive or file")
    path = models.TextField(blank=True, help_text="the file, where one was named")
    workers = models.PositiveSmallIntegerField(default=0, help_text="0 is the default number")
    asked_by = models.CharField(max_length=32, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    is_cancelling = models.BooleanField(default=False)
    attempts = models.PositiveIntegerField(default=0)
    created_us = models.BigIntegerField()
    started_us = models.BigIntegerField(default=0)
    finished_us = models.BigIntegerField(default=0)
    expected = models.BigIntegerField(default=0, help_text="ids of the range, as far as known")
    trades = models.BigIntegerField(default=0, help_text="of them held")
    inserted = models.BigIntegerField(default=0, help_text="by this job")
    missing = models.BigIntegerField(default=0)
    exchange_side: models.JSONField[list[Any], list[Any]] = models.JSONField(
        default=list, help_text="ids that the venue itself does not have"
    )
    vwap = models.FloatField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["status", "id"], name="jobs_by_status")]
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"backfill {self.pk} of {self.symbol}"


class BackfillChunk(models.Model):
    """One part of a job: an archive day, a run of ids by REST, a file."""

    class Status(models.TextChoices):
        RUNNING = "running", "running"
        DONE = "done", "done"
        FAILED = "failed", "failed"
        ABSENT = "absent", "absent"
        STOPPED = "stopped", "stopped"

    job = models.ForeignKey(BackfillJob, models.CASCADE, db_index=False, related_name="chunks")
    number = models.PositiveIntegerField()
    origin = models.CharField(max_length=8, help_text="rest, archive or file")
    day_us = models.BigIntegerField(default=0)
    first_id = models.BigIntegerField(null=True)
    last_id = models.BigIntegerField(null=True)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.RUNNING)
    attempts = models.PositiveIntegerField(default=0)
    pages = models.PositiveIntegerField(default=0)
    trades = models.BigIntegerField(default=0)
    lacking: models.JSONField[list[Any], list[Any]] = models.JSONField(
        default=list, help_text="ids the venue answered that it does not have"
    )
    sha256 = models.CharField(max_length=64, blank=True, help_text="of the file")
    error = models.TextField(blank=True)
    updated_us = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="one_chunk")]
        ordering = ["job", "number"]

    def __str__(self) -> str:
        return f"chunk {self.number} by {self.origin}"
