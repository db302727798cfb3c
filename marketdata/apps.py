"""Registers the app; nothing is started here."""

from django.apps import AppConfig


class MarketDataConfig(AppConfig):
    """The marketdata app."""

    name = "marketdata"
