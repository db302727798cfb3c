"""Write a stored or recorded day as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketdata import checks
from marketdata.bridge import export
from marketdata.bridge.export import Day, Exported
from marketdata.conf import conf
from marketdata.core.errors import BotCryptoError
from marketdata.core.timeframe import DAY_US, TIMEFRAMES, open_us
from marketdata.management.output import (
    bad_argument,
    failed,
    parse_time,
    print_json,
    stored_instrument,
)

SUFFIXES = {
    "trades": (".parquet", ".csv"),
    "candles": (".parquet", ".csv"),
    "hftbacktest": (".npz",),
}
WITHIN_A_DAY = [name for name, length_us in TIMEFRAMES.items() if length_us <= DAY_US]
MS = 1_000_000


class Command(BaseCommand):
    """`manage.py export`."""

    help = (
        "Write a UTC day as Parquet or CSV, or as events for hftbacktest; prints one JSON object. "
        "Example: manage.py export trades --source binance_ws --symbol BTCUSDT --date 2024-01-01 "
        "--out BTCUSDT.parquet"
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=list(SUFFIXES))
        parser.add_argument("--source", default="binance_ws", help="feed name")
        parser.add_argument("--symbol", required=True, help="the venue's spelling")
        parser.add_argument("--date", required=True, help="UTC day, for example 2024-01-01")
        parser.add_argument(
            "--out", required=True, type=Path, help=".parquet or .csv; .npz for hftbacktest"
        )
        parser.add_argument(
            "--timeframe", default="1m", choices=WITHIN_A_DAY, help="of candles (default 1m)"
        )
        parser.add_argument(
            "--frames",
            nargs="+",
            type=Path,
            help="recorded frames for hftbacktest (default: those of the day in DATA_DIR/frames; "
            "without any, the stored trades)",
        )
        parser.add_argument(
            "--latency-ms",
            type=float,
            default=10.0,
            help="from the exchange to us where none was recorded, or the recorder's clock was "
            "behind (default 10)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _refuse(options)
        day = Day(
            options["source"], options["symbol"], open_us(parse_time(options["date"]), DAY_US)
        )
        try:
            done = _exported(day, options)
        except (BotCryptoError, OSError) as error:
            raise failed(error) from error
        for words in done.warnings:
            self.stderr.write(words)
        print_json(self.stdout, {"what": options["what"], **done.answer})


def _refuse(options: dict[str, Any]) -> None:
    """Refuse what cannot be meant. Raises CommandError with exit code 2."""
    what, out = options["what"], options["out"]
    if out.suffix not in SUFFIXES[what]:
        raise bad_argument(f"--out with {' or '.join(SUFFIXES[what])} expected, seen {out}")
    if not 0 <= options["latency_ms"] < 60_000:
        raise bad_argument(f"--latency-ms from 0 to 60000 expected, seen {options['latency_ms']:g}")
    if options["frames"] and what != "hftbacktest":
        raise bad_argument(f"--frames with hftbacktest expected, {what} come from the database")
    for path in options["frames"] or ():
        if not path.is_file():
            raise bad_argument(f"--frames: a file expected at {path}, there is none")


def _exported(day: Day, options: dict[str, Any]) -> Exported:
    what, out = options["what"], options["out"]
    if what != "hftbacktest":
        timeframe = options["timeframe"] if what == "candles" else None
        return export.table(stored_instrument(day.source, day.symbol), day, out, timeframe)
    latency_ns = round(options["latency_ms"] * MS)
    _known(day.source)
    paths = options["frames"] or export.frames_of(conf(), day)
    if paths:
        return export.recorded(conf(), day, paths, out, latency_ns)
    return export.from_trades(stored_instrument(day.source, day.symbol), day, out, latency_ns)


def _known(source: str) -> None:
    from marketdata.venues import VENUES

    if source not in VENUES:
        raise bad_argument(f"a source of {', '.join(VENUES)} expected, seen {source!r}")
