"""The venues, by the name of their feed. A new one is one new file and one line here."""

from marketdata.venues import binance_futures, binance_spot, bybit, deriv
from marketdata.venues.base import Venue

VENUES: dict[str, Venue] = {
    venue.source: venue
    for venue in (binance_spot.VENUE, binance_futures.VENUE, bybit.BYBIT_LINEAR, deriv.VENUE)
}
# Kinds of one venue by (feed, kind), where the settings choose among several.
VARIANTS: dict[tuple[str, str], Venue] = {
    ("bybit", "linear"): bybit.BYBIT_LINEAR,
    ("bybit", "spot"): bybit.BYBIT_SPOT,
    ("deriv", "new"): deriv.VENUE,
    ("deriv", "legacy"): deriv.LEGACY,
}


def venue_of(source: str, variant: str = "") -> Venue:
    """Return the venue of a feed, in the kind that the settings choose. Raises KeyError."""
    return VARIANTS.get((source, variant)) or VENUES[source]
