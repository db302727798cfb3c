"""Running a backfill in a command's own process: under the database's lock, with its signals."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from django.core.management import call_command

from marketdata.backfill import jobs
from marketdata.backfill.bar import shown
from marketdata.backfill.inlet import Inlet
from marketdata.backfill.jobs import Request
from marketdata.backfill.means import means_of
from marketdata.backfill.outcome import Outcome
from marketdata.backfill.runner import Runner
from marketdata.conf import conf
from marketdata.core.errors import BotCryptoError
from marketdata.management.output import failed
from marketdata.payload import iso
from marketdata.store.lock import DatabaseLock, LockedError
from marketdata.store.writer import Writer

# How long a command goes on without a single trade; a daemon would wait for days.
PATIENCE_S = 120.0


@contextmanager
def signals(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM stop after the page at hand, the second at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def backfilled(request: Request, what: str) -> Outcome:
    """Run a job to its end in this process.

    Parameters
    ----------
    what : str
        Who holds the database meanwhile, for others to read.

    Raises
    ------
    CommandError
        Another process holds the database, or the job cannot begin.
    """
    settings, stop = conf(), threading.Event()
    try:
        with DatabaseLock(settings.database_path, what), signals(stop):
            call_command("migrate", verbosity=0, interactive=False)
            return _run(request, stop)
    except LockedError as error:
        raise failed(f"{error}\n{_ask_daemon(request)}") from error
    except BotCryptoError as error:
        raise failed(error) from error


def _run(request: Request, stop: threading.Event) -> Outcome:
    """Run a job with a writer of its own; draw its progress in this thread."""
    writer = Writer()
    writer.start()
    try:
        job = jobs.opened(request, jobs.wall_us())
        means = means_of(request.source, conf(), stop)
        runner = Runner(job, means, Inlet(writer), PATIENCE_S)
        return shown(runner, sys.stderr)
    finally:
        writer.stop()


def _ask_daemon(request: Request) -> str:
    settings = conf()
    body = (
        f'{{"source":"{request.source}","symbol":"{request.symbol}","via":"{request.via}",'
        f'"start":"{iso(request.start_us)}","end":"{iso(request.end_us)}"}}'
    )
    return (
        "a running daemon does it for you: POST /api/backfill/jobs, for example\n"
        f"  curl -H 'X-API-Key: (API_KEY)' -H 'Content-Type: application/json' -d '{body}' "
        f"http://{settings.host}:{settings.backend_port}/api/backfill/jobs"
    )
