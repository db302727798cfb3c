"""Django's secret key: made once, kept in the data folder, readable by its owner only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from django.core.management.utils import get_random_secret_key


def read_or_make(folder: Path) -> str:
    """Return the key in `folder`/secret_key, making it where there is none.

    Notes
    -----
    A folder that cannot be written gives a key for this process alone; a system check names it.
    """
    path = folder / "secret_key"
    try:
        return _stored(path) or _made(path)
    except OSError:
        return get_random_secret_key()


def _stored(path: Path) -> str:
    return path.read_text(encoding="latin-1").strip() if path.exists() else ""


def _made(path: Path) -> str:
    """Write a new key; where two processes start at once, one wins and both use its key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # an empty one
    handle, name = tempfile.mkstemp(dir=path.parent, prefix="secret_key.")
    try:
        with os.fdopen(handle, "w", encoding="latin-1") as file:
            file.write(get_random_secret_key())
        _link(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)
    return _stored(path)


def _link(made: Path, path: Path) -> None:
    try:
        # A link appears whole and never replaces: readers see all of one key, or none.
        path.hardlink_to(made)
    except FileExistsError:
        return
    except OSError:
        made.replace(path)  # a file system without links
