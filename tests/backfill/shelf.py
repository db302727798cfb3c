"""A folder served over HTTP as a venue's archive, with what went wrong put there by hand."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from marketdata.store import lake
from tests.backfill.made import DAY_US, csv, sha256, zipped


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


class Shelf:
    """Days of BTCUSDT as zips with their checksums."""

    def __init__(self, root: Path) -> None:
        self.root = root
        handler = partial(_Handler, directory=str(root))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.asked = []
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def asked(self) -> list[str]:
        """The paths asked for, in order."""
        return self._server.asked

    def path(self, day_us: int = DAY_US) -> Path:
        name = f"BTCUSDT-aggTrades-{lake.day_name(day_us)}.zip"
        return self.root / "data/spot/daily/aggTrades/BTCUSDT" / name

    def put(self, text, day_us: int = DAY_US) -> Path:
        """Put a day there, given as text or as trades."""
        path = zipped(self.path(day_us), text if isinstance(text, str) else csv(text))
        self.sum(day_us)
        return path

    def sum(self, day_us: int = DAY_US, text: str | None = None) -> None:
        """Write the checksum of a day as it is, or as told."""
        path = self.path(day_us)
        text = text or f"{sha256(path)}  {path.name}\n"
        path.with_name(path.name + ".CHECKSUM").write_text(text)
