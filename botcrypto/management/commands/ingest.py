"""Feeds into the database, without pages."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from botcrypto.daemon import Daemon
from botcrypto.overrides import overridden
from marketdata.conf import SOURCES, conf
from marketdata.core.errors import BotCryptoError
from marketdata.management.output import failed, print_json, refuse_bad_start

LOOK_S = 0.1


class Command(BaseCommand):
    """`manage.py ingest`."""

    help = (
        "Follow the venue into the database and print a summary as one JSON object at the end. "
        "Example: manage.py ingest --symbols BTCUSDT,ETHUSDT --seconds 60"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--source", help=f"feed name, default DATA_SOURCE: {', '.join(SOURCES)}"
        )
        parser.add_argument("--symbols", help="symbols, comma separated")
        parser.add_argument("--seconds", type=float, help="end after so many seconds")
        parser.add_argument("--max-trades", type=int, help="end after so many live trades")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_bad_start()
        settings = overridden(conf(), options)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        began_s = time.monotonic()
        try:
            with Daemon(settings, what="manage.py ingest") as daemon:
                _wait(daemon, stop, options["seconds"], options["max_trades"])
        except BotCryptoError as error:
            raise failed(error) from error
        seconds = round(time.monotonic() - began_s, 3)
        print_json(self.stdout, {**daemon.summary(), "seconds": seconds})


def _wait(
    daemon: Daemon, stop: threading.Event, seconds: float | None, max_trades: int | None
) -> None:
    deadline_s = time.monotonic() + seconds if seconds is not None else None
    while not stop.wait(LOOK_S):
        live_trades = sum(source.live_trades for source in daemon.sources.values())
        if max_trades is not None and live_trades >= max_trades:
            return
        if deadline_s is not None and time.monotonic() >= deadline_s:
            return
