"""Compare what is held with what the venue's ids say there is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketdata.context import DAY
from marketdata.core.errors import BadInputError
from marketdata.core.instrument import Instrument
from marketdata.core.sessions import Window
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.management.output import (
    WORK_FAILED,
    add_instrument,
    bad_argument,
    failed,
    parse_time,
    print_json,
    refuse_bad_settings,
    stored_instrument,
)
from marketdata.store import ledger
from marketdata.verify import RANGE, certified, public, verified, wall_us, window_of

MOST_LINES = 50


class Command(BaseCommand):
    """`manage.py verify`."""

    help = (
        "Count the trades of a day, session or range against the venue's ids; exit code 1 while "
        "any is missing. Example: manage.py verify --symbol BTCUSDT --date 2024-01-01 --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_instrument(parser)
        parser.add_argument("--date", help="UTC day")
        parser.add_argument("--scope", help="day (default), or a session that starts on --date")
        parser.add_argument("--start", help="ISO time or date, UTC")
        parser.add_argument("--end", help="ISO time or date, UTC, exclusive")
        parser.add_argument(
            "--repair", action="store_true", help="fetch what is missing, then count again"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_bad_settings()
        instrument = stored_instrument(options["source"], options["symbol"])
        window = _window(options)
        answer = _answer(instrument, window)
        if options["repair"] and _lacks(answer):
            _repair(instrument, window)
            answer = _answer(instrument, window)
        if not answer["expected"] and answer["edges"] == "held":
            raise failed(f"no trade is stored from {answer['start']} to {answer['end']}")
        if options["json"]:
            print_json(self.stdout, public(answer))
        else:
            self.stdout.write(_page(answer))
        if answer["missing"] or answer["disagreements"]:
            raise SystemExit(WORK_FAILED)


def _answer(instrument: Instrument, window: Window) -> dict[str, Any]:
    """Return the certificate, and whether ledger and rows agree."""
    count = verified if window.name == RANGE else certified
    answer = count(instrument, window, wall_us())
    first, last = answer["certificate"]["first_id"], answer["certificate"]["last_id"]
    reach = () if first is None else (first, last)
    return {**answer, "disagreements": ledger.audit(instrument.id, *reach)}


def _lacks(answer: dict[str, Any]) -> bool:
    return answer["missing"] > 0 or not answer["held"]


def _repair(instrument: Instrument, window: Window) -> None:
    from marketdata.backfill import jobs
    from marketdata.management.fetching import backfilled

    request = jobs.Request(
        instrument.source, instrument.symbol, window.start_us, window.end_us, asked_by="verify"
    )
    try:
        checked = jobs.checked(request, wall_us())
    except BadInputError as error:
        raise bad_argument(str(error)) from error
    backfilled(checked, "manage.py verify --repair")


def _window(options: dict[str, Any]) -> Window:
    date, start, end, scope = (options[name] for name in ("date", "start", "end", "scope"))
    if date and not (start or end):
        try:
            return window_of(scope or DAY, open_us(parse_time(date), DAY_US))
        except BadInputError as error:
            raise bad_argument(str(error)) from error
    if start and end and not (date or scope):
        window = Window(RANGE, "range", parse_time(start), parse_time(end))
        if window.start_us < window.end_us:
            return window
        raise bad_argument(f"--start before --end expected, seen {start}..{end}")
    raise bad_argument(
        "either --date, with --scope where a session is meant, or both --start and --end expected"
    )


def _page(answer: dict[str, Any]) -> str:
    sources = ", ".join(f"{name} {count:,}" for name, count in _sources(answer))
    lines = [
        f"{answer['symbol']} at {answer['source']}, {answer['scope']}, "
        f"{answer['start']} to {answer['end']}",
        f"expected  {_counted(answer, 'expected')} (edges from {answer['edges']})",
        f"held      {answer['held']:,} ({sources or 'nothing'})",
        f"missing   {_counted(answer, 'missing')}",
        *_runs(answer["ranges"], ""),
        *([f"left out  {answer['left_out']:,} by the feed"] if answer["left_out"] else []),
        *_runs(answer["exchange_side"], " not at the venue"),
        *(f"reason    {a['first_id']}..{a['last_id']} {a['reason']}" for a in _some(answer)),
        f"again     {answer['refused']:,} trades came again and were not stored twice",
        *(f"ledger    {line}" for line in answer["disagreements"]),
        f"proof     {answer['proof']}",
        f"trades    sha256 {answer['certificate']['sha256']}",
        f"as of     {answer['as_of']}",
    ]
    return "\n".join(lines)


def _counted(answer: dict[str, Any], name: str) -> str:
    if answer["counted"]:
        return f"{answer[name]:,}"
    holes = len(answer["ranges"])
    return f"unknown: {holes:,} hole{'s' * (holes != 1)} of unknown size, in numbers of ours"


def _sources(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return sorted(answer["certificate"]["sources"].items())


def _runs(runs: list[list[int]], what: str) -> list[str]:
    shown = [f"          {first}..{last}{what}" for first, last in runs[:MOST_LINES]]
    more = len(runs) - len(shown)
    return [*shown, f"          and {more:,} more"] if more else shown


def _some(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer["reasons"][:MOST_LINES]
    return found
