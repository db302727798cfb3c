"""Jobs of backfills and their chunks in the admin: read-only, but for what the service is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from marketdata import live
from marketdata.admin import OFFERED, ReadOnlyAdmin, moment
from marketdata.backfill.jobs import OPEN, Request
from marketdata.backfill.service import BackfillService
from marketdata.core.errors import BadInputError
from marketdata.models import BackfillChunk, BackfillJob


class OfState(admin.SimpleListFilter):
    """Jobs in one state, by the index over states."""

    title = "state"
    parameter_name = OFFERED

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every state."""
        return [(str(value), str(text)) for value, text in BackfillJob.Status.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Take the state."""
        return queryset.filter(status=self.value()) if self.value() else queryset


class OfJob(admin.SimpleListFilter):
    """Chunks of one job: a range of their index."""

    title = "job"
    parameter_name = OFFERED

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the newest jobs."""
        return [(str(row.pk), str(row)) for row in BackfillJob.objects.all()[:20]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Take the job."""
        value = self.value() or ""
        return queryset.filter(job_id=int(value)) if value.isdecimal() else queryset


@admin.register(BackfillJob)
class BackfillJobAdmin(ReadOnlyAdmin):
    """Jobs, which the running service alone writes; actions ask it."""

    list_display = (
        "id", "state", "symbol", moment("start_us"), moment("end_us"), "via", "progress",
        "missing", "error", "attempts", "source", "asked_by",
    )  # fmt: skip
    list_filter = (OfState,)
    actions = ("run", "retry", "cancel")  # type: ignore[assignment]

    @admin.display(description="state")
    def state(self, job: BackfillJob) -> str:
        """Return the state, and whether somebody wants it to end."""
        is_ending = job.is_cancelling and job.status in OPEN
        return f"{job.status}, being cancelled" if is_ending else job.status

    @admin.display(description="progress")
    def progress(self, job: BackfillJob) -> str:
        """Return how many trades are held; of the job that runs here, how many were fetched."""
        service = live.now().backfill if live.is_running() else None
        running = service.running() if service else None
        if running and running[0] == job.pk:
            now = running[1]
            return f"{now.current:,} of {now.total:,} ({now.percentage:.1f} %)"
        if not job.expected:
            return "–"
        # Cut, not rounded: a job that lacks one trade is not at 100 %.
        share = 1000 * job.trades // job.expected / 10
        return f"{job.trades:,} of {job.expected:,} ({share:.1f} %)"

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Let those act who may change jobs, though nobody edits one by hand."""
        return bool(request.user.has_perm("marketdata.change_backfilljob"))

    @admin.action(description="Run: queue a job like it", permissions=["run"])
    def run(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Queue new jobs that ask for the same."""
        self._each(request, queryset, _run_alike)

    @admin.action(description="Retry: queue it again", permissions=["run"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Queue jobs again that are over."""
        self._each(request, queryset, _retried)

    @admin.action(description="Cancel: end it for good", permissions=["run"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End jobs that wait or run; what they brought stays."""
        self._each(request, queryset, _cancelled)

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        act: Callable[[BackfillService, BackfillJob], tuple[bool, str]],
    ) -> None:
        service = live.now().backfill if live.is_running() else None
        if service is None:
            text = "No backfill service runs in this process; manage.py run starts one."
            self.message_user(request, text, messages.ERROR)
            return
        for job in queryset.order_by("pk"):
            is_done, text = act(service, job)
            level = messages.SUCCESS if is_done else messages.WARNING
            self.message_user(request, text, level)


def _run_alike(service: BackfillService, job: BackfillJob) -> tuple[bool, str]:
    asked = {
        name: getattr(job, name)
        for name in ("source", "symbol", "start_us", "end_us", "via", "path", "workers")
    }
    try:
        queued = service.submit(Request(**asked, asked_by="admin"))
    except BadInputError as error:
        return False, f"Job {job.pk}: {error}."
    return True, f"Job {queued.pk} is queued, as job {job.pk} was asked for."


def _retried(service: BackfillService, job: BackfillJob) -> tuple[bool, str]:
    if service.retry(job.pk):
        return True, f"Job {job.pk} is queued again."
    return False, f"Job {job.pk} is not over: nothing to retry."


def _cancelled(service: BackfillService, job: BackfillJob) -> tuple[bool, str]:
    if service.cancel(job.pk):
        return True, f"Job {job.pk} ends."
    return False, f"Job {job.pk} is over already."


@admin.display(description="job")
def job_number(chunk: BackfillChunk) -> str:
    """Return the number of a chunk's job, without a question for its row."""
    return str(chunk.job_id)


@admin.register(BackfillChunk)
class BackfillChunkAdmin(ReadOnlyAdmin):
    """Parts of jobs, the newest job's last part first."""

    list_display = (
        job_number, "number", "origin", moment("day_us"), "first_id", "last_id", "status",
        "attempts", "pages", "trades", "lacking", "error", moment("updated_us"),
    )  # fmt: skip
    list_filter = (OfJob,)
    ordering = ("-job_id", "-number")
