"""Binance USD-M futures on loopback."""
