"""Numbers as people read them."""

import pytest

from marketdata.views.figures import (
    backfill_text,
    connection_text,
    covered,
    event_text,
    figures,
    holes,
    ladder,
    number,
    places,
    signed,
    window,
)


@pytest.mark.parametrize(
    ("step", "decimals"),
    [(0.01, 2), (0.1, 1), (1.0, 0), (10.0, 0), (0.5, 1), (0.25, 2), (1e-05, 5), (1e-08, 8)],
)
def test_places(step, decimals):
    assert places(step) == decimals


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1234567.891, 2, "1,234,567.89"),
        (-1234.5, 1, "−1,234.5"),
        (0.0, 2, "0.00"),
        (999.0, 0, "999"),
        (1000.0, 0, "1,000"),
        (None, 2, "–"),
    ],
)
def test_number(value, decimals, text):
    assert number(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "+1.00"), (-1.0, "−1.00"), (0.0, "0.00"), (-0.001, "0.00"), (0.001, "0.00")],
)
def test_signed(value, text):
    assert signed(value, 2) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.0, "100.0000 %"),
        (863_402 / 863_403, "99.9998 %"),
        (999_999_999 / 1_000_000_000, "99.9999 %"),
        (2 / 3, "66.6666 %"),
        (0.57, "57.0000 %"),
        (None, "–"),
    ],
)
def test_only_a_whole_scope_reads_a_hundred(ratio, text):
    assert covered(ratio) == text


def test_window():
    assert window("2024-01-01T08:00:00.000Z", "2024-01-01T12:00:00.000Z") == "08:00–12:00 UTC"
    assert window("2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00.000Z") == "00:00–24:00 UTC"


def test_holes_newest_first():
    assert holes([]) == ""
    assert holes([[3, 5], [10, 10]]) == "10–10 (1) · 3–5 (3)"
    assert holes([[n, n] for n in range(0, 16, 2)]).endswith("· 4–4 (1) · and 2 more")


@pytest.mark.parametrize(
    ("kind", "detail", "text"),
    [
        ("gap", {"first_id": 5, "last_id": 1004, "reason": "sequence"}, "1,000 trades missing"),
        ("gap_closed", {"first_id": 5, "last_id": 6}, "2 trades refilled, ids 5–6"),
        ("session_change", {"from": "off", "to": "london"}, "session off → london"),
        ("day_roll", {}, "a new UTC day begins"),
        ("grid_refined", {"tick": "0.001", "lot": "1"}, "finer grid: tick 0.001, lot 1"),
        ("feed_state", {}, "feed state"),
        ("left_out", {"trades": 1200, "refs": []}, "1,200 trades left out by the feed"),
        (
            "hole_exchange_side",
            {"first_id": 5, "last_id": 6, "reason": "the venue does not have them"},
            "2 trades the venue does not have, ids 5–6",
        ),
        ("hole_permanent", {"first_id": 5, "last_id": 5, "reason": "x"}, "1 trade given up"),
        (
            "restated",
            {
                "what": "candle",
                "name": "1m",
                "start_us": 1_704_067_260_000_000,
                "cause": "refill",
                "old": {"trades": 12},
                "new": {"trades": 1024},
            },
            "candle 1m 00:01 restated (refill): 12 → 1,024 trades",
        ),
        (
            "restated",
            {
                "what": "session",
                "name": "london",
                "start_us": 0,
                "cause": "late",
                "old": {"trades": 1},
                "new": {"trades": 2},
            },
            "session london restated (late): 1 → 2 trades",
        ),
    ],
)
def test_event_text(kind, detail, text):
    assert event_text({"kind": kind, "ts": "", "detail": detail}).startswith(text)


def backfill(status, current, total, percentage, left):
    progress = {"current": current, "total": total, "percentage": percentage}
    progress["estimated_seconds_remaining"] = left
    return {"backfill_status": status, "backfill_progress": progress}


BACKFILLS = [
    backfill("idle", 0, 0, 100.0, None),
    backfill("running", 1346415, 1753977, 76.76, 4.336),
    backfill("running", 0, 1000, 0.0, None),
]


def test_backfill_text():
    assert [backfill_text(ready) for ready in BACKFILLS] == [
        "idle",
        "1,346,415 of 1,753,977 trades, 76.8 %, 5 s left",
        "0 of 1,000 trades, 0.0 %",
    ]


CONNECTIONS = [
    {"source": "binance_ws", "channel": "aggTrade", "symbol": "BTCUSDT"},
    {"source": "binance_ws", "channel": "trade", "symbol": "A,B,C,D,E"},
]


def test_connection_text():
    assert [connection_text(item) for item in CONNECTIONS] == [
        "binance_ws aggTrade BTCUSDT",
        "binance_ws trade A, B, C and 2 more",
    ]


NOTHING = dict.fromkeys(
    ("VWAP", "VWAP_SD", "POC", "VAH", "VAL", "PDH", "PDL", "PDC", "OPEN", "HIGH", "LOW", "LAST")
)
EMPTY = {
    "as_of": "2024-01-01T00:00:01.000Z",
    "start": "2024-01-01T00:00:00.000Z",
    "end": "2024-01-02T00:00:00.000Z",
    "session": {
        "name": "off",
        "start": "2024-01-01T00:00:00.000Z",
        "end": "2024-01-01T08:00:00.000Z",
        "active": False,
        "message": "Off hours",
    },
    "levels": NOTHING,
    "volume": 0.0,
    "buy_volume": 0.0,
    "sell_volume": 0.0,
    "cumulative_delta": 0.0,
    "delta_min": 0.0,
    "delta_max": 0.0,
    "trades": 0,
    "coverage": {
        "expected": 0,
        "held": 0,
        "missing": 0,
        "holes": 0,
        "left_out": 0,
        "ratio": None,
        "proof": "id_exact",
        "ranges": [],
        "sources": {},
    },
    "definition": {"tick_size": 0.01, "lot_size": 1e-05},
    "estimated": [],
    "precision": "exact",
}


def test_nothing_is_shown_as_nothing():
    found = figures(EMPTY, None, None)
    shown = {name: found[name].text for name in ("price", "change", "coverage", "bought_share")}
    assert shown == {"price": "–", "change": "■ –", "coverage": "–", "bought_share": "–"}
    assert {row.price for row in ladder(EMPTY, None)} == {"–"}
    assert (found["session"].text, found["session_note"].text) == ("Off hours", "")


TICKS = {
    **EMPTY,
    "levels": {**NOTHING, "POC": 103.0, "VAH": 104.0, "VAL": 101.0, "OPEN": 100.0},
    **dict.fromkeys(
        ("volume", "buy_volume", "sell_volume", "cumulative_delta", "delta_min", "delta_max")
    ),
    "trades": 41502,
    "ticks": {"count": 41502, "delta": -358.0},
    "estimated": ["POC", "VAH", "VAL", "volume_profile", "ticks.delta"],
    "coverage": {**EMPTY["coverage"], "proof": "cadence", "expected": 41505, "held": 41502,
                 "missing": 3, "holes": 1, "ratio": 41502 / 41505, "ranges": [[1 << 40, 1 << 41]]},
}  # fmt: skip
HOLES = {
    **EMPTY["coverage"], "proof": "overlap", "expected": None, "held": 1135, "missing": None,
    "holes": 2, "ranges": [[5, 1 << 41], [1 << 42, 1 << 43]],
}  # fmt: skip


def test_ticks_have_no_size_and_say_so():
    found = {name: figure.text for name, figure in figures(TICKS, 100.0, 103.0).items()}
    unknown = ("volume", "bought", "sold", "bought_share", "delta", "delta_min", "delta_max")
    assert {found[name] for name in unknown} == {"–"}
    assert found["trades_of"] == "ticks, no size"
    assert found["delta_of"] == "no size, no side; ticks up less down −358, estimated"
    assert (found["missing"], found["holes"]) == ("3 missing", "1 hole, 3 missing")
    rows = {row.name: row for row in ladder(TICKS, 103.0)}
    assert (rows["VWAP"].price, rows["VWAP"].distance.text) == ("–", "no size")
    assert rows["VWAP+1"].distance.text == "no size"
    assert [rows[name].is_estimated for name in ("POC", "VAH", "OPEN", "VWAP")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_hole_of_unknown_size_is_told_without_numbers():
    found = figures({**EMPTY, "coverage": HOLES}, None, None)
    assert found["missing"].text == found["holes"].text == "2 holes, size unknown"
    assert (found["coverage"].text, found["coverage"].side) == ("unknown", "hole")
    assert (found["held"].text, found["expected"].text) == ("1,135", "an unknown number")


def test_what_a_feed_left_out_is_told_beside_the_holes():
    found = figures({**EMPTY, "coverage": {**HOLES, "left_out": 1234}}, None, None)
    assert found["missing"].text == "2 holes, size unknown"
    assert found["holes"].text == "2 holes, size unknown · 1,234 left out by the feed"
    known = {**EMPTY["coverage"], "proof": "overlap", "expected": 40, "held": 30, "missing": 10,
             "left_out": 10, "ratio": 0.75}  # fmt: skip
    found = figures({**EMPTY, "coverage": known}, None, None)
    assert (found["missing"].text, found["holes"].text) == ("10 missing", "10 left out by the feed")
    assert (found["coverage"].text, found["coverage"].side) == ("75.0000 %", "hole")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("gap", "an unknown number of trades missing"),
        ("gap_closed", "an unknown number of trades refilled"),
        ("hole_permanent", "an unknown number of trades given up"),
        ("hole_exchange_side", "nothing is missing: the venue has no trade there"),
    ],
)
def test_jumps_in_numbers_of_ours_count_nothing(kind, text):
    event = {"kind": kind, "ts": "", "detail": {"first_id": 5, "last_id": 1 << 40}}
    assert event_text(event, "overlap") == text


def test_ladder_goes_by_price_and_ends_with_the_unknown():
    levels = {**NOTHING, "VWAP": 100.0, "VWAP_SD": 2.0, "POC": 103.0, "LOW": 99.0, "LAST": 5.0}
    rows = ladder({**EMPTY, "levels": levels}, 101.0)
    known = [(row.name, row.price) for row in rows if row.price != "–"]
    assert known == [
        ("VWAP+3", "106.00"),
        ("VWAP+2", "104.00"),
        ("POC", "103.00"),
        ("VWAP+1", "102.00"),
        ("LAST", "101.00"),
        ("VWAP", "100.00"),
        ("LOW", "99.00"),
        ("VWAP-1", "98.00"),
        ("VWAP-2", "96.00"),
        ("VWAP-3", "94.00"),
    ]
    away = {row.name: (row.distance.text, row.distance.side, row.share) for row in rows}
    assert away["POC"] == ("−2.00", "down", "−1.94 %")
    assert away["LOW"] == ("+2.00", "up", "+2.02 %")
    assert away["PDH"] == ("–", "flat", "–")
    assert away["LAST"] == ("", "", "")
