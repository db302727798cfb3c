"""The isolated feed: what it says arrives unchanged; ended or silent it is replaced, never left."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from marketdata.backfill.wire import ChildLostError
from marketdata.bridge import child as module
from marketdata.bridge import pipe
from marketdata.bridge.capture_file import read_lines
from marketdata.bridge.child import ChildLine, Patience, connector_line
from marketdata.bridge.worker import Outbox, Task
from marketdata.conf import Conf
from marketdata.core.errors import FrameError
from marketdata.core.events import Batch
from marketdata.core.facts import BookUpdate, Kline, Liquidation, Mark, Quote
from marketdata.core.trades import Trades
from marketdata.feeds.ingestor import FeedStatus
from marketdata.feeds.splicer import Splicer
from marketdata.rest.client import VenueClient
from marketdata.rest.clock import Clock
from marketdata.rest.pool import Pool, new_limiter
from marketdata.simulator.server import Simulator
from marketdata.venues import VENUES
from tests.feeds.listening import Listener, until
from tests.rest.hand import MemoryBans

VENUE = VENUES["bybit_connector"]
SYMBOL = "BTCUSDT"
QUICK = Patience(silent_s=1.5, start_s=20.0, backoff_s=0.05, backoff_cap_s=0.2)
POLICY = {"stale_s": 5.0, "dead_s": 10.0, "roll_s": 3600.0, "backoff_s": 0.05}


@pytest.fixture(scope="module")
def room():
    with Simulator.generated([SYMBOL], venues=["bybit"], seed=7, rate=60.0) as simulator:
        yield simulator


class Remembering(Listener):
    """Keeps refs in order of arrival, and what came between."""

    def __init__(self):
        super().__init__()
        self.refs = []
        self.happened = []

    def trades(self, symbol, batch):
        super().trades(symbol, batch)
        self.refs += batch.trades.ref.tolist()
        self.happened.append("trades")

    def opened(self, symbols):
        super().opened(symbols)
        self.happened.append("opened")

    def closed(self, symbols):
        super().closed(symbols)
        self.happened.append("closed")


@pytest.fixture
def start(room):
    """Start lines; none of them, nor any process of theirs, is left at the end."""
    lines, pids = [], set()

    def begin(listener, patience=QUICK, **more):
        task = Task(VENUE.source, "linear", "publicTrade", [SYMBOL], room.ws_url, POLICY)
        lines.append(ChildLine(replace(task, **more), listener, patience))
        lines[-1].start()
        return lines[-1]

    yield begin
    for line in lines:
        pids.add(line.pid)
        began_s = time.monotonic()
        line.stop()
        assert time.monotonic() - began_s < 3
        assert not line.is_alive()
        assert line.statuses()[0].state == "stopped"
    assert not any(is_running(pid) for pid in pids if pid)


def is_running(pid):
    with suppress(OSError):
        os.kill(pid, 0)
        return True
    return False


FACTS = [
    BookUpdate(1, 2, -1, 3, [(1.5, 0.25)], [], is_snapshot=True),
    Quote(1, 2, 0.1, 0.2, 0.3, 1e-8),
    Mark(1, mark=0.1 + 0.2, funding_rate=-0.0001),
    Liquidation(1, 2.5, 3.5, is_buy=True, is_sample=False),
    Kline("1m", 1, 1.0, 2.0, 0.5, 1.5, 10.0, 15.0, None, None, is_closed=False),
]


def test_all_that_can_be_said_arrives_unchanged():
    text, listener = io.BytesIO(), Remembering()
    trades = Trades.of([7, 8], [10, 11], [0.1 + 0.2, 5], [1e-8, 2], [True, False])
    trades = replace(trades, ref=np.array([b"a-uuid", b"b"]))
    status = FeedStatus("bybit_connector", "publicTrade", SYMBOL, "live", 1, None, 2, 3, "ü")
    for told in (
        pipe.opened([SYMBOL]),
        pipe.trades("币安人生USDT", Batch(trades, "live", 99)),
        pipe.facts([(SYMBOL, fact) for fact in FACTS]),
        pipe.replies({5: bytes(range(256))}),
        pipe.rejected(FrameError("json", "words", b"\xff\x00{")),
        pipe.beat([status], 4),
        pipe.closed([SYMBOL]),
    ):
        pipe.put(text, told)
    text.seek(0)
    said = [pipe.take(text) for _ in range(7)]
    for told in said:
        pipe.hand_on(told, listener)
    assert listener.seen == [(SYMBOL, fact) for fact in FACTS]
    assert [type(fact) for _, fact in listener.seen] == [type(fact) for fact in FACTS]
    assert listener.answers == {5: bytes(range(256))}
    assert [(e.reason, e.detail, e.raw) for e in listener.errors] == [
        ("json", "words", b"\xff\x00{")
    ]
    assert (listener.opens, listener.closes) == ([(SYMBOL,)], [(SYMBOL,)])
    assert FeedStatus(**said[5][0]["beat"]["statuses"][0]) == status
    columns = said[1][1]
    assert [column.tolist() for column in astuple(columns)] == [
        column.tolist() for column in astuple(trades)
    ]
    with pytest.raises(ChildLostError):
        pipe.take(text)


def test_a_slow_parent_costs_data_and_makes_it_be_joined_anew(caplog):
    outbox = Outbox([SYMBOL], most_waiting=4)
    batch = Batch(Trades.of([1], [1], [1.0], [1.0], [True]))
    outbox.opened([SYMBOL])
    for _ in range(6):
        outbox.trades(SYMBOL, batch)
    outbox.closed([SYMBOL])
    assert outbox.dropped == 3
    kinds = [next(iter(outbox.take(0)[0])) for _ in range(3)]
    assert kinds == ["opened", "trades", "trades"]
    # Half of it is gone: what is said from here on follows on nothing.
    outbox.facts([(SYMBOL, FACTS[1])])
    kinds = [next(iter(outbox.take(0)[0])) for _ in range(4)]
    assert kinds == ["trades", "closed", "opened", "facts"]
    assert outbox.take(0.01) is None
    assert outbox.dropped == 3
    assert "messages were dropped dropped=3" in caplog.text


def test_trades_facts_and_states_come_out_of_another_process(start):
    listener = Remembering()
    line = start(listener)
    until(lambda: listener.count() > 20 and listener.seen)
    until(lambda: line.statuses()[0].state == "live")
    status = line.statuses()[0]
    assert line.pid != os.getpid()
    assert (status.source, status.channel, status.symbol) == (
        "bybit_connector", "publicTrade", SYMBOL,
    )  # fmt: skip
    assert status.last_message_us >= status.connected_at_us > 0
    assert (line.reconnects, line.dropped, status.last_error) == (0, 0, "")
    assert len(set(listener.refs)) == len(listener.refs)
    assert listener.happened[0] == "opened"
    until(lambda: "live" in listener.states)
    assert listener.errors == []


@pytest.fixture
def newest(room):
    """Ask the simulated venue for its newest trades."""
    conf = Conf(backfill_public_delay_ms=0)
    pool = Pool(conf, new_limiter(VENUE, conf, Clock()), Clock(), MemoryBans())
    client = VenueClient(VENUE, room.rest_url, conf, threading.Event(), pool=pool)
    yield lambda symbol: client.newest("publicTrade", symbol)
    client.close()


def test_killed_in_mid_stream_it_is_replaced_and_the_hole_is_joined(start, newest):
    """What the venue's newest page proves is one stretch again: no number is left out."""
    from marketdata.core.splice import Splice

    delivered, listener = [], Remembering()
    splicer = Splicer(
        [SYMBOL], newest, lambda symbol, batch, unused: delivered.append(batch.trades), print
    )
    listener.trades = splicer.live
    listener.opened = splicer.opened
    splicer.start()
    splicer.ready(SYMBOL, Splice())
    line = start(listener)
    until(lambda: splicer.is_joined(SYMBOL) and sum(map(len, delivered)) > 10)
    killed, joints = line.pid, dict(splicer.joints)
    held = sum(map(len, delivered))
    os.kill(killed, signal.SIGKILL)
    until(lambda: line.restarts == 1 and line.pid not in (None, killed))
    until(lambda: sum(map(len, delivered)) > held + 30)
    until(lambda: splicer.is_joined(SYMBOL))
    splicer.stop()
    ids = np.concatenate([trades.id for trades in delivered])
    refs = np.concatenate([trades.ref for trades in delivered])
    assert (np.diff(ids) == 1).all(), "the hole was joined: numbers follow one another"
    assert len(np.unique(refs)) == len(refs)
    assert {joint.value for joint, count in splicer.joints.items() if count > joints[joint]} >= {
        "proven"
    }
    assert listener.closes == [(SYMBOL,)]
    assert line.reconnects == 1
    assert "ended with code -9" in line.statuses()[0].last_error


@pytest.mark.slow
def test_one_that_is_silent_is_ended_and_replaced(start):
    listener = Remembering()
    line = start(listener)
    until(lambda: listener.count() > 5)
    stopped = line.pid
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: line.restarts == 1)
    assert not is_running(stopped)
    count = listener.count()
    until(lambda: listener.count() > count + 5)
    assert "it was silent for 1.5 s" in line.statuses()[0].last_error
    assert listener.happened.count("opened") == 2
    assert listener.happened[listener.happened.index("closed") + 1] == "opened"


@pytest.mark.slow
def test_a_busy_parent_is_no_silence_of_the_child(start):
    listener, is_slow = Remembering(), threading.Event()
    taken = listener.trades

    def slow(symbol, batch):
        if not is_slow.is_set():
            is_slow.set()
            time.sleep(2.0)
        taken(symbol, batch)

    listener.trades = slow
    line = start(listener)
    until(lambda: listener.count() > 20)
    assert line.restarts == 0


def test_a_listener_that_fails_leaves_no_process_behind(start, caplog):
    listener = Remembering()
    pids = []

    def fail(symbol, batch):
        pids.append(line.pid)
        raise RuntimeError("no room")

    listener.trades = fail
    line = start(listener)
    until(lambda: len(pids) > 1)
    assert not is_running(pids[0])
    assert "RuntimeError: no room" in line.statuses()[0].last_error


def test_where_no_process_can_be_started_it_says_so_and_tries_on(start, monkeypatch):
    monkeypatch.setattr(module, "COMMAND", ("/nowhere/python",))
    listener = Remembering()
    line = start(listener)
    until(lambda: line.restarts > 2)
    status = line.statuses()[0]
    assert status.state == "backoff"
    assert "no process can be started" in status.last_error


def test_one_that_does_not_end_when_asked_to_is_ended(start, monkeypatch, tmp_path):
    deaf = tmp_path / "deaf.py"
    deaf.write_text("import time, sys\nsys.stdin.readline()\ntime.sleep(60)\n")
    monkeypatch.setattr(module, "COMMAND", (module.COMMAND[0], str(deaf)))
    line = start(Remembering())
    until(lambda: line.pid)
    pid = line.pid
    line.stop(1.0)
    assert not is_running(pid)


PARENT = """
import os, sys, time
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "botcrypto.settings"
django.setup()
from tests.feeds.listening import Listener
from marketdata.bridge.child import ChildLine
from marketdata.bridge.worker import Task
line = ChildLine(Task("bybit_connector", "linear", "publicTrade", ["BTCUSDT"], sys.argv[1], {}),
                 Listener())
line.start()
while not line.listener.count():
    time.sleep(0.01)
print(line.pid, flush=True)
time.sleep(60)
"""


def test_a_killed_parent_leaves_no_orphan(room):
    command = [sys.executable, "-c", PARENT, room.ws_url]
    with subprocess.Popen(command, cwd=module.ROOT, stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline() or 0)
        assert is_running(pid)
        parent.kill()
    until(lambda: not is_running(pid) or is_zombie(pid), "the child ended by itself")


def is_zombie(pid):
    # Where nobody reaps orphans, as in containers, one that has ended is still listed.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_it_records_what_it_hears(start, tmp_path):
    listener = Remembering()
    line = start(listener, record=str(tmp_path))
    until(lambda: listener.count() > 5)
    line.stop()
    (path,) = (tmp_path / "bybit_connector").glob("btcusdt_publicTrade_*.gz")
    frames = b"".join(row.frame for row in read_lines(path))
    assert all(ref in frames for ref in listener.refs)


def test_the_settings_decide_what_a_line_hears(tmp_path):
    settings = Conf(bybit_ws_url="ws://127.0.0.1:1", bybit_category="spot", feed_dead_after_s=7.0)
    make = connector_line(settings, record=tmp_path)
    line = make(VENUE, VENUE.channel(), [SYMBOL], Listener())
    assert line.task == Task(
        "bybit_connector", "spot", "publicTrade", [SYMBOL], "ws://127.0.0.1:1",
        {"stale_s": 10.0, "dead_s": 7.0, "roll_s": 84600.0, "backoff_s": 0.5, "backoff_cap_s": 30},
        str(tmp_path),
    )  # fmt: skip
    assert line.statuses()[0].state == "connecting"
    line.stop()
