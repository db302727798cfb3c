"""Print the context of a day or session, rebuilt from what is stored."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketdata import checks, rebuild
from marketdata.context import CURRENT, DAY
from marketdata.core.errors import BadInputError
from marketdata.core.instrument import Instrument
from marketdata.core.sessions import SessionCalendar
from marketdata.core.timeframe import DAY_US, open_us
from marketdata.management.output import (
    add_instrument,
    bad_argument,
    context_page,
    failed,
    parse_time,
    print_json,
    stored_instrument,
)
from marketdata.payload import context_payload
from marketdata.pipeline import Pipeline
from marketdata.store import instruments, rows
from marketdata.venues import VENUES


class Command(BaseCommand):
    """`manage.py context`."""

    help = (
        "Print the context of a stored day, the same object as the API. "
        "Example: manage.py context --symbol BTCUSDT --date 2024-01-01 --scope london --json"
    )

    # Ours alone: those of URLs and models cost more than the command.
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: CommandParser) -> None:
        add_instrument(parser)
        parser.add_argument("--date", help="UTC day, for example 2024-01-01 (default: the newest)")
        parser.add_argument("--scope", default=DAY, help="day (default) or a session's name")

    def handle(self, *args: Any, **options: Any) -> None:
        instrument = stored_instrument(options["source"], options["symbol"])
        calendar = SessionCalendar(instruments.trading_sessions())
        known = [DAY, CURRENT, *(item.name for item in calendar.definitions)]
        if options["scope"] not in known:
            raise bad_argument(f"a scope of {', '.join(known)} expected, seen {options['scope']!r}")
        try:
            pipeline = _stored(instrument, options["date"])
        except BadInputError as error:
            raise failed(error) from error
        context, as_of_us = pipeline.context, pipeline.watermark_us
        snapshot = context.snapshot(options["scope"], as_of_us)
        answer = {
            **context_payload(snapshot, proof=VENUES[instrument.source].proof),
            "hash": context.hash(options["scope"], as_of_us),
        }
        if options["json"]:
            print_json(self.stdout, answer)
        else:
            self.stdout.write(context_page(answer))


def _stored(instrument: Instrument, date: str | None) -> Pipeline:
    """Rebuild a day, the newest where none is told."""
    if date is None:
        newest = rows.latest(instrument.id, 1)
        day_us = open_us(int(newest.ts_us[-1]), DAY_US) if len(newest) else 0
    else:
        day_us = open_us(parse_time(date), DAY_US)
    pipeline = rebuild.stored_day(instrument, day_us)
    if not pipeline.counts.trades:
        name = f"{instrument.symbol} at {instrument.source}"
        raise failed(f"no trade of {name} is stored for {date or 'any day'}")
    return pipeline
