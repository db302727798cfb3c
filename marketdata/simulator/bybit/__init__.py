"""Bybit v5 on loopback: linear and spot side by side, its REST, its streams, its archive."""
