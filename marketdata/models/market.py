"""What is traded, its trades, candles, sessions and levels."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from marketdata.core.errors import BadInputError
from marketdata.core.instrument import Grid
from marketdata.core.instrument import Instrument as InstrumentValue
from marketdata.core.sessions import SessionDefinition
from marketdata.venues import VENUES

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
        venue = VENUES.get(self.source)
        return InstrumentValue(
            self.source,
            self.symbol,
            grid,
            self.pk,
            is_numbered=venue is None or venue.is_numbered,
            is_sized=venue is None or venue.is_sized,
            cadence_us=venue.cadence_us(self.symbol) if venue else None,
        )


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


class TradeRef(models.Model):
    """The venue's own id of a trade that it does not number; beside the trade, by the same key."""

    id = RowIdField(primary_key=True)
    ref = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.ref


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
