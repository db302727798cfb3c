"""`Cache`: the folder of fetched days: where a file is, and where a bad one goes."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path

from marketdata.store import lake

log = logging.getLogger(__name__)

KEPT_IN_QUARANTINE = 10
STALE_PARTIAL_S = 86_400.0


class Cache:
    """Files of one feed.

    Parameters
    ----------
    root : Path
        The folder.
    source : str
        Feed name.
    is_kept : bool
        Whether days stay there.
    """

    def __init__(self, root: Path, source: str, *, is_kept: bool) -> None:
        self.root = root.resolve()
        self.source = source
        self.is_kept = is_kept
        self._sweep()

    def parquet(self, symbol: str, day_us: int) -> Path:
        """Return where a day is, once it is there."""
        return lake.day_path(self.root, self.source, symbol, day_us)

    def zip(self, symbol: str, day_us: int) -> Path:
        """Return where the venue's file of a day is while it is being read."""
        inside = self.parquet(symbol, day_us).relative_to(self.root / "trades")
        return self.root / "archive" / inside.with_suffix(".zip")

    def quarantine(self, path: Path, reason: str) -> None:
        """Move a bad file aside, for people to look at; the newest few are kept."""
        folder = self.root / "quarantine"
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{time.time_ns()}.{path.parent.name}.{path.name}"
        path.replace(target)
        log.error("file quarantined path=%s reason=%s moved_to=%s", path, reason, target)
        for old in sorted(folder.iterdir())[:-KEPT_IN_QUARANTINE]:
            old.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what processes left behind that were killed while writing."""
        before_s = time.time() - STALE_PARTIAL_S
        for pattern in ("archive/**/*.part", "trades/**/*.tmp"):
            for path in self.root.glob(pattern):
                with suppress(OSError):
                    if path.stat().st_mtime < before_s:
                        path.unlink()
