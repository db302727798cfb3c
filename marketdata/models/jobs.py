"""What was asked to be fetched, and how it went."""

from __future__ import annotations

from typing import Any

from django.db import models


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
