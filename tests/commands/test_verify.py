import csv
import hashlib
import json
import struct
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.models import ID_BITS, CoverageSegment, Trade
from marketdata.store import instruments
from marketdata.store.tape import open_tape
from tests.core.invented import DAY_US, HOUR, MONDAY, tape
from tests.store.stored import run_of, store

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
    certificate = answer.pop("certificate")
    assert answer == {
        "source": "binance_ws",
        "symbol": "BTCUSDT",
        "start": "2024-01-01T00:00:00.000Z",
        "end": "2024-01-02T00:00:00.000Z",
        "expected": 9,
        "held": 9,
        "missing": 0,
        "ranges": [],
        "exchange_side": [],
        "duplicates": 0,
        "edges": "held",
        "proof": "id_exact",
        "disagreements": [],
    }
    assert (certificate["first_id"], certificate["last_id"], certificate["trades"]) == (100, 108, 9)
    assert certificate["sources"] == {"live": 5, "rest": 4}
    rows = Trade.objects.order_by("id").values_list("trade_id", "ts_us", "price", "qty", "is_buy")
    told = b"".join(struct.pack("<qqddq", *row) for row in rows)
    assert certificate["sha256"] == hashlib.sha256(told).hexdigest()


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
