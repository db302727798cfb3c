"""Which sources are heard in another way than by sockets in this process."""

from __future__ import annotations

import threading
from pathlib import Path

from marketdata.bridge.child import connector_line
from marketdata.bridge.hft import HFT, hft_line
from marketdata.conf import Conf
from marketdata.feeds.link import MakeLine

CONNECTOR = "bybit_connector"


def line_of(
    source: str, settings: Conf, stop: threading.Event, record: Path | None = None
) -> MakeLine | None:
    """Return what makes the line of a source; None where sockets in this process do.

    Parameters
    ----------
    stop : Event
        Ends what is being asked when the process stops.
    record : Path or None
        Folder in which frames are kept by a process that hears the venue in our place.

    Raises
    ------
    NotAvailableError
        The source needs what is not here; says what, and what to do.
    """
    if source == CONNECTOR:
        return connector_line(settings, record)
    return hft_line(settings, stop) if source == HFT else None
