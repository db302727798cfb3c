"""`manage.py export`: days as files for others, whole or not there, honest about what they lack."""

import csv
import json
from dataclasses import replace
from decimal import Decimal
from io import StringIO

import numpy as np
import pyarrow.parquet as parquet
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from marketdata.bridge import tables
from marketdata.bridge.events import BUY, EXCH, LOCAL, SELL, TRADE
from marketdata.bridge.npz import read_npz
from marketdata.conf import Conf
from marketdata.core.instrument import Grid
from marketdata.core.numbering import number_at
from marketdata.core.trades import Trades
from marketdata.models import Candle, Edge
from marketdata.models import Instrument as InstrumentRow
from marketdata.store import instruments, ledger
from marketdata.store.lock import writing
from marketdata.store.tape import open_tape
from marketdata.store.writer import insert_refs, insert_trades
from tests.bridge.sessions import MS, NS, bybit_book, bybit_trade, capture
from tests.core.invented import DAY_US, MONDAY, tape
from tests.store.stored import store

pytestmark = pytest.mark.django_db
GRID = Grid(Decimal("0.01"), Decimal("0.001"))
SECOND, MINUTE = 1_000_000, 60_000_000
# Bought at 100, sold at 99.5 in the same minute, bought at 101 in the third.
ROWS = [
    (5, MONDAY + SECOND, 100.0, 1.5, True),
    (6, MONDAY + 59 * SECOND, 99.5, 0.25, False),
    (7, MONDAY + 2 * MINUTE, 101.0, 2.0, True),
]


def export(*words, **given):
    """Run the command; return its answer and what it said beside."""
    options = {"symbol": "BTCUSDT", "date": "2024-01-01", "out": "", **given}
    out, err = StringIO(), StringIO()
    pairs = [
        part
        for name, value in options.items()
        for part in (
            f"--{name.replace('_', '-')}",
            *([value] if not isinstance(value, list) else value),
        )
    ]
    call_command("export", *words, *map(str, pairs), stdout=out, stderr=err, skip_checks=True)
    assert out.getvalue().count("\n") == 1
    return json.loads(out.getvalue()), err.getvalue()


def footer(path):
    with parquet.ParquetFile(path) as file:
        return {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}


@pytest.fixture
def btc():
    """Return an instrument with a whole day of three trades."""
    found = instruments.remember("binance_ws", "BTCUSDT", GRID)
    store(found.id, tape(*ROWS))
    Edge.objects.create(instrument_id=found.id, start_us=MONDAY, first_id=5)
    Edge.objects.create(instrument_id=found.id, start_us=MONDAY + DAY_US, first_id=8)
    return found


def test_trades_become_parquet_that_is_a_tape_again(btc, tmp_path):
    path = tmp_path / "new" / "day.parquet"
    answer, said = export("trades", out=path)
    coverage = {
        "expected": 3, "held": 3, "missing": 0, "counted": True, "edges": "venue",
        "proof": "id_exact", "is_complete": True,
    }  # fmt: skip
    assert answer == {
        "what": "trades", "source": "binance_ws", "symbol": "BTCUSDT", "day": "2024-01-01",
        "path": str(path), "rows": 3, "first": "2024-01-01T00:00:01.000Z",
        "last": "2024-01-01T00:02:00.000Z", "coverage": coverage,
    }  # fmt: skip
    assert said == ""
    held = parquet.read_table(path)
    assert held.schema.names == ["id", "ts_us", "price", "qty", "is_buy"]
    assert [tuple(row.values()) for row in held.to_pylist()] == ROWS
    about = footer(path)
    assert json.loads(about["coverage"]) == coverage
    assert (about["source"], about["symbol"], about["channel"]) == (
        "binance_ws", "BTCUSDT", "aggTrade",
    )  # fmt: skip
    again = open_tape(path)
    assert (again.symbol, Trades.concat(again.batches()).id.tolist()) == ("BTCUSDT", [5, 6, 7])
    assert [left.name for left in path.parent.iterdir()] == ["day.parquet"]


def test_trades_become_csv(btc, tmp_path):
    path = tmp_path / "day.csv"
    answer, _ = export("trades", out=path)
    assert answer["rows"] == 3
    assert path.read_text() == (
        "id,ts_us,price,qty,is_buy\n"
        "5,1704067201000000,100.0,1.5,true\n"
        "6,1704067259000000,99.5,0.25,false\n"
        "7,1704067320000000,101.0,2.0,true\n"
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_candles_are_those_of_the_trades(btc, tmp_path, suffix):
    path = tmp_path / f"day{suffix}"
    answer, _ = export("candles", out=path)
    assert (answer["rows"], answer["first"], answer["last"]) == (
        2, "2024-01-01T00:00:00.000Z", "2024-01-01T00:02:00.000Z",
    )  # fmt: skip
    if suffix == ".csv":
        first, second = csv.DictReader(path.read_text().splitlines())
    else:
        first, second = parquet.read_table(path).to_pylist()
    told = [float(first[name]) for name in ("open", "high", "low", "close", "volume")]
    assert told == [100, 100, 99.5, 99.5, 1.75]
    told = [float(first[name]) for name in ("buy_volume", "sell_volume", "delta", "trades")]
    assert told == [1.5, 0.25, 1.25, 2]
    # (100 · 1.5 + 99.5 · 0.25) / 1.75
    assert float(first["vwap"]) == pytest.approx(174.875 / 1.75, rel=1e-15)
    assert (int(first["first_id"]), int(first["last_id"])) == (5, 6)
    assert (int(second["open_us"]), float(second["close"])) == (MONDAY + 2 * MINUTE, 101)
    assert str(first["closed"]).lower() == "true"


def test_candles_of_other_lengths_keep_to_the_day(btc, tmp_path):
    store(btc.id, tape((4, MONDAY - 1, 90, 1, True), (8, MONDAY + DAY_US, 110, 1, True)))
    export("candles", out=tmp_path / "day.csv", timeframe="1d")
    (day,) = csv.DictReader((tmp_path / "day.csv").read_text().splitlines())
    assert (day["open"], day["close"], day["volume"]) == ("100.0", "101.0", "3.75")
    with pytest.raises(CommandError, match="invalid choice: '1w'"):
        export("candles", out=tmp_path / "day.csv", timeframe="1w")


def test_minutes_whose_trades_are_gone_are_candles_still(btc, tmp_path):
    minute = {
        "open": 90, "high": 95, "low": 89, "close": 94, "volume": 3, "buy_volume": 1,
        "quote_volume": 276, "trades": 4, "first_id": 1, "last_id": 4,
    }  # fmt: skip
    for open_us in (MONDAY - MINUTE, MONDAY + 5 * MINUTE):
        Candle.objects.create(instrument_id=btc.id, timeframe="1m", open_us=open_us, **minute)
    answer, _ = export("candles", out=tmp_path / "day.csv")
    *_, last = csv.DictReader((tmp_path / "day.csv").read_text().splitlines())
    assert (answer["rows"], last["time"]) == (3, "2024-01-01T00:05:00.000Z")
    told = [last[name] for name in ("open", "high", "low", "close", "delta", "vwap")]
    assert told == ["90.0", "95.0", "89.0", "94.0", "-1.0", "92.0"]


def test_a_day_that_is_not_whole_is_said_to_be_so(tmp_path):
    btc = instruments.remember("binance_ws", "BTCUSDT", GRID)
    store(btc.id, tape(ROWS[0], (9, *ROWS[2][1:])))
    answer, said = export("trades", out=tmp_path / "day.parquet")
    assert said == (
        "2024-01-01 is not complete: 3 trades in 1 holes missing; "
        "manage.py verify --repair fetches what can be had\n"
    )
    assert (answer["coverage"]["missing"], answer["coverage"]["is_complete"]) == (3, False)
    assert json.loads(footer(tmp_path / "day.parquet")["coverage"])["missing"] == 3


def test_a_day_whose_ends_nobody_told_is_not_called_whole(tmp_path):
    btc = instruments.remember("binance_ws", "BTCUSDT", GRID)
    store(btc.id, tape(*ROWS))
    answer, said = export("trades", out=tmp_path / "day.csv")
    assert "nobody has told which trades begin and end it" in said
    assert not answer["coverage"]["is_complete"]


def refs(*rows):
    """Return trades that we number, with the venue's own names."""
    first = number_at(MONDAY)
    ids = [first + at for at in range(len(rows))]
    times = [MONDAY + at for at in range(len(rows))]
    made = Trades.of(ids, times, [1.0] * len(rows), [2.0] * len(rows), [True] * len(rows))
    return replace(made, ref=np.array(rows))


def remembered(source, symbol, trades, channel):
    found = instruments.remember(source, symbol, GRID, channel=channel)
    with writing():
        insert_trades(found.id, trades)
        insert_refs(found.id, trades, trades.ref)
        ledger.claim(found.id, trades, "live")
    return found


def test_the_venues_own_ids_stand_beside_ours_and_no_spreadsheet_runs_them(tmp_path):
    remembered("bybit", "BTCUSDT", refs(b"a-uuid", b"=1+1"), "publicTrade")
    export("trades", source="bybit", out=tmp_path / "day.csv")
    lines = list(csv.DictReader((tmp_path / "day.csv").read_text().splitlines()))
    assert [line["venue_id"] for line in lines] == ["a-uuid", "'=1+1"]
    export("trades", source="bybit", out=tmp_path / "day.parquet")
    held = parquet.read_table(tmp_path / "day.parquet").to_pylist()
    assert [row["venue_id"] for row in held] == ["a-uuid", "=1+1"]
    assert held[0]["id"] == number_at(MONDAY)


def test_what_a_tick_does_not_tell_is_left_open(tmp_path):
    remembered("deriv", "R_100", refs(b"1704067200"), "ticks")
    export("trades", source="deriv", symbol="R_100", out=tmp_path / "day.csv")
    (line,) = csv.DictReader((tmp_path / "day.csv").read_text().splitlines())
    assert (line["price"], line["qty"], line["is_buy"]) == ("1.0", "", "")
    export("trades", source="deriv", symbol="R_100", out=tmp_path / "day.parquet")
    (row,) = parquet.read_table(tmp_path / "day.parquet").to_pylist()
    assert (row["price"], row["qty"], row["is_buy"], row["venue_id"]) == (
        1.0, None, None, "1704067200",
    )  # fmt: skip
    export("candles", source="deriv", symbol="R_100", out=tmp_path / "candles.csv")
    (line,) = csv.DictReader((tmp_path / "candles.csv").read_text().splitlines())
    assert (line["close"], line["volume"], line["delta"], line["trades"]) == ("1.0", "", "", "1")
    with pytest.raises(CommandError, match="R_100 at deriv has ticks alone") as raised:
        export("hftbacktest", source="deriv", symbol="R_100", out=tmp_path / "day.npz")
    assert raised.value.returncode == 1


def test_invented_trades_are_called_so(btc, tmp_path):
    InstrumentRow.objects.update(simulated=True)
    _, said = export("trades", out=tmp_path / "day.parquet")
    assert "BTCUSDT at binance_ws is simulated" in said
    assert footer(tmp_path / "day.parquet")["simulated"] == "true"


def test_stored_trades_become_events_with_an_assumed_receipt(btc, tmp_path):
    answer, said = export("hftbacktest", out=tmp_path / "day.npz", latency_ms="2.5")
    events, about = read_npz(tmp_path / "day.npz")
    assert events[["ev", "exch_ts", "local_ts", "px", "qty"]].tolist() == [
        (TRADE | side | EXCH | LOCAL, ts_us * 1000, ts_us * 1000 + 2_500_000, price, qty)
        for (_, ts_us, price, qty, _), side in zip(ROWS, (BUY, SELL, BUY), strict=True)
    ]
    assert (about["made_from"], about["book"], about["latency_ns"]) == (
        "stored trades", "none", 2_500_000,
    )  # fmt: skip
    assert (answer["rows"], answer["coverage"]["is_complete"]) == (3, True)
    assert "there is no book, and receipt is assumed" in said


def frames(path):
    """Record a minute of Bybit: a whole book, a trade, a change; and one of the next day."""
    return capture(path, [
        (NS + 5_000_000, bybit_book("snapshot", 10, MS, [(100, 1)], [(101, 1)])),
        (NS + 15_000_000, bybit_trade(1, MS + 10, 100, 1, "Buy")),
        (NS + 25_000_000, bybit_book("delta", 11, MS + 20, [(100, 2)], [])),
        (NS + 86_400_001_000_000, bybit_trade(2, MS + 86_400_000, 100, 1, "Buy")),
    ])  # fmt: skip


def test_frames_that_are_named_become_events(tmp_path):
    path = frames(tmp_path / "frames.gz")
    answer, said = export(
        "hftbacktest", source="bybit", out=tmp_path / "day.npz", frames=[path], latency_ms="1"
    )
    events, about = read_npz(tmp_path / "day.npz")
    assert (answer["rows"], answer["book"], answer["made_from"]) == (6, "whole", "frames")
    assert (answer["counts"]["trades"], answer["first"]) == (1, "2024-01-01T00:00:00.000Z")
    assert said == ""
    assert (len(events), about["files"], about["symbol"]) == (6, ["frames.gz"], "BTCUSDT")


def test_frames_of_the_day_are_found_with_those_that_began_its_book(tmp_path, btc):
    folder = tmp_path / "frames" / "bybit"
    folder.mkdir(parents=True)
    frames(folder / "btcusdt_publicTrade_20240101.gz")
    late = bybit_book("delta", 12, MS + 86_400_000, [(100, 3)], [])
    capture(folder / "btcusdt_orderbook_20240102.gz", [(NS + 86_400_010_000_000, late)])
    with override_settings(BOTCRYPTO=Conf(data_dir=tmp_path)):
        answer, _ = export(
            "hftbacktest", source="bybit", date="2024-01-02", out=tmp_path / "day.npz"
        )
        # Clear and whole book of both sides as the day before left it, the trade, the change.
        assert (answer["rows"], answer["book"]) == (6, "whole")
        about = read_npz(tmp_path / "day.npz")[1]
        assert len(about["files"]) == 2
        # Another feed has no frames here: its trades are what there is.
        assert export("hftbacktest", out=tmp_path / "day.npz")[0]["made_from"] == "stored trades"


def test_what_frames_lack_is_said(tmp_path):
    path = capture(tmp_path / "frames.gz", [
        (NS, bybit_trade(1, MS + 10, 100, 1, "Buy")),
        (NS + 1, b"{broken"),
        (NS + 2, b'{"recorder":"dropped","frames":7}'),
    ])  # fmt: skip
    _, said = export("hftbacktest", source="bybit", out=tmp_path / "day.npz", frames=[path])
    assert said.splitlines() == [
        "no frame of a book is there: rows are trades alone",
        "the recorder dropped 7 frames",
        "1 frames were refused by the venue's parsers",
        "the recorder's clock was behind: receipt is moved by 20000000 ns",
    ]


WRONG = [
    (("trades",), {"out": "day.npz"}, "--out with .parquet or .csv expected, seen day.npz"),
    (("hftbacktest",), {"out": "day.csv"}, "--out with .npz expected"),
    (("trades",), {"out": "a.csv", "date": "yesterday"}, "an ISO time or date"),
    (("trades",), {"out": "a.csv", "source": "nowhere"}, "a source of binance_ws"),
    (("hftbacktest",), {"out": "a.npz", "source": "nowhere"}, "a source of binance_ws"),
    (("hftbacktest",), {"out": "a.npz", "latency_ms": "-1"}, "--latency-ms from 0 to 60000"),
    (("hftbacktest",), {"out": "a.npz", "frames": ["no.gz"]}, "a file expected at no.gz"),
    (("trades",), {"out": "a.csv", "frames": ["a.gz"]}, "--frames with hftbacktest expected"),
]


@pytest.mark.parametrize(("words", "given", "expected"), WRONG)
def test_what_cannot_be_meant_ends_with_code_two(words, given, expected):
    with pytest.raises(CommandError, match=expected) as raised:
        export(*words, **given)
    assert raised.value.returncode == 2


def test_what_is_not_there_ends_with_code_one_and_leaves_no_file(btc, tmp_path):
    for words, given, expected in (
        ("trades", {"symbol": "ETHUSDT"}, "no trade of ETHUSDT at binance_ws is stored"),
        ("trades", {"date": "2024-01-02"}, "no trade of BTCUSDT .* stored for 2024-01-02"),
        ("candles", {"date": "2024-01-02"}, "no trade of BTCUSDT .* stored for 2024-01-02"),
    ):
        with pytest.raises(CommandError, match=expected) as raised:
            export(words, out=tmp_path / "day.csv", **given)
        assert raised.value.returncode == 1
    path = frames(tmp_path / "frames.gz")
    with pytest.raises(CommandError, match=r"frames of BTCUSDT at Bybit linear, .* seen none"):
        export(
            "hftbacktest", source="bybit", date="2023-01-01", out=tmp_path / "a.npz", frames=[path]
        )
    assert [left.name for left in tmp_path.iterdir()] == ["frames.gz"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_write_that_fails_leaves_the_file_of_before(btc, tmp_path, suffix, monkeypatch):
    path = tmp_path / f"day{suffix}"
    path.write_text("before")
    pages = tables._trades

    def failing(*args):
        yield from pages(*args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables, "_trades", failing)
    with pytest.raises(CommandError, match="No space left on device") as raised:
        export("trades", out=path)
    assert raised.value.returncode == 1
    assert path.read_text() == "before"
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.realdata
def test_a_real_capture_is_exported(shared_data, tmp_path):
    path = shared_data / "captures" / "binance_usdm_btcusdt_20240718.gz"
    answer, said = export(
        "hftbacktest",
        source="binance_futures",
        date="2024-07-18",
        out=tmp_path / "day.npz",
        frames=[path],
    )
    assert (answer["book"], answer["counts"]["gaps"], answer["counts"]["trades"]) == (
        "whole", 0, 974,
    )  # fmt: skip
    assert "the recorder's clock was behind" in said
