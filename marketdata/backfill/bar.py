"""A job's progress in a terminal: a bar where there is one, else a line now and then."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TextIO

from django.db import connections

from marketdata.backfill.outcome import Outcome
from marketdata.backfill.progress import ProgressNow
from marketdata.backfill.runner import Runner

DRAW_S = 0.25
LINE_S = 15.0
NOTE = 120


def shown(runner: Runner, out: TextIO) -> Outcome:
    """Run a job in a thread and show its progress meanwhile; return what it came to."""

    def run() -> Outcome:
        try:
            return runner.run()
        finally:
            connections.close_all()

    # The caller's thread stays free for signals and for drawing.
    with ThreadPoolExecutor(1, "backfill-job") as pool:
        job = pool.submit(run)
        draw = _bar if out.isatty() else _lines
        draw(runner, job, out)
        return job.result()


def line_of(now: ProgressNow) -> str:
    """Return a moment of a job in words."""
    of = f" of {now.total:,}" if now.total else ""
    parts = [f"{now.current:,}{of} trades", f"{now.percentage:.1f} %", f"{now.per_s:,.0f}/s"]
    if now.remaining_s is not None and now.total:
        parts.append(f"{now.remaining_s:,.0f} s left")
    if now.headroom is not None:
        parts.append(f"limit {now.headroom:.0%} free")
    return ", ".join([*parts, now.note[:NOTE]])


def _lines(runner: Runner, job: Future[Outcome], out: TextIO) -> None:
    next_s = time.monotonic() + LINE_S
    while wait([job], DRAW_S).not_done:
        if time.monotonic() >= next_s:
            next_s += LINE_S
            out.write(line_of(runner.progress.now()) + "\n")
            out.flush()


def _bar(runner: Runner, job: Future[Outcome], out: TextIO) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, console=Console(file=out), transient=True) as bar:
        task = bar.add_task(runner.job.symbol, total=None, words="")
        while wait([job], DRAW_S).not_done:
            now = runner.progress.now()
            bar.update(task, total=now.total or None, completed=now.current, words=line_of(now))
