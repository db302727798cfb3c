"""Serves a desk of made-up trades: `python -m tests.pages.served PORT [LABEL [SYMBOL …]]`.

With `STAFF` in the environment, a password, jobs of backfills and one of the staff are there too.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botcrypto.settings")

import django

RATE = 6.0


def main(port: int, label: str, symbols: list[str]) -> None:
    """Migrate, fill the day so far, trade on, serve until SIGTERM."""
    django.setup()
    from django.core.management import call_command

    from botcrypto.server import serve
    from marketdata import live
    from tests.pages import desk

    faulthandler.register(signal.SIGUSR1, all_threads=True)
    call_command("migrate", verbosity=0)
    running = desk.build(*symbols, label=label)
    running.writer.start()
    live.start(running)
    if "STAFF" in os.environ:
        staff(running, os.environ["STAFF"])
    stop = threading.Event()
    # Of the first one the day's first trade is known.
    for number, symbol in enumerate(symbols):
        last = desk.history(running, symbol, 11 + number, 43_000.0 / (1 + 18 * number), 2.0)
        if number == 0:
            desk.begun(running, symbol)
        threading.Thread(
            target=desk.trade_on, args=(running, symbol, last, RATE, stop), daemon=True
        ).start()

    def ready(url: str, loop: asyncio.AbstractEventLoop) -> None:
        running.publisher.start(loop)
        print("serving", flush=True)

    serve("127.0.0.1", port, ready)
    stop.set()
    running.publisher.stop()
    running.flow.stop()
    running.writer.stop()


def staff(running, password: str) -> None:
    """Store jobs, and let `desk` log in with a password."""
    from django.contrib.auth import get_user_model

    from tests.pages import standing

    running.backfill = standing.Standing()
    standing.past()
    get_user_model().objects.create_superuser("desk", password=password)


if __name__ == "__main__":
    _, told_port, *rest = sys.argv
    main(int(told_port), rest[0] if rest else "", rest[1:] or ["BTCUSDT", "ETHUSDT"])
