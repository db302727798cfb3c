from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata.core.errors import TapeError
from marketdata.core.timeframe import DAY_US
from marketdata.core.trades import Trades
from marketdata.store import lake, tape_csv
from marketdata.store.tape import open_tape
from tests.store import files
from tests.store.files import BYBIT, FRAMES, LAYOUTS, MS, SPOT_AGG, cut, gzipped, plain, zipped

KINDS = {
    "spot aggregates": ("binance_ws", "aggTrade"),
    "spot aggregates in microseconds": ("binance_ws", "aggTrade"),
    "spot aggregates with both units": ("binance_ws", "aggTrade"),
    "spot aggregates with a header": ("binance_ws", "aggTrade"),
    "spot trades": ("binance_ws", "trade"),
    "futures aggregates": ("binance_futures", "aggTrade"),
    "futures aggregates with a header": ("binance_futures", "aggTrade"),
    "futures trades with a header": ("binance_futures", "trade"),
    "futures trades": ("binance_futures", "trade"),
    "tardis": ("binance_futures", "trade"),
    "recorder": ("binance_ws", "trade"),
}


def read(tape, size=50_000):
    return Trades.concat(tape.batches(size))


def is_the_three(trades, ids=(2807759891, 2807759892, 2807759893)):
    """The three trades that every file of `files` holds."""
    return (
        trades.id.tolist() == list(ids)
        and trades.ts_us.tolist() == [MS * 1000, (MS + 7) * 1000, (MS + 60_001) * 1000]
        and trades.price.tolist() == [42283.58, 42283.57, 42283.58]
        and trades.qty.tolist() == [0.03859, 0.005, 1.0]
        and trades.is_buy.tolist() == [True, False, True]
    )


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("write", [plain, gzipped, zipped])
def test_every_layout_is_read(tmp_path, name, write):
    tape = open_tape(write(tmp_path / "BTCUSDT-trades-2024-01-01.any", LAYOUTS[name]))
    assert (tape.source, tape.channel) == KINDS[name]
    assert tape.symbol == "BTCUSDT"
    assert is_the_three(read(tape))


@pytest.mark.parametrize("name", BYBIT)
@pytest.mark.parametrize("write", [plain, gzipped])
def test_bybit_is_read(tmp_path, name, write):
    tape = open_tape(write(tmp_path / "BTCUSDT2024-01-01.csv.gz", BYBIT[name]))
    assert (tape.source, tape.symbol, tape.channel) == ("bybit", "BTCUSDT", "trade")
    assert is_the_three(read(tape), ids=(1, 2, 3))


@pytest.mark.parametrize("name", BYBIT)
@pytest.mark.parametrize("write", [plain, gzipped])
def test_ids_that_are_no_numbers_come_along(tmp_path, name, write):
    trades = read(open_tape(write(tmp_path / "BTCUSDT2024-01-01.csv.gz", BYBIT[name])))
    if "0a1b" in BYBIT[name]:
        assert trades.ref.tolist() == [b"0a1b", b"0a1c", b"0a1d"]
    else:
        # Numbers of the file are nobody's ids.
        assert trades.ref is None


@pytest.mark.parametrize("name", LAYOUTS)
def test_ids_that_are_numbers_need_no_refs(tmp_path, name):
    path = plain(tmp_path / "BTCUSDT-trades-2024-01-01.any", LAYOUTS[name])
    assert read(open_tape(path)).ref is None


def test_words_in_the_column_of_ids_come_along(tmp_path):
    text = LAYOUTS["tardis"].replace("binance-futures", "bybit").replace("280775989", "e0cb-")
    tape = open_tape(plain(tmp_path / "BTCUSDT_2024-01-01.csv", text))
    trades = read(tape)
    assert tape.source == "bybit"
    assert is_the_three(trades, ids=(1, 2, 3))
    assert trades.ref.tolist() == [b"e0cb-1", b"e0cb-2", b"e0cb-3"]


LINEAR_ROW = "%s,BTCUSDT,Buy,0.5,42283.58,PlusTick,%s,1.6e+11,0.5,1631.7\n"


def linear(*rows):
    """Return a file of Bybit's without a header: rows of (time, id)."""
    return "".join(LINEAR_ROW % row for row in rows)


@pytest.mark.parametrize(
    ("ids", "refs"),
    [
        (["a" * 36, "b" * 36], [b"a" * 36, b"b" * 36]),
        # Of different length, and one that is empty.
        (["a" * 36, "b", ""], [b"a" * 36, b"b", b""]),
        (["", ""], [b"", b""]),
        (["ид", "x"], ["ид".encode(), b"x"]),
    ],
)
def test_ids_of_any_length_keep_their_bytes(tmp_path, ids, refs):
    text = linear(*((f"1704067200.{n:04}", id) for n, id in enumerate(ids)))
    assert read(open_tape(plain(tmp_path / "BTCUSDT2024-01-01.csv", text))).ref.tolist() == refs


def test_an_id_that_would_fill_the_memory_is_refused(tmp_path):
    text = linear(("1704067200.1", "a"), ("1704067200.2", "b" * 65))
    with pytest.raises(TapeError, match="at most 64 characters expected, seen 65"):
        read(open_tape(plain(tmp_path / "BTCUSDT2024-01-01.csv", text)))


def test_ids_go_with_their_trades_when_a_file_of_blocks_runs_backwards(tmp_path, monkeypatch):
    monkeypatch.setattr(tape_csv, "BLOCK_BYTES", 4096)
    count = 1000
    rows = [(f"{1704067200 + n // 7}.{n % 7}", f"id-{n:04}") for n in range(count)]
    text = linear(*rows[::-1])
    trades = read(open_tape(gzipped(tmp_path / "BTCUSDT2024-01-01.csv.gz", text)))
    assert trades.id.tolist() == list(range(1, count + 1))
    assert trades.ref.tolist() == [id.encode() for _, id in rows]
    assert (np.diff(trades.ts_us) > 0).all()


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.lists(
        st.integers(1_570_000_000_000_000, 2_000_000_000_000_000),
        min_size=1,
        max_size=40,
        unique=True,
    ),
    st.sampled_from([4, 6]),
)
def test_seconds_with_decimals_are_read_to_the_microsecond(tmp_path, times_us, decimals):
    step = 10 ** (6 - decimals)
    times_us = sorted({ts_us // step * step for ts_us in times_us})
    texts = [f"{t // 10**6}.{t % 10**6:06}"[: len("1704067200.") + decimals] for t in times_us]
    text = linear(*((told, "x") for told in texts))
    trades = read(open_tape(plain(tmp_path / "BTCUSDT2024-01-01.csv", text)))
    assert trades.ts_us.tolist() == times_us


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_line_ends_do_not_matter(tmp_path, ending):
    text = SPOT_AGG.strip().replace("\n", ending or "\n") + ending
    assert is_the_three(read(open_tape(plain(tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv", text))))


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    text = "\ufeff" + LAYOUTS["recorder"]
    assert is_the_three(read(open_tape(plain(tmp_path / "X_BTCUSDT_2024-01-01.csv", text))))


def test_a_capture_gives_the_aggregates_of_one_symbol(tmp_path):
    for write in (plain, gzipped):
        tape = open_tape(write(tmp_path / "any.gz", FRAMES))
        assert (tape.source, tape.symbol, tape.channel) == ("binance_ws", "BTCUSDT", "aggTrade")
        assert is_the_three(read(tape))
        other = open_tape(tmp_path / "any.gz", symbol="ETHUSDT")
        assert read(other).id.tolist() == [7]
        # A name that is not in there renames what is.
        assert is_the_three(read(open_tape(tmp_path / "any.gz", symbol="MINE")))


def test_a_capture_without_aggregates_gives_single_trades(tmp_path):
    text = FRAMES.replace("aggTrade", "other")
    tape = open_tape(plain(tmp_path / "any", text))
    assert (tape.channel, read(tape).id.tolist()) == ("trade", [1])


def test_a_capture_of_futures_is_told_by_its_frames(tmp_path):
    text = FRAMES.replace(',"M":true', "")
    assert open_tape(plain(tmp_path / "any", text)).source == "binance_futures"


USD_M = (
    '1680652700441533 {"stream":"btcusdt@trade","data":{"e":"trade","E":1680652700455,'
    '"T":1680652700452,"s":"BTCUSDT","t":%d,"p":"%s","q":"0.5","X":"%s","m":true}}\n'
)


def test_rows_that_are_no_trades_of_the_market_are_dropped(tmp_path):
    rows = [(1, "28145.1", "MARKET"), (2, "28722.5", "INSURANCE_FUND"), (3, "0", "NA")]
    text = "".join(USD_M % row for row in [*rows, (4, "28145.2", "MARKET"), (6, "0", "NA")])
    tape = open_tape(plain(tmp_path / "any", text))
    assert (tape.source, read(tape).id.tolist()) == ("binance_futures", [1, 4])
    # Their numbers are taken, so that nothing misses there; 5 may.
    assert tape.voids() == [(2, 3), (6, 6)]


def test_what_a_stranger_did_beside_the_market_is_not_ours(tmp_path):
    ether = (USD_M % (2, "1800", "NA")).replace("BTCUSDT", "ETHUSDT")
    path = plain(tmp_path / "any", USD_M % (1, "28145.1", "MARKET") + ether)
    assert open_tape(path).voids() == []
    aggregates = plain(tmp_path / "aggregates", FRAMES)
    assert open_tape(aggregates).voids() == []


def test_contracts_margined_in_coin_are_no_trades_of_coins(tmp_path):
    mine, other = USD_M % (1, "28145.1", "MARKET"), USD_M % (2, "28145.1", "MARKET")
    other = other.replace('"m":true', '"m":true,"st":2')
    tape = open_tape(plain(tmp_path / "any", mine + other))
    assert read(tape).id.tolist() == [1]
    with pytest.raises(TapeError, match="seen none"):
        open_tape(plain(tmp_path / "coins", other))


def test_parquet_of_ours_is_read_back(tmp_path):
    # Written through the lake, so that both ends are ours.
    given = read(open_tape(plain(tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv", SPOT_AGG)))
    path = lake.day_path(tmp_path, "binance_ws", "BTCUSDT", MS * 1000 // DAY_US * DAY_US)
    draft = lake.Draft(path, lake.Manifest("binance_ws", "BTCUSDT", "aggTrade", "2024-01-01"))
    draft.add(given)
    draft.commit()
    tape = open_tape(path)
    assert (tape.source, tape.symbol, tape.channel) == ("binance_ws", "BTCUSDT", "aggTrade")
    assert is_the_three(read(tape))
    with pytest.raises(TapeError, match="2024-01-01"):
        read(open_tape(cut(path, 0.5)))


def test_what_is_told_replaces_what_is_found(tmp_path):
    path = plain(tmp_path / "notes.csv", SPOT_AGG)
    with pytest.raises(TapeError, match=r"notes\.csv: no symbol found.*--symbol"):
        open_tape(path)
    tape = open_tape(path, source="bybit", symbol="ETHUSDT")
    assert (tape.source, tape.symbol) == ("bybit", "ETHUSDT")
    assert is_the_three(read(tape))


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTCUSDT-aggTrades-2024-01-01.zip", "BTCUSDT"),
        ("1000PEPEUSDT-trades-2024-01.csv", "1000PEPEUSDT"),
        ("BTCUSDT2024-01-01.csv.gz", "BTCUSDT"),
        ("BTCUSDT_2024-01-01.csv.gz", "BTCUSDT"),
        ("bybit_spot_1INCHUSDT_2025-05-19.csv", "1INCHUSDT"),
        ("LTCUSDT_2025-06-21_06h_trades.csv", "LTCUSDT"),
        ("币安人生USDT-aggTrades-2025-10-08.zip", "币安人生USDT"),
    ],
)
def test_the_symbol_is_found_in_the_name(tmp_path, name, symbol):
    assert open_tape(plain(tmp_path / name, SPOT_AGG)).symbol == symbol


def test_batches_are_cut_to_size_and_ascend(tmp_path):
    rows = SPOT_AGG.splitlines(keepends=True)
    path = plain(tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv", "".join(rows[::-1] + rows))
    found = list(open_tape(path).batches(2))
    assert [batch.id.tolist() for batch in found] == [
        [2807759891, 2807759891],
        [2807759892, 2807759892],
        [2807759893, 2807759893],
    ]


def test_a_reader_may_stop_early(tmp_path):
    rows = [f"{id},42283.58,1,1,1,{MS + id},True,True\n" for id in range(200_000)]
    path = zipped(tmp_path / "BTCUSDT-aggTrades-2024-01-01.zip", "".join(rows))
    batches = open_tape(path).batches(1000)
    assert next(batches).id[0] == 0
    batches.close()


def test_files_larger_than_a_block_are_read_whole(tmp_path):
    ids = np.arange(60_000)
    rows = [f"{id},{100 + id % 7}.5,0.001,1,1,{MS + id},{id % 3 == 0},True\n" for id in ids]
    for write in (plain, gzipped, zipped):
        path = write(tmp_path / f"BTCUSDT-aggTrades-2024-01-01.{write.__name__}", "".join(rows))
        trades = read(open_tape(path))
        assert np.array_equal(trades.id, ids)
        assert np.array_equal(trades.is_buy, ids % 3 != 0)
        assert np.array_equal(trades.price, 100.5 + ids % 7)


def broken(old, new, text=SPOT_AGG):
    assert old in text
    return text.replace(old, new, 1)


DAMAGED_ROWS = {
    "half line": (SPOT_AGG[:-30], r"line 3: 8 columns expected, seen 5"),
    "no number": (
        broken("42283.57", "abc"),
        r"line 2: a number above zero expected as price, seen",
    ),
    "nan": (broken("42283.57000000", "NaN"), r"line 2: .* as price, seen 'NaN'"),
    "infinite": (broken("42283.57000000", "inf"), r"line 2: .* as price, seen 'inf'"),
    "too large": (broken("42283.57000000", "1e999"), r"line 2: .* as price, seen '1e999'"),
    "negative": (broken("0.00500000", "-0.005"), r"line 2: .* as qty, seen '-0.005'"),
    "zero": (broken("0.00500000", "0.00000000"), r"line 2: .* as qty, seen '0.00000000'"),
    "empty cell": (broken("0.00500000", ""), r"line 2: .* as qty, seen ''"),
    "no side": (
        broken("True,T", "maybe,T"),
        r"line 2: false or true expected as maker, seen 'maybe'",
    ),
    "id in words": (broken("2807759893", "28077598x3"), r"line 3: a whole number expected as id"),
    "negative id": (
        broken("2807759893", "-7"),
        r"line 3: a whole number expected as id, seen '-7'",
    ),
    "time of 1970": (
        broken("1704067200007", "7"),
        r"line 2: a time between 2010 and 2100 expected",
    ),
    "time of 2200": (broken("1704067200007", "7258118400000"), r"line 2: a time between 2010"),
    "extra column": (broken("True,True", "True,True,1"), r"line 2: 8 columns expected, seen 9"),
    "header in the middle": (SPOT_AGG + files.HEADER_UM, r"line 4: 8 columns expected, seen 7"),
}


@pytest.mark.parametrize("name", DAMAGED_ROWS)
@pytest.mark.parametrize("write", [plain, zipped])
def test_a_bad_row_is_named(tmp_path, name, write):
    text, words = DAMAGED_ROWS[name]
    path = write(tmp_path / "BTCUSDT-aggTrades-2024-01-01.zip", text)
    with pytest.raises(TapeError, match=r"^BTCUSDT-aggTrades-2024-01-01\.zip: " + words):
        read(open_tape(path))


def test_a_bad_row_far_inside_is_named(tmp_path):
    rows = [f"{id},42283.58,1,1,1,{MS + id},True,True\n" for id in range(50_000)]
    rows[40_000] = rows[40_000].replace("42283.58", "42283.5b")
    path = plain(tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv", "".join(rows))
    with pytest.raises(TapeError, match=r"line 40001: .* as price, seen '42283\.5b'"):
        read(open_tape(path))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Sell", "Short", "line 3: buy or sell expected as side, seen 'Short'"),
        ("1704067200.0070", "yesterday", "line 3: a time between 2010 and 2100 expected"),
        ("0,BTCUSDT,Sell", "0,ETHUSDT,Sell", "trades of BTCUSDT alone expected, seen ETHUSDT too"),
    ],
)
def test_a_bad_row_of_bybit_is_named(tmp_path, old, new, words):
    text = broken(old, new, BYBIT["linear"])
    with pytest.raises(TapeError, match=words):
        read(open_tape(plain(tmp_path / "BTCUSDT2024-01-01.csv", text)))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"42283.57"', "42283.57", "line 6: Expected `str`, got `float`"),
        ('"42283.57"', '"abc"', "line 6: could not convert string to float: 'abc'"),
        ('"42283.57"', '"NaN"', "line 6: price and quantity above zero expected"),
        ('"0.005"', '"-1"', "line 6: price and quantity above zero expected"),
        ('"a":2807759892', '"a":"x"', "line 6: a whole number expected as id, seen 'x'"),
        ('"T":1704067200007', '"T":7', "line 6: milliseconds between 2010 and 2100"),
        ('"m":true,"M":true}\n', '"m":true,"M":tr\n', "line 6: Input data was truncated"),
    ],
)
def test_a_bad_frame_is_named(tmp_path, old, new, words):
    lines = FRAMES.splitlines(keepends=True)
    lines[5] = broken(old, new, lines[5])
    with pytest.raises(TapeError, match=words):
        read(open_tape(plain(tmp_path / "capture", "".join(lines))))


def test_a_frame_without_its_fields_is_named(tmp_path):
    text = FRAMES + '1704067260009000000 {"e":"aggTrade","s":"BTCUSDT","p":"1","q":"1"}\n'
    with pytest.raises(TapeError, match=r"line 8: Object missing required field"):
        read(open_tape(plain(tmp_path / "capture", text)))


DAMAGED_FILES = {
    "empty": (lambda path: plain(path, ""), "trades expected, seen an empty file"),
    "blank": (lambda path: plain(path, "\n\n"), "trades expected, seen an empty file"),
    "header alone": (lambda path: plain(path, files.HEADER_UM), "seen a header alone"),
    "two files": (lambda path: zipped(path, SPOT_AGG, SPOT_AGG), "one file in the zip expected"),
    "no file": (zipped, "one file in the zip expected, seen 0"),
    "truncated zip": (lambda path: cut(zipped(path, SPOT_AGG * 900), 0.5), "seen a damaged one"),
    "truncated gzip": (lambda path: cut(gzipped(path, SPOT_AGG * 900), 0.5), "seen a damaged one"),
    "flipped bits": (lambda path: flipped(zipped(path, SPOT_AGG * 900)), "seen a damaged one"),
    "other alphabet": (
        lambda path: path.write_bytes("Zeit;Preis;Stück\n".encode("latin-1")) and path,
        "text in UTF-8 expected",
    ),
    "no tape": (lambda path: plain(path, "hello world\n"), "seen 'hello world'"),
    "candles": (
        lambda path: plain(path, "1704067200000,1,2,0.5,1.5,10\n"),
        "expected, seen '17040",
    ),
    "no trades": (
        lambda path: plain(path, FRAMES.replace("Trade", "Ticker").replace('"trade"', '"x"')),
        "aggTrade or trade frames expected, seen none",
    ),
}


def flipped(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle] ^= 0xFF
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", DAMAGED_FILES)
def test_a_damaged_file_is_refused_by_name(tmp_path, name):
    write, words = DAMAGED_FILES[name]
    path = write(tmp_path / "BTCUSDT-aggTrades-2024-01-01.zip")
    with pytest.raises(TapeError, match=rf"^BTCUSDT-aggTrades-2024-01-01\.zip: .*{words}"):
        read(open_tape(path))


def test_a_zip_with_a_password_is_refused(tmp_path):
    path = zipped(tmp_path / "BTCUSDT-aggTrades-2024-01-01.zip", SPOT_AGG)
    data = bytearray(path.read_bytes())
    # Bit 0 of the flags, in the file's own header and in the directory.
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(TapeError, match="password required"):
        open_tape(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TapeError, match=r"nowhere\.zip: a file expected, there is none"):
        open_tape(tmp_path / "nowhere.zip")
    with pytest.raises(TapeError, match="a file expected"):
        open_tape(tmp_path)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([*LAYOUTS.values(), *BYBIT.values(), FRAMES]),
    st.sampled_from([plain, gzipped, zipped]),
    st.data(),
)
def test_mutated_bytes_are_read_or_refused(tmp_path, text, write, data):
    path = write(tmp_path / "BTCUSDT-aggTrades-2024-01-01.any", text)
    mutated = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(mutated) - 1))
    if data.draw(st.booleans()):
        mutated[at] = data.draw(st.integers(0, 255))
    else:
        del mutated[at : at + data.draw(st.integers(1, 50))]
    path.write_bytes(mutated)
    with suppress(TapeError):
        read(open_tape(path, symbol="BTCUSDT")).checked()
