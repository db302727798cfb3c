"""Opening a `Socket`: refusals, broken handshakes, TLS."""

import socket
import threading
import time

import pytest

from marketdata.core.errors import (
    BadInputError,
    BlockedError,
    ConnectionLostError,
    UntrustedHostError,
    VenueError,
)
from marketdata.feeds.socket import Socket
from tests.feeds.wire import WAIT_S, frame, receive_all, serving

pytestmark = pytest.mark.usefixtures("no_leaks")

HTML = b"<html><head><title>403 Forbidden</title></head>\r\n<body>Request blocked.</body></html>"


def answering(head, body=b""):
    """Script a server that answers the handshake with this."""

    def script(line):
        line.read_request()
        line.sock.sendall(head.encode() + b"\r\n\r\n" + body)

    return script


@pytest.mark.parametrize(
    ("head", "body", "status", "retryable", "retry_after_s", "words"),
    [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: %d", HTML, 403, False, None, "Request blocked"),
        ("HTTP/1.1 403 Forbidden", b"", 403, False, None, "HTTP 403: Forbidden"),
        (
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 37\r\nContent-Length: %d",
            b'{"code":-1003,"msg":"Too many requests."}',
            429,
            True,
            37.0,
            "Too many requests",
        ),
        ("HTTP/1.1 418 I'm a teapot\r\nRetry-After: soon", b"", 418, True, 120.0, "HTTP 418"),
        (
            "HTTP/1.1 451 Unavailable\r\nContent-Length: %d",
            b'{"code":0,"msg":"Service unavailable from a restricted location"}',
            451,
            False,
            None,
            "restricted location",
        ),
        ("HTTP/1.1 503 Service Unavailable", b"", 503, True, None, "HTTP 503"),
        ("HTTP/1.1 302 Found\r\nLocation: wss://other.example/", b"", 302, False, None, "other.ex"),
    ],
)
def test_a_refusal_keeps_what_the_server_said(head, body, status, retryable, retry_after_s, words):
    head = head % len(body) if "%d" in head else head
    with serving(answering(head, body)) as url, pytest.raises(VenueError, match=words) as raised:
        Socket.connect(url)
    error = raised.value
    assert (error.status, error.retryable) == (status, retryable)
    assert error.retry_after_s == retry_after_s
    assert isinstance(error, BlockedError) == (status in (403, 451))


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAA\r\n\r\n",
        b"HTTP/1.1 101 \xff\xfe\r\n\r\n",
    ],
)
def test_no_valid_handshake_is_a_lost_connection(reply):
    def script(line):
        line.read_request()
        line.sock.sendall(reply)

    with serving(script) as url, pytest.raises(ConnectionLostError, match="no WebSocket to ws://"):
        Socket.connect(url)


@pytest.mark.parametrize("drips", [False, True])
def test_a_handshake_has_an_end(drips):
    over = threading.Event()

    def script(line):
        line.read_request()
        while not over.wait(0.05):
            if drips:
                line.sock.sendall(b"H")

    started_s = time.monotonic()
    with serving(script) as url:
        with pytest.raises(ConnectionLostError):
            Socket.connect(url, timeout_s=0.4)
        assert time.monotonic() - started_s < 3
        over.set()


def test_nobody_there_is_a_lost_connection():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(ConnectionLostError, match="refused"):
        Socket.connect(f"ws://127.0.0.1:{port}/ws", timeout_s=2)
    with pytest.raises(ConnectionLostError, match="nowhere"):
        Socket.connect("ws://nowhere.invalid/ws", timeout_s=2)


@pytest.mark.parametrize("url", ["http://localhost/", "wss:", "stream", "ws://localhost:x/"])
def test_nonsense_is_no_url(url):
    with pytest.raises(BadInputError, match="WebSocket URL expected"):
        Socket.connect(url)


@pytest.mark.usefixtures("trusted")
def test_tls_records_that_are_decrypted_already_are_not_waited_for(certificate):
    said = threading.Event()

    def script(line):
        # One large record, then many small ones: the kernel is empty while the TLS layer is not.
        line.shake_hands(b"".join(frame(b"%04d" % n) for n in range(1000)))
        for n in range(1000, 1200):
            line.send(b"%04d" % n)
        assert said.wait(WAIT_S)

    with serving(script, certificate) as url, Socket.connect(url) as line:
        messages = receive_all(line, 1200)
        started_s = time.monotonic()
        assert line.receive(0.05) == []
        assert time.monotonic() - started_s < 1
        said.set()
    assert [int(message) for message in messages] == list(range(1200))


@pytest.mark.usefixtures("trusted")
def test_half_a_tls_record_does_not_block(certificate):
    over = threading.Event()

    def script(line):
        line.shake_hands()
        line.send(b"first")
        # The record's head promises 256 bytes that never come.
        socket.socket.sendall(line.sock, b"\x17\x03\x03\x01\x00half")
        assert over.wait(WAIT_S)

    with serving(script, certificate) as url, Socket.connect(url) as line:
        assert receive_all(line, 1) == [b"first"]
        started_s = time.monotonic()
        assert line.receive(0.05) == []
        assert time.monotonic() - started_s < 1
        over.set()


def test_a_certificate_nobody_vouches_for_is_refused(certificate):
    def script(line):
        raise AssertionError("a client that does not trust must not talk")

    with (
        pytest.raises(AssertionError, match="unknown ca"),
        serving(script, certificate) as url,
        pytest.raises(UntrustedHostError, match="self-signed certificate"),
    ):
        Socket.connect(url, timeout_s=2)
