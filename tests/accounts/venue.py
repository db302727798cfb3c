"""A venue on loopback that checks signatures by itself: what it accepts was signed rightly."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from base64 import b64decode
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote

KEY, SECRET = "SIMKEY", "SIMSECRET"
SPOT = {
    "canTrade": True, "canWithdraw": False, "canDeposit": True, "accountType": "SPOT", "uid": 1,
    "balances": [
        {"asset": "BTC", "free": "0.50000000", "locked": "0.10000000"},
        {"asset": "USDT", "free": "25000.00000000", "locked": "0.00000000"},
        {"asset": "BNB", "free": "0.00000000", "locked": "0.00000000"},
    ],
    "permissions": ["SPOT"],
}  # fmt: skip
MARGINS = [
    {"accountAlias": "x", "asset": "USDT", "balance": "100.5", "crossWalletBalance": "100.5",
     "crossUnPnl": "0.105", "availableBalance": "36.605", "maxWithdrawAmount": "36.6",
     "marginAvailable": True, "updateTime": 1760000000000},
    {"accountAlias": "x", "asset": "BNB", "balance": "0.00000000", "availableBalance": "0.000",
     "updateTime": 0},
]  # fmt: skip
RISKS = [
    {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "-0.010", "entryPrice": "64000.0",
     "breakEvenPrice": "63990", "markPrice": "64010.50000000", "unRealizedProfit": "-0.10500000",
     "liquidationPrice": "0", "adl": 2, "updateTime": 1760000000000},
    {"symbol": "ETHUSDT", "positionSide": "BOTH", "positionAmt": "0.000", "entryPrice": "0.0",
     "markPrice": "3000.0", "unRealizedProfit": "0.00000000"},
]  # fmt: skip
WALLET = {"list": [{"accountType": "UNIFIED", "totalEquity": "3.31", "coin": [
    {"coin": "USDT", "equity": "103", "walletBalance": "103.25", "locked": "3.25",
     "spotBorrow": "", "availableToWithdraw": ""},
    {"coin": "BTC", "equity": "0", "walletBalance": "", "locked": "", "spotBorrow": "0"},
]}]}  # fmt: skip
HELD = {"list": [
    {"symbol": "BTCUSDT", "side": "Sell", "size": "0.015", "avgPrice": "64000", "positionIdx": 0,
     "markPrice": "64010.5", "unrealisedPnl": "-0.1575", "leverage": "10"},
    {"symbol": "ETHUSDT", "side": "", "size": "0", "avgPrice": "0", "unrealisedPnl": ""},
], "nextPageCursor": "", "category": "linear"}  # fmt: skip
RIGHTS = {
    "readOnly": 0, "permissions": {"ContractTrade": ["Order", "Position"], "Spot": ["SpotTrade"],
    "Wallet": ["AccountTransfer", "Withdraw"]}, "ips": ["*"], "type": 1, "deadlineDay": 9,
    "expiredAt": "2026-12-04T10:00:00Z", "uta": 1, "userID": 7, "isMaster": True,
}  # fmt: skip


@dataclass
class Venue:
    """Answers as Binance or as Bybit does.

    Parameters
    ----------
    ahead_us : int
        Its clock minus this machine's.
    script : deque of (status, body)
        What is answered to the next private questions, whatever they are.
    """

    ahead_us: int = 0
    key: str = KEY
    secret: str = SECRET
    public_key: object = None
    rights: dict = field(default_factory=lambda: dict(RIGHTS))
    script: deque = field(default_factory=deque)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    label: str = ""

    def __enter__(self) -> Venue:
        venue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one piece: two small ones wait for each other for 40 ms.
            wbufsize = -1

            def do_GET(self):
                venue.paths.append(self.path)
                venue.headers.append(dict(self.headers))
                status, body = venue.answer(self.path, self.headers)
                kind = "text/html" if body.startswith(b"<") else "application/json"
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if venue.label:
                    self.send_header("X-Simulated", venue.label)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request, address):
                """Drop a connection without words, as a line that breaks does."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take no connection any more; those that are open go on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def now_ms(self) -> int:
        return (time.time_ns() // 1000 + self.ahead_us) // 1000

    def private_paths(self) -> list[str]:
        return [path for path in self.paths if "time" not in path.partition("?")[0]]

    def answer(self, path: str, headers) -> tuple[int, bytes]:
        place, _, query = path.partition("?")
        if place in ("/api/v3/time", "/fapi/v1/time"):
            return 200, json.dumps({"serverTime": self.now_ms()}).encode()
        if place == "/v5/market/time":
            nano = str(self.now_ms() * 1_000_000)
            return self.bybit({"timeSecond": nano[:10], "timeNano": nano})
        if self.script:
            status, body = self.script.popleft()
            return status, body if isinstance(body, bytes) else json.dumps(body).encode()
        if place.startswith("/v5/"):
            return self.bybit_private(place, query, headers)
        return self.binance_private(place, query, headers)

    def binance_private(self, place: str, query: str, headers) -> tuple[int, bytes]:
        payload, _, signature = query.rpartition("&signature=")
        told = parse_qs(payload)
        if headers["X-MBX-APIKEY"] != self.key:
            return refused(401, -2015, "Invalid API-key, IP, or permissions for action.")
        late_ms = self.now_ms() - int(told["timestamp"][0])
        if not -1000 < late_ms <= int(told["recvWindow"][0]):
            return refused(400, -1021, "Timestamp for this request is outside of the recvWindow.")
        if not self.is_signed(payload, signature):
            return refused(400, -1022, "Signature for this request is not valid.")
        found = {
            "/api/v3/account": SPOT, "/fapi/v3/balance": MARGINS, "/fapi/v3/positionRisk": RISKS,
        }  # fmt: skip
        return 200, json.dumps(found[place]).encode()

    def is_signed(self, payload: str, signature: str) -> bool:
        if self.public_key is None:
            return signature == hex_of(self.secret, payload)
        self.public_key.verify(b64decode(unquote(signature)), payload.encode())
        return True

    def bybit_private(self, place: str, query: str, headers) -> tuple[int, bytes]:
        stamp, window = headers["X-BAPI-TIMESTAMP"], headers["X-BAPI-RECV-WINDOW"]
        if headers["X-BAPI-API-KEY"] != self.key:
            return self.bybit({}, 10003, "API key is invalid.")
        if not -1000 < self.now_ms() - int(stamp) <= int(window):
            return self.bybit({}, 10002, "invalid request, please check your server timestamp")
        if headers["X-BAPI-SIGN"] != hex_of(self.secret, stamp + self.key + window + query):
            return self.bybit({}, 10004, "error sign!")
        if place == "/v5/position/list" and "settleCoin=USDT" not in query:
            return self.bybit({"list": []})
        found = {
            "/v5/account/wallet-balance": WALLET, "/v5/position/list": HELD,
            "/v5/user/query-api": self.rights,
        }  # fmt: skip
        return self.bybit(found[place])

    def bybit(self, result: dict, code: int = 0, words: str = "OK") -> tuple[int, bytes]:
        body = {
            "retCode": code, "retMsg": words, "result": result, "retExtInfo": {},
            "time": self.now_ms(),
        }  # fmt: skip
        return 200, json.dumps(body).encode()


def refused(status: int, code: int, words: str) -> tuple[int, bytes]:
    return status, json.dumps({"code": code, "msg": words}).encode()


def hex_of(secret: str, payload: str) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
