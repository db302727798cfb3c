import socket
import ssl
import threading
import time
import tomllib
import tracemalloc
from pathlib import Path

import pytest

from marketdata.core.errors import (
    BadInputError,
    ConnectionLostError,
    FrameError,
    StoppedError,
    UntrustedHostError,
)
from marketdata.rest.guard import POOLS, GuardedAdapter
from marketdata.rest.session import VERSION, Session, checked_host
from tests.rest.hand import in_thread, until
from tests.rest.server import Server, bomb, dripping, html, reply, reset, silent, truncated

PEM = Path(__file__).parent / "selfsigned.pem"


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def session(server, stop):
    session = Session(server.url, "", 5.0, stop)
    yield session
    session.close()


def hurried(url, stop, timeout_s=0.3):
    return Session(url, "", timeout_s, stop)


def test_every_request_looks_like_a_normal_client_s(server, session):
    session.get("/api/v3/time", {})
    assert server.requests[0].headers == {
        "Host": f"127.0.0.1:{server.port}",
        "User-Agent": f"BotCrypto/{VERSION}",
        "Accept": "application/json",
        "Accept-Language": "en-US,en;q=0.9",
        "Accept-Encoding": "gzip",
        "Connection": "keep-alive",
    }


def test_the_user_agent_is_the_owner_s_to_choose(server, stop):
    session = Session(server.url, "MyBot/2", 5.0, stop)
    session.get("/", {})
    session.close()
    assert server.requests[0].headers["User-Agent"] == "MyBot/2"


def test_the_version_is_the_project_s():
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(pyproject.read_text())["project"]["version"] == VERSION


def test_the_session_says_what_it_sends(server, stop, caplog):
    with caplog.at_level("INFO"):
        Session(server.url, "", 5.0, stop).close()
    assert "session created host=127.0.0.1" in caplog.text
    assert "User-Agent: BotCrypto/" in caplog.text


def test_one_connection_serves_many_requests(server, session):
    for _ in range(5):
        session.get("/", {})
    assert server.connections == 1
    assert len(server.requests) == 5


def test_symbols_are_percent_encoded(server, session):
    session.get("/api/v3/depth", {"symbol": "币安<img src=x>&a=b", "limit": 5})
    line = server.requests[0].line
    assert line == (
        "GET /api/v3/depth?symbol=%E5%B8%81%E5%AE%89%3Cimg+src%3Dx%3E%26a%3Db&limit=5 HTTP/1.1"
    )


def test_an_answer_keeps_status_headers_and_body(server, session):
    server.then(reply(418, '{"code":-1003}', Retry_After="abc", X_MBX_USED_WEIGHT_1M="17"))
    answer = session.get("/", {})
    assert (answer.status, answer.body) == (418, b'{"code":-1003}')
    assert answer.headers["x-mbx-used-weight-1m"] == "17"
    assert answer.headers["Retry-After"] == "abc"


def test_a_redirect_is_not_followed(server, session):
    with Server() as other:
        server.then(reply(302, "", Location=other.url + "/stolen"))
        assert session.get("/", {}).status == 302
        assert other.requests == []


def test_a_gzip_answer_is_unpacked(server, session):
    server.then(bomb(1))
    assert session.get("/", {}).body == bytes(1 << 20)


def test_a_gzip_bomb_is_cut_off_while_it_unpacks(server, session):
    server.then(bomb(64))
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match="size: a body of at most 8388608 bytes"):
            session.get("/", {})
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_huge_body_is_cut_off(server, session):
    server.then(reply(200, bytes(9 << 20)))
    with pytest.raises(FrameError, match="size"):
        session.get("/", {})
    assert session.get("/", {}).status == 200
    assert server.connections == 2


@pytest.mark.parametrize("fault", [truncated, reset])
def test_a_broken_answer_is_a_lost_connection(server, session, fault):
    server.then(fault)
    with pytest.raises(ConnectionLostError, match=r"127\.0\.0\.1:\d+/x: no complete answer"):
        session.get("/x", {})
    assert session.get("/x", {}).status == 200


BODY = b'[{"a":1}]'


@pytest.mark.parametrize(
    "fault",
    [
        silent,
        dripping(reply(200, BODY, Content_Length="9999"), 0.03),
        dripping(b"HTTP/1.1 2", 0.03),
    ],
    ids=["silence", "dripped body", "dripped headers"],
)
def test_the_deadline_counts_from_the_start_not_from_byte_to_byte(server, stop, fault):
    server.then(fault)
    session = hurried(server.url, stop)
    began = time.monotonic()
    with pytest.raises(ConnectionLostError):
        session.get("/", {})
    assert 0.25 < time.monotonic() - began < 1.0
    session.close()


def test_stop_ends_a_request_under_way(server, session, stop):
    server.then(silent)
    ended = []

    def ask():
        with pytest.raises(StoppedError):
            session.get("/", {})
        ended.append(time.monotonic())

    thread = in_thread(ask)
    until(lambda: server.requests)
    began = time.monotonic()
    stop.set()
    thread.join(2)
    assert ended[0] - began < 0.4


def test_an_answer_that_pauses_is_read_to_its_end(server, session):
    whole = reply(200, BODY)

    def pausing(sock):
        for part in (whole[:30], whole[30:-4], whole[-4:]):
            sock.sendall(part)
            time.sleep(0.25)

    server.then(pausing)
    assert session.get("/", {}).body == BODY
    assert session.get("/", {}).status == 200
    assert server.connections == 1


def test_a_name_that_does_not_resolve_is_a_lost_connection(stop, monkeypatch):
    asked = []

    def unresolved(*args, **kwargs):
        asked.append(args)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    session = Session("https://api.example.test", "", 1.0, stop)
    for _ in range(5):
        with pytest.raises(ConnectionLostError, match=r"api\.example\.test"):
            session.get("/", {})
    session.close()
    assert len(asked) == 5


def test_a_port_where_nobody_listens_is_a_lost_connection(stop):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    session = Session(f"http://127.0.0.1:{port}", "", 1.0, stop)
    with pytest.raises(ConnectionLostError):
        session.get("/", {})
    session.close()


@pytest.fixture
def tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    with Server(tls=context) as server:
        yield server


def test_an_unknown_certificate_is_refused(tls, stop):
    session = Session(tls.url, "", 5.0, stop)
    with pytest.raises(UntrustedHostError, match=r"a valid certificate of 127\.0\.0\.1"):
        session.get("/", {})
    session.close()
    assert tls.requests == []


def test_a_certificate_of_another_host_is_refused(tls, stop):
    session = Session(f"https://localhost:{tls.port}", "", 5.0, stop)
    session._http.verify = str(PEM)
    with pytest.raises(UntrustedHostError):
        session.get("/", {})
    session.close()
    assert tls.requests == []


def test_reads_over_tls_survive_pauses_and_end_at_the_deadline(tls, stop):
    whole = reply(200, BODY)

    def pausing(sock):
        sock.sendall(whole[:40])
        time.sleep(0.3)
        sock.sendall(whole[40:])

    tls.then(pausing, dripping(whole, 0.05))
    session = Session(tls.url, "", 0.8, stop)
    session._http.verify = str(PEM)
    assert session.get("/", {}).body == BODY
    began = time.monotonic()
    with pytest.raises(ConnectionLostError):
        session.get("/", {})
    assert time.monotonic() - began < 1.5
    session.close()


def test_a_page_of_html_comes_through_as_it_is(server, session):
    server.then(html(403))
    answer = session.get("/", {})
    assert answer.status == 403
    assert answer.body.startswith(b"<!DOCTYPE")


def test_passwords_of_the_machine_are_not_sent(server, session, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    session._http.trust_env = True
    session.get("/", {})
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [
        ("https://api.binance.com", False),
        ("https://1.1.1.1", False),
        ("http://127.0.0.1:8000", True),
        ("http://localhost:8000", True),
        ("https://localhost", True),
        ("http://[::1]:8000", True),
    ],
)
def test_hosts_that_may_be_asked(url, is_loopback):
    assert checked_host(url) is is_loopback


@pytest.mark.parametrize(
    "url",
    [
        "http://api.binance.com",
        "http://169.254.169.254",
        "https://169.254.169.254",
        "https://10.0.0.5",
        "https://192.168.1.1:8443",
        "https://0.0.0.0",
        "https://[fe80::1]",
        "https://[::ffff:169.254.169.254]",
        "file:///etc/passwd",
        "ftp://localhost",
        "https://",
        "",
    ],
)
def test_hosts_that_may_not_be_asked(url):
    with pytest.raises(BadInputError, match="expected, seen"):
        checked_host(url)


def test_through_a_proxy_reads_are_guarded_too():
    adapter = GuardedAdapter(1)
    manager = adapter.proxy_manager_for("http://127.0.0.1:8499")
    assert manager.pool_classes_by_scheme is POOLS
    adapter.close()
