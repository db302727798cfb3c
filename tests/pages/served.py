"""Serves a desk of made-up trades: `python -m tests.pages.served PORT [LABEL [SYMBOL …]]`."""

import os
import sys
import threading

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botcrypto.settings")

from daphne.server import Server, twisted_loop

from botcrypto.asgi import application

RATE = 6.0


def main(port: int, label: str, symbols: list[str]) -> None:
    """Migrate, fill the day so far, trade on, serve until SIGTERM."""
    from django.core.management import call_command

    from marketdata import live
    from tests.pages import desk

    call_command("migrate", verbosity=0)
    running = desk.build(*symbols, label=label)
    running.publisher.start(twisted_loop)
    running.writer.start()
    live.start(running)
    stop = threading.Event()
    for number, symbol in enumerate(symbols):
        last = desk.history(running, symbol, 11 + number, 43_000.0 / (1 + 18 * number), 2.0)
        threading.Thread(
            target=desk.trade_on, args=(running, symbol, last, RATE, stop), daemon=True
        ).start()
    endpoint = f"tcp:port={port}:interface=127.0.0.1"
    Server(
        application,
        endpoints=[endpoint],
        ready_callable=lambda: print("serving", flush=True),
    ).run()
    stop.set()
    running.flow.stop()
    running.writer.stop()


if __name__ == "__main__":
    _, told_port, *rest = sys.argv
    main(int(told_port), rest[0] if rest else "", rest[1:] or ["BTCUSDT", "ETHUSDT"])
