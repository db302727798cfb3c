"""A context as the texts of the page. `figures.js` says the same; a test compares the two."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from marketdata.payload import iso

UP, DOWN, FLAT = "up", "down", "flat"
ARROWS = {UP: "▲", DOWN: "▼", FLAT: "■"}
UNKNOWN = "–"
MINUS = "\N{MINUS SIGN}"

# Name in the answer, label, what it is; the order breaks ties of the ladder.
LEVELS = (
    ("HIGH", "High", "highest trade of the scope"),
    ("PDH", "PDH", "high of the UTC day before"),
    ("VWAP+3", "VWAP +3σ", "three volume-weighted deviations above VWAP"),
    ("VWAP+2", "VWAP +2σ", "two volume-weighted deviations above VWAP"),
    ("VWAP+1", "VWAP +1σ", "one volume-weighted deviation above VWAP"),
    ("VAH", "VAH", "value area high"),
    ("LAST", "Last", "price of the newest trade"),
    ("VWAP", "VWAP", "volume-weighted average price of the scope"),
    ("POC", "POC", "point of control: the row with most volume"),
    ("VAL", "VAL", "value area low"),
    ("VWAP-1", f"VWAP {MINUS}1σ", "one volume-weighted deviation below VWAP"),
    ("VWAP-2", f"VWAP {MINUS}2σ", "two volume-weighted deviations below VWAP"),
    ("VWAP-3", f"VWAP {MINUS}3σ", "three volume-weighted deviations below VWAP"),
    ("OPEN", "Open", "first trade of the scope"),
    ("PDC", "PDC", "close of the UTC day before"),
    ("PDL", "PDL", "low of the UTC day before"),
    ("LOW", "Low", "lowest trade of the scope"),
)
BANDS = (3, 2, 1, -1, -2, -3)
PRECISION = {"exact": "● exact", "backfilling": "◐ backfilling", "degraded": "▲ degraded"}
PROOFS = {
    "id_exact": "by id: the venue numbers its trades without gaps",
    "overlap": "by overlap: fetched pages share trades",
    "cadence": "by cadence only",
    "none": "none",
}
# Whose trades are numbered one by one; of others a jump in numbers, which are ours, counts nothing.
COUNTED = "id_exact"
NO_SIZE = "no size"
# What happened to some trades, by the kind of event.
OF_TRADES = {
    "gap": "missing",
    "gap_closed": "refilled",
    "hole_exchange_side": "the venue does not have",
    "hole_permanent": "given up",
}
MOST_RANGES = 6
MOST_SYMBOLS = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """A text, and whether it stands for up, down or flat."""

    text: str
    side: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """One row of the ladder."""

    name: str
    label: str
    title: str
    price: str
    distance: Figure
    share: str
    is_estimated: bool = False


def places(step: float) -> int:
    """Return how many decimals a tick or lot has."""
    return next((n for n in range(12) if _is_whole(step * 10**n)), 12)


def _is_whole(value: float) -> bool:
    return round(value) >= 1 and abs(value - round(value)) < 1e-6 * value


def number(value: float | None, decimals: int) -> str:
    """Return a number with thousands separated and a true minus sign."""
    if value is None:
        return UNKNOWN
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def counted(count: int, noun: str) -> str:
    """Return how many there are of something."""
    return f"{number(count, 0)} {noun}{'s' * (count != 1)}"


def signed(value: float | None, decimals: int) -> str:
    """Return a number that always carries its sign, except zero."""
    text = number(value, decimals)
    if value is None or not any(digit in text for digit in "123456789"):
        return text.lstrip(MINUS)
    return text if value < 0 else f"+{text}"


def side(value: float | None) -> str:
    """Return up, down or flat."""
    if not value:
        return FLAT
    return UP if value > 0 else DOWN


def share(part: float | None, whole: float | None) -> float | None:
    """Return part in percent of whole; None where that means nothing."""
    return 100 * part / whole if whole and part is not None else None


def covered(ratio: float | None) -> str:
    """Return a ratio in percent, rounded down: only a whole scope reads 100 %."""
    if ratio is None:
        return UNKNOWN
    # A hair above the float error of the ratio, far below one part in 10,000 per cent.
    floored = math.floor(ratio * 1_000_000 + 1e-9) / 10_000
    return f"{floored:.4f} %"


def clock(iso: str) -> str:
    """Return the time of day of an ISO time, to the second."""
    return iso[11:19]


def window(start: str, end: str) -> str:
    """Return a window of time in words, UTC."""
    until = "24:00" if end[11:16] == "00:00" else end[11:16]
    return f"{start[11:16]}–{until} UTC"


def prices(levels: dict[str, float | None], last: float | None) -> dict[str, float | None]:
    """Return the levels with the bands around VWAP among them, and the market's last price."""
    vwap, sd = levels["VWAP"], levels["VWAP_SD"]
    known = vwap is not None and sd is not None
    bands = {f"VWAP{k:+d}": vwap + k * sd if known else None for k in BANDS}  # type: ignore[operator]
    return {**levels, **bands, "LAST": last}


def ladder(context: dict[str, Any], last: float | None) -> list[Level]:
    """Return the levels by price, highest first, the unknown ones last.

    `last` is the market's newest price: a scope that is over keeps its own.
    """
    known, decimals = prices(context["levels"], last), places(context["definition"]["tick_size"])
    rows = [(known[name], at, name, label, title) for at, (name, label, title) in enumerate(LEVELS)]
    rows.sort(key=lambda row: (row[0] is None, -(row[0] or 0.0), row[1]))
    found = [
        _level(name, label, title, price, last, decimals) for price, _, name, label, title in rows
    ]
    return [_told(level, context) for level in found] if context["estimated"] else found


def _told(level: Level, context: dict[str, Any]) -> Level:
    """Say of a level of ticks that it is estimated, or cannot be known."""
    if level.name.startswith("VWAP"):
        return replace(level, distance=Figure(NO_SIZE, FLAT), share="")
    return replace(level, is_estimated=level.name in context["estimated"])


def _level(
    name: str, label: str, title: str, price: float | None, last: float | None, decimals: int
) -> Level:
    if name == "LAST":
        return Level(name, label, title, number(price, decimals), Figure(""), "")
    distance = None if price is None or last is None else last - price
    ratio = share(distance, price)
    return Level(
        name,
        label,
        title,
        number(price, decimals),
        Figure(signed(distance, decimals), side(distance)),
        UNKNOWN if ratio is None else f"{signed(ratio, 2)} %",
    )


def open_of(day: dict[str, Any]) -> float | None:
    """Return with what a day opened; None where trades are missing before the first one held."""
    opened: float | None = day["levels"]["OPEN"]
    return opened if day["coverage"]["has_first"] else None


def figures(
    context: dict[str, Any], day_open: float | None, last: float | None
) -> dict[str, Figure]:
    """Return every figure of the page but the ladder."""
    return {
        **_price(context, day_open, last),
        **_session(context),
        **_flow(context),
        **_coverage(context["coverage"]),
        "precision": Figure(PRECISION[context["precision"]], context["precision"]),
    }


def _price(
    context: dict[str, Any], day_open: float | None, last: float | None
) -> dict[str, Figure]:
    decimals = places(context["definition"]["tick_size"])
    change = None if last is None or day_open is None else last - day_open
    ratio, way = share(change, day_open), side(change)
    text = UNKNOWN if ratio is None else f"{signed(change, decimals)} ({signed(ratio, 2)} %)"
    return {
        "price": Figure(number(last, decimals), way),
        "change": Figure(f"{ARROWS[way]} {text}", way),
        "day_open": Figure(number(day_open, decimals)),
        "as_of_date": Figure(context["as_of"][:10]),
        "as_of": Figure(clock(context["as_of"])),
    }


def _session(context: dict[str, Any]) -> dict[str, Figure]:
    session = context["session"]
    name, _, note = session["message"].partition(", ")
    return {
        "session": Figure(name, "on" if session["active"] else "off"),
        "session_note": Figure(note),
        "session_window": Figure(window(session["start"], session["end"])),
        "scope_window": Figure(
            f"{context['start'][:10]} {window(context['start'], context['end'])}"
        ),
    }


def _flow(context: dict[str, Any]) -> dict[str, Figure]:
    lots, volume = places(context["definition"]["lot_size"]), context["volume"]
    bought, sold = share(context["buy_volume"], volume), share(context["sell_volume"], volume)
    deltas = {
        name: Figure(signed(value, lots), side(value))
        for name, value in (
            ("delta", context["cumulative_delta"]),
            ("delta_min", context["delta_min"]),
            ("delta_max", context["delta_max"]),
        )
    }
    return {
        "volume": Figure(number(volume, lots)),
        "bought": Figure(number(context["buy_volume"], lots)),
        "sold": Figure(number(context["sell_volume"], lots)),
        "bought_share": Figure(UNKNOWN if bought is None else f"{bought:.1f} %"),
        "sold_share": Figure(UNKNOWN if sold is None else f"{sold:.1f} %"),
        "trades": Figure(number(context["trades"], 0)),
        **_sizes(context),
        **deltas,
    }


def _sizes(context: dict[str, Any]) -> dict[str, Figure]:
    """Return what volume and delta are of, or why there are none."""
    if not context["estimated"]:
        return {
            "trades_of": Figure("trades"),
            "delta_of": Figure("buying less selling volume"),
        }
    ticks = signed(context["ticks"]["delta"], 0)
    return {
        "trades_of": Figure(f"ticks, {NO_SIZE}"),
        "delta_of": Figure(f"{NO_SIZE}, no side; ticks up less down {ticks}, estimated"),
    }


def _coverage(coverage: dict[str, Any]) -> dict[str, Figure]:
    sources = " · ".join(f"{name} {count:,}" for name, count in sorted(coverage["sources"].items()))
    missing, expected = coverage["missing"], coverage["expected"]
    state = "whole" if missing == 0 else "hole"
    is_known = missing is not None
    return {
        "coverage": Figure(covered(coverage["ratio"]) if is_known else "unknown", state),
        "held": Figure(number(coverage["held"], 0)),
        "expected": Figure("an unknown number" if expected is None else number(expected, 0)),
        "missing": Figure(
            _size(missing) if is_known else _holes(coverage["holes"], missing), state
        ),
        "holes": Figure(lack(coverage)),
        "proof": Figure(PROOFS.get(coverage["proof"], coverage["proof"])),
        "sources": Figure(sources or UNKNOWN),
    }


def lack(coverage: dict[str, Any]) -> str:
    """Return what is missing: ids where the venue numbers its trades, else in words."""
    count, missing = coverage["holes"], coverage["missing"]
    if coverage["proof"] == COUNTED:
        return holes(coverage["ranges"])
    parts = [_holes(count, missing)] if count else []
    if coverage["left_out"]:
        parts.append(f"{number(coverage['left_out'], 0)} left out by the feed")
    return " · ".join(parts)


def _holes(count: int, missing: int | None) -> str:
    return f"{counted(count, 'hole')}, {_size(missing)}"


def _size(missing: int | None) -> str:
    return "size unknown" if missing is None else f"{number(missing, 0)} missing"


def holes(ranges: list[list[int]]) -> str:
    """Return the missing ids in words, the newest first."""
    newest = [f"{first}–{last} ({number(last - first + 1, 0)})" for first, last in reversed(ranges)]
    more = len(newest) - MOST_RANGES
    return " · ".join(newest[:MOST_RANGES] + ([f"and {more} more"] if more > 0 else []))


def connection_text(connection: dict[str, Any]) -> str:
    """Return what a connection carries."""
    symbols = connection["symbol"].split(",")
    more = len(symbols) - MOST_SYMBOLS
    named = ", ".join(symbols[:MOST_SYMBOLS]) + (f" and {more} more" if more > 0 else "")
    return f"{connection['source']} {connection['channel']} {named}"


def backfill_text(ready: dict[str, Any]) -> str:
    """Return how far the fetching of missing trades is."""
    if ready["backfill_status"] != "running":
        return "idle"
    progress = ready["backfill_progress"]
    left = progress["estimated_seconds_remaining"]
    text = (
        f"{progress['current']:,} of {progress['total']:,} trades, {progress['percentage']:.1f} %"
    )
    return text if left is None else f"{text}, {math.ceil(left):,} s left"


def event_text(event: dict[str, Any], proof: str = COUNTED) -> str:
    """Return what an event tells, in words."""
    detail = event["detail"]
    match event["kind"]:
        case kind if kind in OF_TRADES:
            return _of_trades(kind, detail, proof)
        case "session_change":
            return f"session {detail['from']} → {detail['to']}"
        case "day_roll":
            return "a new UTC day begins"
        case "restated":
            return restated_text(detail)
        case "left_out":
            return f"{counted(detail['trades'], 'trade')} left out by the feed"
        case "grid_refined":
            return f"finer grid: tick {detail['tick']}, lot {detail['lot']}"
        case kind:
            return str(kind).replace("_", " ")


def _of_trades(kind: str, detail: dict[str, Any], proof: str) -> str:
    if proof == COUNTED:
        first_id, last_id = detail["first_id"], detail["last_id"]
        count = counted(last_id - first_id + 1, "trade")
        return f"{count} {OF_TRADES[kind]}, ids {first_id}–{last_id}"
    if kind == "hole_exchange_side":
        return "nothing is missing: the venue has no trade there"
    return f"an unknown number of trades {OF_TRADES[kind]}"


def restated_text(detail: dict[str, Any]) -> str:
    """Return what a number was restated to, and why."""
    at = iso(detail["start_us"])[11:16]
    what = {"candle": f"candle {detail['name']} {at}", "day": "UTC day"}
    name = what.get(detail["what"], f"session {detail['name']}")
    trades = [number(detail[side]["trades"], 0) for side in ("old", "new")]
    return f"{name} restated ({detail['cause']}): {trades[0]} → {trades[1]} trades"
