"""The lake: what is written is read back, a file is whole or absent, damage is found."""

from __future__ import annotations

import hashlib
import random
import struct

import pytest

from marketdata.core.errors import TapeError
from marketdata.core.trades import Trades
from marketdata.store import lake
from marketdata.store.lake import DamagedError, Draft, Manifest
from marketdata.store.tape import open_tape
from tests.backfill.made import DAY_US, made, same

ABOUT = Manifest("binance_ws", "BTCUSDT", "aggTrade", "2024-01-01", made_from="ab" * 32)


def written(root, trades, symbol="BTCUSDT"):
    draft = Draft(lake.day_path(root, "binance_ws", symbol, DAY_US), ABOUT)
    for part in trades.batches(700):
        draft.add(part)
    return draft.path, draft.commit()


def test_a_day_is_read_back_as_it_was_written(tmp_path):
    trades = made(range(5_000, 8_000))
    path, says = written(tmp_path, trades)
    assert path == tmp_path / "trades" / "binance_ws" / "BTCUSDT" / "2024-01-01.parquet"
    assert same(Trades.concat(lake.batches(path, 999)), trades)
    assert (says.rows, says.first_id, says.last_id) == (3_000, 5_000, 7_999)
    assert lake.manifest(path) == says == lake.proved(path)
    assert [item.name for item in path.parent.iterdir()] == ["2024-01-01.parquet"]


def test_the_hash_is_that_of_five_little_endian_numbers_a_row(tmp_path):
    trades = made([3, 9])
    _, says = written(tmp_path, trades)
    rows = b"".join(
        struct.pack("<qqddq", id, ts, price, qty, int(buy))
        for id, ts, price, qty, buy in zip(
            trades.id, trades.ts_us, trades.price, trades.qty, trades.is_buy, strict=True
        )
    )
    assert says.sha256 == hashlib.sha256(rows).hexdigest()


def test_a_day_is_a_tape_like_any_other(tmp_path):
    trades = made(range(10, 20))
    path, _ = written(tmp_path, trades)
    tape = open_tape(path)
    assert (tape.source, tape.symbol) == ("binance_ws", "BTCUSDT")
    assert same(Trades.concat(tape.batches()), trades)


def test_nothing_is_there_before_the_commit_nor_after_giving_up(tmp_path):
    draft = Draft(lake.day_path(tmp_path, "binance_ws", "BTCUSDT", DAY_US), ABOUT)
    draft.add(made(range(10)))
    draft._write()
    assert draft.partial.exists()
    assert list(tmp_path.rglob("*.parquet")) == []
    draft.abandon()
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == []


def test_an_empty_day_is_a_file_of_no_rows(tmp_path):
    draft = Draft(tmp_path / "empty.parquet", ABOUT)
    assert draft.commit().rows == 0
    assert lake.proved(draft.path).rows == 0
    assert list(lake.batches(draft.path)) == []


def test_no_flipped_bit_changes_a_trade_unseen(tmp_path):
    path, says = written(tmp_path, made(range(3_000)))
    whole = path.read_bytes()
    # A fixed choice: places all over the file, its footer included.
    chosen, found = random.Random(8), 0
    for _ in range(60):
        at, bit = chosen.randrange(len(whole)), chosen.randrange(8)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            seen = lake.proved(path)
        except DamagedError:
            found += 1
        else:
            # A statistic nobody reads has changed; the trades are those that were written.
            assert seen == says, (at, bit)
    assert found > 40


@pytest.mark.parametrize("keep", [0, 4, 2_000, -1])
def test_a_cut_file_is_damaged(tmp_path, keep):
    path, _ = written(tmp_path, made(range(3_000)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedError, match="whole Parquet file"):
        lake.proved(path)
    with pytest.raises(TapeError):
        list(open_tape(path).batches())


@pytest.mark.parametrize(
    ("symbol", "folder"),
    [
        ("..", "%2E%2E"),
        ("A/B", "A%2FB"),
        ("币安USDT", "%E5%B8%81%E5%AE%89USDT"),
        ("<img src=x>", "%3Cimg%20src%3Dx%3E"),
    ],
)
def test_a_symbol_cannot_leave_its_folder(tmp_path, symbol, folder):
    assert lake.day_path(tmp_path, "binance_ws", symbol, DAY_US).parent.name == folder
