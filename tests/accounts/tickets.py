"""The REST side of a venue that gives one-time URLs, on loopback."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN, APP = "pat_hUsH5eCr3tW0rd", "33Qx6AbCdEfGhIjKlMnOp"
DEMO = {"account_id": "DOT90004580", "balance": 10000, "currency": "USD", "group": "row",
        "status": "active", "account_type": "demo"}  # fmt: skip
REAL = {**DEMO, "account_id": "ROT90004581", "account_type": "real"}
BEFORE = "/trading/v1/options"


class Desk:
    """Gives URLs at `ws_url`, each with a password of its own.

    Attributes
    ----------
    script : list of (status, body)
        What is answered first, whatever is asked.
    asked : list of (method, path)
    """

    def __init__(self, ws_url: str = "ws://127.0.0.1:1") -> None:
        self.ws_url = ws_url
        self.accounts = [DEMO]
        self.script: list[tuple[int, object]] = []
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.passwords: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        # A client that goes away in the middle is what some tests are about.
        self._server.handle_error = lambda *gone: None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Desk:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, object]:
        self.asked.append((method, path))
        self.headers.append(headers)
        if self.script:
            return self.script.pop(0)
        known = {f"{BEFORE}/accounts/{row['account_id']}/otp": row for row in self.accounts}
        if (method, path) == ("GET", f"{BEFORE}/accounts"):
            return 200, {"data": self.accounts, "meta": {}}
        if method != "POST" or path not in known:
            return 404, {"errors": [{"status": 404, "code": "AccountNotFound", "message": "no"}]}
        self.passwords.append(f"otp-hUsH-{len(self.passwords) + 1}")
        kind = known[path]["account_type"]
        return 200, {"data": {"url": f"{self.ws_url}{BEFORE}/ws/{kind}?otp={self.passwords[-1]}"}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        desk = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body = desk.answer(self.command, self.path, dict(self.headers))
                sent = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_POST = do_GET

            def log_message(self, *args: object) -> None:
                pass

        return Handler
