import struct

from hypothesis import given
from hypothesis import strategies as st

from marketdata.core.canonical import ROW, canonical
from marketdata.core.trades import Trades
from tests.core.invented import MONDAY, at, cut, tape, tapes


def test_a_row_is_five_little_endian_numbers_in_the_order_told():
    assert ROW.startswith("id, ts_us, price, qty, is_buy in ascending id")
    found = canonical(tape(at(7, MONDAY, 100.25, 0.5, True), at(8, MONDAY + 1, 99.9, 3.0, False)))
    assert found == struct.pack("<qqddq", 7, MONDAY, 100.25, 0.5, 1) + struct.pack(
        "<qqddq", 8, MONDAY + 1, 99.9, 3.0, 0
    )
    assert canonical(Trades.empty()) == b""


@given(trades=tapes(), sizes=st.lists(st.integers(0, 9), max_size=9))
def test_cutting_a_tape_gives_the_same_bytes(trades, sizes):
    assert b"".join(canonical(part) for part in cut(trades, sizes)) == canonical(trades)
