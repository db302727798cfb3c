"""Ids that cannot be had: which, why, and what is left of them when some turn up after all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import QuerySet

from marketdata.core.coverage import Coverage, Run
from marketdata.models import ID_BITS, Absence

Kind = Absence.Kind


def note(
    instrument_id: int, lacking: Coverage, held: Coverage, kind: str, reason: str, now_us: int
) -> None:
    """Store runs of ids that cannot be had; call it in a transaction.

    Parameters
    ----------
    held : Coverage
        Ids that are held: these are not absent, whoever says so.

    Notes
    -----
    What the venue confirms replaces what was only given up; never the other way round.
    """
    told = [part for run in lacking for part in held.holes(*run)]
    if kind == Kind.EXCHANGE_SIDE and told:
        _cut(_near(instrument_id, told).filter(kind=Kind.PERMANENT), told)
    known = coverage(instrument_id)
    Absence.objects.bulk_create(
        Absence(
            instrument_id=instrument_id,
            first_id=first,
            last_id=last,
            kind=kind,
            reason=reason,
            found_us=now_us,
        )
        for run in told
        for first, last in known.holes(*run)
    )


def cut(instrument_id: int, runs: Sequence[Run]) -> None:
    """Forget absences that turned up; call it in the transaction that writes the trades."""
    _cut(_near(instrument_id, runs), runs)


def _near(instrument_id: int, runs: Sequence[Run]) -> QuerySet[Absence]:
    """Return the absences between the first and the last of ascending runs."""
    return listed(instrument_id, runs[0][0], runs[-1][1])


def _cut(found: Iterable[Absence], runs: Iterable[Run]) -> None:
    gone: list[int] = []
    rest: list[Absence] = []
    turned_up = Coverage()
    for absence in found:
        turned_up = turned_up or Coverage(runs)
        left = list(turned_up.holes(absence.first_id, absence.last_id))
        if left != [(absence.first_id, absence.last_id)]:
            gone.append(absence.pk)
            rest += [_part(absence, *run) for run in left]
    if gone:
        # First what goes: no two rows may start at the same id.
        Absence.objects.filter(pk__in=gone).delete()
        Absence.objects.bulk_create(rest)


def _part(absence: Absence, first: int, last: int) -> Absence:
    return Absence(
        instrument_id=absence.instrument_id,
        first_id=first,
        last_id=last,
        kind=absence.kind,
        reason=absence.reason,
        found_us=absence.found_us,
    )


def listed(instrument_id: int, first: int = 0, last: int = 1 << ID_BITS) -> QuerySet[Absence]:
    """Return the absences that have any id of first..last, ascending."""
    found = Absence.objects.filter(
        instrument_id=instrument_id, first_id__lte=last, last_id__gte=first
    )
    return found.order_by("first_id")


def coverage(instrument_id: int, *kinds: str) -> Coverage:
    """Return the ids of absences, of all kinds where none is named."""
    rows = Absence.objects.filter(instrument_id=instrument_id)
    if kinds:
        rows = rows.filter(kind__in=kinds)
    return Coverage(rows.values_list("first_id", "last_id"))


def coverage_of(found: Iterable[Absence]) -> Coverage:
    """Return the ids of some absences."""
    return Coverage((absence.first_id, absence.last_id) for absence in found)
