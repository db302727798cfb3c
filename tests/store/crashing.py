"""A process that writes until it is killed, and says what it was told is committed.

Usage: python crashing.py FIRST_ID
"""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botcrypto.settings")
django.setup()

from django.core.management import call_command  # noqa: E402  (needs the apps loaded)

from marketdata.core.events import Batch, Event  # noqa: E402
from marketdata.core.instrument import Grid  # noqa: E402
from marketdata.store import instruments  # noqa: E402
from marketdata.store.writer import Writer  # noqa: E402
from tests.store.stored import run_of  # noqa: E402


def main(first: int) -> None:
    """Hand in overlapping batches with holes for ever."""
    call_command("migrate", verbosity=0)
    instrument = instruments.remember(
        "binance_ws", "BTCUSDT", Grid.of_values(*[run_of(1, 9).qty] * 2)
    )
    writer = Writer(flush_rows=700, flush_s=0.002)
    writer.start()
    print("ready", flush=True)
    while True:
        for number in range(5):
            trades = run_of(max(0, first - 40), 340)
            kept = trades[trades.id % 97 != 13] if number % 2 else trades
            writer.put_trades(instrument.id, Batch(kept, "rest" if number == 3 else "live"))
            writer.put_events(instrument.id, [Event("gap", int(trades.ts_us[0]), {"at": first})])
            first += 300
        if writer.flush():
            print(first, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
