"""Fetch past trades that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketdata.backfill import jobs
from marketdata.backfill.jobs import Request
from marketdata.backfill.outcome import Outcome
from marketdata.backfill.plan import VIAS
from marketdata.core.errors import BadInputError
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.management.fetching import backfilled
from marketdata.management.output import (
    WORK_FAILED,
    add_instrument,
    bad_argument,
    parse_time,
    print_json,
    refuse_bad_settings,
)
from marketdata.payload import iso


class Command(BaseCommand):
    """`manage.py backfill`."""

    help = (
        "Fetch the trades of a day, a range or today so far that are not held yet; run it again to "
        "go on where it stopped. Example: manage.py backfill --symbol BTCUSDT --date 2024-01-01"
    )
    # Errors of settings stop it below with exit code 2; the other checks run in `check`.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_instrument(parser)
        parser.add_argument("--date", help="UTC day, for example 2024-01-01")
        parser.add_argument("--start", help="ISO time or date, UTC")
        parser.add_argument("--end", help="ISO time or date, UTC, exclusive")
        parser.add_argument("--today", action="store_true", help="the present UTC day so far")
        parser.add_argument(
            "--via",
            choices=VIAS,
            help="auto (default) takes the venue's archive for finished days and REST for the rest",
        )
        parser.add_argument("--file", metavar="PATH", help="a recorded tape to take trades from")
        parser.add_argument("--workers", type=int, default=0, help="pages asked for at a time")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_bad_settings()
        request = _request(options)
        outcome = backfilled(request, "manage.py backfill")
        if options["json"]:
            print_json(self.stdout, outcome.answer())
        else:
            self.stdout.write(_page(outcome, request))
        if outcome.status != jobs.Status.COMPLETED:
            self.stderr.write(_advice(outcome))
            raise SystemExit(WORK_FAILED)


def _request(options: dict[str, Any]) -> Request:
    start_us, end_us = _range(options)
    via = options["via"] or ("file" if options["file"] else "auto")
    path = str(Path(options["file"]).resolve()) if options["file"] else ""
    request = Request(
        options["source"], options["symbol"], start_us, end_us, via, path, options["workers"],
        "command",
    )  # fmt: skip
    try:
        return jobs.checked(request, jobs.wall_us())
    except BadInputError as error:
        raise bad_argument(str(error)) from error


def _range(options: dict[str, Any]) -> tuple[int, int]:
    date, start, end, today = (options[name] for name in ("date", "start", "end", "today"))
    if [bool(date), bool(start or end), today].count(True) != 1 or bool(start) != bool(end):
        raise bad_argument("one of --date, --today, or --start with --end expected")
    if today:
        now_us = jobs.wall_us()
        return open_us(now_us, DAY_US), now_us
    if date:
        day_us = open_us(parse_time(date), DAY_US)
        return day_us, day_us + DAY_US
    return parse_time(start), parse_time(end)


def _page(outcome: Outcome, request: Request) -> str:
    lines = [
        f"{request.symbol} at {request.source}, {iso(request.start_us)} to {iso(request.end_us)}",
        f"job       {outcome.job} {outcome.status}",
        f"trades    {outcome.trades:,} of {outcome.expected:,} held, {outcome.inserted:,} new",
        f"missing   {outcome.missing:,}",
        *(f"          {first}..{last} not at the venue" for first, last in _some(outcome)),
        f"chunks    {outcome.chunks_ok} of {outcome.chunks} done",
        f"vwap      {'–' if outcome.vwap is None else f'{outcome.vwap:,.8f}'}",
        f"seconds   {outcome.seconds:.1f}",
    ]
    return "\n".join(lines)


def _some(outcome: Outcome) -> list[tuple[int, int]]:
    return outcome.exchange_side[:20]


def _advice(outcome: Outcome) -> str:
    if outcome.status == jobs.Status.STOPPED:
        return "stopped; run the same command again to go on where it stopped"
    return f"{outcome.status}: {outcome.error}\nrun the same command again to try what is missing"
