"""Run a recorded tape through the pipeline as fast as it goes."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketdata.conf import conf
from marketdata.context import DAY, Definition, MarketContext
from marketdata.core.errors import BadInputError, TapeError
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Grid, Instrument
from marketdata.core.numbering import numbered
from marketdata.core.trades import LATEST_US, Trades
from marketdata.management.output import (
    bad_argument,
    context_page,
    failed,
    print_json,
    refuse_bad_settings,
)
from marketdata.payload import context_payload, counts, iso
from marketdata.pipeline import Pipeline
from marketdata.store.tape import Tape, open_tape
from marketdata.venues import VENUES


class EventCounter:
    """A sink that counts events by kind."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def trades(self, instrument: Instrument, batch: Batch) -> None:
        """Trades are counted by the pipeline."""

    def event(self, instrument: Instrument, event: Event) -> None:
        """Note the kind."""
        self.kinds.append(event.kind)


class Command(BaseCommand):
    """`manage.py replay PATH`."""

    help = (
        "Run a recorded tape through the same pipeline as live data and print the context of its "
        "last day. Example: manage.py replay BTCUSDT-aggTrades-2024-01-01.zip --json"
    )
    # The whole command costs less than a second; checks of URLs and models would double it.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", help="archive zip or csv, Parquet, or raw capture")
        parser.add_argument("--symbol", help="replaces the symbol found in the name or the content")
        parser.add_argument("--source", help="replaces the source found there")
        parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a process of its own, whose end need not collect what was imported."""
        # The interpreter's last collection over a hundred thousand live objects costs 60 ms.
        gc.freeze()
        super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_bad_settings()
        if not Path(options["path"]).is_file():
            raise bad_argument(f"{options['path']}: a file expected, there is none")
        try:
            tape = open_tape(options["path"], source=options["source"], symbol=options["symbol"])
            answer = replayed(tape)
        except (BadInputError, OSError) as error:
            raise failed(error) from error
        if options["json"]:
            print_json(self.stdout, answer)
        else:
            self.stdout.write(f"{context_page(answer)}\n{_speed(answer)}")


def replayed(tape: Tape) -> dict[str, Any]:
    """Feed a tape and return the context of its last day with hash, events and speed."""
    began = time.perf_counter()
    events = EventCounter()
    pipeline: Pipeline | None = None
    first_ts_us, last = LATEST_US, -1
    for trades in tape.batches():
        if pipeline is None:
            pipeline = _pipeline(tape, trades, events)
            pipeline.lack(tape.voids())
        first_ts_us = min(first_ts_us, int(trades.ts_us.min()))
        last = _feed(pipeline, trades, last)
    if pipeline is None:
        raise TapeError(f"{tape.path.name}: trades expected, seen none")
    seconds, is_known = time.perf_counter() - began, tape.source in VENUES
    last_us = pipeline.watermark_us
    snapshot = pipeline.context.snapshot(DAY, last_us)
    return {
        **context_payload(snapshot, proof=VENUES[tape.source].proof if is_known else "none"),
        "hash": pipeline.context.hash(DAY, last_us),
        "events": counts(events.kinds),
        "first_ts": iso(first_ts_us),
        "last_ts": iso(last_us),
        "trades_total": pipeline.counts.trades,
        "duplicates": pipeline.counts.duplicates,
        "seconds": round(seconds, 6),
        "trades_per_second": round(pipeline.counts.trades / seconds),
    }


def _feed(pipeline: Pipeline, trades: Trades, last: int) -> int:
    """Feed trades, numbered by us after `last` where their venue does not; return the last id."""
    if not pipeline.instrument.is_numbered:
        trades, unused = numbered(trades, last)
        pipeline.lack(unused)
    pipeline.feed(Batch(trades, "file"))
    return int(trades.id[-1])


def _speed(answer: dict[str, Any]) -> str:
    events = ", ".join(f"{count:,} {kind}" for kind, count in answer["events"].items())
    return (
        f"replayed  {answer['trades_total']:,} trades from {answer['first_ts']} to "
        f"{answer['last_ts']}, {answer['duplicates']:,} repeated\n"
        f"events    {events or 'none'}\n"
        f"speed     {answer['seconds']:.2f} s, {answer['trades_per_second']:,} trades/s"
    )


def _pipeline(tape: Tape, trades: Trades, events: EventCounter) -> Pipeline:
    now = conf()
    size = now.profile_tick_size
    definition = Definition(now.value_area_rule, now.value_area_pct, size)
    # A tape does not say its tick; it is found from the prices, refined as finer ones come, and
    # never coarser than a profile row.
    grid = Grid.of_values(trades.price, trades.qty)
    if size % grid.tick and not grid.tick % size:
        grid = Grid(size, grid.lot)
    venue = VENUES.get(tape.source)
    instrument = Instrument(tape.source, tape.symbol, grid)
    if venue is not None:
        instrument = replace(
            instrument,
            is_numbered=venue.is_numbered,
            is_sized=venue.is_sized,
            cadence_us=venue.cadence_us(tape.symbol),
        )
    return Pipeline(MarketContext(instrument, definition=definition), [events])
