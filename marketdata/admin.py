"""The tables in Django's admin. What the feeds write is read-only, and read by its key alone.

A table of millions must never be counted, sorted or searched by a column without an index: that is
seconds to minutes on SQLite. So lists show the newest rows only, in the order of the key, filters
are ranges of the key, and sorting or filtering by URL is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from marketdata.models import (
    ID_BITS,
    Absence,
    Candle,
    Certificate,
    CoverageSegment,
    DailyLevel,
    Edge,
    Event,
    FeedState,
    HostState,
    Instrument,
    Omission,
    Refusal,
    Restatement,
    SessionStat,
    Trade,
    TradingSession,
)
from marketdata.payload import iso

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    AnyAdmin, AnyPaginator = admin.ModelAdmin, Paginator

# Pages beyond this are reached by an id, not by paging: an OFFSET reads all it skips.
NEWEST = 10_000
EVENTS = (
    "gap", "gap_closed", "hole_exchange_side", "hole_permanent", "grid_refined", "session_change",
    "day_roll",
)  # fmt: skip
# The one word of a list's own filter in its URL.
OFFERED = "of"
Column = Callable[[Any], str]


class NewestPaginator(AnyPaginator):
    """Pages of the newest rows, which counts no further than they reach."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, at most `NEWEST`."""
        rows: Any = self.object_list
        return len(rows.prefetch_related(None).values_list("pk", flat=True)[:NEWEST])


class NewestChangeList(ChangeList):
    """A list in the order its admin gives, whatever the URL asks for."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return the admin's own order."""
        return list(self.model_admin.ordering or ["-pk"])


@lru_cache
def moment(field: str) -> Column:
    """Return a column that shows microseconds as ISO 8601."""

    @admin.display(description=f"{field.removesuffix('_us').replace('_', ' ')} (UTC)")
    def shown(row: Any) -> str:
        value = getattr(row, field)
        return iso(value) if value else "–"

    shown.__name__ = field.removesuffix("_us")
    return shown


@admin.display(description="instrument")
def instrument(row: Any) -> str:
    """Return the instrument's name, without a join that would sort the table."""
    return str(row.instrument)


class ReadOnlyAdmin(AnyAdmin):
    """A table that only the feeds write."""

    actions = None
    list_per_page = 100
    list_max_show_all = 100
    paginator = NewestPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    ordering: ClassVar[tuple[str, ...]] = ("-pk",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that cannot be sorted by URL."""
        return NewestChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the names beside the rows in one question more."""
        rows = super().get_queryset(request)
        return rows.prefetch_related("instrument") if hasattr(self.model, "instrument") else rows

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Show every column, times as people read them."""
        names = [field.name for field in self.opts.concrete_fields]
        return [moment(name) if name.endswith("_us") else name for name in names]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Let nothing be typed."""
        return self.get_fields(request, obj)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Say that the list is not all there is."""
        title = f"Newest {self.opts.verbose_name_plural}, at most {NEWEST:,}"
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse filters by URL but for those offered: others would read the whole table."""
        return lookup == OFFERED

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse."""
        return False


class OfInstrument(admin.SimpleListFilter):
    """Trades of one instrument: a range of the key."""

    title = "instrument"
    parameter_name = OFFERED

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every instrument."""
        return [(str(row.pk), str(row)) for row in Instrument.objects.all()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Take the range that begins with the instrument's number."""
        value = self.value() or ""
        if not value.isdecimal():
            return queryset
        base = int(value) << ID_BITS
        return queryset.filter(pk__gte=base, pk__lt=base + (1 << ID_BITS))


class OfKind(admin.SimpleListFilter):
    """Events of one kind, by the index over kinds."""

    title = "kind"
    parameter_name = OFFERED

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the kinds that are stored; asking the table for them would read it."""
        return [(kind, kind.replace("_", " ")) for kind in EVENTS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Take the kind."""
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(Trade)
class TradeAdmin(ReadOnlyAdmin):
    """Trades, the newest key first."""

    list_display = ("trade_id", instrument, moment("ts_us"), "price", "qty", "is_buy")
    list_filter = (OfInstrument,)
    search_fields = ("trade_id",)
    search_help_text = "a trade id"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find an id by the keys it would have."""
        term = search_term.strip()
        if not term:
            return queryset, False
        numbers = Instrument.objects.values_list("pk", flat=True)
        if not term.isdecimal() or int(term) >> ID_BITS:
            return queryset.none(), False
        return queryset.filter(pk__in=[(n << ID_BITS) + int(term) for n in numbers]), False


@admin.register(Candle)
class CandleAdmin(ReadOnlyAdmin):
    """Finished bars."""

    list_display = (
        moment("open_us"), instrument, "timeframe", "open", "high", "low", "close", "volume",
        "buy_volume", "trades",
    )  # fmt: skip


@admin.register(CoverageSegment)
class CoverageSegmentAdmin(ReadOnlyAdmin):
    """The ledger: each instrument's newest run first."""

    list_display = (
        instrument, "first_id", "last_id", "origin", moment("first_ts_us"), moment("last_ts_us"),
    )  # fmt: skip
    ordering = ("-instrument_id", "-first_id")


@admin.register(Absence)
class AbsenceAdmin(ReadOnlyAdmin):
    """Ids that cannot be had, and why."""

    list_display = (instrument, "first_id", "last_id", "kind", "reason", moment("found_us"))


@admin.register(Edge)
class EdgeAdmin(ReadOnlyAdmin):
    """The first ids of days, as the venue told them."""

    list_display = (moment("start_us"), instrument, "first_id")


@admin.register(Refusal)
class RefusalAdmin(ReadOnlyAdmin):
    """Trades that came again, by their minute."""

    list_display = (moment("minute_us"), instrument, "trades")


@admin.register(Omission)
class OmissionAdmin(ReadOnlyAdmin):
    """Trades that feeds did not bring, by the venue's own ids."""

    list_display = (moment("ts_us"), instrument, "ref")


@admin.register(Restatement)
class RestatementAdmin(ReadOnlyAdmin):
    """Numbers that were published and have changed."""

    list_display = (
        moment("ts_us"), instrument, "what", "name", moment("start_us"), "cause", "old", "new",
    )  # fmt: skip


@admin.register(Certificate)
class CertificateAdmin(ReadOnlyAdmin):
    """What windows that are over were counted to hold."""

    list_display = (
        moment("start_us"), instrument, "scope", "expected", "held", "missing", "refused",
        "sha256", moment("as_of_us"),
    )  # fmt: skip


class LevelsAdmin(ReadOnlyAdmin):
    """What days and sessions have in common."""

    levels = (
        "open", "high", "low", "close", "vwap", "poc", "vah", "val", "volume", "delta", "trades",
        "expected", "held", "is_final",
    )  # fmt: skip


@admin.register(DailyLevel)
class DailyLevelAdmin(LevelsAdmin):
    """Levels of UTC days."""

    list_display = (moment("day_us"), instrument, "origin", *LevelsAdmin.levels)


@admin.register(SessionStat)
class SessionStatAdmin(LevelsAdmin):
    """Levels of sessions that happened."""

    list_display = (moment("start_us"), instrument, "name", *LevelsAdmin.levels)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """What happened."""

    list_display = (moment("ts_us"), instrument, "kind", "detail")
    list_filter = (OfKind,)


@admin.register(FeedState)
class FeedStateAdmin(ReadOnlyAdmin):
    """The last known state of each connection."""

    list_display = (
        "source", "channel", "symbol", "state", moment("since_us"), "reconnects", "gaps",
        "last_error",
    )  # fmt: skip


@admin.register(HostState)
class HostStateAdmin(ReadOnlyAdmin):
    """What hosts have asked of us."""

    list_display = ("host", moment("banned_until_us"), "reason", moment("updated_us"))


@admin.register(Instrument)
class InstrumentAdmin(AnyAdmin):
    """Instruments: feeds make them, and their grid belongs to their trades."""

    list_display = ("symbol", "source", "channel", "tick", "lot", "simulated", "is_active")
    readonly_fields = ("source", "symbol", "channel", "tick", "lot", "simulated")
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: a feed adds what it follows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse: its trades would belong to nobody."""
        return False


@admin.register(TradingSession)
class TradingSessionAdmin(AnyAdmin):
    """Sessions, to be edited; the form says what is wrong."""

    list_display = ("title", "name", "tz", "start", "end", "weekdays", "is_active", "order")
    list_editable = ("is_active", "order")
    prepopulated_fields = {"name": ("title",)}
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "title", "name", "tz", ("start", "end"), "weekdays", "is_active", "order",
                ),
                "description": "Changes count from the next start on.",
            },
        ),
    )  # fmt: skip
