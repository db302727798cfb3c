"""The venues, by the name of their feed. A new one is one new file and one line here."""

from marketdata.venues import binance_spot
from marketdata.venues.base import Venue

VENUES: dict[str, Venue] = {venue.source: venue for venue in (binance_spot.VENUE,)}
