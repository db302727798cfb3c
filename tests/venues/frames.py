"""The frames and answers kept beside the tests, with what each must come to."""

import json
from dataclasses import asdict
from pathlib import Path

from marketdata.venues import VENUES

FRAMES = Path(__file__).resolve().parent.parent / "frames"
VENUE_NAMES = sorted(VENUES)
CHANNELS = [(name, channel) for name in VENUE_NAMES for channel in VENUES[name].channels]


def rows(venue, file):
    """Return the lines of one file of a venue."""
    text = (FRAMES / VENUES[venue].key / f"{file}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def frame_of(row):
    return row["frame"].encode()


def flat(trades):
    """Return the rows of a batch as plain tuples."""
    columns = (trades.id, trades.ts_us, trades.price, trades.qty, trades.is_buy)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def told(received):
    """Return what was received in the form in which the files tell it."""
    return {
        "trades": [
            {"symbol": symbol}
            | dict(zip(("id", "ts_us", "price", "qty", "is_buy"), trade, strict=True))
            for symbol, trades in received.trades.items()
            for trade in flat(trades)
        ],
        "controls": [[control.kind, control.detail] for control in received.controls],
        "errors": [error.reason for error in received.errors],
    }


def asked(venue, row, body):
    """Put one body to the parser that a row is about."""
    place, args = VENUES[venue], row["args"]
    channel = place.channels.get(args.get("channel"))
    parse = {
        "page": lambda: [list(trade) for trade in flat(channel.by_id.page_of(body))],
        "first": lambda: channel.by_id.first_of(body),
        "listing": lambda: listed(place.listing_of(body, args["symbol"])),
        "day": lambda: dated(place.day_of(body, args["day_us"])),
        "clock": lambda: place.clock_of(body),
        "error": lambda: listed_error(place.error_of(body)),
    }[row["question"]]
    return parse()


def listed(listing):
    return {
        "symbol": listing.symbol,
        "tick": f"{listing.grid.tick:f}",
        "lot": f"{listing.grid.lot:f}",
        "status": listing.status,
        "weight_per_minute": listing.weight_per_minute,
    }


def dated(levels):
    return None if levels is None else asdict(levels)


def listed_error(error):
    return None if error is None else list(error)
