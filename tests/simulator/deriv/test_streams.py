"""Streams of ticks and candles, and the faults that befall them."""

from itertools import pairwise

import pytest
import websocket

from tests.simulator.deriv.conftest import LEGACY, PUBLIC, until
from tests.simulator.deriv.test_history import folded, ticks

GONE = (websocket.WebSocketConnectionClosedException, ConnectionResetError)


def updates(one, count):
    """Return the next `count` updates."""
    return [one.next() for _ in range(count)]


def follow(one, symbol="1HZ100V"):
    """Follow the ticks of a symbol and return the first one's second."""
    return one.ask(ticks=symbol, subscribe=1)["tick"]["epoch"]


def played(simulator):
    """Return how many ticks of the fastest symbol have been played."""
    return simulator.status()["markets"][-1]["played"]


@pytest.mark.parametrize("path", [PUBLIC, LEGACY])
def test_ticks_come_without_hole_and_are_those_of_history(quick, talk, path):
    one = talk(quick, path)
    first = one.ask(ticks="cryBTCUSD", subscribe=1, passthrough={"a": 1})
    got = [first, *updates(one, 15)]
    assert {frame["subscription"]["id"] for frame in got} == {first["tick"]["id"]}
    assert all(frame["msg_type"] == "tick" and frame["req_id"] == 77 for frame in got)
    assert got[-1]["echo_req"] == first["echo_req"]
    seen = [frame["tick"] for frame in got]
    assert all(tick["bid"] < tick["quote"] < tick["ask"] for tick in seen)
    assert {(tick["symbol"], tick["pip_size"]) for tick in seen} == {("cryBTCUSD", 2)}
    other = talk(quick, path)
    times, prices = ticks(other, "cryBTCUSD", start=seen[0]["epoch"], end=str(seen[-1]["epoch"]))
    assert [tick["epoch"] for tick in seen] == times
    assert [tick["quote"] for tick in seen] == prices


def test_history_goes_on_as_a_stream(quick, talk):
    one = talk(quick)
    told = one.ask(ticks_history="1HZ100V", end="latest", count=5, subscribe=1)
    times = told["history"]["times"]
    for frame in updates(one, 30):
        assert frame["msg_type"] == "tick"
        assert frame["subscription"] == told["subscription"]
        times.append(frame["tick"]["epoch"])
    assert times == [*range(times[0], times[0] + 35)]


def test_long_history_goes_on_as_a_stream_too(quick, talk):
    one = talk(quick)
    one.ask(ticks="R_100", subscribe=1)
    # More than the loop makes at once, so ticks pass meanwhile; calls are answered as well.
    one.socket.send(
        '{"ticks_history":"1HZ100V","end":"latest","count":800,"style":"candles",'
        '"granularity":3600,"subscribe":1,"req_id":5}'
    )
    assert one.ask(ping=1, req_id=6)["ping"] == "pong"
    mine = []
    while len(mine) < 40:
        frame = one.next()
        mine += [frame] if frame.get("req_id") == 5 else []
    assert [frame["msg_type"] for frame in mine] == ["candles", *["ohlc"] * 39]
    assert len(mine[0]["candles"]) == 800
    epochs = [frame["ohlc"]["epoch"] for frame in mine[1:]]
    assert epochs == [*range(epochs[0], epochs[0] + 39)]
    # The stream begins one tick after the history.
    _, prices = ticks(talk(quick), "1HZ100V", end=str(epochs[0] - 1), count=1)
    assert prices == [mine[0]["candles"][-1]["close"]]


def test_candles_go_on_as_what_the_ticks_say(quick, talk):
    one = talk(quick)
    told = one.ask(ticks_history="1HZ100V", end="latest", count=1, style="candles", subscribe=1)
    bars = [frame["ohlc"] for frame in updates(one, 70)]  # more than a minute: one candle ends
    assert len({bar["open_time"] for bar in bars}) > 1
    start = told["candles"][0]["epoch"]
    for bar in (bars[0], bars[30], bars[-1]):
        times, prices = ticks(talk(quick), "1HZ100V", start=start, end=str(bar["epoch"]))
        expected = folded(times, prices, 60)[-1]
        assert {name: float(bar[name]) for name in ("open", "high", "low", "close")} == {
            name: expected[name] for name in ("open", "high", "low", "close")
        }
        assert bar["open_time"] == expected["epoch"]
        assert isinstance(bar["open"], str)
        assert len(bar["close"].partition(".")[2]) == 2
        assert (bar["granularity"], bar["pip_size"], bar["symbol"]) == (60, 2, "1HZ100V")


def test_a_candle_knows_what_was_not_sent(quick, talk):
    one = talk(quick)
    one.ask(ticks_history="1HZ100V", end="latest", count=1, style="candles", subscribe=1)
    before = one.next()["ohlc"]
    quick.faults.set("stall", 30)
    passed = played(quick)
    until(lambda: played(quick) > passed + 70)  # a candle ends unseen, another one begins
    quick.faults.set("stall", 0)
    while (bar := one.next()["ohlc"])["open_time"] == before["open_time"]:
        pass
    start, end = bar["open_time"], bar["epoch"]
    expected = folded(*ticks(talk(quick), "1HZ100V", start=start, end=str(end)), 60)[0]
    assert {name: float(bar[name]) for name in ("open", "high", "low", "close")} == {
        name: expected[name] for name in ("open", "high", "low", "close")
    }


def test_a_forgotten_stream_is_silent(quick, talk):
    one = talk(quick)
    id = one.ask(ticks="1HZ100V", subscribe=1)["subscription"]["id"]
    updates(one, 3)
    assert one.ask(forget=id, req_id=5)["forget"] == 1
    one.socket.settimeout(0.15)  # fifteen ticks
    with pytest.raises(websocket.WebSocketTimeoutException):
        one.next()
    one.socket.settimeout(10)
    assert one.code(ticks="1HZ100V", subscribe=1) == ""


def test_dropped_doubled_and_wrong_frames(quick, talk):
    one = talk(quick)
    quick.faults.update({"drop": 0.2, "duplicate": 0.2, "garbage": 0.2})
    follow(one)
    epochs, wrong = [], 0
    for _ in range(100):
        text = one.socket.recv()
        found = text.startswith('{"echo_req"')
        wrong += not found
        if found:
            epochs.append(int(text.partition('"epoch":')[2].partition(",")[0]))
    steps = [later - earlier for earlier, later in pairwise(epochs)]
    assert wrong > 5
    assert steps.count(0) > 5  # doubled
    assert len([step for step in steps if step > 1]) > 5  # dropped
    assert min(steps) == 0


@pytest.mark.parametrize("fault", ["stall", "market_closed"])
def test_ticks_are_held_back_and_do_not_come_later(quick, talk, fault):
    one = talk(quick)
    follow(one)
    last = one.next()["tick"]["epoch"]  # so far the market has played
    quick.faults.set(fault, 30)
    one.socket.send('{"ping":1}')
    while (frame := one.next())["msg_type"] == "tick":
        last = frame["tick"]["epoch"]
    passed = played(quick)
    until(lambda: played(quick) > passed + 20)
    quick.faults.set(fault, 0)
    assert one.next()["tick"]["epoch"] > last + 20


def test_skipped_ticks_and_a_deaf_subscription(quick, talk):
    one = talk(quick)
    first = follow(one)
    second = one.next()["tick"]["epoch"]
    assert second == first + 1
    quick.faults.set("skip", 10)
    until(lambda: quick.faults.done["skip"] == 10)
    epochs = [frame["tick"]["epoch"] for frame in updates(one, 30)]
    steps = [later - earlier for earlier, later in pairwise([second, *epochs])]
    assert sum(steps) - len(steps) == 10
    quick.faults.set("deaf", 1)
    deaf = talk(quick)
    follow(deaf)
    assert deaf.ask(ping=1, req_id=1)["ping"] == "pong"
    deaf.socket.settimeout(0.15)
    with pytest.raises(websocket.WebSocketTimeoutException):
        deaf.next()


def test_a_refused_subscription(quick, talk):
    one = talk(quick)
    quick.faults.set("refuse", 1)
    assert one.code(ticks="R_100") == ""
    assert one.code(ticks="R_100", subscribe=1) == "InternalServerError"
    assert one.code(ticks="R_100", subscribe=1) == ""


@pytest.mark.parametrize("fault", ["rst", "close", "outage", "disconnect_every"])
def test_connections_are_cut(quick, talk, fault):
    one = talk(quick)
    follow(one)
    quick.faults.set(fault, 0.05 if fault == "disconnect_every" else 1)
    with pytest.raises(GONE):
        updates(one, 1000)
    if fault == "outage":
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            talk(quick)
        assert refused.value.status_code == 503
    quick.faults.clear()
    # Nothing survives: the same symbol may be followed again.
    assert follow(talk(quick))


def test_half_a_frame_and_silence(quick, talk):
    one = talk(quick)
    follow(one)
    quick.faults.set("half_frame", 1)
    until(lambda: quick.faults.done["half_frame"])
    one.socket.settimeout(0.15)
    with pytest.raises(websocket.WebSocketTimeoutException):
        updates(one, 100)


def test_ticks_pass_unseen_between_connections(quick, talk):
    one = talk(quick)
    follow(one)
    until(one.next)
    quick.faults.set("skip_while_down", 40)
    one.socket.close()
    until(lambda: quick.faults.done["skip_while_down"])
    quick.faults.set("skip_while_down", 0)
    other = talk(quick)
    first = follow(other)
    assert other.next()["tick"]["epoch"] - first > 10
