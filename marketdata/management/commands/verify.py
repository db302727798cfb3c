"""Compare what is held with what the venue's ids say there is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketdata import checks
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.management.output import (
    WORK_FAILED,
    add_instrument,
    bad_argument,
    failed,
    parse_time,
    print_json,
    stored_instrument,
)
from marketdata.venues import VENUES
from marketdata.verify import verified


class Command(BaseCommand):
    """`manage.py verify`."""

    help = (
        "Count the trades of a day or range against the venue's ids; exit code 1 while any is "
        "missing. Example: manage.py verify --symbol BTCUSDT --date 2024-01-01 --json"
    )

    # Ours alone: those of URLs and models cost more than the command.
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: CommandParser) -> None:
        add_instrument(parser)
        parser.add_argument("--date", help="UTC day")
        parser.add_argument("--start", help="ISO time or date, UTC")
        parser.add_argument("--end", help="ISO time or date, UTC, exclusive")

    def handle(self, *args: Any, **options: Any) -> None:
        start_us, end_us = _range(options)
        instrument = stored_instrument(options["source"], options["symbol"])
        answer = verified(instrument, start_us, end_us, VENUES[instrument.source].proof)
        if not answer["expected"] and answer["edges"] == "held":
            raise failed(f"no trade is stored from {answer['start']} to {answer['end']}")
        if options["json"]:
            print_json(self.stdout, answer)
        else:
            self.stdout.write(_page(answer))
        if answer["missing"] or answer["disagreements"]:
            raise SystemExit(WORK_FAILED)


def _range(options: dict[str, Any]) -> tuple[int, int]:
    if options["date"] and not (options["start"] or options["end"]):
        day = open_us(parse_time(options["date"]), DAY_US)
        return day, day + DAY_US
    if options["start"] and options["end"] and not options["date"]:
        start, end = parse_time(options["start"]), parse_time(options["end"])
        if start < end:
            return start, end
        raise bad_argument(
            f"--start before --end expected, seen {options['start']}..{options['end']}"
        )
    raise bad_argument("either --date or both --start and --end expected")


def _page(answer: dict[str, Any]) -> str:
    lines = [
        f"{answer['symbol']} at {answer['source']}, {answer['start']} to {answer['end']}",
        f"expected  {answer['expected']:,} (edges from {answer['edges']})",
        f"held      {answer['held']:,}",
        f"missing   {answer['missing']:,}",
        *(f"          {first}..{last}" for first, last in answer["ranges"][:50]),
        *(f"ledger    {line}" for line in answer["disagreements"]),
        f"proof     {answer['proof']}",
        f"trades    sha256 {answer['certificate']['sha256']}",
    ]
    return "\n".join(lines)
