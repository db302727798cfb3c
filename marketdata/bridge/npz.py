"""Files of events: `.npz` with the rows under `data`, as hftbacktest loads them, and what they are.

The second key, `about`, is JSON text: whose rows, made from what, what had to be assumed.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from marketdata.bridge.events import EVENT, BadEventsError, Events, check
from marketdata.store.lake import put_in_place

DAMAGES = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_npz(path: Path, events: Events, about: dict[str, Any]) -> None:
    """Write checked rows as a whole file, or none. Raises BadEventsError, OSError."""
    check(events)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, data=events, about=np.array(json.dumps(about)))
        put_in_place(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def read_npz(path: Path) -> tuple[Events, dict[str, Any]]:
    """Return rows, checked, and what the file says of them; that is empty in files of others.

    Raises
    ------
    BadEventsError
        The file is damaged, holds something else, or rows that would be read wrongly.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            events = held["data"]
            about: dict[str, Any] = json.loads(str(held["about"])) if "about" in held else {}
    except DAMAGES as error:
        raise BadEventsError(f"{path.name}: a whole npz of events expected: {error}") from error
    if not isinstance(events, np.ndarray) or events.dtype != EVENT:
        seen = getattr(events, "dtype", type(events).__name__)
        raise BadEventsError(f"{path.name}: rows of events expected, seen {seen}")
    check(events)
    return events, about
