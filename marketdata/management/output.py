"""What all commands share: one JSON object or a readable page, errors with an exit code."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.db import DatabaseError

from marketdata.core.errors import BotCryptoError
from marketdata.core.instrument import Instrument

log = logging.getLogger(__name__)

WORK_FAILED = 1
BAD_ARGUMENTS = 2


def refuse_bad_settings() -> None:
    """Stop with exit code 2 where a setting is nonsense; for commands that run no checks."""
    if settings.BOTCRYPTO_ERRORS:
        raise CommandError("\n".join(settings.BOTCRYPTO_ERRORS), returncode=BAD_ARGUMENTS)


def refuse_bad_start() -> None:
    """Run the checks that cost milliseconds; stop where the process could not run rightly.

    Raises
    ------
    CommandError
        With exit code 2 where a setting is nonsense, 1 where folder, disk or tables are.
    """
    from django.core.checks import run_checks

    from marketdata.checks import TAG

    found = run_checks(tags=[TAG])
    errors = [message for message in found if message.is_serious()]
    if errors:
        is_setting = any(message.id == "marketdata.E001" for message in errors)
        raise CommandError(
            "\n".join(map(str, errors)), returncode=BAD_ARGUMENTS if is_setting else WORK_FAILED
        )
    for message in found:
        log.warning("%s", message)


def failed(error: BotCryptoError | OSError | str) -> CommandError:
    """Return the error that ends a command with exit code 1."""
    return CommandError(str(error), returncode=WORK_FAILED)


def bad_argument(message: str) -> CommandError:
    """Return the error that ends a command with exit code 2."""
    return CommandError(message, returncode=BAD_ARGUMENTS)


def add_instrument(parser: CommandParser, *, source: str = "binance_ws") -> None:
    """Add --source, --symbol and --json."""
    parser.add_argument("--source", default=source, help=f"feed name (default {source})")
    parser.add_argument("--symbol", required=True, help="the venue's spelling, for example BTCUSDT")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def stored_instrument(source: str, symbol: str) -> Instrument:
    """Return an instrument of the database.

    Raises
    ------
    CommandError
        Unknown source, nothing stored of the symbol, or no tables.
    """
    from marketdata.store import instruments
    from marketdata.venues import VENUES

    if source not in VENUES:
        raise bad_argument(f"a source of {', '.join(VENUES)} expected, seen {source!r}")
    try:
        found = instruments.find(source, symbol)
        known = ", ".join(f"{item.symbol} ({item.source})" for item in instruments.known())
    except DatabaseError as error:
        raise failed(f"{error}; manage.py migrate makes the tables") from error
    if found is None:
        raise failed(f"no trade of {symbol} at {source} is stored; stored: {known or 'nothing'}")
    return found


def parse_time(text: str) -> int:
    """Return an ISO time or date, UTC where no zone is named, as microseconds.

    Raises
    ------
    CommandError
        Not an ISO 8601 time or date.
    """
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise bad_argument(
            f"an ISO time or date such as 2024-01-01 expected, seen {text!r}"
        ) from None
    moment = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def print_json(out: OutputWrapper, answer: dict[str, Any]) -> None:
    """Print exactly one JSON object."""
    out.write(msgspec.json.encode(answer).decode())


def context_page(answer: dict[str, Any]) -> str:
    """Return a context as lines for people."""
    levels = "  ".join(
        f"{name} {value:,.2f}" for name, value in answer["levels"].items() if value is not None
    )
    return "\n".join(
        (
            f"{answer['symbol']} at {answer['source']}, scope {answer['scope']}",
            f"as of     {answer['as_of']}",
            f"session   {answer['session']['message']}",
            f"levels    {levels or 'no trades'}",
            *_sizes(answer),
            f"coverage  {_coverage(answer['coverage'])}, {answer['precision']}",
            f"hash      {answer['hash']}",
        )
    )


def _sizes(answer: dict[str, Any]) -> list[str]:
    """Return volume and delta; of ticks, which have neither, how many there are."""
    if answer["volume"] is None:
        ticks = answer["ticks"]
        return [
            f"ticks     {ticks['count']:,}, {ticks['delta']:+,.0f} more up than down (estimated)"
        ]
    return [
        f"volume    {answer['volume']:,.5f}  bought {answer['buy_volume']:,.5f}  "
        f"sold {answer['sell_volume']:,.5f}",
        f"delta     {answer['cumulative_delta']:+,.5f}  "
        f"(from {answer['delta_min']:+,.5f} to {answer['delta_max']:+,.5f})",
    ]


def _coverage(told: dict[str, Any]) -> str:
    """Return how much is held; where nobody can know of how much, how many holes there are."""
    if told["expected"] is None:
        return f"{told['held']:,} trades held, {told['holes']:,} holes, proof {told['proof']}"
    ratio = "–" if told["ratio"] is None else f"{told['ratio']:.4%}"
    return (
        f"{told['held']:,} of {told['expected']:,} trades held ({ratio}), "
        f"{told['missing']:,} missing, proof {told['proof']}"
    )
