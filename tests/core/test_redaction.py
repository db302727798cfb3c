"""What is hidden, and what is left alone."""

import json
import time

import pytest

from marketdata.core.redaction import redacted, spellings


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/api/v3/account?a=17&signature=c8db56825ae71d", "/api/v3/account?a=17&signature=…"),
        ("?signature=ab%2Bcd%3D&x=1", "?signature=…&x=1"),
        ("wss://api.derivws.com/v1/ws/demo?otp=Zx81-_a", "wss://api.derivws.com/v1/ws/demo?otp=…"),
        ("X-MBX-APIKEY: vmPUZE6mv9SD5VNH", "X-MBX-APIKEY: …"),
        ("{'X-MBX-APIKEY': 'vmPUZE6mv9SD5VNH', 'a': 'b'}", "{'X-MBX-APIKEY': '…', 'a': 'b'}"),
        ("{'X-BAPI-SIGN': 'a', 'X-BAPI-KEY': b'd'}", "{'X-BAPI-SIGN': '…', 'X-BAPI-KEY': b'd'}"),
        ("{'X-BAPI-API-KEY': b'd'}", "{'X-BAPI-API-KEY': b'…'}"),
        ("Authorization: Bearer pat_abc.def", "Authorization: …"),
        ("sent Bearer pat_abc.def there", "sent Bearer … there"),
        ('{"authorize":1,"token":"a1-XyZ","req_id":3}', '{"authorize":1,"token":"…","req_id":3}'),
        (r'"{\"token\":\"a1-XyZ\"}"', r'"{\"token\":\"…\"}"'),
        ("BINANCE_API_SECRET=NhqPtmdS BYBIT_API_KEY=x", "BINANCE_API_SECRET=… BYBIT_API_KEY=…"),
        ("apiKey=abc&listenKey=def", "apiKey=…&listenKey=…"),
        ("https://user:pa55@proxy.example:8443/x", "https://…@proxy.example:8443/x"),
        ("redis://:pa55@10.0.0.1/0", "redis://…@10.0.0.1/0"),
        ("key -----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY----- end", "key … end"),
        ("cut -----BEGIN PRIVATE KEY-----\nMC4C", "cut …"),
    ],
)  # fmt: skip
def test_what_travels_under_a_secret_name_is_hidden(text, left):
    assert redacted(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "retry host=api.binance.com path=/api/v3/account status=400 delay_s=0.50 attempt=1/5",
        "set BINANCE_API_KEY and BINANCE_API_SECRET",
        "POST https://api.example/ws?symbol=btc@trade",
        "unexpected token in frame",
        "connection opened symbols=BTCUSDT,ETHUSDT channel=aggTrade",
        "2026-11-25 22:01:39Z INFO    marketdata.feeds text@example.org",
    ],
)
def test_ordinary_lines_are_left_alone(text):
    assert redacted(text) == text


def test_values_are_hidden_in_every_spelling():
    values = spellings(
        ["plain-canary", "tok en/1:CR123456", "line-one-x\\nline-two-y", "", "short"]
    )
    text = "plain-canary tok%20en%2F1 tok en/1 line-one-x line-two-y short"
    assert redacted(text, values) == "… … … … … short"
    assert "CR123456" not in values


def test_a_longer_secret_goes_before_the_part_of_it():
    values = spellings(["abcdef", "abcdefghij"])
    assert redacted("abcdefghij abcdef", values) == "… …"


def test_json_stays_json():
    line = json.dumps({"message": 'asked {"token": "a1-XyZ", "signature": "ff"}', "level": "INFO"})
    assert json.loads(redacted(line))["level"] == "INFO"


def test_a_long_text_takes_no_time():
    began_s = time.perf_counter()
    for text in ("a-" * 50_000, "://" + "a" * 100_000, "token" * 20_000, "-----BEGIN " * 5_000):
        redacted(text)
    assert time.perf_counter() - began_s < 2
