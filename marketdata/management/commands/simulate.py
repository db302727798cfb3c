"""The simulated venues alone, on loopback, until it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketdata.core.errors import BadInputError
from marketdata.management.output import bad_argument, failed, print_json, refuse_bad_settings
from marketdata.simulator.faults import KINDS, Faults, parsed
from marketdata.simulator.rooms import ROOMS
from marketdata.simulator.server import DEFAULT_RATE, DEFAULT_SYMBOLS, Simulator

# A minute of trades is made in one go; beyond this it would hold up the streams.
HIGHEST_RATE = 5_000.0
WATCH_S = 0.25


class Command(BaseCommand):
    """`manage.py simulate`."""

    help = (
        "Run simulated venues on loopback until SIGTERM or Ctrl-C. When it is ready, one line "
        "of JSON on stdout says where. Examples: manage.py simulate --symbols BTCUSDT,ETHUSDT "
        "--seed 7 --fault drop=0.01 · manage.py simulate --tape BTCUSDT-aggTrades-2024-01-01.zip "
        "--speed 10. Faults can be changed while it runs: POST /sim/faults. Known faults: "
        + ", ".join(KINDS)
    )
    # It needs no database and no pages, and is started by others who wait for it.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=0, help="0 (default) picks a free one")
        parser.add_argument(
            "--venues",
            help=f"which venues are open, comma separated: {', '.join(ROOMS)}; default all, with "
            "--tape the tape's own",
        )
        parser.add_argument(
            "--symbols",
            help=f"what is listed, comma separated (default {','.join(DEFAULT_SYMBOLS)}); with "
            "--tape, the one symbol that replaces the tape's own",
        )
        parser.add_argument("--tape", help="play this file instead of inventing trades")
        parser.add_argument(
            "--speed",
            type=float,
            help="of the tape: 1 (default) is real time, 0 is as fast as clients read",
        )
        parser.add_argument("--seed", type=int, help="another seed is another market (default 0)")
        parser.add_argument(
            "--rate", type=float, help=f"mean trades per second and symbol ({DEFAULT_RATE:g})"
        )
        parser.add_argument(
            "--fault",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="set a fault from the start; may be repeated",
        )
        parser.add_argument(
            "--weight-limit",
            type=int,
            help="request weight granted a minute (default is each venue's own)",
        )
        parser.add_argument(
            "--exit-with-parent",
            action="store_true",
            help="stop when the process that started this one is gone",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_bad_settings()
        parent = os.getppid()
        stopped = threading.Event()
        _stop_on_signals(stopped)
        simulator = _simulator(options)
        try:
            simulator.start()
        except OSError as error:
            raise failed(error) from error
        try:
            print_json(self.stdout, _ready(simulator))
            self.stdout.flush()
            while not stopped.wait(WATCH_S):
                if options["exit_with_parent"] and os.getppid() != parent:
                    break
                if not simulator.is_running:
                    raise failed("the simulator has failed; its error is above")
        finally:
            simulator.stop()


def _stop_on_signals(stopped: threading.Event) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _simulator(options: dict[str, Any]) -> Simulator:
    symbols = [name.strip() for name in (options["symbols"] or "").split(",") if name.strip()]
    try:
        faults = dict(parsed(text) for text in options["fault"])
        Faults(faults)
        if not 0 <= options["port"] < 65_536:
            raise BadInputError(f"--port from 0 to 65535 expected, seen {options['port']}")
        shared = {"port": options["port"], "faults": faults, "weight_limit": _weight(options)}
        if options["tape"]:
            tape = _tape_options(options, symbols)
        else:
            return Simulator.generated(**_generated_options(options, symbols), **shared)
    except BadInputError as error:
        raise bad_argument(str(error)) from error
    try:
        return Simulator.recorded(options["tape"], **tape, **shared)
    except (BadInputError, OSError) as error:
        raise failed(error if isinstance(error, OSError) else str(error)) from error


def _weight(options: dict[str, Any]) -> int | None:
    limit: int | None = options["weight_limit"]
    if limit is not None and limit < 1:
        raise BadInputError(f"--weight-limit above 0 expected, seen {limit}")
    return limit


def _venues(options: dict[str, Any]) -> list[str]:
    named = dict.fromkeys(name.strip() for name in (options["venues"] or "all").split(","))
    if list(named) == ["all"]:
        return list(ROOMS)
    for name in named:
        if name not in ROOMS:
            raise BadInputError(f"--venues all or of {', '.join(ROOMS)} expected, seen {name!r}")
    return list(named)


def _generated_options(options: dict[str, Any], symbols: list[str]) -> dict[str, Any]:
    if options["speed"] is not None:
        raise BadInputError("--speed belongs to --tape; invented trades come in real time")
    rate = DEFAULT_RATE if options["rate"] is None else options["rate"]
    if not 0 < rate <= HIGHEST_RATE:
        raise BadInputError(
            f"--rate above 0, at most {HIGHEST_RATE:g} trades per second expected, seen {rate}"
        )
    named = list(dict.fromkeys(symbol.upper() for symbol in symbols))
    return {
        "symbols": named or DEFAULT_SYMBOLS,
        "venues": _venues(options),
        "seed": options["seed"] or 0,
        "rate": rate,
    }


def _tape_options(options: dict[str, Any], symbols: list[str]) -> dict[str, Any]:
    for name in ("seed", "rate", "venues"):
        if options[name] is not None:
            raise BadInputError(f"--{name} does not go with --tape, whose trades are recorded")
    if len(symbols) > 1:
        raise BadInputError(f"one symbol expected with --tape, seen {', '.join(symbols)}")
    speed = 1.0 if options["speed"] is None else options["speed"]
    if not 0 <= speed < float("inf"):
        raise BadInputError(f"--speed of 0 or more expected, seen {speed}")
    return {"speed": speed, "symbol": symbols[0].upper() if symbols else None}


def _ready(simulator: Simulator) -> dict[str, Any]:
    return {
        "rest_url": simulator.rest_url,
        "ws_url": simulator.ws_url,
        "label": simulator.label,
        "symbols": list(simulator.markets),
        "venues": {name: list(listed) for name, listed in simulator.listed.items()},
        "pid": os.getpid(),
    }
