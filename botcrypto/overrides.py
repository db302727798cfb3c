"""Words of the command line over the settings of the environment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from marketdata.conf import SOURCES, Conf
from marketdata.management.output import bad_argument


def names(text: str) -> tuple[str, ...]:
    """Cut a comma separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def overridden(settings: Conf, options: dict[str, Any]) -> Conf:
    """Return the settings with --source, --symbols, --host, --port and --no-backfill over them.

    Raises
    ------
    CommandError
        With exit code 2, for an unknown source, an empty list or a port out of range.
    """
    given: dict[str, Any] = {}
    if options.get("source") is not None:
        given["data_source"] = _sources(options["source"])
    if options.get("symbols") is not None:
        given["symbols"] = _listed("--symbols", options["symbols"])
    if options.get("host"):
        given["host"] = options["host"]
    if options.get("port") is not None:
        given["backend_port"] = _port(options["port"])
    if options.get("no_backfill"):
        given["context_backfill_enabled"] = False
    return replace(settings, **given)


def _listed(option: str, text: str) -> tuple[str, ...]:
    found = names(text)
    if not found:
        raise bad_argument(f"{option} with at least one name expected, seen {text!r}")
    return found


def _sources(text: str) -> tuple[str, ...]:
    found = _listed("--source", text)
    for name in found:
        if name not in SOURCES:
            raise bad_argument(f"--source of {', '.join(SOURCES)} expected, seen {name!r}")
    return found


def _port(port: int) -> int:
    if not 0 <= port <= 65_535:
        raise bad_argument(f"--port from 0 to 65535 expected, seen {port}")
    return port
