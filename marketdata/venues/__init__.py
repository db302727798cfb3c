"""The venues, by the name of their feed. A new one is one new file and one line here."""

from dataclasses import replace

from marketdata.venues import binance_futures, binance_spot, bybit, deriv
from marketdata.venues.base import Venue

CONNECTOR, HFT = "bybit_connector", "hft_connector"


def _apart(venue: Venue) -> Venue:
    """Return the same venue, heard by a process of its own."""
    return replace(venue, source=CONNECTOR, title=f"{venue.title}, isolated")


def _by_hft(venue: Venue) -> Venue:
    """Return the same venue, heard by hftbacktest's connector, which hands on no trade's id."""
    return replace(venue, source=HFT, title=f"{venue.title} by hftbacktest", proof="none")


VENUES: dict[str, Venue] = {
    venue.source: venue
    for venue in (
        binance_spot.VENUE,
        binance_futures.VENUE,
        bybit.BYBIT_LINEAR,
        deriv.VENUE,
        _apart(bybit.BYBIT_LINEAR),
        _by_hft(bybit.BYBIT_LINEAR),
    )
}
# Kinds of one venue by (feed, kind), where the settings choose among several.
VARIANTS: dict[tuple[str, str], Venue] = {
    ("bybit", "linear"): bybit.BYBIT_LINEAR,
    ("bybit", "spot"): bybit.BYBIT_SPOT,
    ("deriv", "new"): deriv.VENUE,
    ("deriv", "legacy"): deriv.LEGACY,
    (CONNECTOR, "linear"): VENUES[CONNECTOR],
    (CONNECTOR, "spot"): _apart(bybit.BYBIT_SPOT),
    (HFT, "linear"): VENUES[HFT],
    (HFT, "spot"): _by_hft(bybit.BYBIT_SPOT),
}


def venue_of(source: str, variant: str = "") -> Venue:
    """Return the venue of a feed, in the kind that the settings choose. Raises KeyError."""
    return VARIANTS.get((source, variant)) or VENUES[source]
