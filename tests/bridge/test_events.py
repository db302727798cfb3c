"""Rows of events: their layout, both orders at once, clocks that were behind, the check, npz."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.bridge.events import (
    BUY,
    DEPTH,
    DEPTH_CLEAR,
    EVENT,
    EXCH,
    LOCAL,
    SELL,
    TRADE,
    BadEventsError,
    Lift,
    check,
    events_of,
    lifted,
    ordered,
    traded,
)
from marketdata.bridge.npz import read_npz, write_npz
from tests.core.invented import MONDAY, tape

BID, ASK = DEPTH | BUY, DEPTH | SELL
# Of a bid that both sides see, from the package's own documentation.
BID_OF_BOTH = 0xE0000001


def rows(*times, ev=BID):
    """Return rows of the given (exch, local) times; the price tells which is which."""
    return events_of([(ev, exch, local, 100.0 + at, 1.0) for at, (exch, local) in enumerate(times)])


def told(events):
    """Return who sees each row, and its price less 100."""
    names = {EXCH | LOCAL: "both", EXCH: "exch", LOCAL: "local"}
    return [(names[int(ev) & (EXCH | LOCAL)], int(px) - 100) for ev, px in events[["ev", "px"]]]


def test_the_row_has_the_layout_of_the_package():
    offsets = {name: EVENT.fields[name][1] for name in EVENT.names}
    assert offsets == {
        "ev": 0, "exch_ts": 8, "local_ts": 16, "px": 24, "qty": 32,
        "order_id": 40, "ival": 48, "fval": 56,
    }  # fmt: skip
    assert (EVENT.itemsize, EVENT.isalignedstruct) == (64, True)
    assert ordered(rows((10, 20)))["ev"].tolist() == [BID_OF_BOTH]


def test_rows_in_both_orders_stay_as_they_are():
    events = ordered(rows((1, 5), (1, 5), (2, 6), (9, 10)))
    assert told(events) == [("both", 0), ("both", 1), ("both", 2), ("both", 3)]


def test_a_row_that_came_late_alone_is_split():
    events = ordered(rows((1, 50), (2, 10), (3, 11), (4, 60)))
    assert told(events) == [("exch", 0), ("both", 1), ("both", 2), ("local", 0), ("both", 3)]


def test_a_row_that_came_early_alone_is_split():
    events = ordered(rows((9, 10), (2, 11), (3, 12), (10, 20)))
    assert sorted(told(events)) == [
        ("both", 1), ("both", 2), ("both", 3), ("exch", 0), ("local", 0),
    ]  # fmt: skip
    check(events)


def test_trades_come_before_the_book_of_the_same_instant():
    events = events_of([(BID, 5, 9, 100, 1), (TRADE | BUY, 5, 9, 101, 1), (ASK, 5, 9, 102, 1)])
    assert told(ordered(events)) == [("both", 1), ("both", 0), ("both", 2)]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 6), st.booleans()), max_size=40))
def test_whatever_the_times_both_orders_hold_and_nothing_is_lost(drawn):
    source = events_of(
        [
            ((TRADE | SELL) if is_trade else BID, exch, exch + latency, 100.0 + at, 1.0)
            for at, (exch, latency, is_trade) in enumerate(drawn)
        ]
    )
    events = ordered(source)
    check(events)
    for flag in (EXCH, LOCAL):
        seen = events[(events["ev"] & np.uint64(flag)) != 0]
        assert sorted(seen["px"]) == sorted(source["px"])
    splits = sum(who == "exch" for who, _ in told(events))
    assert splits == len(drawn) - longest_common(source)


def longest_common(events):
    """Count the rows that can stay whole, by the textbook's table over both orders."""
    is_book = (events["ev"] & np.uint64(0xFF)) != TRADE
    keys = [
        list(zip(events[name].tolist(), is_book.tolist(), range(len(events)), strict=True))
        for name in ("exch_ts", "local_ts")
    ]
    first, second = ([at for *_, at in sorted(key)] for key in keys)
    best = [0] * (len(second) + 1)
    for left in first:
        before = 0
        for at, right in enumerate(second, 1):
            held = best[at]
            best[at] = before + 1 if left == right else max(best[at], best[at - 1])
            before = held
    return best[-1]


def test_a_clock_that_was_behind_is_moved_as_a_whole():
    events, lift = lifted(rows((1000, 900), (2000, 2100), (3000, 2950)), base_latency_ns=7)
    assert lift == Lift(rows=2, by_ns=107)
    assert events["local_ts"].tolist() == [1007, 2207, 3057]
    sound = rows((1000, 1000), (2000, 2100))
    same, lift = lifted(sound, base_latency_ns=7)
    assert same is sound
    assert lift == Lift(0, 0)


def test_stored_trades_become_rows_with_an_assumed_receipt():
    events = traded(tape((7, MONDAY, 42.5, 0.25, True), (8, MONDAY + 1, 42.0, 3, False)), 5_000_000)
    assert events.tolist() == [
        (TRADE | BUY, MONDAY * 1000, MONDAY * 1000 + 5_000_000, 42.5, 0.25, 0, 0, 0.0),
        (TRADE | SELL, MONDAY * 1000 + 1000, MONDAY * 1000 + 5_001_000, 42.0, 3.0, 0, 0, 0.0),
    ]


FAULTS = [
    ({"ev": EXCH | LOCAL | BUY | 6}, "a kind of"),
    ({"ev": BID}, "a row that somebody sees"),
    ({"ev": EXCH | LOCAL | DEPTH}, "one side"),
    ({"ev": EXCH | LOCAL | BUY | SELL | DEPTH}, "one side"),
    ({"ev": EXCH | LOCAL | BUY | DEPTH | 1 << 27}, "known flags alone"),
    ({"exch_ts": 0}, "a time of the exchange"),
    ({"local_ts": 19}, "receipt after the exchange's time"),
    ({"px": np.nan}, "px of zero or more"),
    ({"px": 0.0}, "px above zero"),
    ({"qty": -1.0}, "qty of zero or more"),
    ({"qty": np.inf}, "qty of zero or more"),
    ({"ev": EXCH | LOCAL | TRADE | BUY, "qty": 0.0}, "a trade of more than nothing"),
    ({"exch_ts": 5}, "exch_ts that never goes back"),
    ({"exch_ts": 10, "local_ts": 14}, "local_ts that never goes back"),
]


@pytest.mark.parametrize(("change", "expected"), FAULTS)
def test_a_row_that_would_be_read_wrongly_is_refused_by_its_number(change, expected):
    events = ordered(rows((10, 15), (20, 25), (30, 35)))
    check(events)
    for name, value in change.items():
        events[name][1] = value
    with pytest.raises(BadEventsError, match=f"^row 1: {expected}"):
        check(events)


def test_an_empty_side_may_be_cleared_and_rows_of_another_kind_may_not_pass():
    check(ordered(events_of([(DEPTH_CLEAR | BUY, 1, 1, 0.0, 0.0)])))
    with pytest.raises(BadEventsError, match="rows of 64 bytes expected"):
        check(np.zeros(3))


def test_a_file_comes_back_bit_by_bit(tmp_path):
    path, chance = tmp_path / "deep" / "day.npz", np.random.default_rng(7)
    times = np.sort(chance.integers(1, 10**18, 500))
    events = ordered(rows(*((exch, exch + 1) for exch in times.tolist())))
    events["px"] = chance.uniform(1e-8, 1e12, len(events))
    events["order_id"] = 2**64 - 1
    events["fval"] = np.nan
    about = {"symbol": "币安人生USDT", "counts": {"trades": 0}}
    write_npz(path, events, about)
    held, said = read_npz(path)
    assert held.tobytes() == events.tobytes()
    assert held.dtype == EVENT
    assert said == about
    assert [left.name for left in path.parent.iterdir()] == ["day.npz"]
    # What the package does: numpy's own loading of the key `data`.
    assert np.load(path)["data"].tobytes() == events.tobytes()


def test_the_same_rows_make_the_same_file(tmp_path):
    for name in ("one.npz", "two.npz"):
        write_npz(tmp_path / name, ordered(rows((1, 2), (3, 4))), {"a": 1})
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_bad_rows_leave_no_file(tmp_path):
    with pytest.raises(BadEventsError, match="row 0: a row that somebody sees"):
        write_npz(tmp_path / "day.npz", rows((1, 2)), {})
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_of_events_is_refused(tmp_path):
    path = tmp_path / "day.npz"
    write_npz(path, ordered(rows((1, 2))), {})
    whole = path.read_bytes()
    np.savez(tmp_path / "other.npz", data=np.arange(3))
    np.savez(tmp_path / "keyless.npz", rows=np.arange(3))
    (tmp_path / "text.npz").write_text("price,qty")
    (tmp_path / "torn.npz").write_bytes(whole[:-40])
    with zipfile.ZipFile(tmp_path / "words.npz", "w") as archive:
        archive.writestr("data.npy", json.dumps([1]))
    for name in ("other", "keyless", "text", "torn", "words", "absent"):
        with pytest.raises(BadEventsError, match=f"{name}.npz: .* expected"):
            read_npz(tmp_path / f"{name}.npz")
    foreign = ordered(rows((1, 2)))
    np.savez(tmp_path / "foreign.npz", data=foreign)
    assert read_npz(tmp_path / "foreign.npz")[1] == {}
