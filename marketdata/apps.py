"""Registers the app and its checks; nothing is started here."""

from django.apps import AppConfig


class MarketDataConfig(AppConfig):
    """The marketdata app."""

    name = "marketdata"

    def ready(self) -> None:
        """Let the checks register themselves."""
        from marketdata import checks  # noqa: F401
