"""States of feeds and hosts, what happened, and what venues tell besides trades."""

from __future__ import annotations

from typing import Any

from django.db import models

from marketdata.models.market import Instrument, told


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


class Reading(models.Model):
    """One value of a series: a funding rate, an open interest, a liquidation."""

    class Kind(models.TextChoices):
        FUNDING = "funding", "funding rate"
        OPEN_INTEREST = "open_interest", "open interest"
        LIQUIDATION = "liquidation", "liquidation"

    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    ts_us = models.BigIntegerField()
    # Several liquidations may share a time; of the other kinds there is one.
    number = models.PositiveSmallIntegerField(default=0)
    value = models.FloatField(help_text="a fraction per interval, base units, or signed base units")
    detail: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "kind", "ts_us", "number"], name="one_reading"
            )
        ]
        ordering = ["-ts_us"]

    def __str__(self) -> str:
        return f"{self.kind} {told(self.ts_us)}"
