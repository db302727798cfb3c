"""What is traded, in the spelling of any venue."""

from __future__ import annotations

import pytest

from marketdata.core.pair import base_of, parts_of


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [
        ("BTCUSDT", "BTC", "USDT"),
        ("btcusdt", "BTC", "USDT"),
        ("BTCUSDC", "BTC", "USDC"),
        ("BTCFDUSD", "BTC", "FDUSD"),
        ("BTCUSD", "BTC", "USD"),
        ("cryBTCUSD", "BTC", "USD"),
        ("frxEURUSD", "EUR", "USD"),
        ("BTC-USDT", "BTC", "USDT"),
        ("BTC/USDT", "BTC", "USDT"),
        ("BTC_USDT", "BTC", "USDT"),
        ("BTC/USDT:USDT", "BTC", "USDT"),
        ("BTCUSD_PERP", "BTC", "USD"),
        ("BTC-USDT-SWAP", "BTC", "USDT"),
        ("BTCPERP", "BTC", ""),
        ("BTCUSDT_240329", "BTC", "USDT"),
        ("BTC-29DEC23", "BTC", ""),
        ("BTCUSDT-29DEC23", "BTC", "USDT"),
        ("ETHBTC", "ETH", "BTC"),
        ("USDCUSDT", "USDC", "USDT"),
        ("PERPUSDT", "PERP", "USDT"),
        # A thousand of a coin has another price than one: they are not the same.
        ("1000PEPEUSDT", "1000PEPE", "USDT"),
        ("R_100", "R_100", ""),
        ("R_50", "R_50", ""),
        ("1HZ100V", "1HZ100V", ""),
        ("USDT", "USDT", ""),
        ("PERP", "PERP", ""),
        ("币安", "币安", ""),
        ("", "", ""),
    ],
)
def test_a_symbol_is_taken_apart(symbol: str, base: str, quote: str) -> None:
    assert parts_of(symbol) == (base, quote)
    assert base_of(symbol) == base
