"""The recorder: a file for each symbol, never in the feed's way, honest about what it drops."""

import gzip
import json
import threading
import time

import pytest

from marketdata.bridge import recorder as module
from marketdata.bridge.capture_file import CaptureFile, read_lines
from marketdata.bridge.recorder import Recorder, lost_by, subject
from marketdata.feeds.supervisor import Supervisor
from marketdata.simulator.server import Simulator
from marketdata.store.tape import open_tape
from marketdata.venues import VENUES
from tests.feeds.listening import QUICK, Listener, until

# 2024-01-01, half a second before midnight.
EVE_NS = 1_704_067_199_500_000_000
BOTH = ("BTCUSDT", "ETHUSDT")


def wall_us():
    return time.time_ns() // 1000


class HandClock:
    def __init__(self):
        self.now_ns = EVE_NS

    def __call__(self):
        return self.now_ns


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def recorder(tmp_path, clock):
    recorder = Recorder(tmp_path, clock_ns=clock)
    yield recorder
    recorder.stop()


def kept(path):
    return gzip.decompress(path.read_bytes()).decode()


def test_frames_go_to_the_files_of_their_symbols(recorder, tmp_path):
    recorder.start()
    tap = recorder.tap("bybit", "publicTrade")
    tap([b'{"topic":"publicTrade.ETHUSDT"}', b'{"topic":"publicTrade.BTCUSDT"}'], BOTH)
    tap([b'{"op":"pong"}', b'{"stream":"btcusdt@trade",\r\n"n":1}'], BOTH)
    recorder.tap("bybit", "orderbook")([b'{"result":[]}'], ("BTCUSDT",))
    recorder.stop()
    names = sorted(path.name for path in (tmp_path / "bybit").iterdir())
    assert names == [
        "__publicTrade_20231231.gz",
        "btcusdt_orderbook_20231231.gz",
        "btcusdt_publicTrade_20231231.gz",
        "ethusdt_publicTrade_20231231.gz",
    ]
    assert kept(tmp_path / "bybit" / "btcusdt_publicTrade_20231231.gz") == (
        f'{EVE_NS} {{"topic":"publicTrade.BTCUSDT"}}\n'
        f'{EVE_NS} {{"stream":"btcusdt@trade",  "n":1}}\n'
    )
    assert kept(tmp_path / "bybit" / "__publicTrade_20231231.gz") == f'{EVE_NS} {{"op":"pong"}}\n'
    assert (recorder.written, recorder.dropped) == (5, 0)


def test_a_new_utc_day_is_a_new_file(recorder, tmp_path, clock):
    recorder.start()
    tap = recorder.tap("binance_ws", "trade")
    tap([b'{"n":1}'], ("BTCUSDT",))
    clock.now_ns += 500_000_000
    tap([b'{"n":2}'], ("BTCUSDT",))
    recorder.stop()
    folder = tmp_path / "binance_ws"
    assert kept(folder / "btcusdt_trade_20231231.gz") == f'{EVE_NS} {{"n":1}}\n'
    assert kept(folder / "btcusdt_trade_20240101.gz") == '1704067200000000000 {"n":2}\n'


def test_a_finished_day_is_closed_though_nothing_comes(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_S", 0.02)
    recorder = Recorder(tmp_path, clock_ns=clock)
    recorder.start()
    recorder.tap("bybit", "trade")([b"{}"], ("BTCUSDT",))
    path = tmp_path / "bybit" / "btcusdt_trade_20231231.gz"
    # Flushed soon, so that a kill leaves it; whole once the day is over.
    until(lambda: path.exists() and list(read_lines(path)))
    with pytest.raises(EOFError):
        kept(path)
    clock.now_ns += 1_000_000_000
    until(lambda: not recorder._files)
    assert kept(path) == f"{EVE_NS} {{}}\n"
    recorder.stop()


def test_members_end_now_and_then_while_it_goes_on(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_S", 0.02)
    monkeypatch.setattr(module, "MEMBER_S", 0.05)
    recorder = Recorder(tmp_path, clock_ns=clock)
    recorder.start()
    path = tmp_path / "bybit" / "btcusdt_trade_20231231.gz"
    recorder.tap("bybit", "trade")([b"{}"], ("BTCUSDT",))
    until(lambda: path.exists() and is_whole(path))
    recorder.tap("bybit", "trade")([b"[]"], ("BTCUSDT",))
    recorder.stop()
    assert kept(path) == f"{EVE_NS} {{}}\n{EVE_NS} []\n"


def is_whole(path):
    try:
        return bool(kept(path))
    except EOFError:
        return False


def test_a_restart_on_the_same_day_appends(tmp_path, clock):
    for number in (1, 2, 3):
        recorder = Recorder(tmp_path, clock_ns=clock)
        recorder.start()
        recorder.tap("bybit", "trade")([b'{"n":%d}' % number], ("BTCUSDT",))
        recorder.stop()
    path = tmp_path / "bybit" / "btcusdt_trade_20231231.gz"
    assert [row.frame for row in read_lines(path)] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']


def test_what_finds_no_room_is_dropped_at_once_and_told(tmp_path, clock, caplog):
    recorder = Recorder(tmp_path, most_waiting=1000, clock_ns=clock)
    tap = recorder.tap("bybit", "trade")
    tap([b'{"n":1}'], ("BTCUSDT",))
    tap([b"x" * 990], ("BTCUSDT",))
    tap([b'{"n":2}'], ("BTCUSDT",))
    assert recorder.dropped == 1
    recorder.start()
    recorder.stop()
    tap([b'{"n":3}'], ("BTCUSDT",))
    frames = [row.frame for row in read_lines(tmp_path / "bybit" / "btcusdt_trade_20231231.gz")]
    assert frames == [b'{"n":1}', b'{"n":2}', b'{"recorder":"dropped","frames":1}']
    assert [lost_by(frame) for frame in frames] == [0, 0, 1]
    assert (recorder.written, recorder.dropped) == (2, 2)
    assert "frames not kept source=bybit channel=trade frames=1" in caplog.text


def test_a_disk_that_refuses_costs_frames_and_not_the_feed(tmp_path, clock, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    broken = threading.Event()
    broken.set()
    write = CaptureFile.write

    def refuse(self, text):
        if broken.is_set():
            raise OSError(28, "No space left on device")
        write(self, text)

    monkeypatch.setattr(CaptureFile, "write", refuse)
    recorder = Recorder(tmp_path, clock_ns=clock)
    recorder.start()
    tap = recorder.tap("bybit", "trade")
    tap([b"{}", b"{}"], ("BTCUSDT",))
    until(lambda: recorder.dropped == 2)
    broken.clear()
    time.sleep(0.06)
    tap([b'{"n":3}'], ("BTCUSDT",))
    until(lambda: recorder.written == 1)
    recorder.stop()
    frames = [row.frame for row in read_lines(tmp_path / "bybit" / "btcusdt_trade_20231231.gz")]
    assert frames == [b'{"n":3}', b'{"recorder":"dropped","frames":2}']
    assert caplog.text.count("No space left on device") == 1


@pytest.mark.parametrize(("frame", "found"), [
    ('{"stream":"ethusdt@depth","data":{"s":"ETHUSDT"}}', "ETHUSDT"),
    ('{"topic":"kline.1.BTCUSDT-26DEC25"}', "BTCUSDT-26DEC25"),
    ('{"topic":"tickers.BTCUSDT"}', "BTCUSDT"),
    ('{"s":"BTCUSDTX"}', "_"),
    ('{"s":"币安人生USDT"}', "币安人生USDT"),
    ('{"s":"\\u5e01\\u5b89\\u4eba\\u751fUSDT"}', "币安人生USDT"),
    ('{"symbol":"R_10"}', "_"),
    ('{"symbol":"R_100"}', "R_100"),
    ("", "_"),
])  # fmt: skip
def test_a_frame_is_of_the_symbol_that_it_names(frame, found):
    symbols = (*BOTH, "BTCUSDT-26DEC25", "币安人生USDT", "R_100")
    assert subject(frame.encode(), symbols) == found
    assert subject(frame.encode(), ("SOLUSDT",)) == "SOLUSDT"


def test_a_recorded_feed_replays_as_what_was_heard(tmp_path):
    venue, listener, recorder = VENUES["binance_ws"], Listener(), Recorder(tmp_path)
    recorder.start()
    with Simulator.generated(BOTH, rate=60.0) as room:
        tap = recorder.tap(venue.source, "aggTrade")
        feed = Supervisor(
            venue, venue.channel(), room.ws_url, BOTH, listener, QUICK, wall_us, tap=tap
        )
        feed.start()
        until(lambda: min(listener.count("BTCUSDT"), listener.count("ETHUSDT")) > 20)
        feed.stop()
    recorder.stop()
    for symbol in BOTH:
        (path,) = sorted((tmp_path / "binance_ws").glob(f"{symbol.lower()}_*.gz"))
        tape = open_tape(path)
        ids = [id for trades in tape.batches() for id in trades.id.tolist()]
        assert (tape.source, tape.symbol, tape.channel) == ("binance_ws", symbol, "aggTrade")
        assert ids == sorted(listener.ids[symbol])
        first = next(read_lines(path))
        assert abs(first.local_ns - time.time_ns()) < 60e9
        assert json.loads(first.frame)["data"]["s"] == symbol
