"""Boxes and the publisher: latest wins, events in turn, one encoding for all who look."""

import asyncio
import json
import threading
from decimal import Decimal
from types import SimpleNamespace

import pytest

from marketdata import encoded, live
from marketdata.context import MarketContext
from marketdata.core.instrument import Grid, Instrument
from marketdata.outlet import MOST_UNREAD, Outlet
from marketdata.publisher import BOX_EVENTS, Box, Publisher
from marketdata.store.board import Board, Key, Posting

KEY = Key("binance_ws", "BTCUSDT", "day")
OTHER = Key("binance_ws", "ETHUSDT", "day")


def snapshot(symbol: str = "BTCUSDT"):
    grid = Grid(Decimal("0.01"), Decimal("0.001"))
    context = MarketContext(Instrument("binance_ws", symbol, grid))
    return context.snapshot("day", 1_704_067_200_000_000)


def posting(number: int = 1) -> Posting:
    return Posting(snapshot(), [], False, 0.0, number)


@pytest.fixture
def nothing_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_live", [SimpleNamespace(supervisors=[], label="")])


# Boxes


def test_a_context_comes_first_and_then_all_in_turn() -> None:
    box = Box(KEY, "1m")
    for event in ("e1", "e2", "e3"):
        box.put_event(event)
    box.put_health("h")
    assert box.take() is None
    assert not box.ready.is_set()
    first, second = posting(1), posting(2)
    box.put(posting=first)
    assert box.take() is first
    box.put(posting=second)
    assert [box.take() for _ in range(6)] == ["e1", "h", "e2", second, "e3", None]
    assert not box.ready.is_set()


def test_the_latest_wins() -> None:
    box = Box(KEY, "1m")
    box.put(posting=posting(1))
    newest = posting(2)
    box.put(posting=newest)
    box.put_health("old")
    box.put_health("new")
    assert [box.take(), box.take(), box.take()] == [newest, "new", None]


def test_too_many_events_push_the_oldest_out() -> None:
    box = Box(KEY, "1m")
    for number in range(BOX_EVENTS + 3):
        box.put_event(str(number))
    assert len(box.events) == BOX_EVENTS
    assert box.events[0] == "3"


def test_what_is_live_is_shown_before_what_is_stored() -> None:
    box = Box(KEY, "1m")
    box.put(stored="stored")
    newest = posting()
    box.put(posting=newest)
    assert [box.take(), box.take()] == [newest, None]
    box.put(stored="stored")
    assert box.take() == "stored"


# The publisher


def test_each_posting_reaches_the_boxes_that_look_at_it(nothing_live: None) -> None:
    board = Board()
    publisher = Publisher(board)

    async def story() -> None:
        publisher.start(asyncio.get_running_loop())
        mine, theirs, late = Box(KEY, "1m"), Box(OTHER, "1m"), Box(KEY, "1m")
        publisher.add(mine)
        publisher.add(theirs)
        assert publisher.clients == 2
        thread = threading.Thread(target=lambda: [board.post(KEY, snapshot(), []) for _ in "abc"])
        thread.start()
        await asyncio.wait_for(mine.ready.wait(), 5)
        thread.join()
        while mine.posting is None or mine.posting.number < 3:
            await asyncio.sleep(0)
        assert theirs.posting is None
        # Whoever comes later is given the newest at once.
        publisher.add(late)
        assert late.posting is not None
        assert late.posting.number == 3
        for box in (mine, theirs, late):
            publisher.remove(box)
            publisher.remove(box)
        assert publisher.clients == 0
        publisher.stop()

    asyncio.run(story())


def test_an_old_posting_is_not_given_to_who_comes(nothing_live: None) -> None:
    board = Board()
    publisher = Publisher(board)
    board._posted[KEY] = posting()  # posted at the beginning of time

    async def story() -> None:
        box = Box(KEY, "1m")
        publisher.add(box)
        assert box.posting is None
        assert board.wanted() == [KEY]

    asyncio.run(story())


def test_one_text_for_all_who_look_at_the_same(
    nothing_live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded.forget()
    publisher, made = Publisher(Board()), []
    real = encoded.posting_payload
    monkeypatch.setattr(encoded, "posting_payload", lambda *args: made.append(args) or real(*args))
    shown = posting(7)
    boxes = [Box(KEY, "1m"), Box(KEY, "1m"), Box(KEY, "5m")]
    texts = [publisher.text(box, shown) for box in boxes]
    assert texts[0] is texts[1]
    assert len(made) == 1
    told = json.loads(texts[2])
    assert (told["type"], told["seq"], told["trades"]) == ("context", 7, 0)
    assert publisher.text(boxes[0], posting(8)) != texts[0]


def test_nothing_happens_where_nobody_listens(nothing_live: None) -> None:
    board = Board()
    publisher = Publisher(board)
    board.post(KEY, snapshot(), [])
    publisher.tell(lambda key: True, {"type": "event"})

    async def story() -> None:
        publisher.start(asyncio.get_running_loop())

    asyncio.run(story())
    # The loop is closed, and the flow posts on.
    board.post(KEY, snapshot(), [])
    publisher.stop()
    board.post(KEY, snapshot(), [])


def test_the_looked_at_stays_wanted_and_health_goes_round(
    nothing_live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketdata.publisher.HEALTH_S", 0.02)
    board = Board()
    publisher = Publisher(board)

    async def story() -> None:
        box = Box(KEY, "1m")
        publisher.add(box)
        board._wanted.clear()
        publisher.start(asyncio.get_running_loop())
        while box.health is None:
            await asyncio.sleep(0.001)
        assert json.loads(box.health) == {"type": "health", "connections": []}
        assert board.wanted() == [KEY]
        publisher.stop()

    asyncio.run(story())


# What holds a client back


class Transport:
    """Twisted's transport, as far as it is asked."""

    def __init__(self) -> None:
        self.producer: object = "the HTTP channel"
        self.options: list[tuple[int, ...]] = []

    def unregisterProducer(self) -> None:
        self.producer = None

    def registerProducer(self, producer: object, streaming: bool) -> None:
        assert streaming
        assert self.producer is None
        self.producer = producer

    def getHandle(self) -> SimpleNamespace:
        return SimpleNamespace(setsockopt=lambda *option: self.options.append(option))


def test_an_outlet_listens_to_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketdata.outlet.STUCK_S", 0.05)
    transport = Transport()
    send = SimpleNamespace(args=(SimpleNamespace(transport=transport),))

    async def story() -> None:
        outlet = Outlet(send)
        assert transport.producer is outlet
        assert len(transport.options) == 1
        assert await outlet.room()
        outlet.pauseProducing()
        assert not await outlet.room()
        waiting = asyncio.create_task(outlet.room())
        await asyncio.sleep(0.01)
        outlet.resumeProducing()
        assert await waiting
        outlet.stopProducing()
        assert not outlet.close(1013)

    asyncio.run(story())


def test_an_outlet_counts_what_is_not_acknowledged() -> None:
    async def story() -> None:
        outlet = Outlet(None)
        for number in range(9):
            outlet.sent(number)
        # Nobody acknowledges: there is nothing to wait for.
        assert outlet.is_free()
        outlet.acked(8)
        for number in range(9, 9 + MOST_UNREAD):
            assert outlet.is_free()
            outlet.sent(number)
            outlet.sent()
        assert not outlet.is_free()
        outlet.acked(8)
        assert not outlet.is_free()
        outlet.acked(9)
        assert outlet.is_free()
        outlet.acked(10**12)
        assert outlet.is_free()

    asyncio.run(story())
