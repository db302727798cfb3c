"""The board: the latest snapshot of each scope, and when the next is due."""

import threading
from decimal import Decimal

import pytest

from marketdata.context import MarketContext, Snapshot
from marketdata.core.instrument import Grid, Instrument
from marketdata.store import board as board_module
from marketdata.store.board import PACE_S, POST_SHARE, REFRESH_S, WANTED_S, Board, Key

KEY = Key("binance_ws", "BTCUSDT", "day")
OTHER = Key("binance_ws", "BTCUSDT", "london")


class Hand:
    """A monotonic clock moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    made = Hand()
    monkeypatch.setattr(board_module, "time", made)
    return made


@pytest.fixture
def snapshot() -> Snapshot:
    context = MarketContext(Instrument("binance_ws", "BTCUSDT", Grid(Decimal("0.1"), Decimal(1))))
    return context.snapshot("day", 1_704_067_200_000_000)


def test_a_key_is_wanted_for_a_while_and_news_wakes_the_poster(hand: Hand) -> None:
    nudged: list[int] = []
    board = Board(lambda: nudged.append(1))
    board.want(KEY)
    board.want(KEY)
    assert nudged == [1]
    hand.now_s += WANTED_S - 1
    board.want(OTHER)
    hand.now_s += 2
    assert board.wanted() == [OTHER]
    board.want(KEY)
    assert len(nudged) == 3


def test_a_change_waits_for_the_last_change_alone(hand: Hand, snapshot: Snapshot) -> None:
    board = Board()
    assert board.due_in(KEY, has_changed=False) == 0
    board.post(KEY, snapshot, [], has_changed=False)
    assert board.due_in(KEY, has_changed=True) < 0
    assert board.due_in(KEY, has_changed=False) == pytest.approx(REFRESH_S)
    board.post(KEY, snapshot, [])
    hand.now_s += 0.03
    assert board.due_in(KEY, has_changed=True) == pytest.approx(PACE_S - 0.03)
    assert board.due_in(OTHER, has_changed=True) == 0


def test_the_pace_slows_as_postings_become_dear(hand: Hand, snapshot: Snapshot) -> None:
    board = Board()
    for key in (KEY, OTHER):
        board.want(key)
        board.post(key, snapshot, [], cost_s=0.05)
    assert board.due_in(KEY, has_changed=True) == pytest.approx(0.1 / POST_SHARE)
    hand.now_s += WANTED_S - 1
    board.want(KEY)
    hand.now_s += 2
    board.wanted()
    board.post(KEY, snapshot, [], cost_s=0.05)
    # Nobody looks at the other any more, so it costs nothing any more.
    assert board.due_in(KEY, has_changed=True) == pytest.approx(0.05 / POST_SHARE)


def test_an_old_posting_is_no_answer(hand: Hand, snapshot: Snapshot) -> None:
    board = Board()
    assert board.fresh(KEY, 0) is None
    board.post(KEY, snapshot, [])
    posting = board.latest(KEY)
    assert posting is not None
    assert posting.number == 1
    hand.now_s += REFRESH_S + PACE_S
    assert board.latest(KEY) is None
    # A poster that is late for once is better than no answer, but not for long.
    assert board.fresh(KEY, 0) is posting
    hand.now_s += WANTED_S
    assert board.fresh(KEY, 0) is None


def test_whoever_waits_is_woken_by_the_posting(snapshot: Snapshot) -> None:
    board = Board()
    poster = threading.Timer(0.02, lambda: board.post(KEY, snapshot, [], damage="x"))
    poster.start()
    posting = board.fresh(KEY, 5)
    poster.join()
    assert posting is not None
    assert (posting.snapshot, posting.damage) == (snapshot, "x")


def test_listeners_hear_of_every_posting(snapshot: Snapshot) -> None:
    board, heard = Board(), []
    board.listen(lambda key, posting: heard.append((key, posting.number)))
    for key in (KEY, KEY, OTHER):
        board.post(key, snapshot, [])
    assert heard == [(KEY, 1), (KEY, 2), (OTHER, 1)]
