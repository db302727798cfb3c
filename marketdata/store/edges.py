"""The first id at or after a moment, as the venue told it: where days begin."""

from __future__ import annotations

from marketdata.models import Edge


def known(instrument_id: int, *starts_us: int) -> dict[int, int]:
    """Return the first ids of those moments that are known, of all where none is named."""
    rows = Edge.objects.filter(instrument_id=instrument_id)
    if starts_us:
        rows = rows.filter(start_us__in=starts_us)
    return dict(rows.values_list("start_us", "first_id"))


def first_id(instrument_id: int, start_us: int) -> int | None:
    """Return the first id of a moment, or None where the venue did not tell it."""
    return known(instrument_id, start_us).get(start_us)
