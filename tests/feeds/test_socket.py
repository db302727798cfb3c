"""`Socket` against a server that misbehaves in every way lines do."""

import contextlib
import socket
import threading
import time

import pytest
from websocket import ABNF

from marketdata.core.errors import ConnectionLostError
from marketdata.feeds.socket import READ, Socket
from tests.feeds.wire import WAIT_S, frame, receive_all, serving

pytestmark = pytest.mark.usefixtures("no_leaks")


def lost(line):
    """Receive up to the end of the line; return messages and the reason."""
    messages = []
    until_s = time.monotonic() + WAIT_S
    try:
        while time.monotonic() < until_s:
            messages += line.receive(0.5)
    except ConnectionLostError as error:
        return messages, str(error)
    raise AssertionError("the line did not end")


def test_messages_come_in_order_and_silence_is_an_empty_list():
    silence = threading.Event()

    def script(line):
        line.shake_hands()
        line.send(b"one")
        line.send(b"two", ABNF.OPCODE_BINARY)
        assert silence.wait(WAIT_S)
        line.send(b"three")
        assert line.read_frame() == (ABNF.OPCODE_TEXT, '{"id":1,"x":"é"}'.encode())

    with serving(script) as url, Socket.connect(url) as line:
        assert receive_all(line, 2) == [b"one", b"two"]
        started_s = time.monotonic()
        assert line.receive(0.05) == []
        assert 0.04 < time.monotonic() - started_s < 1
        silence.set()
        assert receive_all(line, 1) == [b"three"]
        line.send_text('{"id":1,"x":"é"}')
        assert line.last_receive_s > started_s


def test_the_request_is_a_plain_client_not_a_browser():
    seen = []

    def script(line):
        line.shake_hands()
        seen.append(line.request)

    with serving(script) as url, Socket.connect(url):
        pass
    head = seen[0].decode()
    assert head.startswith("GET /ws/x@aggTrade HTTP/1.1\r\n")
    assert "Origin" not in head
    assert "User-Agent: botcrypto\r\n" in head


def test_the_line_is_quick_and_kept_alive_and_never_waits_for_ever():
    with serving(lambda line: line.shake_hands()) as url, Socket.connect(url) as line:
        sock = line._sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.gettimeout() is not None


def test_a_frame_glued_to_the_handshake_is_not_lost():
    with (
        serving(lambda line: line.shake_hands(frame(b"early"))) as url,
        Socket.connect(url) as line,
    ):
        assert receive_all(line, 1) == [b"early"]


def test_half_a_frame_then_silence_does_not_block():
    gone = threading.Event()

    def script(line):
        line.shake_hands()
        line.sock.sendall(frame(b"x" * 256)[:2])
        assert gone.wait(WAIT_S)

    with serving(script) as url, Socket.connect(url) as line:
        started_s = time.monotonic()
        for _ in range(3):
            assert line.receive(0.05) == []
        assert time.monotonic() - started_s < 1
        gone.set()


def test_a_slow_drip_keeps_to_the_time_and_loses_nothing():
    wire = frame(b"drip") + frame(b"drop")

    def script(line):
        line.shake_hands()
        for byte in wire:
            line.sock.sendall(bytes((byte,)))
            time.sleep(0.02)

    with serving(script) as url, Socket.connect(url) as line:
        messages, longest_s = [], 0.0
        until_s = time.monotonic() + WAIT_S
        while len(messages) < 2 and time.monotonic() < until_s:
            started_s = time.monotonic()
            messages += line.receive(0.05)
            longest_s = max(longest_s, time.monotonic() - started_s)
        assert messages == [b"drip", b"drop"]
        assert longest_s < 0.5


def test_control_frames_without_end_keep_to_the_time_too():
    over = threading.Event()

    def script(line):
        line.shake_hands()
        # Whoever stops reading ends the line with a reset.
        with contextlib.suppress(OSError):
            while not over.is_set():
                line.send(b"still here", ABNF.OPCODE_PONG)

    with serving(script) as url, Socket.connect(url) as line:
        started_s = time.monotonic()
        assert line.receive(0.1) == []
        assert 0.1 <= time.monotonic() - started_s < 1
        over.set()


def test_a_ping_is_answered_with_its_own_payload():
    answers = []

    def script(line):
        line.shake_hands()
        line.send(b"1700000000123", ABNF.OPCODE_PING)
        answers.append(line.read_frame())
        line.send(b"after")

    with serving(script) as url, Socket.connect(url) as line:
        assert receive_all(line, 1) == [b"after"]
    assert answers == [(ABNF.OPCODE_PONG, b"1700000000123")]


def test_of_many_pings_at_once_the_last_is_answered():
    answers = []

    def script(line):
        line.shake_hands(b"".join(frame(b"%d" % n, ABNF.OPCODE_PING) for n in range(50)))
        answers.append(line.read_frame())
        while answers[-1][1] != b"49":
            answers.append(line.read_frame())
        line.send(b"after")

    with serving(script) as url, Socket.connect(url) as line:
        assert receive_all(line, 1) == [b"after"]
    # Usually one; a packet cut in two may make it a few, never fifty.
    assert len(answers) < 10


def test_our_ping_is_noted_when_it_comes_back():
    def script(line):
        line.shake_hands()
        opcode, payload = line.read_frame()
        assert opcode == ABNF.OPCODE_PING
        line.send(payload, ABNF.OPCODE_PONG)
        line.send(b"after")

    with serving(script) as url, Socket.connect(url) as line:
        before_s = line.last_pong_s
        line.ping()
        assert receive_all(line, 1) == [b"after"]
        assert line.last_pong_s > before_s


def test_a_close_frame_ends_the_line_in_words_after_the_messages():
    rest = []

    def script(line):
        line.shake_hands()
        goodbye = (1008).to_bytes(2, "big") + b"Pong timeout"
        line.sock.sendall(frame(b"last") + frame(goodbye, ABNF.OPCODE_CLOSE) + frame(b"never"))
        rest.append(line.wait_for_end())

    with serving(script) as url, Socket.connect(url) as line:
        messages, reason = lost(line)
        assert messages == [b"last"]
        assert reason == "closed by the server: 1008 a rule of the server was broken: Pong timeout"
        with pytest.raises(ConnectionLostError):
            line.receive(0.05)
    assert rest[0][:2] == bytes((0x88, 0x82))


def test_an_end_without_a_word_is_told_so():
    def script(line):
        line.shake_hands()
        line.send(b"last")

    with serving(script) as url, Socket.connect(url) as line:
        messages, reason = lost(line)
    assert messages == [b"last"]
    assert reason == "the server ended the line without a close frame"


def test_a_reset_is_a_lost_line():
    go = threading.Event()

    def script(line):
        line.shake_hands()
        assert go.wait(WAIT_S)
        line.reset()

    with serving(script) as url, Socket.connect(url) as line:
        go.set()
        messages, reason = lost(line)
    assert messages == []
    assert "the line broke" in reason
    assert "reset" in reason


def test_a_burst_comes_in_a_few_drains():
    count = 3000
    whole = threading.Event()

    def script(line):
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        line.shake_hands(b"".join(frame(b"%06d" % n + b"x" * 160) for n in range(count)))
        whole.set()
        line.wait_for_end()

    with serving(script) as url, Socket.connect(url) as line:
        drains = []
        while sum(map(len, drains)) < count:
            drain = line.receive(WAIT_S)
            assert drain
            drains.append(drain)
        numbers = [int(payload[:6]) for drain in drains for payload in drain]
    assert numbers == list(range(count))
    assert max(map(len, drains)) >= READ // 170


def test_a_fragmented_message_with_a_ping_inside_is_one_message():
    def script(line):
        line.shake_hands()
        line.send(b"one ", ABNF.OPCODE_TEXT, 0)
        line.send(b"?", ABNF.OPCODE_PING)
        line.send(b"message", ABNF.OPCODE_CONT, 1)
        assert line.read_frame() == (ABNF.OPCODE_PONG, b"?")

    with serving(script) as url, Socket.connect(url) as line:
        assert receive_all(line, 1) == [b"one message"]


def test_a_huge_frame_is_refused_by_its_header_and_the_server_told():
    rest = []

    def script(line):
        line.shake_hands()
        line.sock.sendall(frame(b"fine") + bytes((0x81, 127)) + (1 << 40).to_bytes(8, "big"))
        rest.append(line.read_frame())

    with serving(script) as url, Socket.connect(url) as line:
        messages, reason = lost(line)
        line.close()
    assert messages == [b"fine"]
    assert "at most 1048576 bytes expected, seen 1099511627776" in reason
    assert rest == [(ABNF.OPCODE_CLOSE, (1009).to_bytes(2, "big"))]


def test_garbage_breaks_the_line():
    def script(line):
        line.shake_hands()
        line.sock.sendall(b"HTTP/1.1 500 oops\r\n\r\n")

    with serving(script) as url, Socket.connect(url) as line:
        _, reason = lost(line)
    assert "broken WebSocket frame" in reason


@pytest.mark.parametrize("is_tls", [False, True])
def test_abort_from_another_thread_ends_a_waiting_receive(is_tls, certificate, trusted):
    def script(line):
        line.shake_hands()
        line.wait_for_end()

    with serving(script, certificate if is_tls else None) as url, Socket.connect(url) as line:
        waiting = threading.Timer(0.1, line.abort)
        waiting.start()
        started_s = time.monotonic()
        with pytest.raises(ConnectionLostError, match="cut on our side"):
            line.receive(30)
        assert time.monotonic() - started_s < 5
        waiting.join()
        line.close()
        line.close()
        line.abort()


def test_close_says_goodbye_and_does_not_wait():
    said = []

    def script(line):
        line.shake_hands()
        said.append(line.read_frame())
        said.append(line.wait_for_end())

    with serving(script) as url:
        line = Socket.connect(url)
        started_s = time.monotonic()
        line.close(1001)
        assert time.monotonic() - started_s < 1
    assert said == [(ABNF.OPCODE_CLOSE, (1001).to_bytes(2, "big")), b""]


def test_a_server_that_reads_nothing_cannot_hold_a_sender(monkeypatch):
    monkeypatch.setattr("marketdata.feeds.socket.SEND_TIMEOUT_S", 0.2)
    go = threading.Event()

    def script(line):
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.shake_hands()
        assert go.wait(WAIT_S)

    with serving(script) as url, Socket.connect(url) as line:
        line._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        started_s = time.monotonic()
        with pytest.raises(ConnectionLostError):
            line.send_text("x" * 8_000_000)
        with pytest.raises(ConnectionLostError):
            line.receive(0.05)
        assert time.monotonic() - started_s < 2
        go.set()
