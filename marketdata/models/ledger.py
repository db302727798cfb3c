"""What is held, what is not, why, and what was stated about it."""

from __future__ import annotations

from typing import Any

from django.db import models

from marketdata.models.market import Instrument, told


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


class Omission(models.Model):
    """A trade that the venue has and its feed did not bring; numbers of ours know no hole there."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    ts_us = models.BigIntegerField()
    ref = models.CharField(max_length=40, help_text="the venue's own id")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instrument", "ref"], name="one_omission")]
        indexes = [models.Index(fields=["instrument", "ts_us"], name="omissions_by_time")]
        ordering = ["-ts_us"]

    def __str__(self) -> str:
        return f"{self.ref} {told(self.ts_us)}"


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
