"""Boxes and the publisher: latest wins, events in turn, one encoding for all who look."""

import asyncio
import json
import threading
from decimal import Decimal
from types import SimpleNamespace

import pytest
import websocket

from marketdata import encoded, live
from marketdata.context import MarketContext
from marketdata.core.instrument import Grid, Instrument
from marketdata.outlet import MOST_UNREAD, Frame, Line, Outlet
from marketdata.publisher import BOX_EVENTS, Box, Publisher
from marketdata.store.board import Board, Key, Posting
from marketdata.store.restatements import Counts

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
    writer = SimpleNamespace(restated=Counts())
    parts = SimpleNamespace(lines=[], book_lines=[], label="", writer=writer)
    monkeypatch.setattr(live, "_live", [parts])


def made(box: Box, shown: Posting) -> Frame:
    return Frame(b"context %d" % shown.number, shown.number)


def new_box(key: Key = KEY, timeframe: str = "1m") -> Box:
    return Box(key, timeframe, made)


def texts(box: Box, count: int) -> list[str | None]:
    taken = [box.take() for _ in range(count)]
    return [frame and frame.text.decode() for frame in taken]


# Boxes


def test_a_context_comes_first_and_then_all_in_turn() -> None:
    box = new_box()
    for event in (b"e1", b"e2", b"e3"):
        box.put_event(Frame(event))
    box.put_health(Frame(b"h"))
    assert box.take() is None
    box.put(posting=posting(1))
    assert texts(box, 1) == ["context 1"]
    box.put(posting=posting(2))
    assert texts(box, 6) == ["e1", "h", "e2", "context 2", "e3", None]


def test_the_latest_wins() -> None:
    box = new_box()
    box.put(posting=posting(1))
    box.put(posting=posting(2))
    box.put_health(Frame(b"old"))
    box.put_health(Frame(b"new"))
    assert texts(box, 3) == ["context 2", "new", None]


def test_too_many_events_push_the_oldest_out() -> None:
    box = new_box()
    for number in range(BOX_EVENTS + 3):
        box.put_event(Frame(b"%d" % number))
    assert len(box.events) == BOX_EVENTS
    assert box.events[0].text == b"3"


def test_what_is_live_is_shown_before_what_is_stored() -> None:
    box = new_box()
    box.put(stored=Frame(b"stored"))
    box.put(posting=posting(1))
    assert texts(box, 2) == ["context 1", None]
    box.put(stored=Frame(b"stored"))
    assert texts(box, 1) == ["stored"]


def test_whatever_comes_wakes() -> None:
    box, woken = new_box(), []
    box.wake = lambda: woken.append(1)
    box.put(posting=posting())
    box.put_health(Frame(b"h"))
    box.put_event(Frame(b"e"))
    assert len(woken) == 3


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_frames_are_those_of_the_standard(length: int) -> None:
    text = b"x" * length
    frame = websocket.ABNF.create_frame(text, websocket.ABNF.OPCODE_TEXT)
    frame.mask_value = 0
    assert Frame(text).wire == frame.format()


# The publisher


def test_each_posting_reaches_the_boxes_that_look_at_it(nothing_live: None) -> None:
    board = Board()
    publisher = Publisher(board)

    async def story() -> None:
        publisher.start(asyncio.get_running_loop())
        mine, theirs, late = new_box(), new_box(OTHER), new_box()
        publisher.add(mine)
        publisher.add(theirs)
        assert publisher.clients == 2
        thread = threading.Thread(target=lambda: [board.post(KEY, snapshot(), []) for _ in "abc"])
        thread.start()
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
        box = new_box()
        publisher.add(box)
        assert box.posting is None
        assert board.wanted() == [KEY]

    asyncio.run(story())


def test_one_text_for_all_who_look_at_the_same(
    nothing_live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded.forget()
    publisher, counted = Publisher(Board()), []
    real = encoded.posting_payload
    monkeypatch.setattr(
        encoded, "posting_payload", lambda *args: counted.append(args) or real(*args)
    )
    shown = posting(7)
    boxes = [Box(KEY, name, publisher.text) for name in ("1m", "1m", "5m")]
    frames = [publisher.text(box, shown) for box in boxes]
    assert frames[0] is frames[1]
    assert len(counted) == 1
    told = json.loads(frames[2].text)
    assert (told["type"], told["seq"], told["trades"]) == ("context", 7, 0)
    assert frames[2].number == 7
    assert publisher.text(boxes[0], posting(8)).number == 8


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
        box = new_box()
        publisher.add(box)
        board._wanted.clear()
        publisher.start(asyncio.get_running_loop())
        while box.health is None:
            await asyncio.sleep(0.001)
        assert json.loads(box.health.text) == {"type": "health", "connections": []}
        assert board.wanted() == [KEY]
        publisher.stop()

    asyncio.run(story())


# What holds a client back


class Transport:
    """Twisted's transport, as far as it is asked."""

    def __init__(self) -> None:
        self.producer: object = "the HTTP channel"
        self.options: list[tuple[int, ...]] = []
        self.written: list[bytes] = []

    def unregisterProducer(self) -> None:
        self.producer = None

    def registerProducer(self, producer: object, streaming: bool) -> None:
        assert streaming
        assert self.producer is None
        self.producer = producer

    def getHandle(self) -> SimpleNamespace:
        return SimpleNamespace(setsockopt=lambda *option: self.options.append(option))

    def write(self, data: bytes) -> None:
        self.written.append(data)


class Daphne:
    """Daphne's protocol, as far as it is asked."""

    STATE_OPEN = 3

    def __init__(self) -> None:
        self.state = self.STATE_OPEN
        self.websocket_extensions_in_use: list[object] = []
        self.transport = Transport()
        self.codes: list[int] = []

    def sendCloseFrame(self, code: int) -> None:
        self.codes.append(code)

    @property
    def line(self) -> Line:
        return Line(SimpleNamespace(args=(self,)))


class Shelf:
    """Frames that wait in a row."""

    def __init__(self, *numbers: int | None) -> None:
        self.frames = [Frame(b"%d" % at, number) for at, number in enumerate(numbers)]

    def take(self) -> Frame | None:
        return self.frames.pop(0) if self.frames else None


def test_an_outlet_listens_to_the_transport() -> None:
    server, shelf, ended = Daphne(), Shelf(None, None), []

    async def story() -> None:
        outlet = Outlet(shelf.take, server.line, ended.append)
        assert server.transport.producer is outlet
        assert len(server.transport.options) == 1
        outlet.pauseProducing()
        outlet.pump()
        assert server.transport.written == []
        outlet.resumeProducing()
        assert server.transport.written == [b"\x81\x010", b"\x81\x011"]
        outlet.stopProducing()
        outlet.close()

    asyncio.run(story())
    assert ended == []


def test_a_line_that_is_closed_is_not_written_to() -> None:
    server, shelf = Daphne(), Shelf(None)
    server.state = 1

    async def story() -> None:
        Outlet(shelf.take, server.line, pytest.fail).pump()

    asyncio.run(story())
    assert server.transport.written == []


def test_a_client_that_is_stuck_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketdata.outlet.STUCK_S", 0.02)
    server, shelf, ended = Daphne(), Shelf(None, None), []

    async def story() -> None:
        outlet = Outlet(shelf.take, server.line, ended.append)
        outlet.pauseProducing()
        outlet.pump()
        await asyncio.sleep(0.01)
        # It moved: patience begins anew when it stands again.
        outlet.resumeProducing()
        outlet.pauseProducing()
        await asyncio.sleep(0.03)
        assert ended == []
        outlet.pump()
        outlet.pump()
        while not ended:
            await asyncio.sleep(0.001)
        await server.line.close(ended[0])
        outlet.resumeProducing()

    asyncio.run(story())
    assert ended == [1013]
    assert server.codes == [1013]


def test_an_outlet_counts_what_is_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketdata.outlet.MOST_MESSAGES", 1000)
    monkeypatch.setattr("marketdata.outlet.AT_ONCE", 1000)
    server, shelf = Daphne(), Shelf(*range(3))

    async def story() -> None:
        outlet = Outlet(shelf.take, server.line, pytest.fail)
        outlet.pump()
        # Nobody acknowledges: there is nothing to wait for.
        assert outlet.is_free()
        outlet.acked(2)
        shelf.frames = Shelf(*range(3, 3 + MOST_UNREAD)).frames
        outlet.pump()
        assert not outlet.is_free()
        outlet.acked(2)
        assert not outlet.is_free()
        outlet.acked(3)
        assert outlet.is_free()
        outlet.acked(10**12)
        assert outlet.is_free()
        outlet.close()

    asyncio.run(story())


def test_another_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, sent, ended = Shelf(None, None, None), [], []

    async def story() -> None:
        gate = asyncio.Event()

        async def send(message: dict[str, str]) -> None:
            await gate.wait()
            sent.append(message)
            if len(sent) == 2:
                raise ConnectionError("gone")

        outlet = Outlet(shelf.take, Line(send), ended.append)
        outlet.pump()
        assert not outlet.is_free()
        await asyncio.sleep(0)
        outlet.pump()
        assert sent == []
        gate.set()
        while not ended:
            await asyncio.sleep(0)
        outlet.close()

    asyncio.run(story())
    assert sent[0] == {"type": "websocket.send", "text": "0"}
    assert [type(error) for error in ended] == [ConnectionError]


def test_an_error_in_one_box_ends_that_client_alone(nothing_live: None) -> None:
    publisher, ended = Publisher(Board()), []
    server, healthy = Daphne(), Daphne()

    def broken(box: Box, shown: Posting) -> Frame:
        raise ZeroDivisionError

    async def story() -> None:
        for text, line in ((broken, server.line), (made, healthy.line)):
            box = Box(KEY, "1m", text)
            box.wake = Outlet(box.take, line, ended.append).pump
            publisher.add(box)
        publisher.start(asyncio.get_running_loop())
        publisher.posted(KEY, posting())
        while not healthy.transport.written:
            await asyncio.sleep(0)
        publisher.stop()

    asyncio.run(story())
    assert [type(error) for error in ended] == [ZeroDivisionError]
    assert server.transport.written == []
