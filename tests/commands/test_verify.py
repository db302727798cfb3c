import csv
import hashlib
import json
import struct
from dataclasses import replace
from decimal import Decimal
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from marketdata import verify as module
from marketdata.core.instrument import Grid
from marketdata.core.numbering import number_at
from marketdata.core.trades import Trades
from marketdata.management.commands import verify as command
from marketdata.models import (
    ID_BITS,
    Certificate,
    CoverageSegment,
    Edge,
    Trade,
    TradingSession,
)
from marketdata.store import instruments
from marketdata.store.tape import open_tape
from tests.core.invented import DAY_US, HOUR, MONDAY, tape
from tests.store.stored import Immediate, run_of, store

pytestmark = pytest.mark.django_db
GRID = Grid(Decimal("0.01"), Decimal(1))


@pytest.fixture
def btc():
    """Return a stored instrument."""
    return instruments.remember("binance_ws", "BTCUSDT", GRID)


def verify(*options, symbol="BTCUSDT"):
    """Run the command; return what it printed and its exit code."""
    out, code = StringIO(), 0
    try:
        call_command("verify", "--symbol", symbol, *options, stdout=out, skip_checks=True)
    except SystemExit as end:
        code = end.code
    return out.getvalue(), code


def answer_of(*options, **names):
    text, code = verify(*options, "--json", **names)
    assert text.count("\n") == 1
    return json.loads(text), code


def test_a_whole_day_is_certified(btc):
    store(btc.id, run_of(100, 5), "live")
    store(btc.id, run_of(105, 4), "rest")
    answer, code = answer_of("--date", "2024-01-01")
    assert code == 0
    certificate, as_of = answer.pop("certificate"), answer.pop("as_of")
    assert as_of > "2026-01-01"
    assert answer == {
        "source": "binance_ws",
        "symbol": "BTCUSDT",
        "scope": "day",
        "start": "2024-01-01T00:00:00.000Z",
        "end": "2024-01-02T00:00:00.000Z",
        "expected": 9,
        "held": 9,
        "missing": 0,
        "counted": True,
        "left_out": 0,
        "ranges": [],
        "exchange_side": [],
        "permanent": [],
        "reasons": [],
        "duplicates": 0,
        "refused": 0,
        "edges": "held",
        "proof": "id_exact",
        "disagreements": [],
    }
    assert (certificate["first_id"], certificate["last_id"], certificate["trades"]) == (100, 108, 9)
    assert certificate["sources"] == {"live": 5, "rest": 4}
    rows = Trade.objects.order_by("id").values_list("trade_id", "ts_us", "price", "qty", "is_buy")
    told = b"".join(struct.pack("<qqddq", *row) for row in rows)
    assert certificate["sha256"] == hashlib.sha256(told).hexdigest()


def test_trades_that_a_feed_left_out_end_with_code_one_though_no_number_is_missing():
    bybit = instruments.remember("bybit", "BTCUSDT", GRID)
    first = number_at(MONDAY)
    rows = [(first + at, MONDAY + at * HOUR, 100, 1, True) for at in range(4)]
    store(bybit.id, tape(*rows), "live")
    asked = ("--source", "bybit", "--date", "2024-01-01")
    assert verify(*asked)[1] == 0
    lost = tape((0, MONDAY + 90, 100, 1, True), (0, MONDAY + HOUR + 90, 100, 1, False))
    Immediate().put_omissions(bybit.id, replace(lost, ref=np.array([b"a", b"b"])))
    text, code = verify(*asked)
    assert code == 1
    assert "missing   2\n" in text
    assert "left out  2 by the feed" in text


def test_missing_trades_end_with_code_one(btc):
    store(btc.id, tape(*((id, MONDAY + id, 1, 1, True) for id in (5, 6, 9, 12))))
    answer, code = answer_of("--date", "2024-01-01")
    assert (answer["expected"], answer["held"], answer["missing"]) == (8, 4, 4)
    assert (answer["ranges"], code) == ([[7, 8], [10, 11]], 1)
    text, code = verify("--date", "2024-01-01")
    assert code == 1
    assert "missing   4\n          7..8\n          10..11\n" in text


def test_neighbours_bound_the_range(btc):
    store(btc.id, tape((1, MONDAY - HOUR, 1, 1, True), (4, MONDAY, 1, 1, True)))
    store(btc.id, tape((9, MONDAY + DAY_US, 1, 1, True)))
    answer, code = answer_of("--date", "2024-01-01")
    assert (answer["ranges"], answer["edges"], code) == ([[2, 3], [5, 8]], "neighbour", 1)
    store(btc.id, tape(*((id, MONDAY, 1, 1, True) for id in (2, 3, 5, 6, 7, 8))))
    answer, code = answer_of("--start", "2024-01-01", "--end", "2024-01-02T00:00:00Z")
    assert (answer["expected"], answer["missing"], answer["edges"], code) == (7, 0, "neighbour", 0)


def test_ids_that_stray_over_midnight_are_not_missing(btc):
    rows = [(1, -2), (2, 5), (3, -1), (4, 6)]
    store(btc.id, tape(*((id, MONDAY + shift, 1, 1, True) for id, shift in rows)))
    answer, code = answer_of("--date", "2024-01-01")
    assert (answer["expected"], answer["held"], answer["ranges"], code) == (2, 2, [], 0)


def test_a_day_inside_a_hole_misses_the_hole(btc):
    store(btc.id, tape((1, MONDAY - HOUR, 1, 1, True)))
    store(btc.id, tape((50, MONDAY + DAY_US, 1, 1, True)))
    answer, code = answer_of("--date", "2024-01-01")
    assert (answer["held"], answer["ranges"], answer["edges"], code) == (
        0,
        [[2, 49]],
        "neighbour",
        1,
    )
    assert answer["certificate"]["first_id"] is None


def test_a_quiet_hour_between_neighbours_misses_nothing(btc):
    store(btc.id, tape((1, MONDAY - HOUR, 1, 1, True), (2, MONDAY + DAY_US, 1, 1, True)))
    answer, code = answer_of("--date", "2024-01-01")
    assert (answer["expected"], answer["missing"], answer["edges"], code) == (0, 0, "neighbour", 0)


def test_a_day_nobody_knows_of_is_no_success(btc):
    store(btc.id, run_of(1, 5))
    with pytest.raises(CommandError, match="no trade is stored from 2024-01-05") as caught:
        verify("--date", "2024-01-05")
    assert caught.value.returncode == 1


def test_a_ledger_that_lies_is_found(btc):
    store(btc.id, run_of(1, 10))
    Trade.objects.filter(id=(btc.id << ID_BITS) + 4).delete()
    answer, code = answer_of("--date", "2024-01-01")
    assert answer["disagreements"] == ["the ledger claims 4..4, the rows do not hold it"]
    assert code == 1
    CoverageSegment.objects.all().delete()
    with pytest.raises(CommandError):
        verify("--date", "2024-01-01")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--date", "2024-01-01", "--start", "2024-01-01", "--end", "2024-01-02"],
        ["--start", "2024-01-01"],
        ["--start", "2024-01-02", "--end", "2024-01-02"],
        ["--date", "01.02.2024"],
        ["--date", "2024-01-01", "--source", "kraken"],
        ["--start", "2024-01-01", "--end", "2024-01-02", "--scope", "london"],
        ["--date", "2094-01-01", "--repair"],
    ],
)
def test_bad_arguments_end_with_code_two(btc, options):
    with pytest.raises(CommandError, match="expected") as caught:
        verify(*options)
    assert caught.value.returncode == 2


def test_nothing_stored_ends_with_code_one():
    with pytest.raises(CommandError, match="no trade of BTCUSDT") as caught:
        verify("--date", "2024-01-01")
    assert caught.value.returncode == 1


def absent(instrument, first, last, kind, reason):
    Immediate().put_absence(instrument.id, [(first, last)], kind, reason, MONDAY)


def test_what_the_venue_lacks_is_told_apart_from_what_is_missing(btc):
    store(btc.id, tape(*((id, MONDAY + id, 1, 1, True) for id in (5, 9, 20))))
    absent(btc, 6, 8, "exchange_side", "the venue does not have them")
    absent(btc, 12, 14, "permanent", "given up after 8 attempts")
    answer, code = answer_of("--date", "2024-01-01")
    assert (answer["expected"], answer["held"], answer["missing"], code) == (13, 3, 10, 1)
    assert answer["ranges"] == [[10, 19]]
    assert answer["exchange_side"] == [[6, 8]]
    assert answer["permanent"] == [[12, 14]]
    assert answer["reasons"][1] == {
        "first_id": 12, "last_id": 14, "kind": "permanent", "reason": "given up after 8 attempts",
    }  # fmt: skip
    text, _ = verify("--date", "2024-01-01")
    assert "          6..8 not at the venue\n" in text
    assert "reason    12..14 given up after 8 attempts\n" in text
    absent(btc, 10, 19, "exchange_side", "the venue does not have them")
    answer, code = answer_of("--date", "2024-01-01")
    assert (answer["expected"], answer["missing"], answer["permanent"], code) == (3, 0, [], 0)


def test_the_venues_edges_bound_the_day(btc):
    store(btc.id, run_of(100, 5))
    Edge.objects.create(instrument_id=btc.id, start_us=MONDAY, first_id=98)
    Edge.objects.create(instrument_id=btc.id, start_us=MONDAY + DAY_US, first_id=107)
    answer, code = answer_of("--date", "2024-01-01")
    assert (answer["ranges"], answer["edges"], code) == ([[98, 99], [105, 106]], "venue", 1)
    answer, code = answer_of("--start", "2024-01-01", "--end", "2024-01-01T12:00:00")
    assert (answer["scope"], answer["ranges"]) == ("range", [[98, 99]])


def test_a_day_of_which_only_the_venue_knows_is_missing_whole(btc):
    store(btc.id, run_of(1, 5))
    for shift, first_id in ((1, 10), (2, 30)):
        Edge.objects.create(
            instrument_id=btc.id, start_us=MONDAY + shift * DAY_US, first_id=first_id
        )
    answer, code = answer_of("--date", "2024-01-02")
    assert (answer["held"], answer["ranges"], answer["edges"], code) == (0, [[10, 29]], "venue", 1)


def test_a_session_has_a_certificate_of_its_own(btc):
    nine = MONDAY + 9 * HOUR
    rows = ((1, MONDAY), (3, nine), (5, nine + 1), (7, MONDAY + 20 * HOUR))
    store(btc.id, tape(*((id, at, 1, 1, True) for id, at in rows)))
    answer, code = answer_of("--date", "2024-01-01", "--scope", "london")
    assert (answer["scope"], answer["start"][11:16], answer["end"][11:16]) == (
        "london",
        "08:00",
        "12:00",
    )
    assert (answer["held"], answer["ranges"], code) == (2, [[2, 2], [4, 4], [6, 6]], 1)
    with pytest.raises(CommandError, match="a scope of day, london, overlap expected") as caught:
        verify("--date", "2024-01-01", "--scope", "tokyo")
    assert caught.value.returncode == 2
    TradingSession.objects.filter(name="london").update(weekdays="23456")
    with pytest.raises(CommandError, match="a day on which london opens expected, seen 2024-01-01"):
        verify("--date", "2024-01-01", "--scope", "london")


def test_a_certificate_is_kept_and_made_anew_when_the_ledger_changed(btc, monkeypatch):
    store(btc.id, tape(*((id, MONDAY + id, 1, 1, True) for id in (5, 6, 9))))
    first, _ = answer_of("--date", "2024-01-01")
    row = Certificate.objects.get()
    assert (row.scope, row.start_us, row.end_us) == ("day", MONDAY, MONDAY + DAY_US)
    assert (row.expected, row.held, row.missing) == (5, 3, 2)
    assert row.sha256 == first["certificate"]["sha256"]
    monkeypatch.setattr(module, "verified", None)  # nothing is counted again
    assert answer_of("--date", "2024-01-01")[0] == first
    monkeypatch.undo()
    for change in (
        lambda: store(btc.id, run_of(7, 1), "rest"),
        lambda: absent(btc, 8, 8, "exchange_side", "not there"),
        lambda: Edge.objects.create(instrument_id=btc.id, start_us=MONDAY, first_id=4),
        lambda: store(btc.id, tape((11, MONDAY + DAY_US, 1, 1, True))),
    ):
        before = Certificate.objects.get().detail
        change()
        assert answer_of("--date", "2024-01-01")[0] != before
    row = Certificate.objects.get()
    # 4 is missing, 8 is not at the venue, 10 is missing before the next day's first.
    assert (row.expected, row.held, row.missing) == (6, 4, 2)
    assert row.detail["ranges"] == [[4, 4], [10, 10]]


def test_a_database_that_cannot_be_written_is_verified_all_the_same(btc, monkeypatch):
    def locked(*args):
        raise OperationalError("database is locked")

    store(btc.id, run_of(1, 5))
    monkeypatch.setattr(module.certificates, "keep", locked)
    answer, code = answer_of("--date", "2024-01-01")
    assert (answer["held"], answer["missing"], code) == (5, 0, 0)


def test_a_day_that_is_not_over_is_counted_each_time(btc, monkeypatch):
    store(btc.id, run_of(1, 5))
    monkeypatch.setattr(command, "wall_us", lambda: MONDAY + HOUR)
    assert answer_of("--date", "2024-01-01")[0]["held"] == 5
    assert not Certificate.objects.exists()


@pytest.mark.realdata
def test_recorder_outages_are_found(shared_data):
    folder = shared_data / "tapes/ltcusdt_gappy"
    ids = set()
    instrument = None
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            ids |= {int(row["tradeId"]) for row in csv.DictReader(file)}
        trades = Trades.concat(open_tape(path).batches())
        grid = Grid.of_values(trades.price, trades.qty)
        instrument = instruments.remember("binance_ws", "LTCUSDT", grid, channel="trade")
        store(instrument.id, trades)
    answer, code = answer_of("--date", "2025-06-21", symbol="LTCUSDT")
    missing = [id for id in range(min(ids), max(ids) + 1) if id not in ids]
    told = [id for first, last in answer["ranges"] for id in range(first, last + 1)]
    assert told == missing
    assert (answer["missing"], answer["held"], code) == (len(missing), len(ids), 1)
    assert len(missing) > 100
