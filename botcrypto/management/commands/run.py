"""The daemon: feeds, database and pages in one process."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from botcrypto import assets
from botcrypto.daemon import Daemon
from botcrypto.overrides import overridden
from botcrypto.server import serve
from botcrypto.venue_process import Address, VenueProcess
from marketdata.conf import SOURCES, Conf, conf
from marketdata.core.errors import BotCryptoError
from marketdata.management.output import bad_argument, failed, refuse_bad_start

# On loopback the venue's weight budget protects nobody; the page should be full at first sight.
LOOPBACK_WEIGHT = 600_000
# Trades per second and symbol: lively, and a whole day is fetched within a minute.
DEMO_RATE = 5
DEMO_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
DEMO_SOURCES = ("binance_ws", "binance_futures", "bybit", "deriv")
# The simulator's names of the venues behind feeds, and what it lists in a spelling of its own.
ROOMS = {
    "binance_ws": "binance_spot",
    "binance_futures": "binance_usdm",
    "bybit": "bybit",
    "bybit_connector": "bybit",
    "deriv": "deriv",
}
# What the simulated venues know; their accounts are shown to staff as any other.
DEMO_KEYS = {
    "binance_api_key": "SIMKEY",
    "binance_api_secret": "SIMSECRET",
    "bybit_api_key": "SIMKEY",
    "bybit_api_secret": "SIMSECRET",
}
OWN_SPELLING = {"deriv": ("cryBTCUSD", "R_100")}


class Command(BaseCommand):
    """`manage.py run`."""

    help = (
        "Run everything: migrate, serve pages and API, follow the venue. "
        "Example: manage.py run --demo"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--demo", action="store_true", help="a simulated venue on this machine, no network"
        )
        what.add_argument(
            "--replay", metavar="PATH", help="play a recorded tape as if it were live"
        )
        parser.add_argument(
            "--speed", type=float, default=1.0, help="of a replay; 0 plays as fast as it goes"
        )
        parser.add_argument("--source", help=f"feeds, comma separated: {', '.join(SOURCES)}")
        parser.add_argument("--symbols", help="symbols, comma separated")
        parser.add_argument("--host", help="address to listen on")
        parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
        parser.add_argument(
            "--no-backfill", action="store_true", help="do not fetch today's earlier trades"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_bad_start()
        settings = _settings(conf(), options)
        try:
            self._run(settings, options)
        except BotCryptoError as error:
            raise failed(error) from error

    def _run(self, settings: Conf, options: dict[str, Any]) -> None:
        label = "simulated" if options["demo"] else "replay" if options["replay"] else ""
        signal.signal(signal.SIGTERM, _interrupt)
        with ExitStack() as held:
            if label:
                venue = held.enter_context(VenueProcess(_venue_arguments(settings, options)))
                settings = _pointed_at(settings, venue.address(), label)
            daemon = held.enter_context(Daemon(settings, label=label))
            threading.Thread(target=assets.ensure, name="assets", daemon=True).start()
            serve(settings.host, settings.backend_port, self._ready(daemon))

    def _ready(self, daemon: Daemon) -> Any:
        def ready(url: str, loop: Any) -> None:
            daemon.publisher.start(loop)
            self.stdout.write(f"BotCrypto is at {url} (stop with Ctrl-C)")
            self.stdout.flush()

        return ready


def _interrupt(number: int, frame: object) -> None:
    # Until the server runs and takes the signals over.
    raise SystemExit(0)


def _settings(settings: Conf, options: dict[str, Any]) -> Conf:
    if options["speed"] < 0:
        raise bad_argument(f"--speed of 0 or more expected, seen {options['speed']}")
    chosen = overridden(settings, options)
    return _demo(chosen) if options["demo"] else chosen


def _demo(chosen: Conf) -> Conf:
    """Return the settings of a demo: several venues and symbols where nothing else is said."""
    if chosen.data_source == Conf().data_source:
        chosen = replace(chosen, data_source=DEMO_SOURCES)
    symbols = chosen.symbols
    if not symbols:
        others = (symbol for symbol in DEMO_SYMBOLS if symbol != chosen.symbol)
        symbols = (chosen.symbol, *others)
    for source, own in OWN_SPELLING.items():
        is_named = any(symbol.startswith(f"{source}:") for symbol in symbols)
        if source in chosen.data_source and not is_named:
            symbols += tuple(f"{source}:{symbol}" for symbol in own)
    return replace(chosen, symbols=symbols)


def _venue_arguments(settings: Conf, options: dict[str, Any]) -> list[str]:
    if options["demo"]:
        rooms = dict.fromkeys(ROOMS[source] for source in settings.data_source if source in ROOMS)
        own = {symbol for source in OWN_SPELLING for symbol in settings.watched(source)}
        listed = dict.fromkeys(
            symbol for _, symbol in settings.instruments if symbol not in own
        ) or [settings.symbol]
        what = ["--venues", ",".join(rooms), "--symbols", ",".join(listed)]
        what += ["--rate", str(DEMO_RATE)]
    else:
        what = ["--tape", str(Path(options["replay"]).resolve()), "--speed", str(options["speed"])]
    return [*what, "--weight-limit", str(LOOPBACK_WEIGHT)]


def _pointed_at(settings: Conf, address: Address, label: str) -> Conf:
    """Return the settings of a run on the simulated venue."""
    rest, ws = address.rest_url, address.ws_url
    given: dict[str, Any] = {
        "binance_rest_url": rest,
        "binance_ws_url": ws,
        "binance_archive_url": rest,
        "binance_futures_rest_url": rest,
        "binance_futures_ws_url": ws,
        "binance_rate_limit_per_minute": LOOPBACK_WEIGHT,
        "bybit_rest_base_url": rest,
        "bybit_ws_url": ws,
        "bybit_archive_url": rest,
        "bybit_rate_limit_per_minute": LOOPBACK_WEIGHT,
        "deriv_rest_url": rest,
        "deriv_ws_url": ws,
    }
    # Nobody's keys belong at a simulated venue.
    given |= {item.name: "" for item in fields(Conf) if item.metadata.get("secret")}
    given["api_key"] = settings.api_key
    given |= {"bybit_connector_config_file": "", "bybit_connector_testnet": False}
    if label == "simulated":
        given |= DEMO_KEYS
    if label == "replay":
        room, symbols = next(iter(address.venues.items()))
        source = next(source for source, name in ROOMS.items() if name == room)
        given |= {"symbols": symbols, "data_source": (source,)}
    if label == "simulated" and not settings.database_url:
        # Invented trades never meet real ones.
        given["database_url"] = f"sqlite:///{settings.data_dir / 'demo.sqlite3'}"
    return replace(settings, **given)
