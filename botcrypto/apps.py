"""Registers the app; nothing is started here."""

from django.apps import AppConfig

from botcrypto import logs


class BotCryptoConfig(AppConfig):
    """The botcrypto app."""

    name = "botcrypto"

    def ready(self) -> None:
        """See to it that no error shows a secret."""
        logs.hide_in_tracebacks()
