"""How long a day takes to come in: by the venue's file, and by pages.

Parsing alone is the limit of the file's way, the venue's own weight budget that of the pages'. The
venue is a child process, so that CPU per page is the client's own.
Usage: python bench/backfill.py [TAPE]
"""
# ruff: noqa: E402  (Django wants its settings before it is imported from)

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
TAPE = ROOT.parent / "shared/data/tapes/BTCUSDT-aggTrades-2024-01-01.zip"
sys.path.insert(0, str(ROOT))
FOLDER = Path(tempfile.mkdtemp(prefix="bench-backfill-"))
os.environ.update(DJANGO_SETTINGS_MODULE="botcrypto.settings", DATA_DIR=str(FOLDER))
os.environ.setdefault("LOG_LEVEL", "ERROR")

import django

RUNS = 3
# 6,000 weight a minute, 4 a page: what the venue grants an address.
VENUE_PAGES_PER_S = 25.0
DAY_US = 86_400_000_000


def parse_s(path: Path) -> float:
    """Return the seconds from the zip to checked columns, in this process."""
    from marketdata.store.tape import open_tape

    began = time.perf_counter()
    for _ in open_tape(path).batches(20_000):
        pass
    return time.perf_counter() - began


def serve_files(told: Connection, root: str) -> None:
    """Serve a folder as an archive host, in a process of its own."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root))
    told.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def serve_venue(told: Connection, tape: str) -> None:
    """Serve the whole tape as a venue's past, in a process of its own."""
    from marketdata.simulator.rules import Rules
    from marketdata.simulator.server import Simulator
    from marketdata.simulator.tape import RecordedMarket

    market = RecordedMarket.open(Path(tape))
    market.played = len(market)
    with Simulator([market], rules=Rules(weight_per_minute=100_000_000)) as venue:
        told.send(venue.rest_url)
        threading.Event().wait()


def started(target, *arguments: str) -> tuple[multiprocessing.Process, str]:
    """Start a server in a process of its own; return it and its URL."""
    context = multiprocessing.get_context("spawn")
    told, tells = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(tells, *arguments), daemon=True)
    process.start()
    return process, told.recv()


def archive_root(tape: Path, symbol: str, date: str) -> Path:
    """Lay the tape out as the archive does."""
    from marketdata.backfill.archive import _sha256

    name = f"{symbol}-aggTrades-{date}.zip"
    path = FOLDER / "host/data/spot/daily/aggTrades" / symbol / name
    path.parent.mkdir(parents=True)
    shutil.copy(tape, path)
    path.with_name(name + ".CHECKSUM").write_text(f"{_sha256(path)}  {name}\n")
    return FOLDER / "host"


class Bench:
    """Jobs over fresh databases."""

    def __init__(self, symbol: str, day_us: int) -> None:
        self.symbol = symbol
        self.day_us = day_us
        self.number = 0

    def run(self, via: str, rest_url: str, archive_url: str, workers: int = 3) -> dict[str, float]:
        """Fetch the day into an empty database; return seconds and CPU seconds."""
        from django.core.management import call_command

        from botcrypto.daemon import use
        from marketdata.backfill import jobs
        from marketdata.backfill.inlet import Inlet
        from marketdata.backfill.means import means_of
        from marketdata.backfill.runner import Runner
        from marketdata.conf import conf
        from marketdata.store.writer import Writer

        self.number += 1
        folder = FOLDER / str(self.number)
        settings = replace(
            conf(),
            database_url=f"sqlite:///{folder / 'bench.sqlite3'}",
            backfill_cache_dir=folder / "cache",
            binance_rest_url=rest_url,
            binance_archive_url=archive_url,
            binance_rate_limit_per_minute=100_000,
            backfill_public_delay_ms=0,
        )
        use(settings)
        call_command("migrate", verbosity=0)
        writer = Writer()
        writer.start()
        span = (self.day_us, self.day_us + DAY_US)
        request = jobs.Request("binance_ws", self.symbol, *span, via, workers=workers)
        job = jobs.opened(jobs.checked(request, jobs.wall_us()), jobs.wall_us())
        runner = Runner(job, means_of("binance_ws", settings, threading.Event()), Inlet(writer), 5)
        seen: dict[str, float] = {}
        settle = runner.inlet.settle

        def settled() -> bool:
            done = settle()
            if "committed" not in seen:
                seen["committed"] = time.perf_counter() - began
                seen["cpu"] = time.process_time() - cpu
            return done

        object.__setattr__(runner.inlet, "settle", settled)
        cpu, began = time.process_time(), time.perf_counter()
        outcome = runner.run()
        seen["all"] = time.perf_counter() - began
        seen["trades"] = outcome.trades
        seen["pages"] = sum(work.pages for work in runner._crew.works)
        writer.stop()
        shutil.rmtree(folder)
        if outcome.status != "completed":
            raise SystemExit(f"{via}: {outcome.line()}")
        return seen


def middle(found: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: median(item[name] for item in found) for name in found[0]}


def main() -> None:
    """Print every figure with its ratio."""
    from marketdata.core.timeframe import open_us
    from marketdata.store import lake
    from marketdata.store.tape import open_tape

    tape = Path(sys.argv[1]) if len(sys.argv) > 1 else TAPE
    opened = open_tape(tape)
    day_us = open_us(int(next(opened.batches()).ts_us[0]), DAY_US)
    root = archive_root(tape, opened.symbol, lake.day_name(day_us))
    files, files_url = started(serve_files, str(root))
    venue, venue_url = started(serve_venue, str(tape))
    bench = Bench(opened.symbol, day_us)

    parse_s(tape)
    parse = median(parse_s(tape) for _ in range(RUNS))
    by_file = middle([bench.run("archive", venue_url, files_url) for _ in range(RUNS)])
    limit, rows = 3 * parse, by_file["trades"]
    print(f"trades                        {rows:>10,.0f}")
    print(f"unzip and parse               {parse:>10.3f} s   {rows / parse:>12,.0f}/s")
    print(f"archive day, rows committed   {by_file['committed']:>10.3f} s   "
          f"{rows / by_file['committed']:>12,.0f}/s   {by_file['committed'] / parse:.2f} x parse "
          f"(limit 3, {limit:.3f} s)")  # fmt: skip
    print(f"  and candles and levels      {by_file['all']:>10.3f} s")
    for workers in (1, 3):
        by_page = middle([bench.run("rest", venue_url, files_url, workers) for _ in range(RUNS)])
        pages, seconds = by_page["pages"], by_page["committed"]
        print(f"pages, {workers} worker{'s' if workers > 1 else ' '}              "
              f"{pages / seconds:>10.1f}/s   {by_page['trades'] / seconds:>12,.0f} trades/s   "
              f"{pages / seconds / VENUE_PAGES_PER_S:.2f} x the venue's budget of "
              f"{VENUE_PAGES_PER_S:.0f}/s")  # fmt: skip
        print(f"  CPU per page, all threads   {1000 * by_page['cpu'] / pages:>10.2f} ms  (limit 3)")
    for process in (files, venue):
        process.kill()


if __name__ == "__main__":
    django.setup()
    try:
        main()
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
