"""A real daphne: clients that do not read, that read, and that talk too much."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

ROOT = Path(__file__).resolve().parent.parent.parent
STUCK_S = 1.0


class Served:
    """A server in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        program = [sys.executable, str(ROOT / "bench" / "served.py"), f"--port={port}"]
        self.process = subprocess.Popen(
            [*program, "--rate=400", f"--stuck-s={STUCK_S}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert "listening" in self.process.stdout.readline()

    def usage(self) -> dict[str, Any]:
        return self.json("/usage")

    def json(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.load(answer)

    def until(self, clients: int, timeout_s: float = 15) -> None:
        deadline = time.monotonic() + timeout_s
        while self.usage()["clients"] != clients:
            assert time.monotonic() < deadline, f"{clients} clients expected, {self.usage()}"
            time.sleep(0.02)

    def client(self, **options: Any) -> websocket.WebSocket:
        return websocket.create_connection(
            f"ws://127.0.0.1:{self.port}/ws/context/", timeout=10, **options
        )

    def deaf(self) -> socket.socket:
        """Open a WebSocket and never read a byte of it."""
        found = socket.socket()
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        found.connect(("127.0.0.1", self.port))
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET /ws/context/ HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        found.sendall("\r\n".join((*lines, "", "")).encode())
        return found


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Served(port)
    yield made
    made.process.terminate()
    assert made.process.wait(10) == 0
    assert made.process.stdout is not None
    assert made.process.stderr is not None
    errors = made.process.stderr.read()
    made.process.stdout.close()
    made.process.stderr.close()
    assert "Traceback" not in errors


def is_cut_off(client: socket.socket, timeout_s: float = 5) -> bool:
    """Tell whether the server has ended a connection, once what it sent before is read."""
    client.settimeout(timeout_s)
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        return True
    finally:
        client.close()
    return True


def test_clients_that_do_not_read_cost_little_and_are_let_go(served: Served) -> None:
    before = served.usage()["rss_mb"]
    deaf = [served.deaf() for _ in range(20)]
    served.until(20)
    grown = []
    # Full buffers first (some 300 kB each, most of them the kernel's), then a second of patience.
    deadline = time.monotonic() + 20
    while served.usage()["clients"]:
        assert time.monotonic() < deadline
        grown.append(served.usage()["rss_mb"] - before)
        time.sleep(0.02)
    # 64 kB and a message or two for each, where ten seconds of contexts would be 40 MB.
    assert max(grown) < 12
    assert all(is_cut_off(one) for one in deaf)


def test_a_client_that_reads_is_not_disturbed_by_those_that_do_not(served: Served) -> None:
    deaf = [served.deaf() for _ in range(5)]
    reader = served.client()
    ages, contexts = [], 0
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        told = json.loads(reader.recv())
        if told["type"] == "context":
            contexts += 1
            ages.append(told["health"]["data_age_ms"])
    # Simple scripts never acknowledge anything, and are served all the same.
    assert contexts > 12
    reader.close()
    for one in deaf:
        one.close()
    served.until(0)


def test_a_client_that_acknowledges(served: Served) -> None:
    client = served.client()
    seen = 0
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        told = json.loads(client.recv())
        if told["type"] == "context":
            seen += 1
            client.send(json.dumps({"ack": told["seq"]}))
    assert seen > 6
    # It stops saying so, and though its socket takes everything, it is held back and let go.
    told, code = until_closed(client)
    assert told.count("context") <= 3
    assert code == 1013


def test_a_client_that_talks_too_much(served: Served) -> None:
    client = served.client()
    for _ in range(100):
        client.send("{}")
    assert until_closed(client)[1] == 1008
    client = served.client()
    client.send("x" * 100_000)
    assert until_closed(client)[1] == 1009
    served.until(0)


def until_closed(client: websocket.WebSocket) -> tuple[list[str], int]:
    """Return what kinds of messages came before the end, and its code."""
    told: list[str] = []
    while True:
        opcode, data = client.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            client.shutdown()
            return told, int.from_bytes(data[:2], "big")
        told.append(json.loads(data)["type"])


def test_a_foreign_origin_is_refused(served: Served) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        served.client(origin="http://evil.example")
    assert refused.value.status_code == 403


def test_forwarded_addresses_are_not_believed(served: Served) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{served.port}/api/context?rows=1",
        headers={"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.example"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_a_page_that_is_gone_is_forgotten(served: Served) -> None:
    clients = [served.client() for _ in range(3)]
    served.until(3)
    clients[0].close()
    clients[1].shutdown()
    clients[2].sock.close()
    served.until(0)
