import json
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from marketdata.core.instrument import Grid
from marketdata.core.trades import Trades
from marketdata.models import DailyLevel, Instrument
from marketdata.store import instruments
from marketdata.store.tape import open_tape
from tests.core.invented import DAY_US, MONDAY
from tests.store.files import SPOT_AGG, plain
from tests.store.stored import run_of, store

pytestmark = pytest.mark.django_db
GRID = Grid(Decimal("0.01"), Decimal(1))
# What replay adds to the context.
EXTRA = {"events", "first_ts", "last_ts", "trades_total", "duplicates", "seconds"}
EXTRA |= {"trades_per_second"}


def context(*options):
    out = StringIO()
    call_command("context", "--symbol", "BTCUSDT", *options, stdout=out, skip_checks=True)
    return out.getvalue()


def replayed(path):
    out = StringIO()
    call_command("replay", str(path), "--json", stdout=out)
    answer = json.loads(out.getvalue())
    return {name: value for name, value in answer.items() if name not in EXTRA}


def stored(path, cuts=3):
    """Store a tape in parts of different origins, the last first."""
    trades = Trades.concat(open_tape(path).batches())
    instrument = instruments.remember(
        "binance_ws", "BTCUSDT", Grid.of_values(trades.price, trades.qty)
    )
    size = max(1, len(trades) // cuts)
    parts = list(trades.batches(size))
    for part, origin in zip(parts[::-1], ["live", "rest", "archive", "file"], strict=False):
        store(instrument.id, part, origin)
    return trades


def without_sources(answer):
    coverage = {**answer["coverage"], "sources": sum(answer["coverage"]["sources"].values())}
    return {**answer, "coverage": coverage}


def test_a_stored_tape_has_the_context_of_its_replay(tmp_path):
    path = plain(tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv", SPOT_AGG)
    stored(path)
    text = context("--json")
    assert text.count("\n") == 1
    answer = json.loads(text)
    assert without_sources(answer) == without_sources(replayed(path))
    assert answer["coverage"]["sources"] == {"live": 1, "rest": 1, "archive": 1}
    assert json.loads(context("--date", "2024-01-01", "--json")) == answer


@pytest.mark.realdata
def test_the_real_day_stored_has_the_context_of_its_replay(shared_data):
    path = shared_data / "tapes/BTCUSDT-aggTrades-2024-01-01.zip"
    stored(path)
    answer = json.loads(context("--date", "2024-01-01", "--json"))
    assert without_sources(answer) == without_sources(replayed(path))


def test_a_day_and_a_session_can_be_asked_for():
    instrument = instruments.remember("binance_ws", "BTCUSDT", GRID)
    store(instrument.id, run_of(1, 100))
    hour = 3_600_000_000
    store(instrument.id, run_of(101, 50, start_us=MONDAY + DAY_US + 9 * hour))
    newest = json.loads(context("--json"))
    assert (newest["start"], newest["trades"]) == ("2024-01-02T00:00:00.000Z", 50)
    london = json.loads(context("--scope", "london", "--json"))
    assert (london["scope"], london["start"], london["trades"]) == (
        "london", "2024-01-02T08:00:00.000Z", 50,
    )  # fmt: skip
    monday = json.loads(context("--date", "2024-01-01", "--json"))
    assert (monday["trades"], monday["levels"]["PDH"]) == (100, None)
    DailyLevel.objects.create(
        instrument_id=instrument.id, day_us=MONDAY, origin="trades", high=3, low=1, close=2
    )
    assert json.loads(context("--json"))["levels"]["PDH"] == 3


def test_people_get_lines():
    instrument = instruments.remember("binance_ws", "BTCUSDT", GRID)
    store(instrument.id, run_of(1, 100)[::2])
    text = context()
    assert "BTCUSDT at binance_ws, scope day" in text
    assert "coverage  50 of 99 trades held (50.5051%), 49 missing, proof id_exact, degraded" in text


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--source", "kraken"], "a source of binance_ws.* expected, seen 'kraken'", 2),
        (
            ["--scope", "tokyo"],
            "a scope of day, current, london, overlap expected, seen 'tokyo'",
            2,
        ),
        (["--date", "yesterday"], "an ISO time or date such as 2024-01-01 expected", 2),
        (["--date", "2023-12-31"], "no trade of BTCUSDT at binance_ws is stored for 2023-12-31", 1),
    ],
)
def test_errors_say_what_was_expected(options, words, code):
    instrument = instruments.remember("binance_ws", "BTCUSDT", GRID)
    store(instrument.id, run_of(1, 10))
    with pytest.raises(CommandError, match=words) as caught:
        context(*options)
    assert caught.value.returncode == code


def test_what_is_stored_instead_is_told():
    with pytest.raises(CommandError, match=r"no trade of BTCUSDT.* is stored; stored: nothing"):
        context()
    Instrument.objects.create(source="binance_ws", symbol="ETHUSDT", tick="0.01", lot="1")
    with pytest.raises(CommandError, match=r"stored: ETHUSDT \(binance_ws\)") as caught:
        context()
    assert caught.value.returncode == 1


def test_an_instrument_without_trades_has_no_context():
    Instrument.objects.create(source="binance_ws", symbol="BTCUSDT", tick="0.01", lot="1")
    with pytest.raises(CommandError, match="is stored for any day"):
        context()
