"""The frames and answers kept beside the tests, with what each must come to.

A venue has one folder: `<channel>.jsonl` for each channel, `depth.jsonl` for its book, `control`
and `refused` for its first channel, `rest` for answers. A line of frames says what comes of it:
`trades`, `controls` and `errors` always; `facts`, `replies` and `topics` where there are any.
"""

import json
from dataclasses import asdict
from pathlib import Path

from marketdata.venues import VARIANTS, VENUES

FRAMES = Path(__file__).resolve().parent.parent / "frames"
DEPTH = "depth"
DEPTH_MS = 100
# What the lines tell, and what holds where one is silent about it.
TOLD = {"trades": [], "facts": [], "controls": [], "errors": [], "replies": {}}


def _places():
    """Return every venue, and every kind of one that is not its usual kind.

    One that another feed hears in another way speaks the same words: it is tried once.
    """
    kinds = {
        f"{source}.{variant}": venue
        for (source, variant), venue in VARIANTS.items()
        if venue is not VENUES[source]
    }
    spoken = {}
    for name, venue in (VENUES | kinds).items():
        if not any(venue.channels is other.channels for other in spoken.values()):
            spoken[name] = venue
    return spoken


PLACES = _places()
VENUE_NAMES = sorted(PLACES)
CHANNELS = [(name, channel) for name in VENUE_NAMES for channel in PLACES[name].channels]
STREAMS = CHANNELS + [(name, DEPTH) for name in VENUE_NAMES if PLACES[name].depth]


def stream_of(venue, name):
    """Return a channel, or the stream of the book."""
    place = PLACES[venue]
    return place.depth.stream(DEPTH_MS) if name == DEPTH else place.channels[name]


def folder_of(venue):
    """Return a venue's folder; kinds that share a key have one each."""
    source, _, variant = venue.partition(".")
    key = PLACES[venue].key
    return FRAMES / (f"{key}_{variant}" if variant and key == VENUES[source].key else key)


def rows(venue, file):
    """Return the lines of one file of a venue."""
    text = (folder_of(venue) / f"{file}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def stream_rows(venue, name):
    """Return the lines about a stream; those about any go with the first channel."""
    files = [name]
    if name == next(iter(PLACES[venue].channels)):
        files += [file for file in ("control", "refused") if _is_there(venue, file)]
    return [row for file in files for row in rows(venue, file)]


def _is_there(venue, file):
    return (folder_of(venue) / f"{file}.jsonl").exists()


def frame_of(row):
    return row["frame"].encode()


def flat(trades):
    """Return the rows of a batch as plain tuples."""
    columns = [trades.id, trades.ts_us, trades.price, trades.qty, trades.is_buy]
    if trades.ref is not None:
        columns.append(trades.ref)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def named(trades):
    """Return the rows of a batch by column; a ref is told as text."""
    names = ("id", "ts_us", "price", "qty", "is_buy", "ref")
    return [
        {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in zip(names, trade, strict=False)
        }
        for trade in flat(trades)
    ]


def told(received):
    """Return what was received in the form in which the files tell it."""
    return {
        "trades": [
            {"symbol": symbol} | trade
            for symbol, trades in received.trades.items()
            for trade in named(trades)
        ],
        "facts": [[symbol, *told_fact(fact)] for symbol, fact in received.facts],
        "controls": [[control.kind, control.detail] for control in received.controls],
        "errors": [error.reason for error in received.errors],
        "replies": {str(number): body.decode() for number, body in received.replies.items()},
        "topics": sorted(received.topics),
    }


def told_fact(fact):
    """Return a fact as its kind and its fields; those that say nothing are left out."""
    fields = {name: value for name, value in asdict(fact).items() if value is not None}
    return [type(fact).__name__, json.loads(json.dumps(fields))]


def expected_of(row):
    """Return what a line says, with what holds where it is silent."""
    topics = {"topics": row["topics"]} if "topics" in row else {}
    return {key: row.get(key, silent) for key, silent in TOLD.items()} | topics


def asked(venue, row, body):
    """Put one body to the parser that a row is about."""
    place, args = PLACES[venue], row["args"]
    channel = place.channels.get(args.get("channel"))
    parse = {
        "page": lambda: [list(trade) for trade in flat(channel.by_id.page_of(body))],
        "first": lambda: channel.by_id.first_of(body),
        "newest": lambda: named(channel.past.read(body)),
        "listing": lambda: listed(place.listing_of(body, args["symbol"])),
        "day": lambda: dated(place.day_of(body, args["day_us"])),
        "clock": lambda: place.clock_of(body),
        "error": lambda: listed_error(place.error_of(body)),
        "refusal": lambda: place.is_refusal(body),
        "snapshot": lambda: told_fact(place.depth.snapshot_of(body)),
        "series": lambda: [asdict(one) for one in place.series[args["kind"]].read(body)],
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
