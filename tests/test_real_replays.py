"""Recorded days of venues that number no trades, through the replay command."""

from __future__ import annotations

import csv
import json
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.management import call_command

from marketdata.store.tape import open_tape

pytestmark = pytest.mark.realdata
TICKS = "tapes/deriv_R_100_2026-04-04.csv"
# 2026-04-03T12:00:00Z and a day later; the recording covers some seconds more.
NOON_S, MIDNIGHT_S = 1_775_217_600, 1_775_260_800
NEXT_NOON_S = 1_775_304_000


def replay(path: Path) -> dict:
    out = StringIO()
    call_command("replay", str(path), "--json", stdout=out)
    return json.loads(out.getvalue())


def rows_of(path: Path, start_s: int, end_s: int) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [r for r in csv.DictReader(file) if start_s <= int(r["unix_time"]) < end_s]


def part(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "deriv_part.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def ups(rows: list[dict[str, str]]) -> int:
    """Return how many more ticks went up than down, level ones as the one before them."""
    total, side = 1, 1
    for before, after in pairwise(float(row["price"]) for row in rows):
        side = side if after == before else 1 if after > before else -1
        total += side
    return total


def test_a_recorded_day_of_ticks_lacks_two_of_those_due(shared_data, tmp_path):
    halves = []
    for start_s, end_s in ((NOON_S, MIDNIGHT_S), (MIDNIGHT_S, NEXT_NOON_S)):
        rows = rows_of(shared_data / TICKS, start_s, end_s)
        answer = replay(part(tmp_path, rows))
        prices = [float(row["price"]) for row in rows]
        assert (answer["source"], answer["symbol"]) == ("deriv", "R_100")
        levels = [answer["levels"][name] for name in ("OPEN", "HIGH", "LOW", "LAST")]
        assert levels == [prices[0], max(prices), min(prices), prices[-1]]
        assert (answer["volume"], answer["levels"]["VWAP"]) == (None, None)
        assert answer["ticks"] == {"count": len(rows), "delta": ups(rows)}
        assert answer["coverage"]["proof"] == "cadence"
        halves.append(answer)
    told = [
        sum(half["coverage"][name] for half in halves) for name in ("expected", "held", "missing")
    ]
    assert told == [43_200, 43_198, 2]
    # Both are missing after midnight: before it nothing is.
    assert [half["precision"] for half in halves] == ["exact", "degraded"]


def test_the_recording_is_one_stretch_over_midnight(shared_data):
    rows = rows_of(shared_data / TICKS, MIDNIGHT_S, 2 * MIDNIGHT_S)
    answer = replay(shared_data / TICKS)
    assert (answer["trades_total"], answer["duplicates"]) == (43_275, 0)
    assert answer["trades"] == len(rows)
    coverage = answer["coverage"]
    assert (coverage["missing"], coverage["holes"], coverage["edges"]) == (2, 0, "neighbour")
    assert answer["events"]["day_roll"] == 1
    assert "gap" not in answer["events"]


def test_ticks_of_a_file_are_known_by_their_second(shared_data):
    tape = open_tape(shared_data / TICKS)
    (ticks,) = tape.batches()
    rows = rows_of(shared_data / TICKS, 0, 2 * MIDNIGHT_S)
    assert (tape.source, tape.symbol, tape.channel) == ("deriv", "R_100", "ticks")
    assert [ref.decode() for ref in ticks.ref.tolist()] == [row["unix_time"] for row in rows]
    assert set(ticks.qty.tolist()) == {1.0}


def test_people_are_told_how_many_ticks_there_are(shared_data):
    out = StringIO()
    call_command("replay", str(shared_data / TICKS), stdout=out)
    assert "ticks     21,632" in out.getvalue()
    assert "21,632 of 21,634 trades held (99.9908%), 2 missing, proof cadence" in out.getvalue()


def test_a_recorded_day_of_bybit_spot(shared_data):
    answer = replay(shared_data / "tapes/bybit_spot_1INCHUSDT_2025-05-19.csv")
    assert (answer["source"], answer["symbol"], answer["trades"]) == ("bybit", "1INCHUSDT", 6_682)
    assert answer["volume"] == pytest.approx(2_212_863.02, rel=1e-12)
    assert answer["buy_volume"] == pytest.approx(1_088_360.31, rel=1e-12)
    assert answer["levels"]["VWAP"] == pytest.approx(0.2170845455, rel=1e-9)
    coverage = answer["coverage"]
    assert (coverage["proof"], coverage["held"], coverage["missing"]) == ("overlap", 6_682, 0)
