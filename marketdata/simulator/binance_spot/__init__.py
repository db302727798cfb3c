"""Binance spot on loopback: its REST, its streams, its public archive."""
