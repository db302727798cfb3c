"""Bybit's channels, and values in the form in which it sends them."""

import json

from marketdata.venues.bybit import BYBIT_LINEAR, BYBIT_SPOT

LINEAR, SPOT = BYBIT_LINEAR.channel(), BYBIT_SPOT.channel()


def encoded(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
