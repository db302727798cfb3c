"""`/ws/context/`: what comes first, how often, and what a client may do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.test import override_settings

from botcrypto.asgi import application
from marketdata import answers, consumers, outlet, publisher
from marketdata.core.events import Batch, Event
from marketdata.core.instrument import Instrument
from marketdata.payload import event_payload
from marketdata.store import instruments
from marketdata.store.board import PACE_S
from tests.api.house import BTC, ETH, GRID, House, trades

URL = "/ws/context/"
FIRST = [(10, 100.00, 1.0, True), (20, 100.10, 2.0, False)]


def run(house: House, story: Callable[[], Awaitable[None]]) -> None:
    """Tell a story on a loop that the publisher serves, as the server's does."""

    async def told() -> None:
        house.publisher.start(asyncio.get_running_loop())
        try:
            await story()
        finally:
            house.publisher.stop()

    asyncio.run(told())


def client(url: str = URL, origin: str | None = None) -> WebsocketCommunicator:
    headers = [(b"host", b"127.0.0.1:8000")]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    return WebsocketCommunicator(application, url, headers)


async def opened(url: str = URL, origin: str | None = None) -> WebsocketCommunicator:
    made = client(url, origin)
    accepted, _ = await made.connect(5)
    assert accepted
    return made


async def message(socket: WebsocketCommunicator, timeout_s: float = 5) -> dict[str, Any]:
    text = await socket.receive_from(timeout_s)
    return json.loads(text)  # type: ignore[no-any-return]


async def of_type(socket: WebsocketCommunicator, kind: str) -> dict[str, Any]:
    while True:
        found = await message(socket)
        if found["type"] == kind:
            return found


async def closing(socket: WebsocketCommunicator, timeout_s: float = 5) -> int:
    while True:
        output = await socket.receive_output(timeout_s)
        if output["type"] == "websocket.close":
            return int(output["code"])


def put(house: House, id: int, price: float = 100.0) -> None:
    batch = trades(id, [(60 + id, price, 1.0, True)])
    assert house.flow.put(*BTC, Batch(batch, "live", house.now_us))


def test_the_first_message_is_the_full_context(house: House) -> None:
    house.open()
    house.feed(trades(1, FIRST))

    async def story() -> None:
        socket = await opened(f"{URL}?symbol=BTCUSDT&source=binance_ws&scope=day")
        first = await message(socket)
        assert first["type"] == "context"
        assert first["seq"] == 1
        assert (first["source"], first["symbol"], first["scope"]) == (*BTC, "day")
        assert first["levels"]["LAST"] == 100.1
        assert [row["volume"] for row in first["volume_profile"]] == [1.0, 2.0]
        assert (first["precision"], first["mode"]) == ("exact", "live")
        assert first["health"] == {"state": "live", "data_age_ms": 40}
        assert [candle["trades"] for candle in first["candles"]] == [2]
        assert first["candles"][0]["closed"]
        await socket.disconnect()

    run(house, story)
    assert house.publisher.clients == 0


def test_what_is_pushed_is_what_the_api_says(house: House) -> None:
    house.open()
    house.feed(trades(1, FIRST))

    async def story() -> None:
        socket = await opened()
        pushed = await message(socket)
        asked = await asyncio.to_thread(answers.context_answer, None, None)
        extra = {"type", "seq", "candles"}
        assert {name for name in pushed if name not in extra} == set(asked)
        for name in asked:
            assert pushed[name] == asked[name]
        await socket.disconnect()

    run(house, story)


def test_a_trade_is_pushed_at_once(house: House) -> None:
    house.open()
    house.feed(trades(1, FIRST))

    async def story() -> None:
        socket = await opened()
        await message(socket)
        delays = []
        for id in (3, 4, 5):
            await asyncio.sleep(PACE_S + 0.05)
            began = time.monotonic()
            put(house, id, 100 + id)
            while (await of_type(socket, "context"))["levels"]["LAST"] != 100 + id:
                pass
            delays.append(time.monotonic() - began)
        # The best of three: a busy machine is not a slow path.
        assert min(delays) < 0.04
        await socket.disconnect()

    run(house, story)


def test_a_flood_becomes_ten_messages_a_second_with_the_newest_last(house: House) -> None:
    house.open()
    house.feed(trades(1, FIRST))
    sent: list[tuple[float, dict[str, Any]]] = []

    async def stamped(scope: Any, receive: Any, send: Any) -> None:
        async def stamp(output: dict[str, Any]) -> None:
            if "text" in output:
                sent.append((time.monotonic(), json.loads(output["text"])))
            await send(output)

        await application(scope, receive, stamp)

    async def story() -> None:
        socket = WebsocketCommunicator(stamped, URL, [(b"host", b"127.0.0.1")])
        assert (await socket.connect(5))[0]
        began = time.monotonic()
        for id in range(3, 303):
            put(house, id)
            house.publisher.tell(lambda key: True, {"type": "event", "kind": "noise", "n": id})
            await asyncio.sleep(0.005)
        took = time.monotonic() - began
        await asyncio.sleep(0.4)
        times = [at for at, _ in sent]
        assert all(b - a > 0.97 for a, b in zip(times, times[10:], strict=False))
        # Events go in turn with contexts: a storm of them does not hide the market.
        contexts = [told for _, told in sent if told["type"] == "context"]
        assert len(contexts) >= 4 * took
        numbers = [told["seq"] for told in contexts]
        assert numbers == sorted(set(numbers))
        assert contexts[-1]["trades"] >= 250
        assert "health" in {told["type"] for _, told in sent}
        await socket.disconnect()

    run(house, story)


def test_health_comes_every_second_and_after_the_context(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert publisher.HEALTH_S == 1.0
    monkeypatch.setattr(publisher, "HEALTH_S", 0.3)
    house.open()
    house.feed(trades(1, FIRST))

    async def story() -> None:
        socket = await opened()
        assert (await message(socket))["type"] == "context"
        began = time.monotonic()
        first = await of_type(socket, "health")
        await of_type(socket, "health")
        assert 0.2 < time.monotonic() - began < 2.5
        (connection,) = first["connections"]
        assert (connection["state"], connection["symbol"]) == ("live", "BTCUSDT")
        await socket.disconnect()

    run(house, story)


def test_events_are_told_to_those_who_look_at_the_instrument(house: House) -> None:
    house.open()
    house.feed(trades(1, FIRST))

    async def story() -> None:
        socket = await opened()
        await message(socket)
        told = {"type": "event", "kind": "gap", "ts": "2024-01-01T00:00:00.000Z", "detail": {}}
        await asyncio.to_thread(house.publisher.tell, lambda key: key.symbol == "ETHUSDT", told)
        told = {**told, "kind": "day_roll"}
        await asyncio.to_thread(house.publisher.tell, lambda key: key.symbol == "BTCUSDT", told)
        assert await of_type(socket, "event") == told
        await socket.disconnect()

    run(house, story)


def test_nothing_is_sent_before_the_first_context(house: House) -> None:
    async def story() -> None:
        socket = await opened()
        while not house.publisher.clients:
            await asyncio.sleep(0.001)
        house.publisher.tell(lambda key: True, {"type": "event", "kind": "gap"})
        assert await socket.receive_nothing(1.2)
        # The tick is told at last: what was waited for comes first.
        await asyncio.to_thread(house.open)
        put(house, 1)
        assert (await message(socket))["type"] == "context"
        assert (await message(socket))["type"] == "event"
        await socket.disconnect()

    run(house, story)


def test_a_stored_instrument_is_shown_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "HEALTH_S", 0.2)
    instrument = instruments.remember(*ETH, GRID)
    house.writer.put_trades(instrument.id, Batch(trades(1, FIRST), "file"))
    assert house.writer.flush()

    async def story() -> None:
        socket = await opened(f"{URL}?symbol=ETHUSDT")
        first = await message(socket)
        assert (first["type"], first["mode"], first["trades"]) == ("context", "stored", 2)
        assert (await message(socket))["type"] == "health"
        await socket.disconnect()

    run(house, story)


# Who may come


@pytest.mark.parametrize(
    ("query", "known"),
    [
        ("symbol=DOGE", ["BTCUSDT"]),
        ("source=nasdaq", ["binance_ws"]),
        ("scope=tokyo", ["current", "day", "london", "overlap"]),
        ("timeframe=1d", ["15m", "1h", "1m", "30m", "3m", "5m"]),
    ],
)
def test_unknown_names_are_refused_in_words(house: House, query: str, known: list[str]) -> None:
    house.open()

    async def story() -> None:
        socket = await opened(f"{URL}?{query}")
        refusal = await message(socket)
        assert refusal["type"] == "error"
        assert refusal["known"] == known
        assert query.split("=")[1] in refusal["detail"]
        assert await closing(socket) == 4404

    run(house, story)


def test_where_nothing_runs_there_is_nothing_to_push(database: None) -> None:
    async def story() -> None:
        socket = await opened()
        assert "manage.py run" in (await message(socket))["detail"]
        assert await closing(socket) == 4503

    asyncio.run(story())


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://127.0.0.1.evil.example", "null", "http://[", "file://"],
)
def test_foreign_pages_are_refused(house: House, origin: str) -> None:
    async def story() -> None:
        accepted, _ = await client(origin=origin).connect()
        assert not accepted

    run(house, story)


@pytest.mark.parametrize(
    "origin", [None, "http://127.0.0.1:8000", "http://localhost", "http://[::1]:1"]
)
def test_our_pages_and_programs_are_not(house: House, origin: str | None) -> None:
    async def story() -> None:
        socket = await opened(origin=origin)
        await socket.disconnect()

    run(house, story)


def test_allowed_hosts_are_our_pages_too(house: House) -> None:
    async def story() -> None:
        with override_settings(ALLOWED_HOSTS=["desk.example"]):
            socket = await opened(origin="https://desk.example")
            await socket.disconnect()
            accepted, _ = await client(origin="http://127.0.0.1").connect()
            assert not accepted

    run(house, story)


def test_unknown_paths_are_refused(house: House) -> None:
    async def story() -> None:
        accepted, _ = await client("/ws/orders/").connect()
        assert not accepted

    run(house, story)


def test_there_is_room_for_so_many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.open()
    monkeypatch.setattr(consumers, "MOST_CLIENTS", 1)

    async def story() -> None:
        socket = await opened()
        await message(socket)
        second = await opened()
        assert "1 clients at most" in (await message(second))["detail"]
        assert await closing(second) == 1013
        await socket.disconnect()

    run(house, story)


# What a client may send


def test_a_long_message_ends_the_connection(house: House) -> None:
    house.open()

    async def story() -> None:
        socket = await opened()
        await socket.send_to(text_data="x" * 4097)
        assert await closing(socket) == 1009

    run(house, story)


def test_a_flood_ends_the_connection(house: House) -> None:
    house.open()

    async def story() -> None:
        socket = await opened()
        for _ in range(21):
            await socket.send_to(text_data='{"ack": 1}')
        assert await closing(socket) == 1008

    run(house, story)


@pytest.mark.parametrize("text", ["ping", "{}", '{"ack": "x"}', '{"ack": 1e999}', "[1]", "\x00"])
def test_nonsense_is_ignored(house: House, text: str) -> None:
    house.open()

    async def story() -> None:
        socket = await opened()
        await socket.send_to(text_data=text)
        await socket.send_to(bytes_data=text.encode())
        assert (await message(socket))["type"] == "context"
        put(house, 1)
        assert (await of_type(socket, "context"))["trades"] == 1
        await socket.disconnect()

    run(house, story)


def test_who_acknowledges_is_not_sent_more_than_it_takes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open()
    monkeypatch.setattr(outlet, "STUCK_S", 1.0)

    async def story() -> None:
        socket = await opened()
        first = await message(socket)
        await socket.send_to(text_data=json.dumps({"ack": first["seq"]}))
        assert await socket.receive_nothing(0.02)
        seen = [first["seq"]]
        for id in range(1, 9):
            put(house, id)
            await asyncio.sleep(PACE_S + 0.02)
        while not await socket.receive_nothing(0.02):
            told = await message(socket)
            if told["type"] == "context":
                seen.append(told["seq"])
        # Three are on their way; the newest waits instead of all that came since.
        assert len(seen) == 4
        await socket.send_to(text_data=json.dumps({"ack": seen[-1]}))
        newest = await of_type(socket, "context")
        assert newest["trades"] == 8
        assert newest["seq"] > seen[-1] + 1

    run(house, story)


def test_who_stops_acknowledging_is_let_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.open()
    monkeypatch.setattr(outlet, "STUCK_S", 0.3)

    async def story() -> None:
        socket = await opened()
        await socket.send_to(text_data='{"ack": 0}')
        feeding = asyncio.create_task(keep_feeding(house))
        assert await closing(socket) == 1013
        feeding.cancel()

    run(house, story)


async def keep_feeding(house: House) -> None:
    for id in range(1, 1000):
        put(house, id)
        await asyncio.sleep(0.05)


def test_an_error_of_ours_is_logged_and_ends_the_connection(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.open()

    def broken(*args: object) -> str:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(house.publisher, "text", broken)

    async def story() -> None:
        socket = await opened()
        assert await closing(socket) == 1011

    run(house, story)
    assert "client dropped after an error" in caplog.text
    assert house.publisher.clients == 0


def test_the_tape_of_events_reaches_the_page_through_the_daemons_listener(house: House) -> None:
    house.open()
    house.feed(trades(1, FIRST))

    def happened(instrument: Instrument, event: Event) -> None:
        message = {"type": "event", **event_payload(event)}
        house.publisher.tell(lambda key: key.symbol == instrument.symbol, message)

    house.tape.listeners.append(happened)

    async def story() -> None:
        socket = await opened()
        await message(socket)
        put(house, 5)
        event = await of_type(socket, "event")
        assert event["kind"] == "gap"
        assert event["detail"] == {"first_id": 3, "last_id": 4, "reason": "sequence"}
        await socket.disconnect()

    run(house, story)
