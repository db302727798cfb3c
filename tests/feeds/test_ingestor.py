"""The ingestor's own judgement of what a venue sends."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

import websocket

from marketdata.core.trades import Trades
from marketdata.feeds import ingestor as ingestor_module
from marketdata.feeds.ingestor import Ingestor, Watch, plausible
from marketdata.venues.base import Beat, Stream
from tests.feeds.listening import VENUE, Listener, until
from tests.feeds.wire import Line, frame, serving

NOW_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000


def at(*hours: float) -> Trades:
    count = len(hours)
    times = [NOW_US + int(hour * HOUR_US) for hour in hours]
    return Trades.of(range(1, count + 1), times, [1.0] * count, [1.0] * count, [True] * count)


def test_clocks_may_differ_by_hours_and_history_may_be_old():
    trades, errors = plausible(at(-10_000, 0, 23.9), NOW_US)
    assert len(trades) == 3
    assert errors == []


def test_a_trade_of_the_far_future_is_refused_alone():
    trades, errors = plausible(at(0, 25, 1), NOW_US)
    assert trades.id.tolist() == [1, 3]
    assert [error.reason for error in errors] == ["time"]
    assert "trade 2" in errors[0].detail


def reader(url: str, watch: Watch, listener: Listener) -> Ingestor:
    return Ingestor(
        lambda: url,
        VENUE.channels["aggTrade"],
        ["BTCUSDT"],
        watch,
        listener,
        lambda: time.time_ns() // 1000,
        lambda: None,
    )


def trade(id: int) -> bytes:
    return (
        f'{{"e":"aggTrade","E":1,"s":"BTCUSDT","a":{id},"p":"64000.10","q":"0.030","f":1,"l":1,'
        f'"T":1760000000098,"m":true,"M":true}}'
    ).encode()


def test_a_line_on_which_nobody_answers_a_ping_is_given_up(monkeypatch, no_leaks):
    monkeypatch.setattr(ingestor_module, "PONG_TIMEOUT_S", 0.3)
    monkeypatch.setattr(ingestor_module, "POLL_S", 0.05)
    listener = Listener()

    def frozen(line: Line) -> None:
        line.shake_hands(frame(trade(7)))
        # As a machine that lost its power: the connection stands and nothing comes.
        assert line.read_frame()[0] == websocket.ABNF.OPCODE_PING
        line.wait_for_end()

    with serving(frozen) as url:
        thread = reader(url, Watch(stale_s=30, dead_s=60, ping_s=0.2), listener)
        thread.start()
        thread.join(5)
    assert not thread.is_alive()
    assert listener.ids == {"BTCUSDT": [7]}
    assert "no answer to a ping" in str(thread.error)


def test_a_quiet_market_on_a_line_that_answers_is_kept(monkeypatch, no_leaks):
    monkeypatch.setattr(ingestor_module, "POLL_S", 0.05)
    listener = Listener()

    def quiet(line: Line) -> None:
        line.shake_hands(frame(trade(7)))
        for _ in range(3):
            opcode, payload = line.read_frame()
            assert opcode == websocket.ABNF.OPCODE_PING
            line.send(payload, websocket.ABNF.OPCODE_PONG)
        line.send(trade(8))
        line.wait_for_end()

    with serving(quiet) as url:
        thread = reader(url, Watch(stale_s=30, dead_s=60, ping_s=0.1), listener)
        thread.start()
        until(lambda: listener.count() == 2)
        thread.stop()
        thread.join(5)
    assert thread.error is None


def spoken(**told: object) -> Stream:
    """Return the channel of aggregates as one that speaks, and is watched topic by topic."""
    return replace(VENUE.channels["aggTrade"], **told)


def reading(url: str, stream: Stream, watch: Watch, listener: Listener) -> Ingestor:
    return Ingestor(
        lambda: url,
        stream,
        ["BTCUSDT"],
        watch,
        listener,
        lambda: time.time_ns() // 1000,
        lambda: None,
    )


def trades_until_cut(line: Line) -> None:
    """Send a trade every 20 ms for as long as somebody reads."""
    with suppress(OSError):
        for id in range(500):
            line.send(trade(id))
            time.sleep(0.02)


def test_it_speaks_first_and_whoever_asks_later_is_heard(no_leaks):
    listener, said = Listener(), []

    def hearing(line: Line) -> None:
        line.shake_hands()
        said.extend(line.read_frame()[1] for _ in range(2))
        line.send(trade(7))
        said.append(line.read_frame()[1])
        line.wait_for_end()

    stream = spoken(opening=lambda symbols: [b"hello", symbols[0].encode()])
    with serving(hearing) as url:
        thread = reading(url, stream, Watch(30, 60, 30), listener)
        thread.start()
        until(lambda: listener.count() == 1)
        thread.send([b"and more"])
        until(lambda: len(said) == 3)
        thread.stop()
        thread.join(5)
    assert said == [b"hello", b"BTCUSDT", b"and more"]
    assert (listener.opens, listener.closes) == ([("BTCUSDT",)], [("BTCUSDT",)])


def test_a_ping_of_the_venues_own_kind_that_nobody_answers_ends_the_line(monkeypatch, no_leaks):
    monkeypatch.setattr(ingestor_module, "POLL_S", 0.02)
    pings: list[bytes] = []

    def deaf(line: Line) -> None:
        line.shake_hands(frame(trade(7)))
        pings.append(line.read_frame()[1])
        line.wait_for_end()

    stream = spoken(beat=Beat(b'{"op":"ping"}', every_s=0.1, pong_within_s=0.2))
    with serving(deaf) as url:
        thread = reading(url, stream, Watch(30, 60, 30), Listener())
        thread.start()
        thread.join(5)
    assert pings == [b'{"op":"ping"}']
    assert "no answer to the venue's ping in 0.2 s" in str(thread.error)


def test_a_topic_that_never_speaks_is_named_and_the_line_given_up(monkeypatch, no_leaks):
    monkeypatch.setattr(ingestor_module, "POLL_S", 0.02)

    def half(line: Line) -> None:
        line.shake_hands()
        trades_until_cut(line)

    stream = spoken(topics=lambda symbols: frozenset(["BTCUSDT", "BTCUSDT@markPrice"]))
    with serving(half) as url:
        thread = reading(url, stream, Watch(0.2, 0.3, 30), Listener())
        thread.start()
        thread.join(5)
    assert "no first data of BTCUSDT@markPrice" in str(thread.error)


def test_a_topic_that_falls_silent_gets_a_successor_without_a_cut(monkeypatch, no_leaks):
    monkeypatch.setattr(ingestor_module, "POLL_S", 0.02)
    monkeypatch.setattr(ingestor_module, "QUIET_TIMES", 1)
    listener = Listener()

    def fading(line: Line) -> None:
        line.shake_hands()
        line.send(trade(0).replace(b"BTCUSDT", b"ETHUSDT"))
        trades_until_cut(line)

    with serving(fading) as url:
        thread = Ingestor(
            lambda: url,
            VENUE.channels["aggTrade"],
            ["BTCUSDT", "ETHUSDT"],
            Watch(0.2, 0.3, 30),
            listener,
            lambda: time.time_ns() // 1000,
            lambda: None,
        )
        thread.start()
        until(lambda: thread.is_leaving)
        assert thread.is_alive()
        thread.stop()
        thread.join(5)
    assert thread.error is None
